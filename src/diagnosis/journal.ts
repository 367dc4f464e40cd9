/** Which release has written the file, which journal mode the file is in and who chooses it, and its write-ahead log. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { doubtAbout } from '../backend-file/transaction.ts';
import type { LockHolder } from '../backend-file/processes.ts';
import { type BackendRelease, NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import { asSize } from '../backend-file/text.ts';
import { type Finding, ok, unknown, warning } from './finding.ts';

const RELEASE = 'release';

/** Pure: whether this modelgate knows the release that has written the file. */
export function checkRelease(release: BackendRelease): Finding {
  if (release.kind === 'known') {
    return { ...ok(RELEASE, `The file was written by ${nameOfRelease(release)}.`), revision: release.revision };
  }
  const remedy = 'Look for a newer modelgate. Make a backup before you change anything: `modelgate backup DIR`';
  return warning(RELEASE, `The file ${doubtAbout(release)}.`, remedy);
}

/** Such as `Open WebUI 0.6.16 or later, before 0.6.23`. */
function nameOfRelease({ since, before }: Extract<BackendRelease, { kind: 'known' }>): string {
  return before === undefined
    ? `Open WebUI ${since} to ${NEWEST_KNOWN_RELEASE}`
    : `Open WebUI ${since} or later, before ${before}`;
}

const NAME = 'journal mode';
const VARIABLE = 'DATABASE_ENABLE_SQLITE_WAL';

interface JournalSeen {
  /** As `PRAGMA journal_mode` says. */
  readonly mode: string;
  readonly release: BackendRelease;
  /** `DATABASE_ENABLE_SQLITE_WAL` of this command's environment, which may be the backend's too. */
  readonly walWanted: boolean | undefined;
}

/** Pure: whether the mode is the one that this release of the backend chooses. */
export function checkJournalMode({ mode, release, walWanted }: JournalSeen): Finding {
  const shown = mode.toUpperCase();
  if (release.kind !== 'known') {
    return ok(NAME, `${shown}; who chooses it in this release of the backend is not known, so leave it as it is.`);
  }
  const isWal = mode === 'wal';
  if (!isWal && mode !== 'delete') {
    return unknown(NAME, `${shown}, which no release of the backend chooses.`, 'Restart the backend and look again.');
  }
  const backend = nameOfRelease(release);
  switch (release.journal) {
    case 'none':
      return isWal
        ? warning(
            NAME,
            `WAL, set by hand: ${backend} leaves it, but 0.6.23 to 0.8.12 would force DELETE and fail to start while the gate has the file open.`,
            `Before the backend is upgraded, set ${VARIABLE}=true in its environment.`,
          )
        : ok(NAME, `DELETE, SQLite's default: ${backend} sets none. While it commits, readers wait for a moment.`);
    case 'backend_delete':
      return backendDelete(isWal, backend, walWanted);
    case 'backend_wal':
      return isWal || walWanted === false
        ? ok(NAME, `${shown}, as ${backend} sets it at every connect.`)
        : warning(
            NAME,
            `DELETE, although ${backend} sets WAL at every connect unless ${VARIABLE} is false for it.`,
            `Start the backend once, which sets it; where ${VARIABLE}=false is meant, give the gate the same variable.`,
          );
  }
}

function backendDelete(isWal: boolean, backend: string, walWanted: boolean | undefined): Finding {
  if (!isWal) {
    return walWanted === true
      ? warning(
          NAME,
          `DELETE, although ${VARIABLE} is true here: ${backend} then sets WAL at every connect.`,
          `Set ${VARIABLE}=true for the backend too and restart it, or take it out here.`,
        )
      : ok(
          NAME,
          `DELETE: ${backend} forces it at every connect, unless ${VARIABLE}=true is set for it. Do not switch it by hand.`,
        );
  }
  if (walWanted === true) return ok(NAME, `WAL, as ${backend} sets it at every connect with ${VARIABLE}=true.`);
  return warning(
    NAME,
    `WAL, although ${backend} forces DELETE at every connect, which fails while the gate has the file open, unless ${VARIABLE}=true is set for it.`,
    `Set ${VARIABLE}=true in the environment of the backend and of this command, and restart the backend.`,
  );
}

interface WalState {
  readonly bytes: number;
  /** Bytes that are not in the file itself yet; undefined where the -shm file does not say. */
  readonly pendingBytes: number | undefined;
}

/**
 * How large the write-ahead log is, and how much of it waits for a checkpoint. Read from the files, because
 * `PRAGMA wal_checkpoint` writes. Only before this process has opened the database: closing any descriptor of -shm gives
 * up all locks that the process has on it (fcntl(2)).
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

const WAL = 'write-ahead log';
/** What the backend cuts the log down to after a checkpoint (env.py, DATABASE_SQLITE_PRAGMA_JOURNAL_SIZE_LIMIT, 0.9+). */
const LARGE = 64 * 1024 ** 2;

/** @param holders of locks, to say who keeps a checkpoint from ending */
export function checkWriteAheadLog(state: WalState | undefined, holders: readonly LockHolder[]): Finding {
  if (state === undefined || state.bytes === 0) return ok(WAL, 'Empty: everything is in the file itself.');
  const { bytes, pendingBytes } = state;
  const size = asSize(bytes);
  if (pendingBytes === undefined) {
    return bytes > LARGE
      ? warning(WAL, `${size}, and no process has the file open.`, 'Start the backend, or run: `modelgate maintain`')
      : unknown(
          WAL,
          `${size}; how much of it waits for a checkpoint is not known, because the -shm file does not say.`,
        );
  }
  const pending = `${size}, ${pendingBytes === 0 ? 'none' : asSize(pendingBytes)} of which waits for a checkpoint`;
  if (pendingBytes > LARGE) {
    const readers = holders.filter(({ holds }) => holds === 'read');
    const named = readers.map(({ pid, program }) => `${program} (process ${pid})`).join(', ');
    const now = named === '' ? '' : `; reading now: ${named}`;
    const finding = `${pending}: some reader has kept it from ending for long${now}.`;
    return warning(WAL, finding, 'Restart what reads without end, then run: `modelgate maintain`');
  }
  return bytes > 4 * LARGE
    ? warning(WAL, `${pending}: it was larger once and was never cut down.`, 'Run: `modelgate maintain`')
    : ok(WAL, `${pending}.`);
}
