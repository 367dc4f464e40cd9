/** Which release has written the file, the journal mode that it chooses, the write-ahead log, and the lock to write. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LockHolder, lockHolders, processFacts } from '../backend-file/processes.ts';
import { asSize } from '../backend-file/text.ts';
import { closing, doubtAbout, waiting } from '../backend-file/transaction.ts';
import { type BackendRelease, NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import { type Connection, failureCode, isBusy, openForReading, openForWriting } from '../store/database.ts';
import { type Verdict, ok, problem, unknown, warning } from './finding.ts';

/** Whether this modelgate knows the release that has written the file. */
export function checkRelease(release: BackendRelease, what: 'file' | 'database' = 'file'): Verdict {
  if (release.kind === 'known') {
    return { ...ok(`The ${what} was written by ${nameOfRelease(release)}.`), revision: release.revision };
  }
  const remedy = 'Look for a newer modelgate. Make a backup before you change anything: `modelgate backup DIR`';
  return warning(`The ${what} ${doubtAbout(release)}.`, remedy);
}

/** Such as `Open WebUI 0.6.16 or later, before 0.6.23`. */
export const nameOfRelease = ({ since, before }: Extract<BackendRelease, { kind: 'known' }>): string =>
  `Open WebUI ${since} ${before === undefined ? `to ${NEWEST_KNOWN_RELEASE}` : `or later, before ${before}`}`;

const VARIABLE = 'DATABASE_ENABLE_SQLITE_WAL';

/** Whether this release of the backend chooses the mode. @param walWanted the VARIABLE in this command's environment */
export function checkJournalMode(mode: string, release: BackendRelease, walWanted: boolean | undefined): Verdict {
  const shown = mode.toUpperCase();
  if (release.kind !== 'known')
    return ok(`${shown}; who chooses it in this release of the backend is not known, so leave it as it is.`);
  if (mode !== 'wal' && mode !== 'delete')
    return unknown(`${shown}, which no release of the backend chooses.`, 'Restart the backend and look again.');
  const [isWal, backend] = [mode === 'wal', nameOfRelease(release)];
  if (release.journal === 'none') {
    if (!isWal)
      return ok(`DELETE, SQLite's default: ${backend} sets none. While it commits, readers wait for a moment.`);
    return warning(
      `WAL, set by hand: ${backend} leaves it, but 0.6.23 to 0.8.12 would force DELETE and fail to start while the gate has the file open.`,
      `Before the backend is upgraded, set ${VARIABLE}=true in its environment.`,
    );
  }
  // what it makes of the variable: releases that would set WAL set nothing where it is false
  const isAsSet = release.journal === 'backend_wal' ? isWal || walWanted === false : isWal === (walWanted === true);
  const byHand = release.journal === 'backend_delete' && !isWal ? ' Do not switch it by hand.' : '';
  if (isAsSet) return ok(`${shown}, as ${backend} sets it at every connect.${byHand}`);
  const other = isWal
    ? 'DELETE at every connect, which fails while the gate has the file open'
    : 'WAL at every connect';
  return warning(
    `${shown}, although ${backend} sets ${other}, where ${VARIABLE} is ${walWanted ?? 'not set'} as it is for this command.`,
    `Set ${VARIABLE} to the same for the backend and for this command, true for WAL, and restart the backend.`,
  );
}

/** What the backend cuts the log down to after a checkpoint (env.py, DATABASE_SQLITE_PRAGMA_JOURNAL_SIZE_LIMIT, 0.9+). */
const LARGE = 64 * 1024 ** 2;

/** @param bytes of the `-wal` file @param holders of locks, to say who keeps a checkpoint from ending */
export function checkWriteAheadLog(bytes: number, holders: readonly LockHolder[]): Verdict {
  if (bytes === 0) return ok('Empty: everything is in the file itself.');
  const size = asSize(bytes);
  if (bytes <= LARGE) return ok(`${size}, which is an ordinary size.`);
  const readers = holders.filter(({ holds }) => holds === 'read');
  const named = readers.map(({ pid, program }) => `${program} (process ${pid})`).join(', ');
  return warning(
    `${size}: a reader keeps it from being emptied, or it was never cut down${named === '' ? '' : `; reading now: ${named}`}.`,
    'Restart what reads without end, then run: `modelgate maintain`',
  );
}

const BETWEEN_SAMPLES_MS = 20;
const RETRY_MS = 5;
/** What a commit on an ordinary disk may take. */
const SLOW_MS = 500;
/** The backend itself gives up after 5 s: a lock that is held for two is no ordinary commit. */
const ORDINARY_TRIAL = { samples: 10, giveUpMs: 2_000 };

/**
 * A real competing transaction: takes the lock that every writer needs for microseconds, and writes nothing. Meanwhile a
 * second writer must be refused: where both get the lock, the file system keeps none.
 * @throws SqliteError of another kind than a lock or a missing permission; OperationFailure after Ctrl-C
 */
export async function checkLocks(path: string, signal: AbortSignal, { samples, giveUpMs } = ORDINARY_TRIAL) {
  // closing a connection also ends its transaction
  using connections = new DisposableStack();
  const open = (connect: typeof openForReading): Connection => connections.use(closing(connect(path, 0)));
  const patience = { longestMs: giveUpMs, signal, say: () => undefined };
  const waitFor = async (attempt: () => unknown): Promise<number> => {
    const start = performance.now();
    await waiting(path, patience, attempt, { pauseMs: RETRY_MS });
    return performance.now() - start;
  };
  let [write, read] = [0, 0];
  try {
    const [writer, rival, reader] = [open(openForWriting), open(openForWriting), open(openForReading)];
    for (let sample = 0; sample < samples; sample++) {
      write = Math.max(write, await waitFor(() => writer.exec('BEGIN IMMEDIATE')));
      if (getsLock(rival)) return BROKEN;
      writer.exec('ROLLBACK');
      read = Math.max(read, await waitFor(() => reader.prepare('SELECT count(*) FROM sqlite_schema').get()));
      await sleep(BETWEEN_SAMPLES_MS);
    }
  } catch (error) {
    if (isBusy(error)) return held(path, giveUpMs);
    if (!/^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(failureCode(error))) throw error;
    return unknown('Not checked: this user may not write to the file.', 'Run it as the owner of the file.');
  }
  const figures = `in ${samples} attempts the longest wait to write was ${ms(write)} and to read ${ms(read)}`;
  if (Math.max(write, read) < SLOW_MS) return ok(`The lock to write is free: ${figures}.`);
  return warning(
    `A program writes slowly or without rest: ${figures}.`,
    'Look at the disk, and at what writes so much.',
  );
}

const BROKEN = problem(
  'Two transactions got the lock to write at the same time: this file system does not keep locks, and the file will be damaged.',
  'Move the data directory to a local disk.',
);

function getsLock(rival: Connection): boolean {
  try {
    rival.exec('BEGIN IMMEDIATE');
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
}

function held(path: string, giveUpMs: number): Verdict {
  const holders = lockHolders(path);
  const writers = holders.filter(({ holds }) => holds === 'write');
  const suspects = writers.length > 0 ? writers : holders;
  const who = suspects.map(named).join(', ') || 'a process that cannot be seen from here, perhaps in another container';
  const finding = `The file has been locked for more than ${giveUpMs / 1_000} s by ${who}: the backend cannot save anything meanwhile.`;
  const kill = `If that is not the backend, and hangs: kill ${suspects.map(({ pid }) => pid).join(' ')}`;
  const look = 'Look in every container that has the volume mounted for what uses the file.';
  return problem(finding, suspects.length === 0 ? look : kill);
}

function named({ pid, program }: LockHolder): string {
  const { startedMsAgo, user } = processFacts(pid) ?? {};
  const since = startedMsAgo === undefined ? '' : `, started ${asAge(startedMsAgo / 1_000)} ago by user ${user}`;
  return `${JSON.stringify(program).slice(1, -1)} (process ${pid}${since})`;
}

function asAge(seconds: number): string {
  const [size, unit] = seconds < 120 ? [1, 's'] : seconds < 7_200 ? [60, 'min'] : [3_600, 'h'];
  return `${Math.round(seconds / size)} ${unit}`;
}

const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
