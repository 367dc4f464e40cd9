/** Which journal mode the file is in, and who chooses it in the release that has written the file. */
import type { BackendRelease } from '../../store/backend-releases.ts';
import type { Finding } from './finding.ts';
import { ok, unknown, warning } from './finding.ts';
import { nameOfRelease } from './release.ts';

const NAME = 'journal mode';
const VARIABLE = 'DATABASE_ENABLE_SQLITE_WAL';

export interface JournalSeen {
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
    case 'nobody':
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
