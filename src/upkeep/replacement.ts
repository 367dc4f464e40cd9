/** Another file in the place of the database by a change of its name: whenever this is killed, the old or the new one is there. */
import { lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { findHolders } from '../backend-file/processes.ts';
import { numbered, toMoment } from '../backend-file/text.ts';
import { closing, hearStop, requireGoingOn } from '../backend-file/transaction.ts';
import { type FileConnection, failureCode, isBusy, openForWriting } from '../store/database.ts';
import { copyBytes } from './copy.ts';
import { COMPANIONS, createPartial, discard, flush, kindOf, linkAs, openFile, publish, sizeOf } from './files.ts';

export interface ReplacementOptions {
  /** Where the backend answers while it runs; undefined where that is not configured. */
  readonly backend: URL | undefined | 'unconcerned';
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
  readonly now: Date;
}

const STOP_THEM = 'Stop the backend and the gate first, such as with docker compose stop.';

/**
 * No single look proves that no process uses the database: outside WAL mode an idle connection holds no lock, and processes
 * of other containers cannot be seen. One look that finds something is enough.
 */
export async function requireUnused(path: string, { backend, signal, say }: ReplacementOptions): Promise<void> {
  const blind = requireNoHolders(path);
  const answer = backend instanceof URL ? await askBackend(backend, signal) : undefined;
  if (backend instanceof URL && answer !== undefined) {
    throw unchanged(
      `The backend at ${backend.origin} ${answer}, so it is running.`,
      `${STOP_THEM} If another backend answers there, unset MODELGATE_UPSTREAM_URL for this command.`,
    );
  }
  if (blind === undefined) return;
  const unasked =
    backend === undefined ? ', and MODELGATE_UPSTREAM_URL, where the backend could be asked, is not set' : '';
  say(
    `No process is seen to have ${path} open, but ${blind}${unasked}: make sure that ${backend === 'unconcerned' ? 'the gate is' : 'the backend and the gate are'} stopped.`,
  );
}

/** @returns why processes may have been missed @throws OperationFailure that names who has the file open */
function requireNoHolders(path: string): string | undefined {
  const { holders, blind } = findHolders([path, `${path}-wal`, `${path}-shm`]);
  if (holders.length === 0) return blind;
  const short = (command: string): string => (command.length > 80 ? `${command.slice(0, 79)}…` : command);
  const named = holders.map(({ pid, command }) => `process ${pid} (${short(command)})`).join(' and ');
  throw unchanged(`${path} is in use by ${named}.`, STOP_THEM, { code: 'locked' });
}

/** Nothing listens at the address, or the name does not exist; any other error comes from something that runs. */
const ABSENT = /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN)$/;

async function askBackend(backend: URL, signal: AbortSignal): Promise<string | undefined> {
  try {
    const { status, body } = await fetch(new URL('/health', backend), {
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
    });
    await body?.cancel();
    // a proxy in between that finds no backend
    return status >= 502 && status <= 504 ? undefined : `answers (status ${status})`;
  } catch (error) {
    if (signal.aborted) throw unchanged('Stopped.');
    const code = failureCode(error instanceof Error ? error.cause : undefined);
    if (ABSENT.test(code)) return undefined;
    return `could be reached and did not answer (${code === 'unknown' ? 'nothing within 5 s' : code})`;
  }
}

/** @returns where the old database is kept; null where there was none @throws OperationFailure */
export async function putInPlace(target: string, partial: string, options: ReplacementOptions) {
  const { now, say, signal } = options;
  const nameOf: NameOf = (attempt) => numbered(`${basename(target)}.replaced.${toMoment(now)}`, attempt);
  try {
    await hearStop(signal);
    const isThere = lstatSync(target, { throwIfNoEntry: false }) !== undefined;
    // closing a descriptor gives up the locks of this process (POSIX), so this one outlives the lock
    using old = isThere ? openFile(target, 'r') : undefined;
    using lock = old === undefined ? undefined : lockWhole(old.descriptor, target, say);
    requireNoHolders(target);
    if (isThere) removeInterrupted(target);
    const kept = old === undefined ? null : await keep(old.descriptor, target, nameOf, signal);
    clearCompanions(target, lock === undefined ? (kept ?? join(dirname(target), nameOf(1))) : undefined);
    renameSync(partial, target);
    flush(dirname(target));
    // a process that has opened the old file since the last look would go on writing there
    for (const { pid, command } of kept === null ? [] : findHolders([kept]).holders) {
      say(
        `Process ${pid} (${command}) opened the old database in the last moment. Restart it: what it writes is lost.`,
      );
    }
    return kept;
  } catch (error) {
    if (failureCode(error) !== 'EBUSY') throw toFailure(error, target);
    const finding = `${target} is a mount of its own and cannot be replaced.`;
    throw unchanged(finding, 'Mount its folder instead of the file.', { cause: error });
  }
}

/**
 * Opens the file so that no other process can: every connection in WAL mode, and every transaction outside of it, is in
 * the way of this lock. The log is moved into the file, which alone is the whole database then.
 * @returns undefined for a file that SQLite cannot even open, which may be why it is replaced
 */
function lockWhole(old: number, target: string, say: (sentence: string) => void) {
  let connection: FileConnection | undefined;
  try {
    // SQLite would delete the log of what is no database
    if (kindOf(old) !== 'sqlite') throw Object.assign(new Error('no header'), { code: 'SQLITE_NOTADB' });
    connection = openForWriting(target, 1_000);
    connection.pragma('locking_mode = exclusive');
    // the lock comes with the first transaction, and in this mode it stays
    connection.exec('BEGIN EXCLUSIVE; COMMIT');
    if (connection.pragma('journal_mode', { simple: true }) === 'wal') connection.pragma('wal_checkpoint(TRUNCATE)');
    connection.exec('BEGIN EXCLUSIVE');
    return closing(connection);
  } catch (error) {
    connection?.close();
    const code = failureCode(error);
    if (/^SQLITE_(?:NOTADB|CORRUPT|IOERR_SHORT_READ)/.test(code)) {
      say(`${target} is damaged (${code}), so its lock could not be tried. It is kept as it is.`);
      return undefined;
    }
    if (!isBusy(error)) throw error;
    throw unchanged(
      `${target} is in use: another process holds a lock on it, one that cannot be seen from here, such as in another container.`,
      STOP_THEM,
      { cause: error, code: 'locked' },
    );
  }
}

type NameOf = Parameters<typeof publish>[1];

/** A second name for the old file, so that the first one is never without a database. */
async function keep(old: number, target: string, nameOf: NameOf, signal: AbortSignal): Promise<string> {
  try {
    return linkAs(target, nameOf);
  } catch {
    // a file system without links, or the file of another user
    const partial = createPartial(join(dirname(target), nameOf(1)));
    try {
      using copy = openFile(partial, 'w+');
      await copyBytes(old, copy.descriptor, () => requireGoingOn(signal));
    } catch (error) {
      discard(partial);
      throw error;
    }
    return publish(partial, nameOf);
  }
}

/** A kept database that is still the current one was named by a command that was killed a moment later. */
function removeInterrupted(target: string): void {
  const current = statSync(target);
  for (const entry of readdirSync(dirname(target))) {
    if (!entry.startsWith(`${basename(target)}.replaced.`)) continue;
    const path = join(dirname(target), entry);
    const { ino, dev } = lstatSync(path);
    if (ino === current.ino && dev === current.dev) rmSync(path);
  }
}

/** A log or journal beside the new file would be replayed into it; those of a damaged file are kept with it. */
function clearCompanions(target: string, keptWith: string | undefined): void {
  for (const companion of COMPANIONS) {
    const path = `${target}${companion}`;
    if (keptWith !== undefined && companion !== '-shm' && sizeOf(path) > 0) renameSync(path, `${keptWith}${companion}`);
    else rmSync(path, { force: true });
  }
}
