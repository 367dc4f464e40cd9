/** A backup while the backend goes on writing: copied, checked, compressed, and compared with what was checked. */
import { type Hash, createHash } from 'node:crypto';
import { createReadStream, createWriteStream, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { numbered, parseMoment, secondsSince, shellCommand, toMoment } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { failureCode } from '../store/database.ts';
import { createPartial, discard, publish, removeStalePartials, requireSpace, sizeOf } from './files.ts';
import { type OnStep, makeVerifiedCopy } from './verified-copy.ts';

interface BackupOptions {
  /** Absolute. */
  readonly directory: string;
  /** Milliseconds; undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
  readonly onStep: OnStep;
}

/** @returns what was made, and which old ones were deleted, for `--json` @throws OperationFailure; then neither was done */
export async function backUp(operation: Operation, { directory, keepMs, now, onStep }: BackupOptions) {
  const started = performance.now();
  const { signal } = operation.patience;
  await reading(operation, 'backend', () => undefined);
  const madeDirectory = prepareDirectory(directory);
  requireSpace(sizeOf(operation.path), directory, 'the copy');
  const target = join(directory, backupName(now, 1));
  const copy = await makeVerifiedCopy(operation, target.replace('.gz', ''), onStep);
  let compressed: string | undefined;
  try {
    const { users, models, members, grants } = copy.facts;
    const databaseBytes = statSync(copy.partial).size;
    compressed = createPartial(target);
    const original = await compressFile(copy.partial, compressed, signal, (...at) => onStep('compress', ...at));
    const unpacked = await hashCompressed(compressed, signal, (...at) => onStep('verify', ...at));
    if (unpacked !== original) {
      throw new OperationFailure(
        `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(compressed, (attempt) => backupName(now, attempt));
    const retained =
      keepMs === undefined ? { deleted: [], not_deleted: [] } : deleteOldBackups(directory, path, keepMs, now);
    return {
      path,
      bytes: statSync(path).size,
      database_bytes: databaseBytes,
      seconds: secondsSince(started),
      ...{ users, models, members, grants },
      made_directory: madeDirectory,
      complaints: copy.complaints,
      ...retained,
    };
  } catch (error) {
    if (compressed !== undefined) discard(compressed);
    throw toFailure(error, directory);
  } finally {
    discard(copy.partial);
  }
}

export type Backup = Awaited<ReturnType<typeof backUp>>;

/**
 * Makes the folder where only it is missing, and removes what killed commands have left in it.
 * @returns whether it was made
 * @throws OperationFailure
 */
export function prepareDirectory(directory: string): boolean {
  try {
    const found = statSync(directory, { throwIfNoEntry: false });
    if (found !== undefined && !found.isDirectory()) {
      throw unchanged(`${directory} is not a folder.`, 'Name a folder for the backups.', { code: 'no_such_file' });
    }
    if (found === undefined) {
      // with `recursive` a volume that is not mounted would become a folder on the disk of the system
      mkdirSync(directory, { mode: 0o700 });
      return true;
    }
    removeStalePartials(directory);
    return false;
  } catch (error) {
    if (!/^(?:ENOENT|ENOTDIR)$/.test(failureCode(error))) throw toFailure(error, directory);
    throw unchanged(
      `There is no folder ${dirname(directory)} to make ${directory} in.`,
      `Is the volume mounted? Else make it: \`${shellCommand('mkdir', '-p', directory)}\``,
      { code: 'no_such_file' },
    );
  }
}

// Files in and out of gzip, in streams: a database need not fit into memory.

/** Bytes of the source so far, and all of them. */
type OnBytes = (done: number, total: number) => void;
type Chunks = AsyncIterable<Buffer>;

const CHUNK_BYTES = 1024 * 1024;

/** @returns the SHA-256 of what was compressed @throws system errors; OperationFailure after Ctrl-C */
async function compressFile(source: string, target: string, signal: AbortSignal, onBytes: OnBytes): Promise<string> {
  const hash = createHash('sha256');
  const bytes = createReadStream(source, { highWaterMark: CHUNK_BYTES });
  const hashed = (chunks: Chunks): Chunks => passing(hash, counting(source, onBytes)(chunks));
  await unlessStopped(signal, pipeline(bytes, hashed, createGzip(), createWriteStream(target), { signal }));
  return hash.digest('hex');
}

/** @returns the SHA-256 of what comes out @throws errors of zlib where the file is cut off or damaged */
async function hashCompressed(source: string, signal: AbortSignal, onBytes: OnBytes): Promise<string> {
  const hash = createHash('sha256');
  const read = async (chunks: Chunks): Promise<void> => {
    for await (const chunk of chunks) hash.update(chunk);
  };
  const counted = counting(source, onBytes);
  await unlessStopped(signal, pipeline(createReadStream(source), counted, createGunzip(), read, { signal }));
  return hash.digest('hex');
}

/** @throws errors of zlib, system errors; OperationFailure after Ctrl-C */
export async function decompressFile(
  source: string,
  target: string,
  signal: AbortSignal,
  onBytes: OnBytes,
): Promise<void> {
  const [counted, written] = [counting(source, onBytes), createWriteStream(target)];
  await unlessStopped(signal, pipeline(createReadStream(source), counted, createGunzip(), written, { signal }));
}

async function* passing(hash: Hash, chunks: Chunks): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

function counting(source: string, onBytes: OnBytes) {
  const total = statSync(source).size;
  return async function* (chunks: Chunks): AsyncGenerator<Buffer> {
    let done = 0;
    for await (const chunk of chunks) {
      yield chunk;
      onBytes((done += chunk.length), total);
    }
  };
}

async function unlessStopped(signal: AbortSignal, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw signal.aborted ? unchanged('Stopped.', '', { cause: error }) : error;
  }
}

/** @returns such as `webui_20260131_030000.db.gz`, as the guide's script names them */
const backupName = (moment: Date, attempt: number): string => `${numbered(`webui_${toMoment(moment)}`, attempt)}.db.gz`;

const BACKUP = /^webui_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

/**
 * Deletes the backups of a folder that are older than `keepMs`. Their age is what the name says, so that a copied file
 * keeps it. Files of any other name are never touched.
 * @param keepMs milliseconds
 * @param newest the one that has just been made and verified: it stays, whatever the clock says
 */
export function deleteOldBackups(directory: string, newest: string, keepMs: number, now: Date) {
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
  return { deleted, not_deleted: stuck };
}
