/**
 * A real competing transaction: takes the lock that every writer needs, holds it for microseconds, and gives it back
 * without having written anything. Meanwhile a second writer must be refused: where both get the lock, the file system
 * does not keep locks at all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type LockHolder, lockHolders, processFacts } from '../backend-file/processes.ts';
import { waiting } from '../backend-file/transaction.ts';
import { type Connection, failureCode, isBusy, openForReading, openForWriting } from '../store/database.ts';
import { type Verdict, ok, problem, unknown, warning } from './finding.ts';

const BETWEEN_SAMPLES_MS = 20;
const RETRY_MS = 5;
/** What a commit on an ordinary disk may take. */
const SLOW_MS = 500;
/** The backend itself gives up after 5 s: a lock that is held for two is no ordinary commit. */
const ORDINARY_TRIAL = { samples: 10, giveUpMs: 2_000 };

/** @throws SqliteError of another kind than a lock or a missing permission; OperationFailure after Ctrl-C */
export async function checkLocks(path: string, signal: AbortSignal, trial = ORDINARY_TRIAL): Promise<Verdict> {
  try {
    return await tryLocks(path, signal, trial);
  } catch (error) {
    if (isBusy(error)) return held(path, trial.giveUpMs);
    if (!/^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(failureCode(error))) throw error;
    return unknown('Not checked: this user may not write to the file.', 'Run it as the owner of the file.');
  }
}

async function tryLocks(path: string, signal: AbortSignal, trial: typeof ORDINARY_TRIAL): Promise<Verdict> {
  const { samples, giveUpMs } = trial;
  // closing a connection also ends its transaction
  using connections = new DisposableStack();
  const open = (connect: typeof openForReading): Connection =>
    connections.adopt(connect(path, 0), (connection) => void connection.close());
  const [writer, rival, reader] = [open(openForWriting), open(openForWriting), open(openForReading)];
  const patience = { longestMs: giveUpMs, signal, say: () => undefined };
  const waitFor = async (attempt: () => unknown): Promise<number> => {
    const start = performance.now();
    await waiting(path, patience, attempt, { pauseMs: RETRY_MS });
    return performance.now() - start;
  };
  let [write, read] = [0, 0];
  for (let sample = 0; sample < samples; sample++) {
    write = Math.max(write, await waitFor(() => writer.exec('BEGIN IMMEDIATE')));
    if (getsLock(rival)) return BROKEN;
    writer.exec('ROLLBACK');
    read = Math.max(read, await waitFor(() => reader.prepare('SELECT count(*) FROM sqlite_schema').get()));
    await sleep(BETWEEN_SAMPLES_MS);
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
