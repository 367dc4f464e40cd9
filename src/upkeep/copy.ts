/**
 * A copy of the database while the backend goes on writing: the state of one moment, whole.
 *
 * In WAL mode a read transaction keeps that moment, and no process waits. Outside of it a read transaction keeps writers
 * out, and SQLite's backup, which lets them in between its steps, starts over with each of their commits. So it is
 * tried politely first. With a backend that never rests, the bytes are copied, and compared under one read lock.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { unchanged } from '../backend-file/failure.ts';
import { type Operation, ATTEMPT_MS, recovering, requireGoingOn, waiting } from '../backend-file/transaction.ts';
import { isBusy, noteCompanions, openForReading, type Connection } from '../store/database.ts';

/** In bytes. */
type OnProgress = (done: number, total: number) => void;

/**
 * @param target an empty file, filled with the copy
 * @param read reads facts from the very state that is copied
 * @throws SqliteError, system errors, OperationFailure after Ctrl-C; the target is then the caller's to throw away
 */
export async function copyLive<T>(
  { path, patience }: Operation,
  target: string,
  read: (connection: Connection) => T,
  onProgress: OnProgress,
): Promise<T> {
  const tidyUp = noteCompanions(path);
  const connection = openForReading(path, ATTEMPT_MS);
  const attempting = <R>(attempt: () => R): Promise<R> => waiting(path, patience, () => recovering(path, attempt));
  const inOneState = (): Promise<T> =>
    attempting(() => {
      connection.exec('BEGIN');
      try {
        return read(connection);
      } catch (error) {
        connection.exec('ROLLBACK');
        throw error;
      }
    });
  const steps: Steps = { connection, target, signal: patience.signal, onProgress };
  try {
    const mode = await attempting(() => connection.pragma('journal_mode', { simple: true }));
    return mode === 'wal' ? await copyMoment(steps, inOneState) : await copyBetweenCommits(path, steps, inOneState);
  } finally {
    connection.close();
    tidyUp();
  }
}

const POLITE_ATTEMPTS = 2;
/** 4 MB: some 20 ms, after which Ctrl-C is heard and a waiting writer gets its turn. */
const PAGES_A_STEP = 1_000;
const BYTES_A_STEP = 4 * 1024 * 1024;

interface Steps {
  readonly connection: Connection;
  readonly target: string;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/** Changes with each commit of another connection. */
const stateOf = (connection: Connection): unknown => connection.pragma('data_version', { simple: true });

/** Thrown inside of SQLite's backup, whose only other way to end early is to fail. */
class Restarted extends Error {}

/** A read transaction stays at its moment, whatever is committed meanwhile, so that the backup never starts over. */
async function copyMoment<T>(steps: Steps, inOneState: () => Promise<T>): Promise<T> {
  const facts = await inOneState();
  if ((await backUp(steps)) === 'whole') return facts;
  throw unchanged("SQLite's backup ended early.", 'Try again.');
}

async function copyBetweenCommits<T>(path: string, steps: Steps, inOneState: () => Promise<T>): Promise<T> {
  const { connection } = steps;
  for (let attempt = 0; attempt < POLITE_ATTEMPTS; attempt++) {
    const facts = await inOneState();
    const state = stateOf(connection);
    connection.exec('ROLLBACK');
    const isSame = (): boolean => stateOf(connection) === state;
    if ((await backUp(steps, isSame)) === 'whole') return facts;
  }
  return copyLocked(path, steps, inOneState);
}

/** @param isSame asked at each step and at the end: a state that has passed away is not worth the rest of the copy */
async function backUp(
  { connection, target, signal, onProgress }: Steps,
  isSame: () => boolean = () => true,
): Promise<'whole' | 'restarted'> {
  const pageBytes = Number(connection.pragma('page_size', { simple: true }));
  try {
    const { totalPages } = await connection.backup(target, {
      progress: ({ totalPages: total, remainingPages }) => {
        requireGoingOn(signal);
        if (!isSame()) throw new Restarted();
        onProgress((total - remainingPages) * pageBytes, total * pageBytes);
        return PAGES_A_STEP;
      },
    });
    // a lock in its way at the very first step looks like a copy of nothing
    return totalPages > 0 && isSame() ? 'whole' : 'restarted';
  } catch (error) {
    if (error instanceof Restarted || isBusy(error)) return 'restarted';
    throw error;
  }
}

/**
 * The file and the bytes in it stand still while a read lock is held outside WAL mode. What was copied before the lock
 * need only be read again, and what has changed meanwhile is mended: so writers wait for reading and not for the disk.
 */
async function copyLocked<T>(
  path: string,
  { connection, target, signal, onProgress }: Steps,
  lock: () => Promise<T>,
): Promise<T> {
  // The lock is one of the process and the file, and closing any descriptor of the file gives it up (POSIX): this one
  // is opened before the lock is taken and closed after it has been given back.
  const source = openSync(path, 'r');
  const copy = openSync(target, 'w+');
  const show = (done: number, total: number): void => {
    requireGoingOn(signal);
    onProgress(done, total);
  };
  try {
    await copyBytes(source, copy, show);
    fsyncSync(copy);
    const facts = await lock();
    try {
      await mendBytes(source, copy, show);
    } finally {
      connection.exec('ROLLBACK');
    }
    return facts;
  } finally {
    closeSync(copy);
    closeSync(source);
  }
}

async function mendBytes(source: number, copy: number, onProgress: OnProgress): Promise<void> {
  const { size } = fstatSync(source);
  const [wanted, found] = [Buffer.allocUnsafe(BYTES_A_STEP), Buffer.allocUnsafe(BYTES_A_STEP)];
  for (let done = 0; done < size;) {
    const read = readSync(source, wanted, 0, wanted.length, done);
    const part = wanted.subarray(0, read);
    const same = readSync(copy, found, 0, read, done) === read && part.equals(found.subarray(0, read));
    for (let written = 0; !same && written < read;) {
      written += writeSync(copy, part, written, read - written, done + written);
    }
    done += read;
    onProgress(done, size);
    await breathe();
  }
  ftruncateSync(copy, size);
}

/** Copies bytes from one open file to another; the event loop runs in between. @throws system errors */
export async function copyBytes(source: number, target: number, onProgress: OnProgress): Promise<void> {
  const total = fstatSync(source).size;
  const chunk = Buffer.allocUnsafe(BYTES_A_STEP);
  for (let done = 0; ;) {
    const read = readSync(source, chunk, 0, chunk.length, done);
    if (read === 0) return;
    for (let written = 0; written < read;) written += writeSync(target, chunk, written, read - written);
    done += read;
    onProgress(done, total);
    await breathe();
  }
}
