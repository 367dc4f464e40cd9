/**
 * A copy of one moment of the database while the backend goes on writing. In WAL mode a read transaction keeps that
 * moment. Outside of it SQLite's backup lets writers in, and starts over with each commit. So it is tried twice, and
 * then the bytes are copied, and compared under one read lock.
 */
import { fstatSync, fsyncSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { unchanged } from '../backend-file/failure.ts';
import {
  type Operation,
  ATTEMPT_MS,
  closing,
  recovering,
  requireGoingOn,
  waiting,
} from '../backend-file/transaction.ts';
import { type FileConnection, isBusy, noteCompanions, openForReading } from '../store/database.ts';
import { openFile } from './files.ts';

type OnProgress = (done: number, total: number) => void;

const POLITE_ATTEMPTS = 2;
/** 4 MB: some 20 ms, after which Ctrl-C is heard and a waiting writer gets its turn. */
const PAGES_A_STEP = 1_000;
const BYTES_A_STEP = 4 * 1024 * 1024;

/** @param target an empty file, which the caller throws away where this fails @param read reads facts from the state that is copied */
export async function copyLive<T>(
  { path, patience }: Operation,
  target: string,
  read: (connection: FileConnection) => T,
  onProgress: OnProgress,
): Promise<T> {
  using cleanup = new DisposableStack();
  cleanup.defer(noteCompanions(path));
  const connection = cleanup.use(closing(openForReading(path, ATTEMPT_MS)));
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
  const show: OnProgress = (done, total) => {
    requireGoingOn(patience.signal);
    onProgress(done, total);
  };
  const isWal = (await attempting(() => connection.pragma('journal_mode', { simple: true }))) === 'wal';
  // changes with each commit of another connection, and not inside of a transaction
  const state = (): unknown => connection.pragma('data_version', { simple: true });
  for (let attempt = 0; attempt < POLITE_ATTEMPTS; attempt++) {
    const facts = await inOneState();
    const copied = state();
    if (!isWal) connection.exec('ROLLBACK');
    if (await backUp(connection, target, show, () => state() === copied)) return facts;
    if (isWal) throw unchanged("SQLite's backup ended early.", 'Try again.');
  }
  // The file stands still while a read lock is held outside WAL mode. What was copied before it need only be read again,
  // and what has changed is mended: writers wait for reading and not for the disk. Closing any descriptor of the file
  // gives the lock up (POSIX): this one is opened before the lock is taken and closed after it has been given back.
  using source = openFile(path, 'r');
  using copy = openFile(target, 'w+');
  await copyBytes(source.descriptor, copy.descriptor, show);
  fsyncSync(copy.descriptor);
  const facts = await inOneState();
  try {
    await copyBytes(source.descriptor, copy.descriptor, show);
  } finally {
    connection.exec('ROLLBACK');
  }
  return facts;
}

/** Thrown inside of SQLite's backup, whose only other way to end early is to fail. */
class Restarted extends Error {}

/** @param isSame a state that has passed away is not worth the rest of the copy @returns whether the copy is whole */
async function backUp(
  connection: FileConnection,
  target: string,
  show: OnProgress,
  isSame: () => boolean,
): Promise<boolean> {
  const pageBytes = Number(connection.pragma('page_size', { simple: true }));
  try {
    const { totalPages } = await connection.backup(target, {
      progress: ({ totalPages: total, remainingPages }) => {
        if (!isSame()) throw new Restarted();
        show((total - remainingPages) * pageBytes, total * pageBytes);
        return PAGES_A_STEP;
      },
    });
    // a lock in its way at the very first step looks like a copy of nothing
    return totalPages > 0 && isSame();
  } catch (error) {
    if (error instanceof Restarted || isBusy(error)) return false;
    throw error;
  }
}

/** Copies what differs from one open file to another; the event loop runs in between. @throws system errors */
export async function copyBytes(source: number, target: number, onProgress: OnProgress): Promise<void> {
  const { size } = fstatSync(source);
  const [chunk, old] = [Buffer.allocUnsafe(BYTES_A_STEP), Buffer.allocUnsafe(BYTES_A_STEP)];
  for (let done = 0; ;) {
    const part = chunk.subarray(0, readSync(source, chunk, 0, chunk.length, done));
    if (part.length === 0) break;
    const isSame = part.equals(old.subarray(0, readSync(target, old, 0, part.length, done)));
    for (let written = isSame ? part.length : 0; written < part.length;) {
      written += writeSync(target, part, written, part.length - written, done + written);
    }
    onProgress((done += part.length), size);
    await breathe();
  }
  ftruncateSync(target, size);
}
