/**
 * Connections to the backend's SQLite file. No connection of ours sets a journal mode: the backend owns that choice,
 * and several of its versions force their own at every connect.
 */
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getegid, geteuid } from 'node:process';
import Database from 'better-sqlite3';

export type Connection = Database.Database;

/**
 * Opens for reading. Nothing is read yet: a locked or foreign file fails at the first statement.
 * @param busyTimeoutMs longest time a statement may block the event loop waiting for a lock
 */
export function openForReading(path: string, busyTimeoutMs: number): Connection {
  return new Database(path, { readonly: true, fileMustExist: true, timeout: busyTimeoutMs });
}

/**
 * Opens for one short transaction; the caller closes it. Never creates the file.
 * Durability is SQLite's default (FULL): what this process writes must not cost the backend its file on a power cut.
 */
export function openForWriting(path: string, busyTimeoutMs: number): Connection {
  const connection = new Database(path, { fileMustExist: true, timeout: busyTimeoutMs });
  // off in the backend's own connections, on by default in ours: mAI's tables name parents that need not be there
  connection.pragma('foreign_keys = off');
  return connection;
}

export function setBusyTimeout(connection: Connection, ms: number): void {
  connection.pragma(`busy_timeout = ${Math.trunc(ms)}`);
}

export interface FileIdentity {
  /** Device and inode of the file itself. */
  readonly inode: string;
  /**
   * Which file it is. The two companions of WAL mode belong to it: when they are deleted or replaced under an
   * open connection, that connection goes on reading the old ones and never sees another commit.
   */
  readonly file: string;
  /**
   * When the file itself was last changed, and its size. The time is the inode's (ctime), which cannot be set: `cp -p`
   * and `touch -r` restore the other one. In WAL mode only a checkpoint writes here, or a program that is not SQLite.
   */
  readonly written: string;
  /**
   * A later change would be seen in `written`. Before Linux 6.13 the clock of file systems ticks once in 1 to 10 ms,
   * so that two changes within one tick look the same.
   */
  readonly isSettled: boolean;
}

/** Two ticks of the slowest kernel. */
const SETTLES_AFTER_MS = 20;

/**
 * @param realPath where the symbolic links of `path` lead: SQLite keeps the companions beside the file itself
 * @returns undefined where there is no file at the path; about 5 µs
 */
export function identityOf(path: string, realPath: string): FileIdentity | undefined {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined) return undefined;
  const inode = `${file.dev}:${file.ino}`;
  const written = `${file.ctimeMs}:${file.mtimeMs}:${file.size}`;
  const isSettled = Date.now() - file.ctimeMs >= SETTLES_AFTER_MS;
  const log = statSync(`${realPath}-wal`, { throwIfNoEntry: false });
  if (log === undefined) return { inode, file: inode, written, isSettled };
  const index = statSync(`${realPath}-shm`, { throwIfNoEntry: false });
  return { inode, file: `${inode}:${log.ino}:${index?.ino ?? 'none'}`, written, isSettled };
}

/** SQLite's own result code, such as `SQLITE_BUSY`, or the error's name where it is not SQLite's. */
export function failureCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.name : 'unknown';
}

/** Another connection holds the lock: the same statement will succeed on this connection a little later. */
export function isBusy(error: unknown): boolean {
  const code = failureCode(error);
  return code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED');
}

/** The file system gave something else than what was written, or nothing. */
export const isDamage = (error: unknown): boolean => /^SQLITE_(?:CORRUPT|NOTADB|IOERR)/.test(failureCode(error));

/**
 * SQLite's own word for a full disk is `SQLITE_FULL`, and only where a write met it: a quota, and files that it cannot
 * make or lengthen, are errors of the file system to it.
 */
export function isOutOfSpace(code: string, path: string | undefined): boolean {
  if (code === 'SQLITE_FULL') return true;
  return path !== undefined && /^SQLITE_(?:IOERR|CANTOPEN)/.test(code) && isDiskFull(path);
}

const NO_SPACE = 'the disk is full, or the quota of this user is used up';

/** The first prefix that fits counts. */
const SENTENCES: readonly (readonly [prefix: string, sentence: string])[] = [
  ['SQLITE_BUSY', 'another process holds the lock of the database'],
  ['SQLITE_LOCKED', 'another process holds the lock of the database'],
  ['SQLITE_CANTOPEN', 'the file, or the -wal and -shm files beside it, cannot be opened'],
  ['SQLITE_READONLY_DIRECTORY', "SQLite's -wal and -shm or -journal files cannot be made in the folder of the file"],
  ['SQLITE_READONLY_', 'the file needs recovery by a process that may write to it and to its folder'],
  ['SQLITE_READONLY', 'the file, or its folder, may not be written'],
  ['SQLITE_NOTADB', 'the file is not a SQLite database'],
  ['SQLITE_CORRUPT', 'the file is damaged'],
  ['SQLITE_IOERR', 'the file system reported an error'],
  ['SQLITE_ERROR', 'the tables have a shape that was not expected'],
];

/**
 * @param path given where a missing permission may be the cause: then it is said who owns the file and who asks
 * @returns SQLite's code, our sentence and SQLite's own words; none of them carries a value of a row
 */
export function describeFailure(error: unknown, path?: string): string {
  const code = failureCode(error);
  const known = SENTENCES.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 'the database reports an error';
  const sentence = isOutOfSpace(code, path) ? NO_SPACE : known;
  const words = `${code}: ${sentence} (${error instanceof Error ? error.message : 'no further words'})`;
  const isAboutAccess = /^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(code);
  return path !== undefined && isAboutAccess ? `${words}; ${describeAccess(path)}` : words;
}

/** A database in memory, to try things in. */
export function openScratch(): Connection {
  return new Database(':memory:');
}

/**
 * SQLite makes the `-wal` and `-shm` files of WAL mode for every process that opens the file, and removes them with the
 * last connection, unless that one only reads. To be called before a connection for reading is opened.
 * @returns a function that removes what was not there before; to be called when that connection is closed
 */
export function noteCompanions(path: string): () => void {
  const log = `${path}-wal`;
  const wasThere = existsSync(log);
  return () => {
    if (wasThere || !existsSync(log)) return;
    try {
      const last = openForWriting(path, 0);
      try {
        last.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get();
      } finally {
        last.close();
      }
    } catch {
      // not ours to write, or another user's by now: the backend's next end removes them
    }
  };
}

/** In containers the backend and the gate are two users of one folder. @returns owners by number, user:group, and modes, of the file, its folder and this process; never throws */
function describeAccess(path: string): string {
  const folder = `its folder ${ownerOf(dirname(path))}`;
  const asker = `this process is ${geteuid?.() ?? 'unknown'}:${getegid?.() ?? 'unknown'}`;
  const mount = isReadOnlyMount(dirname(path)) ? ', and the file system is mounted read-only' : '';
  return `${path} ${ownerOf(path)}, ${folder}, ${asker}${mount}`;
}

/** What a commit and its journal need, at the least. */
const SMALLEST_ROOM_BYTES = 64 * 1024;

/** Is there no room left beside the file, for this user, in bytes or in files? False where that cannot be seen. */
export function isDiskFull(path: string): boolean {
  try {
    const { blocks, bavail, bsize, files, ffree } = statfsSync(dirname(path));
    // some file systems count neither
    return (blocks > 0 && bavail * bsize < SMALLEST_ROOM_BYTES) || (files > 0 && ffree === 0);
  } catch {
    return false;
  }
}

function ownerOf(path: string): string {
  try {
    const { uid, gid, mode } = statSync(path);
    return `belongs to ${uid}:${gid} with mode ${(mode & 0o7777).toString(8)}`;
  } catch (error) {
    return `cannot be looked at (${failureCode(error)})`;
  }
}

function isReadOnlyMount(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return false;
  } catch (error) {
    return failureCode(error) === 'EROFS';
  }
}
