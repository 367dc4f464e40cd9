/**
 * Runs in a thread of its own: reads what stored objects name, as the last commit has them. It may wait for a lock, since
 * the event loop does not wait with it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayError } from '../errors.ts';
import { answerAs } from '../reading/lane.ts';
import { boundRecord } from '../references/bounds.ts';
import { failureCode, identityOf } from './database.ts';
import { isOutage } from './file-state.ts';
import { type Reader, openReader, UnreadableSchema } from './reader.ts';
import { readSchema } from './schema-reader.ts';
import { type StoredReader, MANY_ROWS, prepareStoredReferences } from './stored-references.ts';
import { type StoredRequest, LONG } from './stored-reading.ts';

/** As long as a decision waits for the lock of a commit. */
const BUSY_MS = 1_000;
/** Of a chat: up to here it is read in some 10 ms. */
const SHORT_BYTES = 1_000_000;
/** Longer chats cannot be received through the gate either (`MODELGATE_MAX_BODY`). */
const LONGEST_BYTES = 128_000_000;

interface Opened {
  readonly reader: Reader;
  readonly schemaVersion: number;
  readonly stored: StoredReader;
}

const path = workerData as string;
let opened: Opened | undefined;

/** The connection is kept as long as nothing but SQLite can have written to the file, which SQLite sees by itself. */
function storedNow(): StoredReader {
  if (opened !== undefined && isSame(opened)) return opened.stored;
  close();
  const reader = openReader(path, BUSY_MS);
  const schema = readSchema(reader.connection);
  if (schema.problem !== undefined) {
    reader.connection.close();
    throw new UnreadableSchema(schema.problem, schema.missing);
  }
  const stored = prepareStoredReferences(reader.connection, schema);
  opened = { reader, schemaVersion: reader.schemaVersion(), stored };
  return stored;
}

function isSame({ reader, schemaVersion }: Opened): boolean {
  const { file, written, isSettled } = reader.identity;
  const now = identityOf(path, reader.realPath);
  return isSettled && now?.file === file && now.written === written && reader.schemaVersion() === schemaVersion;
}

function close(): void {
  opened?.reader.connection.close();
  opened = undefined;
}

function answer({ query, parameters, isLongAllowed }: StoredRequest): unknown {
  const stored = storedNow();
  if (query === 'chat') {
    const { bytes, rows } = stored.sizeOf(String(parameters[0]));
    if (bytes > LONGEST_BYTES) throw tooComplex(`It has ${Math.round(bytes / 1e6)} MB. Delete parts of it.`);
    if (!isLongAllowed && (bytes > SHORT_BYTES || rows >= MANY_ROWS)) return LONG;
  }
  const value = (stored[query] as (...given: readonly unknown[]) => unknown)(...parameters);
  boundRecord(value);
  return value;
}

const tooComplex = (detail: string | undefined) =>
  new GatewayError('chat_too_complex', detail === undefined ? {} : { detail });

parentPort?.on('message', (request: StoredRequest) => {
  const work = () => {
    try {
      return answer(request);
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'body_too_complex') throw tooComplex(error.detail);
      if (!isOutage(error)) throw error;
      close();
      throw new GatewayError('policy_unavailable', { detail: failureCode(error) });
    }
  };
  void answerAs(work).then((answered) => parentPort?.postMessage(answered));
});
