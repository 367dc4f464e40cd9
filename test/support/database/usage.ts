/** `usage.db` as a test looks into it, from outside. */
import Database from 'better-sqlite3';

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
