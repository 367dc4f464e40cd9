/** Why an operation on the backend's file failed, in the words of operators. */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import { failureCode, isOutOfSpace } from '../store/database.ts';
import { PostgresFailure } from '../store/postgres/failure.ts';

/** For programs (`--json`); `failed` where no other says more. */
export type FailureCode =
  | ('failed' | 'misused' | 'configuration_invalid' | 'no_such_organization' | 'no_such_user' | 'no_such_file')
  | ('not_open_webui' | 'damaged' | 'locked' | 'disk_full' | 'not_permitted' | 'declined' | 'stopped' | 'bug');

type FailureOptions = ErrorOptions & { readonly code?: FailureCode };

/** Nothing was changed. The message is for the operator, whole: what was found, and what to do. */
export class OperationFailure extends Error {
  readonly code: FailureCode;

  constructor(sentence: string, { code = 'failed', ...options }: FailureOptions = {}) {
    super(sentence, options);
    this.name = 'OperationFailure';
    this.code = code;
  }
}

/** @returns a failure of two or three sentences: the finding, that nothing was changed, and what to do */
export const unchanged = (finding: string, remedy = '', options: FailureOptions = {}): OperationFailure =>
  new OperationFailure(`${finding} Nothing was changed. ${remedy}`.trimEnd(), options);

/** @returns the failure in words for an error of SQLite or the system; any other error, which is a bug, unchanged */
export function toFailure(error: unknown, path: string): unknown {
  if (error instanceof OperationFailure) return error;
  const found = explainFailure(error, path);
  return found === undefined ? error : unchanged(found.finding, found.remedy, { cause: error, code: found.code });
}

/** @returns an error of SQLite or the system in two sentences: what it is, and what to do; undefined for a bug */
export function explainFailure(error: unknown, path: string) {
  const errorCode = failureCode(error);
  if (error instanceof PostgresFailure) {
    const [, code = 'failed', remedy = ''] = ON_POSTGRES.find(([found]) => found.test(errorCode)) ?? [];
    return { code, finding: error.message, remedy };
  }
  const known = isOutOfSpace(errorCode, path) ? 'SQLITE_FULL' : errorCode;
  const row = FAILURES.find(([prefix]) => known.startsWith(prefix));
  if (row === undefined) return undefined;
  const [, code, what, remedy] = row;
  if (errorCode !== 'SQLITE_READONLY_DIRECTORY') return { code, finding: `${path} ${what} (${errorCode}).`, remedy };
  const folder = dirname(path);
  const { mode = 0, uid = 'unknown' } = statSync(folder, { throwIfNoEntry: false }) ?? {};
  return {
    code,
    finding: `${path} has SQLite make files beside it (-wal and -shm, or -journal), and user ${getuid?.() ?? 'unknown'} may not do so in ${folder}, of mode ${(mode & 0o7777).toString(8)} (${errorCode}).`,
    remedy: `Run it as user ${uid}, who owns that folder, or on a copy of the file somewhere else.`,
  };
}

const whoRuns = `This command runs as user ${getuid?.() ?? 'unknown'}`;
const AS_OWNER = `${whoRuns}; run it as the owner of the file and its folder.`;
const OPEN_IT = `${whoRuns}; the file, its -wal and -shm and its folder must be open to it.`;
const WAIT = 'Try again, or wait longer with --wait 2m.';
export const NAME_IT = 'Name the webui.db of the backend with --database or DATABASE_URL.';
const BRING_BACK = 'Keep a copy of it, then bring back a backup: `modelgate restore FILE`';
const FREE_SPACE = 'Free some space first.';
const RAISE_LIMIT = 'Raise the limit (ulimit -f) first.';
const LOG = 'Look into the log of the system.';

const FAILURES: readonly (readonly [prefix: string, code: FailureCode, what: string, remedy: string])[] = [
  ['SQLITE_BUSY', 'locked', 'is locked by another process', WAIT],
  ['SQLITE_LOCKED', 'locked', 'is locked by another process', WAIT],
  ['SQLITE_FULL', 'disk_full', 'cannot grow: the disk is full', FREE_SPACE],
  ['SQLITE_READONLY_', 'not_permitted', 'needs a recovery that may write', AS_OWNER],
  ['SQLITE_READONLY', 'not_permitted', 'may not be written', AS_OWNER],
  ['SQLITE_PERM', 'not_permitted', 'may not be opened', AS_OWNER],
  ['SQLITE_CANTOPEN', 'not_permitted', 'cannot be opened', OPEN_IT],
  ['SQLITE_NOTADB', 'not_open_webui', 'is not a SQLite database', NAME_IT],
  ['SQLITE_CORRUPT', 'damaged', 'is damaged', BRING_BACK],
  ['SQLITE_IOERR', 'failed', 'cannot be read or written: the file system reports an error', LOG],
  ['SQLITE_TOOBIG', 'failed', 'cannot hold a value that long', 'Shorten it.'],
  ['ENOSPC', 'disk_full', 'cannot be written: the disk is full', FREE_SPACE],
  ['EDQUOT', 'disk_full', 'cannot be written: the quota is used up', FREE_SPACE],
  ['EFBIG', 'disk_full', 'cannot be written: a limit on the size of files is reached', RAISE_LIMIT],
  ['EACCES', 'not_permitted', 'may not be used', AS_OWNER],
  ['EPERM', 'not_permitted', 'may not be used', AS_OWNER],
  ['EROFS', 'not_permitted', 'is on a read-only file system', 'Mount the volume writable for this command.'],
  ['EISDIR', 'misused', 'is a folder', 'Name a file in it.'],
  ['ENOENT', 'no_such_file', 'is not there', 'Look whether the folder exists and the volume is mounted.'],
];

const ON_POSTGRES: readonly (readonly [found: RegExp, code: FailureCode, remedy?: string])[] = [
  [/^(?:55P03|40P01|40001)$/, 'locked', WAIT],
  [/^(?:42501|28|25006|TLS)/, 'not_permitted'],
  [/^(?:3D|3F|42P01|42703)/, 'not_open_webui'],
  [/^53/, 'disk_full'],
];

const MOST_PROBLEMS = 20;

interface RefusalOptions {
  readonly remedy?: string;
  readonly code?: FailureCode;
  /** Several of what each problem is about. */
  readonly what?: string;
}

/** @throws OperationFailure that names every problem, a line each where there are several, and last what would be right */
export function refuseAll(
  problems: readonly string[],
  consequence: string,
  { remedy = '', code = 'failed', what = 'names' }: RefusalOptions = {},
): void {
  const [first, ...others] = problems;
  if (first === undefined) return;
  if (others.length === 0) throw new OperationFailure(`${first} ${consequence} ${remedy}`.trimEnd(), { code });
  const rest = problems.length - MOST_PROBLEMS;
  const more = rest > 0 ? [`and ${rest.toLocaleString('en')} more like these.`] : [];
  const head = `${consequence} ${problems.length.toLocaleString('en')} ${what} are in the way:`;
  const lines = [head, ...problems.slice(0, MOST_PROBLEMS), ...more].join('\n  ');
  throw new OperationFailure(`${lines}\n${remedy}`.trimEnd(), { code });
}
