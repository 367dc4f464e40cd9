/** Rows of the backend's `model` table, which of them may become grants unnamed, and how rows of our tables are written. */
import { parsePattern } from '../policy/grant.ts';
import type { Connection } from './database.ts';
import { activeCondition, columnsOf } from './schema-reader.ts';

/** A user of the backend who is not its admin. */
export interface Maker {
  readonly id: string;
  /** Null where the backend has none, or has deleted the user. */
  readonly email: string | null;
}

export interface ModelRow {
  readonly rowid: number;
  readonly id: string;
  readonly hasBase: boolean;
  /** It stands on another model. mAI writes rows that stand on themselves: those are models like the others. */
  readonly isPreset: boolean;
  readonly isActive: boolean;
  /** The ordinary user who made it; undefined for what an admin or a script has made. */
  readonly maker: Maker | undefined;
}

interface StoredRow {
  readonly rowid: number;
  readonly id: string;
  readonly hasBase: number;
  readonly preset: number;
  readonly active: number;
  readonly owner: unknown;
  readonly known: string | null;
  readonly email: unknown;
  readonly role: unknown;
}

/** @returns rows by id; one whose id is no text is not a model @throws SqliteError */
export function readModelRows(connection: Connection): readonly ModelRow[] {
  const [columns, users] = [columnsOf(connection, 'model'), columnsOf(connection, 'user')];
  const owner = columns.has('user_id') ? 'm.user_id' : 'NULL';
  return connection
    .prepare<[], StoredRow>(
      `SELECT m.rowid AS rowid, m.id, m.base_model_id IS NOT NULL AS hasBase,
         m.base_model_id IS NOT NULL AND m.base_model_id <> m.id AS preset,
         ${activeCondition(columns.has('is_active'), 'm')} AS active,
         ${owner} AS owner, u.id AS known, ${users.has('email') ? 'u.email' : 'NULL'} AS email, u.role
       FROM model m LEFT JOIN "user" u ON u.id = ${owner} WHERE typeof(m.id) = 'text' ORDER BY m.id`,
    )
    .all()
    .map((row) => ({
      rowid: row.rowid,
      id: row.id,
      hasBase: row.hasBase === 1,
      isPreset: row.preset === 1,
      isActive: row.active === 1,
      maker: makerOf(row),
    }));
}

/** The backend gives its users UUIDs (models/auths.py): another owner whom it does not know was never one of them. */
const UUID = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i;

function makerOf({ owner, known, email, role }: StoredRow): Maker | undefined {
  if (typeof owner !== 'string') return undefined;
  const isOrdinary = known === null ? UUID.test(owner) : role !== 'admin';
  return isOrdinary ? { id: owner, email: typeof email === 'string' ? email : null } : undefined;
}

/** Whether a grant of this text is one of this model, and not of every id with its beginning, or of none. */
const isGrantable = (id: string): boolean => parsePattern(id)?.kind === 'exact';

/** Models that the deployment guide's migration would link, and that no organization should get in this way. */
export interface NotLinked {
  /** Ids that a grant would read as patterns, or that no request can name. */
  readonly unusable: readonly string[];
  /** Made by users who are no admins: to link these would let users grant themselves what a provider has one day. */
  readonly ofUsers: readonly string[];
}

interface Linkable extends NotLinked {
  /** `rowid` of each row without a base that may be linked. */
  readonly rowids: readonly number[];
}

/** @throws SqliteError */
export function readLinkable(connection: Connection): Linkable {
  const rows = readModelRows(connection).filter(({ hasBase }) => !hasBase);
  const usable = rows.filter(({ id }) => isGrantable(id));
  const own = usable.filter(({ maker }) => maker === undefined);
  return {
    rowids: own.map(({ rowid }) => rowid),
    unusable: rows.filter(({ id }) => !isGrantable(id)).map(({ id }) => id),
    ofUsers: usable.filter(({ maker }) => maker !== undefined).map(({ id }) => id),
  };
}

/** A condition on `model`, for a statement with the parameter `$rowids`: JSON of `Linkable.rowids`. */
export const IS_LINKABLE = 'rowid IN (SELECT value FROM json_each($rowids))';

// The columns of the deployment guide's statements, of which a table made by hand may lack some.

const GUIDE_COLUMNS = {
  organization_members: ['id', 'organization_id', 'user_id', 'role', 'is_active', 'joined_at'],
  organization_models: ['id', 'organization_id', 'model_id', 'is_active', 'created_at', 'updated_at'],
} as const;

type Table = keyof typeof GUIDE_COLUMNS;
type WrittenColumn<T extends Table> = (typeof GUIDE_COLUMNS)[T][number];

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
