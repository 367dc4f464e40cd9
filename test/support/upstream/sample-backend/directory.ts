/**
 * The sample backend's own hold on the database file, as Open WebUI has one: a second connection beside the gate's.
 * Through `node:sqlite`, so that better-sqlite3 stays with the gate's store.
 */
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import type { Run } from '../../database/database.ts';
import { seconds } from '../dialects.ts';

export interface SampleUser {
  readonly id: string;
  readonly name: string;
  readonly email: string;
  readonly role: string;
}

/** A row of the backend's `model` table, JSON columns parsed. */
export interface SampleModelRow {
  readonly id: string;
  readonly user_id: string;
  readonly base_model_id: string | null;
  readonly name: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly meta: Readonly<Record<string, unknown>>;
  readonly is_active: boolean;
  readonly created_at: number;
  readonly updated_at: number;
}

export type JsonObject = Record<string, unknown>;

export interface SampleDirectory {
  user(id: string): SampleUser | undefined;
  userOfApiKey(key: string): SampleUser | undefined;
  /** @returns the user and the stored password */
  userByEmail(email: string): (SampleUser & { readonly password: string }) | undefined;
  modelRows(): readonly SampleModelRow[];
  saveModel(row: Pick<SampleModelRow, 'id' | 'user_id' | 'base_model_id' | 'name' | 'params' | 'meta'>): void;
  /** One row of `chat`, `message` or `automation`, JSON columns parsed. */
  stored(table: StoredTable, id: string): JsonObject | undefined;
  storedOf(table: StoredTable, userId: string): readonly JsonObject[];
  /** Inserts or replaces; values that are objects are written as JSON. */
  store(table: StoredTable, row: JsonObject): void;
  close(): void;
}

export type StoredTable = keyof typeof STORED_COLUMNS;

/** What is read of each: times of messages and automations are nanoseconds, too large for a JavaScript number. */
const STORED_COLUMNS = {
  chat: 'id, user_id, title, chat, created_at, updated_at, archived, pinned, meta',
  message: 'id, user_id, channel_id, content, meta, reply_to_id',
  automation: 'id, user_id, name, data, is_active',
} as const;

/** @param path the SQLite file; it must exist and carry the backend's tables @param alsoWrite gets what is written there */
export function openSampleDirectory(path: string, alsoWrite?: Run): SampleDirectory {
  // the backend leaves foreign keys unenforced, as SQLite does by default
  const db = new DatabaseSync(path, { enableForeignKeyConstraints: false, timeout: 5000 });
  const one = (sql: string, ...values: SQLInputValue[]) => toRow(db.prepare(sql).get(...values));
  const all = (sql: string, ...values: SQLInputValue[]) =>
    db
      .prepare(sql)
      .all(...values)
      .map((row) => toRow(row) ?? {});
  const insert = (table: string, row: JsonObject): void => {
    const [statement, ...values] = replacing(table, row);
    db.prepare(statement).run(...values);
    alsoWrite?.(statement, ...values);
  };
  const user = 'u.id, u.name, u.email, u.role FROM "user" u';
  return {
    user: (id) => one(`SELECT ${user} WHERE u.id = ?`, id) as SampleUser | undefined,
    userOfApiKey: (key) =>
      one(`SELECT ${user} JOIN api_key k ON k.user_id = u.id WHERE k.key = ?`, key) as SampleUser | undefined,
    userByEmail: (email) =>
      one(`SELECT a.password, ${user} JOIN auth a ON a.id = u.id WHERE lower(u.email) = lower(?)`, email) as
        (SampleUser & { password: string }) | undefined,
    modelRows: () =>
      all('SELECT * FROM model').map((row) => ({ ...row, is_active: row['is_active'] === 1 }) as SampleModelRow),
    saveModel: (row) => {
      const now = seconds();
      insert('model', { ...row, is_active: 1, created_at: now, updated_at: now });
    },
    stored: (table, id) => one(`SELECT ${STORED_COLUMNS[table]} FROM "${table}" WHERE id = ?`, id),
    storedOf: (table, userId) => all(`SELECT ${STORED_COLUMNS[table]} FROM "${table}" WHERE user_id = ?`, userId),
    store: (table, row) => insert(table, row),
    close: () => db.close(),
  };
}

/** Inserts or replaces one row; column names come from this program, never from a request. */
function replacing(table: string, row: JsonObject): readonly [string, ...SQLInputValue[]] {
  const values = Object.values(row).map((value) =>
    typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as SQLInputValue),
  );
  const names = Object.keys(row).map((column) => `"${column}"`);
  const places = names.map(() => '?').join(', ');
  const replaced = names.map((name) => `${name} = excluded.${name}`).join(', ');
  const statement = `INSERT INTO "${table}" (${names.join(', ')}) VALUES (${places})`;
  return [`${statement} ON CONFLICT (id) DO UPDATE SET ${replaced}`, ...values];
}

const JSON_COLUMNS: ReadonlySet<string> = new Set(['params', 'meta', 'chat', 'data']);

function toRow(row: Record<string, unknown> | undefined): JsonObject | undefined {
  if (row === undefined) return undefined;
  const parsed = Object.entries(row).map(([column, value]) => [
    column,
    JSON_COLUMNS.has(column) && typeof value === 'string' ? (JSON.parse(value) as unknown) : value,
  ]);
  return Object.fromEntries(parsed) as JsonObject;
}
