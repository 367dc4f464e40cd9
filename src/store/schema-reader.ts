/**
 * What this file's schema is, read from its tables and columns and never from a version number: forks and hand-made
 * tables carry none. A statement is prepared only for what is really there.
 */
import type { Connection } from './database.ts';
import { type SchemaObject, COUNTED_TABLES, SCHEMA_OBJECTS, VERSION_TABLE, isOn } from './tables.ts';

export type Schema = ReturnType<typeof readSchema>;

/**
 * SQL for "this row counts": a table made by hand may lack the column, and then every row does.
 * @param hasColumn such as `Schema.memberActive`
 * @param alias of the table in the statement
 */
export function activeCondition(hasColumn: boolean, alias?: string): string {
  return hasColumn ? isOn(alias === undefined ? 'is_active' : `${alias}.is_active`) : '1';
}

/** SQLite's own comparison of names ignores case, and only that of ASCII; generated columns stand in `xinfo` alone. */
const COLUMNS_QUERY = 'SELECT lower(name) FROM pragma_table_xinfo(?)';

/** @returns columns by name, in lower case, generated ones too; none where there is no such table or view */
export const columnsOf = (connection: Connection, table: string): ReadonlySet<string> =>
  new Set(connection.prepare<[string], string>(COLUMNS_QUERY).pluck().all(table));

/** Table and columns without which no decision can be made. */
const NEEDED: readonly (readonly [table: string, ...columns: string[]])[] = [
  ['user', 'id', 'role'],
  ['model', 'id', 'base_model_id'],
  ['organization_members', 'organization_id', 'user_id'],
  ['organization_models', 'organization_id', 'model_id'],
];

/** @throws SqliteError where the file cannot be read */
export function readSchema(connection: Connection) {
  const columns = (table: string) => columnsOf(connection, table);
  const has = (table: string, ...wanted: string[]) => wanted.every((column) => columns(table).has(column));
  const missing = missingObjects(connection);
  return {
    /** `api_key` table (from 0.6.41), or the column `user.api_key` (to 0.6.40). */
    apiKeys: has('api_key', 'key', 'user_id') ? 'table' : has('user', 'api_key') ? 'column' : 'none',
    memberActive: has('organization_members', 'is_active'),
    grantActive: has('organization_models', 'is_active'),
    /** mAI's `client_organizations` with `is_active`. */
    clientOrganizations: has('client_organizations', 'id', 'is_active'),
    presetParameters: has('model', 'params'),
    presetOwner: has('model', 'user_id'),
    chat: has('chat', 'id', 'chat'),
    chatMeta: has('chat', 'id', 'meta'),
    chatMessage: has('chat_message', 'chat_id', 'model_id'),
    chatMessageDetails: has('chat_message', 'id', 'model_id', 'meta', 'output'),
    modelHistory: has('model_history', 'id', 'snapshot'),
    channelMessage: has('message', 'id', 'meta'),
    automation: has('automation', 'id', 'data'),
    /** `config`: one row for each key (from 0.10.0), or one document for everything. */
    config: has('config', 'key', 'value') ? 'rows' : has('config', 'id', 'data') ? 'document' : 'none',
    /** It looks like a database of Open WebUI at all. */
    hasUserTable: has('user', 'id'),
    /** The backend has made its own tables: before that, ours would be in the way of its first start. */
    backendReady: has('user', 'id', 'role') && has('model', 'id', 'base_model_id'),
    /** Every trigger stands, word for word: the version counter tells the truth. */
    counted: isCounted(connection, missing),
    /** Objects of ours that are not there, as `kind name`. */
    missing: missing.map(({ kind, name }) => `${kind} ${name}`) as readonly string[],
    /** Why policy cannot be read from this file, or undefined where it can. */
    problem: firstProblem(columns),
  } as const;
}

/**
 * A trigger of ours must stand word for word: one of the same name with another body counts nothing reliable. A view
 * in the place of a table is read as one.
 */
function missingObjects(connection: Connection): readonly SchemaObject[] {
  const query = 'SELECT type, lower(name) AS name, sql FROM sqlite_schema';
  const found = connection.prepare<[], Record<'type' | 'name' | 'sql', string | null>>(query).all();
  const stands = ({ kind, name, sql }: SchemaObject) =>
    found.some(
      (object) =>
        object.name === name &&
        (object.type === kind || (kind === 'table' && object.type === 'view')) &&
        // SQLite keeps the statement as it was written, without `IF NOT EXISTS`
        (kind !== 'trigger' || object.sql === sql.replace(' IF NOT EXISTS', '')),
    );
  return SCHEMA_OBJECTS.filter((object) => !stands(object));
}

function isCounted(connection: Connection, missing: readonly SchemaObject[]): boolean {
  if (missing.some((object) => object.kind === 'trigger' || object === VERSION_TABLE)) return false;
  const subjects = connection.prepare(`SELECT subject FROM ${VERSION_TABLE.name}`).pluck().all();
  return COUNTED_TABLES.every((subject) => subjects.includes(subject));
}

function firstProblem(columns: (table: string) => ReadonlySet<string>): string | undefined {
  for (const [table, ...needed] of NEEDED) {
    if (columns(table).size === 0) return `table ${table} is missing`;
    const absent = needed.find((column) => !columns(table).has(column));
    if (absent !== undefined) return `table ${table} has no column ${absent}`;
  }
  return undefined;
}
