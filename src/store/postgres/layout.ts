/** What the backend's schema has: its tables and columns, asked of the catalogue, never of a version number. */
import { firstProblem } from '../schema.ts';
import type { PostgresConnection } from './connect.ts';
import { identifier } from './failure.ts';
import { missingIn, toColumns } from './initialize.ts';
import { COLUMNS, OBSTACLES, PRESENT } from './tables.ts';

export type Layout = Awaited<ReturnType<typeof readLayout>>;

/** @throws PostgresFailure */
export async function readLayout(connection: Pick<PostgresConnection, 'query'>, schema: string) {
  const rows = await connection.query<Record<string, unknown>>(COLUMNS, [schema]);
  const columns = toColumns(rows);
  const missing = missingIn(schema, await connection.query(PRESENT, [schema])).map(({ label }) => label);
  const obstacles = (await connection.query<{ obstacle: string }>(OBSTACLES, [schema])).map(({ obstacle }) => obstacle);
  const absent = firstProblem(columns.all);
  const problem = absent ?? obstacles[0];
  return {
    schema,
    /** Another one has other columns, or other objects of ours. */
    fingerprint: JSON.stringify([rows.map((row) => Object.values(row).join(' ')).toSorted(), missing, obstacles]),
    /** Quoted, with its schema. */
    at: (table: string) => `${identifier(schema)}.${identifier(table)}`,
    has: (table: string, ...names: string[]) => names.every((name) => columns.all(table).has(name)),
    writable: columns.writable,
    /** Objects of ours that are not there, as `kind name`. */
    missing,
    /** Why policy cannot be read, or undefined where it can; `isAbsent`: something may still come. */
    problem: problem === undefined ? undefined : `in the schema ${schema} ${problem}`,
    isAbsent: absent !== undefined,
    /** The backend has made its own tables: before that, ours would be in the way of its first start. */
    isBackendReady: columns.all('user').has('role') && columns.all('model').has('base_model_id'),
  };
}

/** SQL for "this row is switched on", as `isOn` of SQLite says it: booleans, numbers and NULL, which is on. */
export const isOn = (column: string): string => `coalesce(${column}::text, '1') IN ('1', 'true')`;
