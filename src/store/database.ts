/** Connections to the backend's SQLite file. None of ours sets a journal mode: the backend forces its own at every connect. */
import { accessSync, closeSync, constants, existsSync, openSync, realpathSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getegid, geteuid } from 'node:process';
import Database from 'better-sqlite3';
import type { Connection } from './connection.ts';

export type { Connection } from './connection.ts';

/** On a file of SQLite, with what that alone has. */
export type FileConnection = Database.Database;

/** Opens for reading. Nothing is read yet: a locked or foreign file fails at the first statement. */
export function openForReading(path: string, busyTimeoutMs: number): FileConnection {
  return new Database(path, { readonly: true, fileMustExist: true, timeout: busyTimeoutMs });
}

/** Opens for one short transaction; never creates the file. Durability stays FULL: a power cut must not cost the backend its file. */
export function openForWriting(path: string, busyTimeoutMs: number): FileConnection {
  const connection = new Database(path, { fileMustExist: true, timeout: busyTimeoutMs });
  // off in the backend's own connections, on by default in ours: mAI's tables name parents that need not be there
  connection.pragma('foreign_keys = off');
  return connection;
}

/**
 * A file of our own, made where it is missing, for this user alone. In WAL mode, and durable: what was acknowledged is there
 * after a power cut.
 */
export function openOwnFile(path: string, busyTimeoutMs: number): FileConnection {
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600));
  const connection = new Database(path, { fileMustExist: true, timeout: busyTimeoutMs });
  connection.pragma('journal_mode = WAL');
  connection.pragma('synchronous = FULL');
  return connection;
}

export function setBusyTimeout(connection: FileConnection, ms: number): void {
  connection.pragma(`busy_timeout = ${Math.trunc(ms)}`);
}

/** Is it a file of SQLite? Everything that only such a file has is behind this question. */
export const isFile = (connection: Connection): connection is FileConnection => connection.postgres === undefined;

/** Prepares a statement that may not exist on this schema. @returns what gives the first column of all rows */
export function prepareColumn(
  connection: Connection,
  sql: string | undefined,
): (...key: string[]) => readonly unknown[] {
  const statement = sql === undefined ? undefined : connection.prepare<string[]>(sql).pluck();
  return (...key) => statement?.all(...key) ?? [];
}

const SETTLES_AFTER_MS = 20;

/**
 * @param realPath SQLite keeps the companions where the symbolic links lead @returns undefined where there is no file; 5 µs
 */
export function identityOf(path: string, realPath: string) {
  const stat = (suffix: string) => statSync(`${realPath}${suffix}`, { throwIfNoEntry: false });
  const file = statSync(path, { throwIfNoEntry: false });
  if (file === undefined) return undefined;
  const inode = `${file.dev}:${file.ino}`;
  const log = stat('-wal');
  return {
    inode,
    /** With the companions of WAL mode: a connection whose companions are deleted never sees another commit. */
    file: log === undefined ? inode : `${inode}:${log.ino}:${stat('-shm')?.ino ?? 'none'}`,
    /** Times and size. `cp -p` and `touch -r` restore the mtime, not the ctime. In WAL mode only a checkpoint writes here. */
    written: `${file.ctimeMs}:${file.mtimeMs}:${file.size}`,
    /** Two changes within one tick of the file system's clock (1 to 10 ms before Linux 6.13) look the same in `written`. */
    isSettled: Date.now() - file.ctimeMs >= SETTLES_AFTER_MS,
  };
}

/** There is no file, or none whose tables can be read yet. */
export class Unreadable extends Error {
  /** Objects of our schema that are missing in the file that is there. */
  readonly missing: readonly string[] | undefined;

  constructor(finding: string, missing?: readonly string[]) {
    super(missing === undefined ? finding : `${finding}; the backend may be migrating, or has not started yet`);
    this.name = missing === undefined ? 'MissingFile' : 'UnreadableSchema';
    this.missing = missing;
  }
}

/** Anything else is a mistake of ours, and hiding it behind "the file cannot be read" would cost a day of search. */
export const isOutage = (error: unknown): boolean =>
  error instanceof Unreadable ||
  failureCode(error).startsWith('SQLITE_') ||
  (error instanceof Error && 'syscall' in error);

const LAYOUT_QUERY = "SELECT group_concat(rootpage || ' ' || coalesce(sql, name)) FROM sqlite_schema";

/** Opens for reading again and again. @throws Unreadable @throws SqliteError @throws what `prepare` does */
export function openReader<T extends object>(
  path: string,
  busyTimeoutMs: number,
  prepare: (opened: FileConnection) => T,
) {
  const realPath = realpathSync(path);
  const before = identityOf(path, realPath);
  const connection = openForReading(path, busyTimeoutMs);
  try {
    // the first read is what makes SQLite open the companions of WAL mode: only after it the identity is complete
    connection.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get();
    const after = identityOf(path, realPath);
    // replaced while it was being opened: what was opened is not what stands there
    if (before === undefined || after?.inode !== before.inode) throw new Unreadable(`there is no file at ${path}`);
    const [data, schema, layout] = ['PRAGMA data_version', 'PRAGMA schema_version', LAYOUT_QUERY].map((sql) =>
      connection.prepare(sql).pluck(),
    );
    const ask = {
      /** Changes when another connection has committed; comparable on this connection only. */
      dataVersion: () => data?.get(),
      /** Changes with every change of the schema. Small numbers: two files may well have the same. */
      schemaVersion: () => schema?.get(),
      /** Every object of the schema and where it stands in the file; 50 µs. */
      layout: () => layout?.get(),
    };
    // before the rest is read: what is written from now on will be seen
    const found = { dataVersion: ask.dataVersion(), schemaVersion: ask.schemaVersion(), layout: ask.layout() };
    return {
      connection,
      realPath,
      ask,
      ...found,
      identity: { ...before, file: after.file },
      ...prepare(connection),
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** SQLite's own result code, such as `SQLITE_BUSY`, or the error's name where it is not SQLite's. */
export function failureCode(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.name : 'unknown';
}

/** Another connection holds the lock: the same statement will succeed on this connection a little later. */
export function isBusy(error: unknown): boolean {
  const code = failureCode(error);
  return /^(?:SQLITE_BUSY|SQLITE_LOCKED|55P03$|40P01$|40001$)/.test(code);
}

/** Did the file system give something else than what was written, or nothing? */
export const isDamage = (error: unknown): boolean => /^SQLITE_(?:CORRUPT|NOTADB|IOERR)/.test(failureCode(error));

/** A quota, and files that SQLite cannot make or lengthen, are errors of the file system to it, not `SQLITE_FULL`. */
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

/** @returns SQLite's code, our sentence, SQLite's words and, with a path, who owns the file; never a value of a row */
export function describeFailure(error: unknown, path?: string): string {
  const code = failureCode(error);
  const known = SENTENCES.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 'the database reports an error';
  const sentence = isOutOfSpace(code, path) ? NO_SPACE : known;
  const words = `${code}: ${sentence} (${error instanceof Error ? error.message : 'no further words'})`;
  const isAboutAccess = /^SQLITE_(?:READONLY|CANTOPEN|PERM)/.test(code);
  return path !== undefined && isAboutAccess ? `${words}; ${describeAccess(path)}` : words;
}

/** Opens a database in memory, to try things in. */
export function openScratch(): FileConnection {
  return new Database(':memory:');
}

/**
 * To be called before a connection for reading is opened, which leaves `-wal` and `-shm` behind in WAL mode.
 * @returns a function that removes what was not there before, for when that connection is closed
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

/** In containers the backend and the gate are two users of one folder. */
function describeAccess(path: string): string {
  const folder = `its folder ${ownerOf(dirname(path))}`;
  const asker = `this process is ${geteuid?.() ?? 'unknown'}:${getegid?.() ?? 'unknown'}`;
  const mount = isReadOnlyMount(dirname(path)) ? ', and the file system is mounted read-only' : '';
  return `${path} ${ownerOf(path)}, ${folder}, ${asker}${mount}`;
}

/** For a commit and its journal. */
const SMALLEST_ROOM_BYTES = 64 * 1024;

/** Is no room left beside the file, for this user, in bytes or in files? False where that cannot be seen. */
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
