/** A copy of the database, opened, checked and compared before anything relies on it; and the checks alone. */
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { quoted } from '../backend-file/text.ts';
import { type Operation, closing, hearStop, requireTables } from '../backend-file/transaction.ts';
import { type Connection, failureCode, openForReading } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { copyLive } from './copy.ts';
import { createPartial, discard } from './files.ts';
import { runWhereItFits } from './long-statement.ts';

/** The steps of long work. */
export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

/** In bytes, where they are known. */
export type OnStep = (step: Step, done: number, total: number) => void;

interface Making {
  /** Where the copy will go; its folder must be there. */
  readonly target: string;
  /** The name of the original in sentences, and what to do where it is damaged. */
  readonly shown: string;
  readonly remedy: string;
  readonly signal: AbortSignal;
  readonly onStep: OnStep;
  /** Fills an empty file. @returns what is in it */
  readonly fill: (partial: string) => Promise<DatabaseFacts>;
  /** @throws OperationFailure where the copy is not what was read */
  readonly compare?: (partial: string, facts: DatabaseFacts) => void;
  /** @param folder of the target */
  readonly explain: (error: unknown, folder: string) => unknown;
}

/**
 * @returns the checked copy under a hidden name beside the target, which the caller publishes or discards; what is in it;
 *   and rows that break a rule of their table, in SQLite's words, which are copied as they are
 * @throws OperationFailure; nothing is left behind then
 */
export async function makeVerified({ target, shown, remedy, signal, onStep, fill, compare, explain }: Making) {
  let partial: string | undefined;
  try {
    partial = createPartial(target);
    const facts = await fill(partial);
    onStep('check', 0, 1);
    const { damage, complaints } = await readIntegrity(partial, signal);
    const [first, ...more] = damage;
    if (first !== undefined) {
      const rest = more.length > 0 ? `, and ${more.length} more findings` : '';
      const finding = `${shown} is damaged: ${quoted(first)}${rest} (integrity_check).`;
      throw unchanged(finding, remedy, { code: 'damaged' });
    }
    compare?.(partial, facts);
    await hearStop(signal);
    return { partial, facts, complaints };
  } catch (error) {
    if (partial === undefined) throw toFailure(error, dirname(target));
    discard(partial);
    throw explain(error, dirname(target));
  }
}

/** A copy of the live database. @throws OperationFailure as `makeVerified` */
export function makeVerifiedCopy(operation: Operation, target: string, onStep: OnStep) {
  const { path, patience } = operation;
  const factsOf = (connection: Connection): DatabaseFacts => readFacts(connection, path);
  return makeVerified({
    target,
    shown: path,
    remedy: 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`',
    signal: patience.signal,
    onStep,
    fill: (partial) => copyLive(operation, partial, factsOf, (done, total) => onStep('copy', done, total)),
    compare: (partial, facts) => {
      using copy = closing(openForReading(partial, 0));
      requireSame(facts, factsOf(copy), path);
    },
    // reading never fills a disk
    explain: (error, folder) =>
      toFailure(
        error,
        /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_FULL|SQLITE_IOERR_WRITE)/.test(failureCode(error)) ? folder : path,
      ),
  });
}

/**
 * Rows that break a rule of their table: the backend has written them, they say nothing about the disk, and a backup
 * that refused them would be no backup.
 */
const BROKEN_RULE = /^(?:NULL value in |CHECK constraint failed in |(?:TEXT|NUMERIC|INT|REAL|BLOB|non-\w+) value in )/;

/**
 * Reads the whole file.
 * @returns what is wrong about the file itself, and the rows that break a rule of their table, in SQLite's words
 * @throws OperationFailure after Ctrl-C, errors with SQLite's code where the file cannot be read at all
 */
export async function readIntegrity(path: string, signal: AbortSignal) {
  const rows = await runWhereItFits({ path, statement: 'integrity', busyMs: 5_000 }, signal);
  const findings = rows.flatMap((row) => row.split('\n')).filter((line) => line !== 'ok');
  const { damage = [], complaints = [] } = Object.groupBy(findings, (line) =>
    BROKEN_RULE.test(line) ? 'complaints' : 'damage',
  );
  return { damage, complaints };
}

/** What a copy must have in common with its source. */
export type DatabaseFacts = ReturnType<typeof readFacts>;

/** To be called in one transaction. @throws OperationFailure where it is no database of Open WebUI, naming `path` */
export function readFacts(connection: Connection, path: string) {
  requireTables(path, readSchema(connection), 'backend');
  /** Every table, index, view and trigger, as `kind name`. */
  const tables = connection
    .prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1")
    .pluck()
    .all();
  const count = (table: string): number =>
    tables.includes(`table ${table}`)
      ? (connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0)
      : 0;
  return {
    users: count('user'),
    models: count('model'),
    members: count('organization_members'),
    grants: count('organization_models'),
    tables,
  };
}

function requireSame(original: DatabaseFacts, copy: DatabaseFacts, path: string): void {
  const [differing] =
    Object.entries(original).find(([what, value]) => !isDeepStrictEqual(value, Reflect.get(copy, what))) ?? [];
  if (differing === undefined) return;
  throw unchanged(
    `The copy of ${path} does not hold what was read (${differing} differ), and was thrown away.`,
    'Try again; if it stays so, look into the log of the system for errors of the disk.',
  );
}
