/** `usage.db` as a test looks into it, from outside, and the table of its budgets. */
import Database from 'better-sqlite3';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import type { TestDatabase } from './database.ts';

/** A row of `usage_request`, with the names of its columns. */
export interface CallRow {
  readonly id: string;
  readonly state: string;
  readonly measured: string | null;
  readonly organization_id: string;
  readonly user_id: string;
  readonly kind: string;
  readonly model: string;
  readonly wire_model: string;
  readonly generation_id: string | null;
  readonly input: number | null;
  readonly output: number | null;
  readonly cost_nano: number | null;
  readonly status: number | null;
  readonly [column: string]: string | number | null;
}

/** @returns all rows of the ledger, oldest first */
export function callsIn(path: string): CallRow[] {
  return readUsage<CallRow>(path, 'SELECT * FROM usage_request ORDER BY id');
}

export function readUsage<Row>(path: string, sql: string, ...values: unknown[]): Row[] {
  const sqlite = new Database(path, { readonly: true });
  try {
    return sqlite.prepare<unknown[], Row>(sql).all(...values);
  } finally {
    sqlite.close();
  }
}

/** The table of budgets, as `init` and `migrate` make it. */
export function makeBudgetTable({ sql }: Pick<TestDatabase, 'sql'>): void {
  const table = SCHEMA_OBJECTS.find(({ name }) => name === 'organization_budgets');
  if (table === undefined) throw new Error('there is no table of budgets');
  sql.exec(table.sql);
}
