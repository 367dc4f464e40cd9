/**
 * The write-ahead log: how large it is, and how much of it waits for a checkpoint. Read from the files, because
 * `PRAGMA wal_checkpoint`, which would tell too, writes.
 */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { asSize } from '../copies/disk-space.ts';
import type { Finding } from './finding.ts';
import { ok, unknown, warning } from './finding.ts';
import type { LockHolder } from './lock-holders.ts';

export interface WalState {
  readonly bytes: number;
  /** Bytes that are not in the file itself yet; undefined where the -shm file does not say. */
  readonly pendingBytes: number | undefined;
}

/**
 * Only before this process has opened the database: whoever closes any descriptor of -shm loses all locks that the
 * process has on it (fcntl(2)).
 * @returns undefined where there is no log
 */
export function readWalState(path: string): WalState | undefined {
  const log = statSync(`${path}-wal`, { throwIfNoEntry: false });
  if (log === undefined) return undefined;
  return { bytes: log.size, pendingBytes: log.size === 0 ? 0 : readPending(`${path}-shm`) };
}

/** Offsets of SQLite's walformat.html 2.1: the page size and last frame of the header, and how many are backfilled. */
const [INITIALIZED, PAGE_SIZE, LAST_FRAME, BACKFILLED, LENGTH] = [12, 14, 16, 96, 100];

function readPending(path: string): number | undefined {
  const header = Buffer.alloc(LENGTH);
  try {
    const file = openSync(path, 'r');
    try {
      if (readSync(file, header, 0, LENGTH, 0) < LENGTH || header[INITIALIZED] !== 1) return undefined;
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // not there, or not ours to read
  }
  // in the byte order of the machine, which is little-endian wherever Node runs
  const pageSize = header.readUInt16LE(PAGE_SIZE) === 1 ? 65_536 : header.readUInt16LE(PAGE_SIZE);
  const frames = header.readUInt32LE(LAST_FRAME) - header.readUInt32LE(BACKFILLED);
  return frames < 0 ? undefined : frames * pageSize;
}

const NAME = 'write-ahead log';
/** What the backend cuts the log down to after a checkpoint (env.py, DATABASE_SQLITE_PRAGMA_JOURNAL_SIZE_LIMIT, 0.9+). */
const LARGE = 64 * 1024 ** 2;

/** @param holders of locks, to say who keeps a checkpoint from ending */
export function checkWriteAheadLog(state: WalState | undefined, holders: readonly LockHolder[]): Finding {
  if (state === undefined || state.bytes === 0) return ok(NAME, 'Empty: everything is in the file itself.');
  const { bytes, pendingBytes } = state;
  const size = asSize(bytes);
  if (pendingBytes === undefined) {
    return bytes > LARGE
      ? warning(NAME, `${size}, and nobody has the file open.`, 'Start the backend, or run: `modelgate maintain`')
      : unknown(
          NAME,
          `${size}; how much of it waits for a checkpoint is not known, because the -shm file does not say.`,
        );
  }
  const pending = `${size}, ${pendingBytes === 0 ? 'none' : asSize(pendingBytes)} of which waits for a checkpoint`;
  if (pendingBytes > LARGE) {
    const readers = holders.filter(({ holds }) => holds === 'read');
    const who = readers.map(({ pid, program }) => `${program} (process ${pid})`).join(', ');
    return warning(
      NAME,
      `${pending}: some reader has kept it from ending for long${who === '' ? '' : `; reading now: ${who}`}.`,
      'Restart what reads without end, then run: `modelgate maintain`',
    );
  }
  return bytes > 4 * LARGE
    ? warning(NAME, `${pending}: it was larger once and was never cut down.`, 'Run: `modelgate maintain`')
    : ok(NAME, `${pending}.`);
}
