/** Files are made under a hidden name, for their owner alone, and get their own name when they are whole and on the disk. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  statfsSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { processNamespace } from '../backend-file/processes.ts';
import { asSize, shellCommand } from '../backend-file/text.ts';
import { failureCode } from '../store/database.ts';

export function openFile(path: string, flags: 'r' | 'w+') {
  const descriptor = openSync(path, flags, 0o600);
  return { descriptor, [Symbol.dispose]: () => closeSync(descriptor) };
}

/** By content: people rename files. @param descriptor open for reading */
export function kindOf(descriptor: number): 'sqlite' | 'gzip' | 'other' {
  const header = Buffer.alloc(16);
  const text = header.toString('latin1', 0, readSync(descriptor, header, 0, header.length, 0));
  return text === 'SQLite format 3\0' ? 'sqlite' : text.startsWith('\x1f\x8b') ? 'gzip' : 'other';
}

/** @returns bytes, 0 where there is no such file */
export const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** @param what stands before "needs" @throws OperationFailure where what is needed would not fit into the folder */
export function requireSpace(needed: number, directory: string, what: string): void {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  if (free >= needed) return;
  const finding = `${directory} has ${asSize(free)} free, and ${what} needs up to ${asSize(needed)}.`;
  throw unchanged(finding, 'Free some space first.', { code: 'disk_full' });
}

/** Makes the folder where only it is missing. @returns whether it was made */
export function prepareDirectory(directory: string): boolean {
  const code = 'no_such_file';
  try {
    const found = statSync(directory, { throwIfNoEntry: false });
    // with `recursive` a volume that is not mounted would become a folder on the disk of the system
    if (found === undefined) mkdirSync(directory, { mode: 0o700 });
    else if (!found.isDirectory())
      throw unchanged(`${directory} is not a folder.`, 'Name a folder for the backups.', { code });
    return found === undefined;
  } catch (error) {
    if (!/^(?:ENOENT|ENOTDIR)$/.test(failureCode(error))) throw toFailure(error, directory);
    throw unchanged(
      `There is no folder ${dirname(directory)} to make ${directory} in.`,
      `Is the volume mounted? Else make it: \`${shellCommand('mkdir', '-p', directory)}\``,
      { code },
    );
  }
}

/** What SQLite puts beside a database, and what therefore goes with it. */
export const COMPANIONS = ['-wal', '-shm', '-journal'] as const;

/** Of this process: a command may make a second copy while the first has no name yet. */
const partials = new Set<string>();

/** @returns the path of an empty file beside `target`; the caller publishes or discards it */
export function createPartial(target: string): string {
  const path = join(dirname(target), `.${basename(target)}.modelgate-${here()}-${process.pid}`);
  closeSync(openSync(path, 'wx', 0o600));
  partials.add(path);
  return path;
}

export function discard(partial: string): void {
  partials.delete(partial);
  for (const companion of ['', ...COMPANIONS]) rmSync(`${partial}${companion}`, { force: true });
}

type NameOf = (attempt: number) => string;

/** Gives a file of the folder one more name, which no file has yet: unlike a rename, a link never replaces what is there. */
export function linkAs(path: string, nameOf: NameOf): string {
  for (let attempt = 1; ; attempt++) {
    const linked = join(dirname(path), nameOf(attempt));
    try {
      linkSync(path, linked);
      return linked;
    } catch (error) {
      if (failureCode(error) !== 'EEXIST') throw error;
    }
  }
}

/** What file systems without hard links answer: network shares and memory cards, where backups like to live. */
const WITHOUT_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'];

/** Gives it a name that no file has yet, and writes file and name to the disk. @returns the path; never replaces a file */
export function publish(partial: string, nameOf: NameOf): string {
  for (const companion of COMPANIONS) rmSync(`${partial}${companion}`, { force: true });
  flush(partial);
  let path: string;
  try {
    path = linkAs(partial, nameOf);
  } catch (error) {
    if (!WITHOUT_LINKS.includes(failureCode(error))) throw error;
    let attempt = 1;
    do path = join(dirname(partial), nameOf(attempt++));
    while (existsSync(path));
    renameSync(partial, path);
  }
  rmSync(partial, { force: true });
  partials.delete(partial);
  flush(dirname(path));
  return path;
}

/** Waits until the file, or the names in the folder, are on the disk. Not for a database that SQLite has open here. */
export function flush(path: string): void {
  using file = openFile(path, 'r');
  try {
    fsyncSync(file.descriptor);
  } catch (error) {
    // some file systems cannot flush a folder, and then need not
    if (!['EINVAL', 'ENOTSUP', 'EPERM'].includes(failureCode(error))) throw error;
  }
}

const PARTIAL = /^\..+\.modelgate-([0-9a-f]{8})-(\d+)(?:-(?:wal|shm|journal))?$/;

/** Longer than any copy takes: an older partial was left behind, even where its process cannot be looked for. */
const FORGOTTEN_MS = 24 * 3_600_000;

/** Removes what killed commands have left in the folder, and nothing that may still be written to. */
export function removeStalePartials(directory: string): void {
  for (const entry of readdirSync(directory)) {
    const [, machine, pid] = PARTIAL.exec(entry) ?? [];
    const path = join(directory, entry);
    if (machine === undefined || partials.has(path)) continue;
    const written = lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    const hasEnded = machine === here() && !isRunning(Number(pid));
    if (hasEnded || Date.now() - written > FORGOTTEN_MS) rmSync(path, { force: true });
  }
}

/** Those that this command has made are known: another with our own number is of a process that had it before. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return failureCode(error) !== 'ESRCH';
  }
}

/** Where a process number means the same process: one machine, and on it one container. */
const here = (): string =>
  createHash('sha256').update(`${hostname()}\n${processNamespace()}`).digest('hex').slice(0, 8);
