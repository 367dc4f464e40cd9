/**
 * A real competing transaction: takes the lock that every writer needs, holds it for microseconds, and gives it back
 * without having written anything. Meanwhile a second writer must be refused: where both get the lock, the file system
 * does not keep locks at all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LockHolder, lockHolders, processFacts } from '../backend-file/processes.ts';
import { type Operation, waiting } from '../backend-file/transaction.ts';
import { type Connection, failureCode, isBusy, openForReading, openForWriting } from '../store/database.ts';
import { type Finding, ok, problem, unknown, warning } from './finding.ts';

const NAME = 'locks';
const BETWEEN_SAMPLES_MS = 20;
const RETRY_MS = 5;
/** What a commit on an ordinary disk may take. */
const SLOW_MS = 500;

export interface LockTrial {
  /** How often the lock is taken. */
  readonly samples: number;
  readonly giveUpMs: number;
}

/** The backend itself gives up after 5 s: a lock that is held for two is no ordinary commit. */
export const ORDINARY_TRIAL: LockTrial = { samples: 10, giveUpMs: 2_000 };

/** @throws SqliteError of another kind than a lock or a missing permission; OperationFailure after Ctrl-C */
export async function checkLocks(path: string, trial: LockTrial, signal: AbortSignal): Promise<Finding> {
  try {
    return await tryLocks(path, trial, signal);
  } catch (error) {
    if (!/^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(failureCode(error))) throw error;
    return unknown(NAME, 'Not checked: this user may not write to the file.', 'Run it as the owner of the file.');
  }
}

async function tryLocks(path: string, trial: LockTrial, signal: AbortSignal): Promise<Finding> {
  const { samples, giveUpMs } = trial;
  const operation = { path, patience: { longestMs: giveUpMs, signal, say: () => undefined } };
  await using connections = new AsyncDisposableStack();
  const open = (connect: (path: string, busyTimeoutMs: number) => Connection): Connection => {
    const connection = connect(path, 0);
    connections.defer(() => void connection.close());
    return connection;
  };
  const [writer, rival, reader] = [open(openForWriting), open(openForWriting), open(openForReading)];
  let [longestWrite, longestRead] = [0, 0];
  for (let sample = 0; sample < samples; sample++) {
    const waited = await untilFree(operation, () => writer.exec('BEGIN IMMEDIATE'));
    if (waited === undefined) return held(path, giveUpMs);
    try {
      if (getsLock(rival)) return BROKEN;
    } finally {
      writer.exec('ROLLBACK');
    }
    const read = await untilFree(operation, () => reader.prepare('SELECT count(*) FROM sqlite_schema').get());
    if (read === undefined) return held(path, giveUpMs);
    [longestWrite, longestRead] = [Math.max(longestWrite, waited), Math.max(longestRead, read)];
    await sleep(BETWEEN_SAMPLES_MS);
  }
  const figures = `in ${samples} attempts the longest wait to write was ${ms(longestWrite)} and to read ${ms(longestRead)}`;
  return Math.max(longestWrite, longestRead) < SLOW_MS
    ? ok(NAME, `The lock to write is free: ${figures}.`)
    : warning(
        NAME,
        `A program writes slowly or without rest: ${figures}.`,
        'Look at the disk, and at what writes so much.',
      );
}

const BROKEN = problem(
  NAME,
  'Two transactions got the lock to write at the same time: this file system does not keep locks, and the file will be damaged.',
  'Move the data directory to a local disk.',
);

/** @returns milliseconds waited, or undefined where the lock was never free */
async function untilFree({ path, patience }: Operation, attempt: () => unknown): Promise<number | undefined> {
  const start = performance.now();
  try {
    await waiting(path, patience, attempt, { pauseMs: RETRY_MS });
    return performance.now() - start;
  } catch (error) {
    if (isBusy(error)) return undefined;
    throw error;
  }
}

function getsLock(rival: Connection): boolean {
  try {
    rival.exec('BEGIN IMMEDIATE');
    rival.exec('ROLLBACK');
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
}

function held(path: string, giveUpMs: number): Finding {
  const writers = lockHolders(path).filter(({ holds }) => holds === 'write');
  const suspects = writers.length > 0 ? writers : lockHolders(path);
  const who =
    suspects.length === 0
      ? 'a process that cannot be seen from here, perhaps in another container'
      : suspects.map(named).join(', ');
  return problem(
    NAME,
    `The file has been locked for more than ${giveUpMs / 1_000} s by ${who}: the backend cannot save anything meanwhile.`,
    suspects.length === 0
      ? 'Look in every container that has the volume mounted for what uses the file.'
      : `If that is not the backend, and hangs: kill ${suspects.map(({ pid }) => pid).join(' ')}`,
  );
}

function named({ pid, program }: LockHolder): string {
  const { startedMsAgo, user } = processFacts(pid) ?? {};
  const since = startedMsAgo === undefined ? '' : `, started ${asAge(startedMsAgo)} ago by user ${user}`;
  return `${JSON.stringify(program).slice(1, -1)} (process ${pid}${since})`;
}

function asAge(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
