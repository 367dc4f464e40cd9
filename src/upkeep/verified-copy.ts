/** A copy of the live database that has been opened, checked and compared before anybody relies on it. */
import { dirname } from 'node:path';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { quoted } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { hearStop, requireTables } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { failureCode, openForReading } from '../store/database.ts';
import { readSchema } from '../store/schema-reader.ts';
import { copyLive } from './copy.ts';
import { createPartial, discard } from './files.ts';
import { runWhereItFits } from './long-statement.ts';

/** What long work is at; bytes, where they can be told. */
export type Step = 'copy' | 'check' | 'compress' | 'verify' | 'decompress';

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
  const partial = createPartialFor(target);
  try {
    const read = (connection: Connection): DatabaseFacts => readFacts(connection, path);
    const facts = await copyLive(operation, partial, read, {
      onProgress: (done, total) => onStep('copy', done, total),
    });
    onStep('check', 0, 1);
    const complaints = await requireIntegrity(partial, { shown: path, remedy: DAMAGED }, patience.signal);
    requireSame(facts, factsOf(partial, path), path);
    await hearStop(patience.signal);
    return { partial, facts, complaints };
  } catch (error) {
    discard(partial);
    throw toFailure(error, isOfTarget(error) ? dirname(target) : path);
  }
}

const DAMAGED = 'Keep a plain copy of it (cp), then bring back a backup: `modelgate restore FILE`';

/** Reading never fills a disk. */
const isOfTarget = (error: unknown): boolean =>
  /^(?:ENOSPC|EDQUOT|EFBIG|EROFS|SQLITE_FULL|SQLITE_IOERR_WRITE)/.test(failureCode(error));

function createPartialFor(target: string): string {
  try {
    return createPartial(target);
  } catch (error) {
    throw toFailure(error, dirname(target));
  }
}

function factsOf(copy: string, shown: string): DatabaseFacts {
  const connection = openForReading(copy, 0);
  try {
    return readFacts(connection, shown);
  } finally {
    connection.close();
  }
}

// Whether SQLite finds a file whole.

const BUSY_MS = 5_000;

/**
 * Rows that break a rule of their table: the backend has written them, they say nothing about the disk, and a backup
 * that refused them would be no backup.
 */
const BROKEN_RULE = /^(?:NULL value in |CHECK constraint failed in |(?:TEXT|NUMERIC|INT|REAL|BLOB|non-\w+) value in )/;

export interface Integrity {
  /** What is wrong about the file itself. */
  readonly damage: readonly string[];
  /** Rows that break a rule of their table. */
  readonly complaints: readonly string[];
}

/** Reads the whole file. @throws OperationFailure after Ctrl-C, errors with SQLite's code where it cannot be read at all */
export async function readIntegrity(path: string, signal: AbortSignal): Promise<Integrity> {
  const rows = await runWhereItFits({ path, statement: 'integrity', busyMs: BUSY_MS }, signal);
  const findings = rows.flatMap((row) => row.split('\n')).filter((line) => line !== 'ok');
  return {
    damage: findings.filter((line) => !BROKEN_RULE.test(line)),
    complaints: findings.filter((line) => BROKEN_RULE.test(line)),
  };
}

/**
 * @param shown how the file is called in sentences
 * @param remedy what to do where it is damaged
 * @returns what SQLite says about rows that break a rule of their table
 * @throws OperationFailure where the file is damaged, errors with SQLite's code where it cannot be read at all
 */
export async function requireIntegrity(
  path: string,
  { shown, remedy }: { readonly shown: string; readonly remedy: string },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { damage, complaints } = await readIntegrity(path, signal);
  if (damage.length === 0) return complaints;
  throw new OperationFailure(
    `${shown} is damaged: ${quoted(damage[0] ?? '')}${damage.length > 1 ? `, and ${damage.length - 1} more findings` : ''} (integrity_check). Nothing was changed. ${remedy}`,
    { code: 'damaged' },
  );
}

// What a copy must have in common with its source.

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
  const count = (sql: string): number => connection.prepare<[], number>(sql).pluck().get() ?? 0;
  const has = (table: string): boolean => objects.includes(`table ${table}`);
  return {
    objects,
    users: count('SELECT count(*) FROM "user"'),
    models: count('SELECT count(*) FROM model'),
    members: has('organization_members') ? count('SELECT count(*) FROM organization_members') : 0,
    grants: has('organization_models') ? count('SELECT count(*) FROM organization_models') : 0,
  };
}

/** @throws OperationFailure where the copy is not what was read */
export function requireSame(original: DatabaseFacts, copy: DatabaseFacts, path: string): void {
  const differing = (['users', 'models', 'members', 'grants'] as const).find((what) => original[what] !== copy[what]);
  if (differing === undefined && original.objects.join('\n') === copy.objects.join('\n')) return;
  throw new OperationFailure(
    `The copy of ${path} does not hold what was read (${differing ?? 'tables'} differ), and was thrown away. Nothing was changed. Try again; if it stays so, look into the log of the system for errors of the disk.`,
  );
}
