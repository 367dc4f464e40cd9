/**
 * `usage.db`, a file of our own: a commit in the backend's would make all that is cached of it old, and its migrations and
 * backups must not take invoices along. Times are milliseconds UTC, money is nano-USD, both integers.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { PostgresAddress } from '../config/postgres-url.ts';
import { type Connection, type FileConnection, openOwnFile } from '../store/database.ts';
import { identifier } from '../store/postgres/failure.ts';
import { ONE_AT_A_TIME } from '../store/postgres/initialize.ts';

/** Sums by quarter of an hour: every time zone begins its days on one. */
export const SLOT_MS = 15 * 60_000;

/** The condition of the index `usage_request_unsettled`, word for word: SQLite takes the index for no other words. */
export const UNSETTLED = "state IN ('open', 'interrupted')";

const TABLES = `
CREATE TABLE IF NOT EXISTS usage_request (
  id TEXT PRIMARY KEY,
  instance TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'refused', 'failed', 'interrupted')),
  started_at INTEGER NOT NULL, ended_at INTEGER,
  organization_id TEXT NOT NULL, user_id TEXT NOT NULL, chat_id TEXT,
  provider TEXT NOT NULL, endpoint TEXT NOT NULL, kind TEXT NOT NULL,
  model TEXT NOT NULL, wire_model TEXT NOT NULL, answered_model TEXT, generation_id TEXT,
  input INTEGER, input_cached INTEGER, input_cache_write INTEGER, output INTEGER, output_reasoning INTEGER,
  units INTEGER, unit TEXT,
  cost_nano INTEGER, price_id INTEGER, reserved_nano INTEGER NOT NULL DEFAULT 0, reserved_tokens INTEGER NOT NULL DEFAULT 0,
  measured TEXT, status INTEGER, is_streamed INTEGER NOT NULL, bytes_in INTEGER NOT NULL, bytes_out INTEGER, tries INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_request_unsettled ON usage_request(instance) WHERE ${UNSETTLED};
CREATE INDEX IF NOT EXISTS usage_request_organization ON usage_request(organization_id, started_at);
CREATE UNIQUE INDEX IF NOT EXISTS usage_request_generation ON usage_request(provider, generation_id) WHERE generation_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS usage_slot (
  organization_id TEXT NOT NULL, slot INTEGER NOT NULL, user_id TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  kind TEXT NOT NULL, measured TEXT NOT NULL,
  requests INTEGER NOT NULL, input INTEGER NOT NULL, input_cached INTEGER NOT NULL, input_cache_write INTEGER NOT NULL,
  output INTEGER NOT NULL, output_reasoning INTEGER NOT NULL, cost_nano INTEGER NOT NULL, unpriced INTEGER NOT NULL,
  PRIMARY KEY (organization_id, slot, user_id, provider, model, kind, measured)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_budget_state (
  organization_id TEXT NOT NULL, budget_id TEXT NOT NULL, period_start INTEGER NOT NULL, user_id TEXT NOT NULL,
  period_end INTEGER NOT NULL, measure TEXT NOT NULL, pattern TEXT NOT NULL,
  spent INTEGER NOT NULL, reserved INTEGER NOT NULL, soft_said INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (organization_id, budget_id, period_start, user_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_mean (
  provider TEXT NOT NULL, wire_model TEXT NOT NULL, organization_id TEXT NOT NULL,
  is_streamed INTEGER NOT NULL,
  requests REAL NOT NULL, bytes_in REAL NOT NULL, input REAL NOT NULL, bytes_out REAL NOT NULL, output REAL NOT NULL,
  priced REAL NOT NULL, cost_nano REAL NOT NULL,
  PRIMARY KEY (provider, wire_model, organization_id, is_streamed)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_price (
  id INTEGER PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, valid_from INTEGER NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('operator', 'provider', 'import')),
  input REAL, cached REAL, cache_write REAL, output REAL, request REAL, free INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS usage_price_model ON usage_price(model, provider, valid_from);
CREATE TABLE IF NOT EXISTS usage_model (
  provider TEXT NOT NULL, model TEXT NOT NULL, context INTEGER, max_output INTEGER,
  PRIMARY KEY (provider, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_key (
  organization_id TEXT NOT NULL, provider TEXT NOT NULL, sealed BLOB NOT NULL, ends_with TEXT NOT NULL, set_at INTEGER NOT NULL,
  PRIMARY KEY (organization_id, provider)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_instance (id TEXT PRIMARY KEY, heartbeat INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage_closing (
  organization_id TEXT NOT NULL, period TEXT NOT NULL, starts_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, closed_at INTEGER NOT NULL,
  markup REAL NOT NULL, rate REAL NOT NULL, currency TEXT NOT NULL, cost_nano INTEGER NOT NULL, csv_sha256 TEXT NOT NULL,
  invoice TEXT NOT NULL,
  PRIMARY KEY (organization_id, period)
) WITHOUT ROWID;
`;

/** Makes the file, its folder and what is missing in it, for this user alone. @throws SqliteError, or what the file system says */
export function openUsageFile(path: string, busyTimeoutMs: number): FileConnection {
  const folder = dirname(path);
  // the one around it is a volume: where that is missing, all that is written would be lost with the container
  if (existsSync(dirname(folder))) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const connection = openOwnFile(path, busyTimeoutMs);
  try {
    connection.exec(TABLES);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** The same tables in the words of PostgreSQL. Text is compared byte by byte there too. */
const WORDS: readonly (readonly [found: RegExp, instead: string])[] = [
  [/ WITHOUT ROWID/g, ''],
  [/\bINTEGER PRIMARY KEY\b/g, 'bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY'],
  [/\bINTEGER\b/g, 'bigint'],
  [/\bREAL\b/g, 'double precision'],
  [/\bBLOB\b/g, 'bytea'],
  [/\bTEXT\b/g, 'text COLLATE "C"'],
];

/** Of the ledger, in the order in which they are made. */
const NAMES = [...TABLES.matchAll(/\bTABLE IF NOT EXISTS (\w+)/g)].map(([, name = '']) => name);

/** Makes what is missing of the ledger in the schema of a connection to PostgreSQL. @throws PostgresFailure */
export function makeLedgerTables(connection: Connection): void {
  if (hasLedger(connection)) return;
  const at = identifier(connection.postgres?.name ?? '');
  const placed = TABLES.replace(/(TABLE IF NOT EXISTS| ON) (\w+)(?=[ (])/g, `$1 ${at}.$2`);
  connection.exec('BEGIN');
  connection.exec(ONE_AT_A_TIME);
  connection.exec(WORDS.reduce((text, [found, instead]) => text.replace(found, instead), placed));
  connection.exec('COMMIT');
}

/** Are all tables there? A role that may not make any must not try. */
export function hasLedger({ postgres }: Connection): boolean {
  return NAMES.every((name) => (postgres?.columnsOf(name).size ?? 0) > 0);
}

/** What the owner of the tables must run, so that another role may keep the ledger in them. */
export function ledgerGrant({ user, schema = 'public' }: Pick<PostgresAddress, 'user' | 'schema'>): string {
  const tables = NAMES.map((name) => `${identifier(schema)}.${name}`).join(', ');
  return `GRANT SELECT, INSERT, UPDATE, DELETE ON ${tables} TO ${identifier(user)};`;
}
