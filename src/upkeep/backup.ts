/** A backup while the backend goes on writing: copied, checked, compressed, and compared with what was checked. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { numbered, parseMoment, shellCommand, toMoment } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { reading } from '../backend-file/transaction.ts';
import { failureCode } from '../store/database.ts';
import { createPartial, discard, publish, removeStalePartials, requireSpace, sizeOf } from './files.ts';
import type { DatabaseFacts, OnStep } from './verified-copy.ts';
import { makeVerifiedCopy } from './verified-copy.ts';

export interface BackupOptions {
  /** Absolute. */
  readonly directory: string;
  /** Milliseconds; undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
  readonly onStep: OnStep;
}

export interface Backup extends Retained {
  readonly path: string;
  readonly bytes: number;
  /** Of the database that is in it. */
  readonly databaseBytes: number;
  readonly facts: DatabaseFacts;
  /** Rows that break a rule of their table, in SQLite's words. */
  readonly complaints: readonly string[];
  /** The folder was not there. */
  readonly madeDirectory: boolean;
}

/** @returns what was made, and which old ones were deleted @throws OperationFailure; then neither was done */
export async function backUp(operation: Operation, options: BackupOptions): Promise<Backup> {
  const { directory, keepMs, now, onStep } = options;
  const { signal } = operation.patience;
  await reading(operation, 'backend', () => undefined);
  const madeDirectory = prepareDirectory(directory);
  requireSpace(sizeOf(operation.path), directory, 'the copy');
  const copy = await makeVerifiedCopy(operation, join(directory, backupName(now, 1).replace('.gz', '')), onStep);
  let compressed: string | undefined;
  try {
    const databaseBytes = statSync(copy.partial).size;
    compressed = createPartial(join(directory, backupName(now, 1)));
    const original = await compressFile(copy.partial, compressed, signal, (done, total) =>
      onStep('compress', done, total),
    );
    const unpacked = await hashCompressed(compressed, signal, (done, total) => onStep('verify', done, total));
    if (unpacked !== original) {
      throw new OperationFailure(
        `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(compressed, (attempt) => backupName(now, attempt));
    const retained = keepMs === undefined ? { deleted: [], stuck: [] } : deleteOldBackups(directory, path, keepMs, now);
    const { facts, complaints } = copy;
    return { path, bytes: statSync(path).size, databaseBytes, facts, complaints, madeDirectory, ...retained };
  } catch (error) {
    if (compressed !== undefined) discard(compressed);
    throw toFailure(error, directory);
  } finally {
    discard(copy.partial);
  }
}

/**
 * Makes the folder where only it is missing, and takes away what killed commands have left in it.
 * @returns whether it was made
 * @throws OperationFailure
 */
export function prepareDirectory(directory: string): boolean {
  try {
    const found = statSync(directory, { throwIfNoEntry: false });
    if (found !== undefined && !found.isDirectory()) {
      throw new OperationFailure(`${directory} is not a folder. Nothing was changed. Name a folder for the backups.`, {
        code: 'no_such_file',
      });
    }
    if (found === undefined) {
      // with `recursive` a volume that is not mounted would become a folder on the disk of the system
      mkdirSync(directory, { mode: 0o700 });
      return true;
    }
    removeStalePartials(directory);
    return false;
  } catch (error) {
    if (/^(?:ENOENT|ENOTDIR)$/.test(failureCode(error))) {
      throw new OperationFailure(
        `There is no folder ${dirname(directory)} to make ${directory} in. Nothing was changed. Is the volume mounted? Else make it: \`${shellCommand('mkdir', '-p', directory)}\``,
        { code: 'no_such_file' },
      );
    }
    throw toFailure(error, directory);
  }
}

// Files in and out of gzip, in streams: a database need not fit into memory.

/** Bytes of the source so far, and all of them. */
type OnBytes = (done: number, total: number) => void;

/** @returns the SHA-256 of what was compressed @throws system errors; OperationFailure after Ctrl-C */
export async function compressFile(
  source: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<string> {
  const hash = createHash('sha256');
  await stopped(signal, () =>
    pipeline(
      createReadStream(source, { highWaterMark: CHUNK_BYTES }),
      through(hash, source, onBytes),
      createGzip(),
      createWriteStream(target),
      { signal },
    ),
  );
  return hash.digest('hex');
}

/** @returns the SHA-256 of what comes out @throws errors of zlib where the file is cut off or damaged */
export async function hashCompressed(source: string, signal: AbortSignal, onBytes: OnBytes): Promise<string> {
  const hash = createHash('sha256');
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done();
    },
  });
  await stopped(signal, () =>
    pipeline(createReadStream(source), counting(source, onBytes), createGunzip(), sink, { signal }),
  );
  return hash.digest('hex');
}

/** @throws errors of zlib, system errors; OperationFailure after Ctrl-C */
export async function decompressFile(
  source: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  await stopped(signal, () =>
    pipeline(createReadStream(source), counting(source, onBytes), createGunzip(), createWriteStream(target), {
      signal,
    }),
  );
}

const CHUNK_BYTES = 1024 * 1024;

type Chunks = AsyncIterable<Buffer>;

function through(hash: { update(chunk: Buffer): unknown }, source: string, onBytes: OnBytes) {
  const count = counting(source, onBytes);
  return async function* (chunks: Chunks): AsyncGenerator<Buffer> {
    for await (const chunk of count(chunks)) {
      hash.update(chunk);
      yield chunk;
    }
  };
}

function counting(source: string, onBytes: OnBytes): (chunks: Chunks) => AsyncGenerator<Buffer> {
  const total = statSync(source).size;
  return async function* (chunks) {
    let done = 0;
    for await (const chunk of chunks) {
      yield chunk;
      onBytes((done += chunk.length), total);
    }
  };
}

async function stopped(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (signal.aborted) throw new OperationFailure('Stopped. Nothing was changed.', { cause: error });
    throw error;
  }
}

// Which backups of a folder are too old to keep. Age is what the name says, so that a copied file keeps it; files of
// any other name are nobody's backups and are never touched.

/** `webui_20260131_030000.db.gz`, as the guide's script names them. */
export const backupName = (moment: Date, attempt: number): string =>
  `${numbered(`webui_${toMoment(moment)}`, attempt)}.db.gz`;

const BACKUP = /^webui_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

export interface Retained {
  readonly deleted: readonly string[];
  /** Too old, and could not be deleted. */
  readonly stuck: readonly { readonly path: string; readonly code: string }[];
}

/**
 * Deletes backups that are older than `keepMs`.
 * @param keepMs milliseconds
 * @param newest the one that has just been made and verified: it stays, whatever the clock says
 */
export function deleteOldBackups(directory: string, newest: string, keepMs: number, now: Date): Retained {
  const deleted: string[] = [];
  const stuck: { path: string; code: string }[] = [];
  for (const entry of readdirSync(directory).toSorted()) {
    const path = join(directory, entry);
    const made = parseMoment(BACKUP.exec(entry)?.[1] ?? '');
    if (made === undefined || path === newest || now.getTime() - made.getTime() <= keepMs) continue;
    try {
      if (!lstatSync(path).isFile()) continue;
      rmSync(path);
      deleted.push(path);
    } catch (error) {
      stuck.push({ path, code: failureCode(error) });
    }
  }
  return { deleted, stuck };
}
