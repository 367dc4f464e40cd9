/** The columns of the deployment guide's statements, of which a table made by hand may lack some. */
import type { Connection } from './database.ts';

const GUIDE_COLUMNS = {
  organization_members: ['id', 'organization_id', 'user_id', 'role', 'is_active', 'joined_at'],
  organization_models: ['id', 'organization_id', 'model_id', 'is_active', 'created_at', 'updated_at'],
} as const;

type Table = keyof typeof GUIDE_COLUMNS;
export type WrittenColumn<T extends Table> = (typeof GUIDE_COLUMNS)[T][number];

/** @returns those that this file's table has and does not fill by itself, in the order of the guide */
export function writtenColumns<T extends Table>(connection: Connection, table: T): readonly WrittenColumn<T>[] {
  const present = new Set(connection.prepare<[string], string>(WRITABLE_QUERY).pluck().all(table));
  const hasOwnId = hasTextId(connection, table);
  return GUIDE_COLUMNS[table].filter((name) => present.has(name) && (name !== 'id' || hasOwnId));
}

/** Without `xinfo`: what is generated is read and never written. */
const WRITABLE_QUERY = 'SELECT lower(name) FROM pragma_table_info(?)';

/** An `INTEGER PRIMARY KEY` numbers its rows itself. */
const hasTextId = (connection: Connection, table: Table): boolean =>
  connection
    .prepare("SELECT 1 FROM pragma_table_info(?) WHERE lower(name) = 'id' AND NOT (pk > 0 AND upper(type) = 'INTEGER')")
    .get(table) !== undefined;
