import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { getuid } from 'node:process';
import { failureCode, isOutOfSpace } from '../store/database.ts';

/** Why an operation on the backend's file could not be done: one sentence, and what to do about it. */

/** For programs (`--json`); `failed` where no other says more. */
export type FailureCode =
  | 'failed'
  | 'misused'
  | 'configuration_invalid'
  | 'no_such_organization'
  | 'no_such_user'
  | 'no_such_file'
  | 'not_open_webui'
  | 'damaged'
  | 'locked'
  | 'disk_full'
  | 'not_permitted'
  | 'declined'
  | 'stopped'
  | 'bug';

/** Nothing was changed; the message is for the operator, whole. */
export class OperationFailure extends Error {
  readonly code: FailureCode;

  constructor(sentence: string, { code = 'failed', ...options }: { cause?: unknown; code?: FailureCode } = {}) {
    super(sentence, options);
    this.name = 'OperationFailure';
    this.code = code;
  }
}

// What SQLite and the system say about a file, in the words of operators.

/** @returns a failure in words for what SQLite or the system said; anything else, which is a bug, as it came */
export function toFailure(error: unknown, path: string): unknown {
  if (error instanceof OperationFailure) return error;
  const found = explainFailure(error, path);
  if (found === undefined) return error;
  const [, code = 'failed'] = CODES.find(([pattern]) => pattern.test(failureCode(error))) ?? [];
  return new OperationFailure(`${found.finding} Nothing was changed. ${found.remedy}`, { cause: error, code });
}

/** @returns what SQLite or the system said in two sentences: what it is, and what to do; undefined for a bug */
export function explainFailure(
  error: unknown,
  path: string,
): { readonly finding: string; readonly remedy: string } | undefined {
  const code = failureCode(error);
  const told = isOutOfSpace(code, path) ? 'SQLITE_FULL' : code;
  const found = SENTENCES.find(([prefix]) => told.startsWith(prefix));
  if (found === undefined) return undefined;
  if (code === 'SQLITE_READONLY_DIRECTORY') return explainFolder(path, code);
  const [, what, remedy] = found;
  return { finding: `${path} ${what} (${code}).`, remedy };
}

/** What programs read of it. */
const CODES: readonly (readonly [RegExp, FailureCode])[] = [
  [/^SQLITE_(?:BUSY|LOCKED)/, 'locked'],
  [/^(?:SQLITE_FULL|ENOSPC|EDQUOT|EFBIG)/, 'disk_full'],
  [/^(?:SQLITE_(?:READONLY|PERM|CANTOPEN)|EACCES|EPERM|EROFS)/, 'not_permitted'],
  [/^SQLITE_NOTADB/, 'not_open_webui'],
  [/^SQLITE_CORRUPT/, 'damaged'],
  [/^ENOENT/, 'no_such_file'],
];

/** Reading is writing for SQLite where a journal lies beside the file, or has to: in WAL mode always. */
function explainFolder(path: string, code: string): { readonly finding: string; readonly remedy: string } {
  const folder = dirname(path);
  const stats = statSync(folder, { throwIfNoEntry: false });
  const mode = ((stats?.mode ?? 0) & 0o7777).toString(8);
  return {
    finding: `${path} has SQLite make files beside it (-wal and -shm, or -journal), and user ${getuid?.() ?? 'unknown'} may not do so in ${folder}, of mode ${mode} (${code}).`,
    remedy: `Run it as user ${stats?.uid ?? 'unknown'}, who owns that folder, or on a copy of the file somewhere else.`,
  };
}

const whoRuns = `This command runs as user ${getuid?.() ?? 'unknown'}`;

/** The first prefix that fits counts. */
const SENTENCES: readonly (readonly [prefix: string, what: string, remedy: string])[] = [
  ['SQLITE_BUSY', 'is locked by another process', 'Try again, or wait longer with --wait 2m.'],
  ['SQLITE_LOCKED', 'is locked by another process', 'Try again, or wait longer with --wait 2m.'],
  ['SQLITE_FULL', 'cannot grow: the disk is full', 'Free some space first.'],
  [
    'SQLITE_READONLY_',
    'needs a recovery that may write',
    `${whoRuns}; run it as the owner of the file and its folder.`,
  ],
  ['SQLITE_READONLY', 'may not be written', `${whoRuns}; run it as the owner of the file and its folder.`],
  ['SQLITE_PERM', 'may not be opened', `${whoRuns}; run it as the owner of the file and its folder.`],
  ['SQLITE_CANTOPEN', 'cannot be opened', `${whoRuns}; the file, its -wal and -shm and its folder must be open to it.`],
  ['SQLITE_NOTADB', 'is not a SQLite database', 'Name the webui.db of the backend with --database or DATABASE_URL.'],
  ['SQLITE_CORRUPT', 'is damaged', 'Keep a copy of it, then bring back a backup: `modelgate restore FILE`'],
  ['SQLITE_IOERR', 'cannot be read or written: the file system reports an error', 'Look into the log of the system.'],
  ['SQLITE_TOOBIG', 'cannot hold a value that long', 'Shorten it.'],
  ['ENOSPC', 'cannot be written: the disk is full', 'Free some space first.'],
  ['EDQUOT', 'cannot be written: the quota is used up', 'Free some space first.'],
  ['EFBIG', 'cannot be written: a limit on the size of files is reached', 'Raise the limit (ulimit -f) first.'],
  ['EACCES', 'may not be used', `${whoRuns}; run it as the owner of the file and its folder.`],
  ['EPERM', 'may not be used', `${whoRuns}; run it as the owner of the file and its folder.`],
  ['EROFS', 'is on a read-only file system', 'Mount the volume writable for this command.'],
  ['ENOENT', 'is not there', 'Look whether the folder exists and the volume is mounted.'],
];

// Everything that is wrong about the words of one command, said at once.

const MOST_PROBLEMS = 20;

interface Refusal {
  /** What would be right, last of all. */
  readonly remedy?: string;
  readonly code?: FailureCode;
}

/** @param consequence a sentence @throws OperationFailure that names every problem, a line each where there are several */
export function refuseAll(
  problems: readonly string[],
  consequence: string,
  { remedy, code = 'failed' }: Refusal = {},
): void {
  if (problems.length === 0) return;
  const shown = problems.slice(0, MOST_PROBLEMS);
  const rest = problems.length - shown.length;
  const more = rest > 0 ? [`and ${rest.toLocaleString('en')} more like these.`] : [];
  const head = `${consequence} ${problems.length.toLocaleString('en')} names are in the way:`;
  const [first = ''] = problems;
  const said = problems.length === 1 ? `${first} ${consequence}` : [head, ...shown, ...more].join('\n  ');
  const between = problems.length === 1 ? ' ' : '\n';
  throw new OperationFailure(remedy === undefined ? said : `${said}${between}${remedy}`, { code });
}
