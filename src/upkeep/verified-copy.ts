/** A copy of the live database, opened, checked and compared before anything relies on it; and the checks alone. */
import { dirname } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { quoted } from '../backend-file/text.ts';
import { type Operation, hearStop, requireTables } from '../backend-file/transaction.ts';
import { type Connection, failureCode, openForReading } from '../store/database.ts';
import { readSchema } from '../store/schema.ts';
import { copyLive } from './copy.ts';
import { createPartial, discard } from './files.ts';
import { runWhereItFits } from './long-statement.ts';

/** The steps of long work. */
export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

/** In bytes, where they are known. */
export type OnStep = (step: Step, done: number, total: number) => void;

export interface VerifiedCopy {
  /** Hidden, beside the target: the caller publishes or discards it. */
  readonly partial: string;
  readonly facts: DatabaseFacts;
  /** Rows that break a rule of their table, in SQLite's words; they are copied as they are. */
  readonly complaints: readonly string[];
}

/**
 * @param target where the copy will go; its folder must be there
 * @throws OperationFailure; nothing is left behind then
 */
export async function makeVerifiedCopy(operation: Operation, target: string, onStep: OnStep): Promise<VerifiedCopy> {
  const { path, patience } = operation;
  const folder = dirname(target);
  let partial: string | undefined;
  try {
    partial = createPartial(target);
    const facts = await copyLive(
      operation,
      partial,
      (connection) => readFacts(connection, path),
      (done, total) => onStep('copy', done, total),
    );
    onStep('check', 0, 1);
    const complaints = await requireIntegrity(partial, { shown: path, remedy: DAMAGED }, patience.signal);
    requireSame(facts, factsOf(partial, path), path);
    await hearStop(patience.signal);
    return { partial, facts, complaints };
  } catch (error) {
    if (partial === undefined) throw toFailure(error, folder);
    discard(partial);
    // reading never fills a disk
    const isOfTarget = /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_FULL|SQLITE_IOERR_WRITE)/.test(failureCode(error));
    throw toFailure(error, isOfTarget ? folder : path);
  }
}

const DAMAGED = 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`';

const BUSY_MS = 5_000;

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
  const rows = await runWhereItFits({ path, statement: 'integrity', busyMs: BUSY_MS }, signal);
  const findings = rows.flatMap((row) => row.split('\n')).filter((line) => line !== 'ok');
  const { damage = [], complaints = [] } = Object.groupBy(findings, (line) =>
    BROKEN_RULE.test(line) ? 'complaints' : 'damage',
  );
  return { damage, complaints };
}

/**
 * @param shown the file's name in sentences
 * @param remedy what to do where it is damaged
 * @returns SQLite's complaints about rows that break a rule of their table
 * @throws OperationFailure where the file is damaged, errors with SQLite's code where it cannot be read at all
 */
export async function requireIntegrity(
  path: string,
  { shown, remedy }: { readonly shown: string; readonly remedy: string },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { damage, complaints } = await readIntegrity(path, signal);
  const [first, ...more] = damage;
  if (first === undefined) return complaints;
  const rest = more.length > 0 ? `, and ${more.length} more findings` : '';
  throw unchanged(`${shown} is damaged: ${quoted(first)}${rest} (integrity_check).`, remedy, { code: 'damaged' });
}

/** What a copy must have in common with its source. */
export interface DatabaseFacts {
  /** Every table, index, view and trigger, as `kind name`. */
  readonly objects: readonly string[];
  readonly users: number;
  readonly models: number;
  /** Rows of `organization_members`; 0 where there is no such table. */
  readonly members: number;
  /** Rows of `organization_models`; 0 where there is no such table. */
  readonly grants: number;
}

/** To be called in one transaction. @throws OperationFailure where it is no database of Open WebUI, naming `path` */
export function readFacts(connection: Connection, path: string): DatabaseFacts {
  requireTables(path, readSchema(connection), 'backend');
  const objects = connection
    .prepare<[], string>("SELECT type || ' ' || name FROM sqlite_schema ORDER BY 1")
    .pluck()
    .all();
  const count = (table: string): number =>
    connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;
  const countIfAny = (table: string): number => (objects.includes(`table ${table}`) ? count(table) : 0);
  return {
    objects,
    users: count('user'),
    models: count('model'),
    members: countIfAny('organization_members'),
    grants: countIfAny('organization_models'),
  };
}

function factsOf(copy: string, shown: string): DatabaseFacts {
  const connection = openForReading(copy, 0);
  try {
    return readFacts(connection, shown);
  } finally {
    connection.close();
  }
}

/** @throws OperationFailure where the copy is not what was read */
function requireSame(original: DatabaseFacts, copy: DatabaseFacts, path: string): void {
  const differing = (['users', 'models', 'members', 'grants'] as const).find((what) => original[what] !== copy[what]);
  if (differing === undefined && original.objects.join('\n') === copy.objects.join('\n')) return;
  throw unchanged(
    `The copy of ${path} does not hold what was read (${differing ?? 'tables'} differ), and was thrown away.`,
    'Try again; if it stays so, look into the log of the system for errors of the disk.',
  );
}
