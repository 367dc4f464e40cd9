/** Room on disks, and sizes in words. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { unchanged } from '../backend-file/failure.ts';
import { processNamespace } from '../backend-file/processes.ts';
import { asSize } from '../backend-file/text.ts';
import { failureCode } from '../store/database.ts';

/** @returns bytes, 0 where there is no such file */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/**
 * @param what stands before "needs"
 * @throws OperationFailure where what is needed would not fit into the folder
 */
export function requireSpace(needed: number, directory: string, what: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  if (free >= needed) return;
  throw unchanged(
    `${directory} has ${asSize(free)} free, and ${what} needs up to ${asSize(needed)}.`,
    'Free some space first.',
    { code: 'disk_full' },
  );
}

// Files on their way. They are made under a hidden name beside the place they go to, for their owner alone, and get
// their name when they are whole and on the disk: what has a good name is good, whenever its maker was killed.

/** What SQLite puts beside a database, and what therefore goes with it. */
export const COMPANIONS = ['-wal', '-shm', '-journal'] as const;

/** @returns the path of an empty file of mode 0600 beside `target`; the caller publishes or discards it */
export function createPartial(target: string): string {
  const path = join(dirname(target), `.${basename(target)}.modelgate-${here()}-${process.pid}`);
  closeSync(openSync(path, 'wx', 0o600));
  return path;
}

/** Takes it away, with everything that SQLite has put beside it. */
export function discard(partial: string): void {
  for (const companion of ['', ...COMPANIONS]) rmSync(`${partial}${companion}`, { force: true });
}

/**
 * Gives it a name that no file has yet, and writes file and name to the disk.
 * @param nameOf the name for the first, second, … attempt
 * @returns the path; never replaces a file
 */
export function publish(partial: string, nameOf: (attempt: number) => string): string {
  for (const companion of COMPANIONS) rmSync(`${partial}${companion}`, { force: true });
  flush(partial);
  for (let attempt = 1; ; attempt++) {
    const path = join(dirname(partial), nameOf(attempt));
    if (existsSync(path) || !name(partial, path)) continue;
    flush(dirname(path));
    return path;
  }
}

/** @returns false where another process has taken the name meanwhile */
function name(partial: string, path: string): boolean {
  try {
    // unlike a rename, a link never replaces what is there
    linkSync(partial, path);
  } catch (error) {
    if (failureCode(error) === 'EEXIST') return false;
    if (!WITHOUT_LINKS.has(failureCode(error))) throw error;
    renameSync(partial, path);
  }
  rmSync(partial, { force: true });
  return true;
}

/** What file systems without hard links answer: network shares and memory cards, where backups like to live. */
const WITHOUT_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** Waits until the file, or the names in the folder, are on the disk. Not for a database that SQLite has open here. */
export function flush(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } catch (error) {
    // some file systems cannot flush a folder, and then need not
    if (!['EINVAL', 'ENOTSUP', 'EPERM'].includes(failureCode(error))) throw error;
  } finally {
    closeSync(file);
  }
}

const PARTIAL = /^\..+\.modelgate-([0-9a-f]{8})-(\d+)(?:-(?:wal|shm|journal))?$/;

/** Longer than any copy takes: an older partial was left behind, even where its process cannot be looked for. */
const FORGOTTEN_MS = 24 * 3_600_000;

/** Removes what killed commands have left in the folder. Partials that may still be written to stay. */
export function removeStalePartials(directory: string): void {
  for (const entry of readdirSync(directory)) {
    const [, machine, pid] = PARTIAL.exec(entry) ?? [];
    if (machine === undefined) continue;
    const path = join(directory, entry);
    const written = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const ended = machine === here() && !isRunning(Number(pid));
    if (ended || Date.now() - written > FORGOTTEN_MS) rmSync(path, { force: true });
  }
}

/** This command has made none yet: one with our own number is of a process that had it before. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return failureCode(error) !== 'ESRCH';
  }
}

/** Where a process number means the same process: one machine, and on it one container. */
function here(): string {
  return createHash('sha256').update(`${hostname()}\n${processNamespace()}`).digest('hex').slice(0, 8);
}
