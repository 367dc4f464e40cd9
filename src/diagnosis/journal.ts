/** Which release has written the file, which journal mode the file is in and who chooses it, and its write-ahead log. */
import type { LockHolder } from '../backend-file/processes.ts';
import { asSize } from '../backend-file/text.ts';
import { doubtAbout } from '../backend-file/transaction.ts';
import { type BackendRelease, NEWEST_KNOWN_RELEASE } from '../store/backend-releases.ts';
import { type Verdict, ok, unknown, warning } from './finding.ts';

/** Whether this modelgate knows the release that has written the file. */
export function checkRelease(release: BackendRelease): Verdict {
  if (release.kind === 'known') {
    return { ...ok(`The file was written by ${nameOfRelease(release)}.`), revision: release.revision };
  }
  const remedy = 'Look for a newer modelgate. Make a backup before you change anything: `modelgate backup DIR`';
  return warning(`The file ${doubtAbout(release)}.`, remedy);
}

/** Such as `Open WebUI 0.6.16 or later, before 0.6.23`. */
const nameOfRelease = ({ since, before }: Extract<BackendRelease, { kind: 'known' }>): string =>
  `Open WebUI ${since} ${before === undefined ? `to ${NEWEST_KNOWN_RELEASE}` : `or later, before ${before}`}`;

const VARIABLE = 'DATABASE_ENABLE_SQLITE_WAL';

/**
 * Whether the mode is the one that this release of the backend chooses.
 * @param walWanted by `DATABASE_ENABLE_SQLITE_WAL` of this command's environment, which may be the backend's too
 */
export function checkJournalMode(mode: string, release: BackendRelease, walWanted: boolean | undefined): Verdict {
  const shown = mode.toUpperCase();
  if (release.kind !== 'known') {
    return ok(`${shown}; who chooses it in this release of the backend is not known, so leave it as it is.`);
  }
  if (mode !== 'wal' && mode !== 'delete') {
    return unknown(`${shown}, which no release of the backend chooses.`, 'Restart the backend and look again.');
  }
  const [isWal, backend] = [mode === 'wal', nameOfRelease(release)];
  switch (release.journal) {
    case 'none':
      if (!isWal)
        return ok(`DELETE, SQLite's default: ${backend} sets none. While it commits, readers wait for a moment.`);
      return warning(
        `WAL, set by hand: ${backend} leaves it, but 0.6.23 to 0.8.12 would force DELETE and fail to start while the gate has the file open.`,
        `Before the backend is upgraded, set ${VARIABLE}=true in its environment.`,
      );
    case 'backend_wal':
      if (isWal || walWanted === false) return ok(`${shown}, as ${backend} sets it at every connect.`);
      return warning(
        `DELETE, although ${backend} sets WAL at every connect unless ${VARIABLE} is false for it.`,
        `Start the backend once, which sets it; where ${VARIABLE}=false is meant, give the gate the same variable.`,
      );
    case 'backend_delete':
      if (isWal && walWanted === true) return ok(`WAL, as ${backend} sets it at every connect with ${VARIABLE}=true.`);
      if (isWal) {
        return warning(
          `WAL, although ${backend} forces DELETE at every connect, which fails while the gate has the file open, unless ${VARIABLE}=true is set for it.`,
          `Set ${VARIABLE}=true in the environment of the backend and of this command, and restart the backend.`,
        );
      }
      if (walWanted !== true) {
        const finding = `DELETE: ${backend} forces it at every connect, unless ${VARIABLE}=true is set for it. Do not switch it by hand.`;
        return ok(finding);
      }
      return warning(
        `DELETE, although ${VARIABLE} is true here: ${backend} then sets WAL at every connect.`,
        `Set ${VARIABLE}=true for the backend too and restart it, or take it out here.`,
      );
  }
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
