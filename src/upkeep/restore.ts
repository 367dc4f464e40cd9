/**
 * A backup in the place of the database. Everything that can fail is done beside it; then the file changes its name,
 * which happens whole or not at all: whenever the command is killed, the old or the new database is there.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { numbered, secondsSince, toMoment } from '../backend-file/text.ts';
import { hearStop, requireGoingOn } from '../backend-file/transaction.ts';
import { type Connection, failureCode } from '../store/database.ts';
import { copyBytes } from './copy.ts';
import { COMPANIONS, createPartial, discard, flush, publish, removeStalePartials, sizeOf } from './files.ts';
import { type InUseOptions, openAlone, requireNoHolders, requireUnused } from './in-use.ts';
import { hasHeader, stageDatabase } from './staging.ts';
import type { OnStep } from './verified-copy.ts';

interface RestoreOptions extends InUseOptions {
  /** Absolute path of the backup. */
  readonly file: string;
  readonly now: Date;
  readonly onStep: OnStep;
}

/**
 * Checks a backup and puts it beside the database, which is still untouched.
 * @returns what `putInPlace` will do; it returns what it did, for `--json`. `discard` removes what was prepared, at any time
 * @throws OperationFailure where the backup is not good, or another process uses the database
 */
export async function prepareRestoration(options: RestoreOptions) {
  const started = performance.now();
  const target = realTarget(options.path);
  const { file, signal } = options;
  const old = statSync(target, { throwIfNoEntry: false });
  requireOther(file, target);
  await requireUnused({ ...options, path: target });
  try {
    removeStalePartials(dirname(target));
    removeInterrupted(target);
  } catch (error) {
    throw toFailure(error, dirname(target));
  }
  const { partial, facts, complaints } = await stageDatabase(file, target, signal, options.onStep);
  try {
    inheritOwner(partial, target);
    flush(partial);
  } catch (error) {
    discard(partial);
    throw toFailure(error, dirname(target));
  }
  const { users, models, members, grants } = facts;
  const [bytes, preparedSeconds] = [sizeOf(partial), secondsSince(started)];
  return {
    /** Where it goes: the file itself, where the path was a link. */
    target,
    /** Of the database that is replaced; undefined where there is none. */
    replacedBytes: old?.size,
    bytes,
    users,
    /** @throws OperationFailure */
    async putInPlace() {
      const resumed = performance.now();
      try {
        await hearStop(signal);
        const replaced = await exchange(partial, target, options);
        const seconds = Number((preparedSeconds + secondsSince(resumed)).toFixed(3));
        return { restored: target, from: file, bytes, replaced, users, models, members, grants, complaints, seconds };
      } catch (error) {
        throw toReplacementFailure(error, target);
      }
    },
    discard: () => discard(partial),
  };
}

export type Restoration = Awaited<ReturnType<typeof prepareRestoration>>;

/** A link is followed, so that the file is replaced and not the link. */
function realTarget(path: string): string {
  return lstatSync(path, { throwIfNoEntry: false }) === undefined
    ? join(realpathSync(dirname(path)), basename(path))
    : realpathSync(path);
}

function requireOther(file: string, target: string): void {
  const [backup, old] = [file, target].map((path) => statSync(path, { throwIfNoEntry: false, bigint: true }));
  if (backup === undefined) {
    throw unchanged(`There is no file at ${file}.`, 'Name a backup of the database.', { code: 'no_such_file' });
  }
  if (backup.ino !== old?.ino || backup.dev !== old.dev) return;
  throw unchanged(`${file} is the database itself.`, 'Name a backup of it.');
}

/** A kept database that is still the current one was named by a command that was killed a moment later. */
function removeInterrupted(target: string): void {
  const current = statSync(target, { throwIfNoEntry: false });
  if (current === undefined || current.nlink === 1) return;
  const folder = dirname(target);
  for (const entry of readdirSync(folder)) {
    if (!entry.startsWith(`${basename(target)}.replaced.`)) continue;
    const path = join(folder, entry);
    const { ino, dev } = lstatSync(path);
    if (ino === current.ino && dev === current.dev) rmSync(path);
  }
}

/** The backend must be able to open what is restored: as the old file, or as the folder where there is none. */
function inheritOwner(partial: string, target: string): void {
  const old = statSync(target, { throwIfNoEntry: false });
  const { uid, gid } = old ?? statSync(dirname(target));
  const own = statSync(partial);
  if (own.uid !== uid || own.gid !== gid) chownSync(partial, uid, gid);
  chmodSync(partial, (old?.mode ?? 0o600) & 0o777);
}

type NameOf = (attempt: number) => string;

/** @returns where the old database is kept; null where there was none */
async function exchange(
  partial: string,
  target: string,
  { now, say, signal }: Pick<RestoreOptions, 'now' | 'say' | 'signal'>,
): Promise<string | null> {
  const nameOf: NameOf = (attempt) => numbered(`${basename(target)}.replaced.${toMoment(now)}`, attempt);
  const exists = lstatSync(target, { throwIfNoEntry: false }) !== undefined;
  // Closing a descriptor gives up the locks of this process (POSIX), so this one outlives the lock.
  const old = exists ? openSync(target, 'r') : undefined;
  let lock: Connection | undefined;
  try {
    lock = old === undefined ? undefined : lockWhole(old, target, say);
    requireNoHolders(target);
    const kept = old === undefined ? null : await keep(old, target, nameOf, signal);
    clearCompanions(target, lock === undefined ? (kept ?? join(dirname(target), nameOf(1))) : undefined);
    renameSync(partial, target);
    flush(dirname(target));
    if (kept !== null) warnOfLatecomers(kept, say);
    return kept;
  } finally {
    lock?.close();
    if (old !== undefined) closeSync(old);
  }
}

/**
 * @param old open for reading
 * @returns undefined for a file that SQLite cannot even open, which may be why it is replaced
 */
function lockWhole(old: number, target: string, say: (sentence: string) => void): Connection | undefined {
  const leave = (why: string): undefined => {
    say(`${target} is damaged (${why}), so its lock could not be tried. It is kept as it is.`);
  };
  // SQLite would delete the log of what is no database
  if (!hasHeader(old)) return leave('SQLITE_NOTADB');
  try {
    return openAlone(target);
  } catch (error) {
    if (!/^SQLITE_(?:NOTADB|CORRUPT|IOERR_SHORT_READ)/.test(failureCode(error))) throw error;
    return leave(failureCode(error));
  }
}

/** A second name for the old file, so that the first one is never without a database. */
async function keep(old: number, target: string, nameOf: NameOf, signal: AbortSignal): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const kept = join(dirname(target), nameOf(attempt));
    try {
      linkSync(target, kept);
      return kept;
    } catch (error) {
      if (failureCode(error) === 'EEXIST') continue;
      // a file system without links, or the file of another user
      return await keepCopy(old, kept, nameOf, signal);
    }
  }
}

async function keepCopy(old: number, kept: string, nameOf: NameOf, signal: AbortSignal): Promise<string> {
  const partial = createPartial(kept);
  const copy = openSync(partial, 'w');
  try {
    await copyBytes(old, copy, () => requireGoingOn(signal));
  } catch (error) {
    discard(partial);
    throw error;
  } finally {
    closeSync(copy);
  }
  return publish(partial, nameOf);
}

/**
 * A log or journal beside the new file would be replayed into it. Of a file that was opened alone they are empty; those
 * of a damaged one are kept with it.
 */
function clearCompanions(target: string, keptWith: string | undefined): void {
  for (const companion of COMPANIONS) {
    const path = `${target}${companion}`;
    if (keptWith !== undefined && companion !== '-shm' && sizeOf(path) > 0) renameSync(path, `${keptWith}${companion}`);
    else rmSync(path, { force: true });
  }
}

/** Between the last look and the new name a process may have opened the old file: it would go on writing there. */
function warnOfLatecomers(kept: string, say: (sentence: string) => void): void {
  for (const { pid, command } of findHolders([kept]).holders) {
    say(`Process ${pid} (${command}) opened the old database in the last moment. Restart it: what it writes is lost.`);
  }
}

function toReplacementFailure(error: unknown, target: string): unknown {
  if (failureCode(error) !== 'EBUSY') return toFailure(error, target);
  const finding = `${target} is a mount of its own and cannot be replaced.`;
  return unchanged(finding, 'Mount its folder instead of the file.', { cause: error });
}
