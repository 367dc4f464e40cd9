/**
 * Reads what stored objects name in threads that run this very module: a chat may be long, and the file locked. Long
 * chats have a thread for themselves, so that no user's next message waits for them.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { GatewayError } from '../errors.ts';
import { type Answered, Lane, answerAs } from '../reading/lane.ts';
import { boundRecord } from '../references/bounds.ts';
import { isObject } from '../references/json.ts';
import { Freshness } from './freshness.ts';
import type { Statements } from './queries.ts';
import { type StoredReader, MANY_ROWS, prepareStoredReferences } from './stored-references.ts';

interface StoredRequest {
  readonly query: StoredQuery;
  readonly parameters: readonly unknown[];
  readonly isLongAllowed: boolean;
}

/** Answered instead of reading a chat that takes its time. */
const LONG = 'long';
const tooComplex = (detail: string | undefined) => new GatewayError('chat_too_complex', { detail });

type StoredQuery = Exclude<keyof StoredReader, 'sizeOf'>;
export type StoredReading = ReturnType<typeof createStoredReading>;

/** @param path of the backend's file, which need not be there yet @returns what rejects with `policy_unavailable` */
export function createStoredReading(path: string) {
  const thread = { script: new URL(import.meta.url), workerData: { stored: path } };
  const short = new Lane<Answered<unknown>>({
    ...{ ...thread, heapMb: 64, deadlineMs: 3_000, isShortLived: false },
    exhausted: () => new GatewayError('policy_unavailable'),
  });
  const long = new Lane<Answered<unknown>>({
    ...{ ...thread, heapMb: 256, deadlineMs: 30_000, isShortLived: true },
    exhausted: (limit) => tooComplex(`Reading it took more than ${limit}.`),
  });

  async function ask<Query extends StoredQuery>(
    query: Query,
    parameters: Parameters<StoredReader[Query]>,
    payer = '',
  ): Promise<ReturnType<StoredReader[Query]>> {
    const run = (lane: typeof short, isLongAllowed: boolean) =>
      lane.run({ payer, message: { query, parameters, isLongAllowed } satisfies StoredRequest });
    const first = await run(short, false);
    const answer = 'value' in first && first.value === LONG ? await run(long, true) : first;
    if ('value' in answer) return answer.value as ReturnType<StoredReader[Query]>;
    const { code, detail } = answer.failure;
    throw new GatewayError(code, { detail });
  }

  return {
    /**
     * @param places the messages that matter, and `CHAT_MODELS` where the chat's own settings do; undefined for everything
     * @param payer takes turns with others @returns undefined where there is no such chat
     * @throws GatewayError `chat_too_complex`
     */
    chat: (id: string, places: readonly string[] | undefined, payer: string) => ask('chat', [id, places], payer),
    ofTimers: (ids: readonly string[]) => ask('ofTimers', [ids]),
    ofChannelMessage: (id: string) => ask('ofChannelMessage', [id]),
    ofAutomation: (id: string) => ask('ofAutomation', [id]),
    ofPresetVersion: (id: string) => ask('ofPresetVersion', [id]),
    close: async () => void (await Promise.all([short.close(), long.close()])),
  };
}

// What follows runs in the threads alone. They may wait for a lock, since the event loop does not wait with them.

/** As long as a decision waits for the lock of a commit. */
const BUSY_MS = 1_000;
/** A chat up to here is read in some 10 ms. */
const SHORT_BYTES = 1_000_000;
/** Longer chats cannot be received through the gate either (`MODELGATE_MAX_BODY`). */
const LONGEST_BYTES = 128_000_000;

function answerFrom(path: string) {
  const freshness = new Freshness({ path, busyTimeoutMs: BUSY_MS, now: () => performance.now(), pauseMs: 0 });
  const prepared = new WeakMap<Statements, StoredReader>();

  function readerOf(statements: Statements): StoredReader {
    const reader = prepared.get(statements) ?? prepareStoredReferences(statements.connection, statements.schema);
    prepared.set(statements, reader);
    return reader;
  }

  function answer(stored: StoredReader, { query, parameters, isLongAllowed }: StoredRequest): unknown {
    if (query === 'chat') {
      const { bytes, rows } = stored.sizeOf(String(parameters[0]));
      if (bytes > LONGEST_BYTES) throw tooComplex(`It has ${Math.round(bytes / 1e6)} MB. Delete parts of it.`);
      if (!isLongAllowed && (bytes > SHORT_BYTES || rows >= MANY_ROWS)) return LONG;
    }
    const value = (stored[query] as (...given: readonly unknown[]) => unknown)(...parameters);
    boundRecord(value);
    return value;
  }

  return (request: StoredRequest): unknown => {
    try {
      freshness.look();
      const found = freshness.use((statements) => answer(readerOf(statements), request));
      if (found !== undefined) return found.value;
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'body_too_complex') throw tooComplex(error.detail);
      throw error;
    }
    throw new GatewayError('policy_unavailable', { detail: freshness.problem?.split(':', 1)[0] ?? '' });
  };
}

if (isObject(workerData) && typeof workerData['stored'] === 'string') {
  const answer = answerFrom(workerData['stored']);
  parentPort?.on('message', (request: StoredRequest) => {
    void answerAs(() => answer(request)).then((answered) => parentPort?.postMessage(answered));
  });
}
