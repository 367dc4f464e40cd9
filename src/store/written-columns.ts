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

/** The row of a new member, by column: for a statement over `"user" u` with `$organization` and `$seconds`. */
export const MEMBER_VALUES = {
  id: `'om_' || u.id || '_' || $organization`,
  organization_id: '$organization',
  user_id: 'u.id',
  role: `CASE WHEN u.role = 'admin' THEN 'admin' ELSE 'member' END`,
  is_active: '1',
  joined_at: '$seconds',
} as const;

/** The row of a new grant: for a statement over `model u`. */
export const MODEL_VALUES = {
  id: `'orgmod_' || $organization || '_' || u.id`,
  organization_id: '$organization',
  model_id: 'u.id',
  is_active: 'u.is_active',
  created_at: '$seconds',
  updated_at: '$seconds',
} as const;

/** @param columns as `writtenColumns` gives them @returns `INTO … SELECT …`, what stands behind an INSERT */
export function intoTable<T extends Table>(
  table: T,
  columns: readonly WrittenColumn<T>[],
  values: Readonly<Record<WrittenColumn<T>, string>>,
): string {
  return `INTO ${table} (${columns.join(', ')}) SELECT ${columns.map((name) => values[name]).join(', ')}`;
}

/** The guide's statement as far as its FROM: a row that is there stays as it is. */
export const insertOrIgnore = <T extends Table>(
  connection: Connection,
  table: T,
  values: Readonly<Record<WrittenColumn<T>, string>>,
): string => `INSERT OR IGNORE ${intoTable(table, writtenColumns(connection, table), values)}`;

/** Without `xinfo`: what is generated is read and never written. */
const WRITABLE_QUERY = 'SELECT lower(name) FROM pragma_table_info(?)';

/** An `INTEGER PRIMARY KEY` numbers its rows itself. */
const hasTextId = (connection: Connection, table: Table): boolean =>
  connection
    .prepare("SELECT 1 FROM pragma_table_info(?) WHERE lower(name) = 'id' AND NOT (pk > 0 AND upper(type) = 'INTEGER')")
    .get(table) !== undefined;
