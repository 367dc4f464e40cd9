/** A backup while the backend goes on writing: copied, checked, compressed, and compared with what was checked. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Gunzip, type Gzip, createGunzip, createGzip } from 'node:zlib';
import { OperationFailure, toFailure, unchanged } from '../backend-file/failure.ts';
import { numbered, parseMoment, secondsSince, shellCommand, toMoment } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { failureCode } from '../store/database.ts';
import { createPartial, discard, publish, removeStalePartials, requireSpace, sizeOf } from './files.ts';
import { type OnStep, type Step, makeVerifiedCopy } from './verified-copy.ts';

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
  // such as `webui_20260131_030000.db.gz`, as the guide's script names them
  const nameOf = (attempt: number): string => `${numbered(`webui_${toMoment(now)}`, attempt)}.db.gz`;
  const target = join(directory, nameOf(1));
  const copy = await makeVerifiedCopy(operation, target.replace('.gz', ''), onStep);
  using cleanup = new DisposableStack();
  cleanup.defer(() => discard(copy.partial));
  try {
    const { users, models, members, grants } = copy.facts;
    const compressed = createPartial(target);
    cleanup.defer(() => discard(compressed));
    const packing = { signal, onStep, step: 'compress' } as const;
    const original = await stream(copy.partial, createGzip(), createWriteStream(compressed), packing);
    const unpacked = createHash('sha256').setEncoding('hex');
    await stream(compressed, createGunzip(), unpacked, { ...packing, step: 'verify' });
    if (unpacked.read() !== original) {
      throw new OperationFailure(
        `The compressed backup does not give back what was checked, and was thrown away. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(compressed, nameOf);
    const retained =
      keepMs === undefined ? { deleted: [], not_deleted: [] } : deleteOldBackups(directory, path, keepMs, now);
    return {
      path,
      bytes: statSync(path).size,
      database_bytes: sizeOf(copy.partial),
      seconds: secondsSince(started),
      ...{ users, models, members, grants },
      made_directory: madeDirectory,
      complaints: copy.complaints,
      ...retained,
    };
  } catch (error) {
    throw toFailure(error, directory);
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
    if (found === undefined) {
      // with `recursive` a volume that is not mounted would become a folder on the disk of the system
      mkdirSync(directory, { mode: 0o700 });
      return true;
    }
    if (!found.isDirectory()) {
      throw unchanged(`${directory} is not a folder.`, 'Name a folder for the backups.', { code: 'no_such_file' });
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

interface Streaming {
  readonly signal: AbortSignal;
  readonly step: Step;
  readonly onStep: OnStep;
}

/**
 * A file through gzip, in a stream: a database need not fit into memory.
 * @returns the SHA-256 of what went in
 * @throws errors of zlib, system errors; OperationFailure after Ctrl-C
 */
export async function stream(
  source: string,
  through: Gzip | Gunzip,
  into: NodeJS.WritableStream,
  { signal, step, onStep }: Streaming,
): Promise<string> {
  const hash = createHash('sha256');
  const total = sizeOf(source);
  const counted = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let done = 0;
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
      onStep(step, (done += chunk.length), total);
    }
  };
  try {
    await pipeline(createReadStream(source, { highWaterMark: 1024 * 1024 }), counted, through, into, { signal });
    return hash.digest('hex');
  } catch (error) {
    throw signal.aborted ? unchanged('Stopped.', '', { cause: error }) : error;
  }
}

const BACKUP = /^webui_(\d{8}_\d{6})(?:-\d+)?\.db\.gz$/;

/**
 * Deletes the backups of a folder that are older than `keepMs`. Their age is what the name says, so that a copied file
 * keeps it. Files of any other name are never touched.
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
