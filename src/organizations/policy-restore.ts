/** The way back from `backup --policy`, on either engine: all rows of our three tables are replaced, or none is. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { unchanged } from '../backend-file/failure.ts';
import { quoted, secondsSince } from '../backend-file/text.ts';
import { type Operation, changing } from '../backend-file/transaction.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import { missingBudgetColumns } from '../store/budgets.ts';
import type { Connection } from '../store/database.ts';
import { writtenColumns } from '../store/initialize.ts';
import { initializeIn } from '../store/postgres/initialize.ts';
import { readSchema } from '../store/schema.ts';
import { explaining, readCount } from './organizations.ts';
import {
  type PolicyRows,
  type PolicyTable,
  FORMAT,
  POLICY_COLUMNS,
  POLICY_TABLES,
  backUpPolicy,
  countsOf,
  isId,
  isText,
} from './policy-backup.ts';

/** @returns the rows of a file that `backup --policy` has made; undefined for any other file @throws OperationFailure where it does not fit */
export function readPolicyFile(file: string): PolicyRows | undefined {
  const document = tryParseJson(unpacked(file) ?? '');
  if (!isObject(document) || typeof document['format'] !== 'string') return undefined;
  const { format, columns, rows } = document;
  if (format !== FORMAT) {
    throw unchanged(
      `${file} has the format ${quoted(format)}, and ${quoted(FORMAT)} was expected.`,
      'Look for a newer modelgate.',
    );
  }
  const found = Object.fromEntries(
    POLICY_TABLES.map((table) => [
      table,
      rowsOf(file, table, isObject(columns) ? columns[table] : [], isObject(rows) ? rows[table] : []),
    ]),
  );
  return found as unknown as PolicyRows;
}

function unpacked(file: string): string | undefined {
  try {
    return gunzipSync(readFileSync(file)).toString();
  } catch {
    // what it is instead, the restoration of a whole database says
    return undefined;
  }
}

/** What a column may hold, by the name of the column; all others: text. */
const NUMBERS = /^(?:is_|joined_at|created_at|updated_at|amount|soft_percent|valid_|raised)/;
const NEEDED = /^(?:id|organization_id|user_id|model_id|measure|amount|period|scope|is_active|is_hard|raised)$/;
/** The keys that a table has once. */
const ONCE = { organization_members: [1, 2], organization_models: [1, 2], organization_budgets: [1, 2, 4, 5] } as const;

function rowsOf(file: string, table: PolicyTable, columns: unknown, rows: unknown): PolicyRows[PolicyTable] {
  const expected: readonly string[] = POLICY_COLUMNS[table];
  const refuse = (what: string) => unchanged(`${file} does not fit: ${table} ${what}.`, 'Take another backup.');
  if (JSON.stringify(columns) !== JSON.stringify(expected) || !Array.isArray(rows)) throw refuse('has other columns');
  const keys = new Set<string>();
  for (const [at, row] of (rows as unknown[]).entries()) {
    const values: readonly unknown[] = Array.isArray(row) ? row : [];
    const odd = expected.find((column, place) => !fits(column, values[place] ?? null));
    if (odd !== undefined) throw refuse(`has in row ${at + 1} no ${odd} that can be used`);
    if (values.length !== expected.length) throw refuse(`has ${values.length} values in row ${at + 1}`);
    const own = [values.slice(0, 1), ONCE[table].map((place) => values[place])].map((key) => JSON.stringify(key));
    if (own.some((key) => keys.has(key))) throw refuse(`names twice what row ${at + 1} names`);
    for (const key of own) keys.add(key);
  }
  return rows as PolicyRows[PolicyTable];
}

function fits(column: string, value: unknown): boolean {
  if (value === null) return !NEEDED.test(column);
  if (column.startsWith('is_')) return value === 0 || value === 1;
  if (NUMBERS.test(column)) return typeof value === 'number' && Number.isFinite(value);
  return column === 'role' ? isText(value) : isId(value);
}

/** @returns for `--json`; `replaced` is a backup of what was there @throws OperationFailure; then nothing was changed */
export async function restorePolicy(
  operation: Operation,
  rows: PolicyRows,
  { file, now }: { readonly file: string; readonly now: Date },
) {
  const started = performance.now();
  const kept = await backUpPolicy(operation, { directory: dirname(file), now });
  const unknown = await changing(operation, 'backend', async (connection) => {
    await initializeIn(connection);
    const { problem } = readSchema(connection);
    const missing = missingBudgetColumns(connection, 'all');
    const lacking =
      problem ?? (missing.length > 0 ? `table organization_budgets has no column ${missing.join(', ')}` : undefined);
    if (lacking !== undefined) throw unchanged(`The ${lacking}.`, 'Rename the table, and it is made as it should be.');
    for (const table of POLICY_TABLES) explaining({ name: table }, () => replaceRows(connection, table, rows[table]));
    const sql = 'SELECT count(DISTINCT user_id) FROM organization_members WHERE user_id NOT IN (SELECT id FROM "user")';
    return readCount(connection, sql);
  });
  const { path: restored } = operation;
  const record = { restored, from: file, replaced: kept.path, ...countsOf(rows), unknown_users: unknown };
  return { ...record, seconds: secondsSince(started) };
}

/** Rows in one statement: SQLite takes 32,766 values. */
const AT_ONCE = 2_000;

function replaceRows(connection: Connection, table: PolicyTable, rows: PolicyRows[PolicyTable]): void {
  connection.prepare(`DELETE FROM ${table}`).run();
  const all: readonly string[] = POLICY_COLUMNS[table];
  const written = table === 'organization_budgets' ? all : writtenColumns(connection, table);
  const places = written.map((column) => all.indexOf(column));
  const one = `(${places.map(() => '?').join(', ')})`;
  for (let from = 0; from < rows.length; from += AT_ONCE) {
    const some = rows.slice(from, from + AT_ONCE);
    const sql = `INSERT INTO ${table} (${written.join(', ')}) VALUES ${some.map(() => one).join(', ')}`;
    connection.prepare(sql).run(...some.flatMap((row) => places.map((place) => row[place] ?? null)));
  }
}
