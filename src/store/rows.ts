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

export type ModelRow = ReturnType<typeof readModelRows>[number];

type StoredRow = Record<'rowid' | 'hasBase' | 'preset' | 'active', number> &
  Record<'owner' | 'email' | 'role', unknown> & { readonly id: string; readonly known: string | null };

/** @returns rows by id; one whose id is no text is not a model @throws SqliteError */
export function readModelRows(connection: Connection) {
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
      /** It stands on another model. mAI writes rows that stand on themselves: those are models like the others. */
      isPreset: row.preset === 1,
      isActive: row.active === 1,
      /** The ordinary user who made it; undefined for what an admin or a script has made. */
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

/** Models that the deployment guide's migration would link, and that no organization should get in this way. */
export interface NotLinked {
  /** Ids that a grant would read as patterns, or that no request can name. */
  readonly unusable: readonly string[];
  /** Made by users who are no admins: to link these would let users grant themselves what a provider has one day. */
  readonly ofUsers: readonly string[];
}

/** @returns `rowid` of each row without a base that may be linked, and the ids of those that may not @throws SqliteError */
export function readLinkable(connection: Connection): NotLinked & { readonly rowids: readonly number[] } {
  const rows = readModelRows(connection).filter(({ hasBase }) => !hasBase);
  const [usable, unusable] = [true, false].map((can) =>
    rows.filter(({ id }) => (parsePattern(id)?.kind === 'exact') === can),
  );
  const { own = [], ofUsers = [] } = Object.groupBy(usable ?? [], ({ maker }) => (maker ? 'ofUsers' : 'own'));
  const ids = (of: readonly ModelRow[] = []) => of.map(({ id }) => id);
  return { rowids: own.map(({ rowid }) => rowid), unusable: ids(unusable), ofUsers: ids(ofUsers) };
}

/** A condition on `model`, for a statement with the parameter `$rowids`: JSON of what `readLinkable` returns. */
export const IS_LINKABLE = 'rowid IN (SELECT value FROM json_each($rowids))';

/** The guide's rows by column, in its order: SQL over `"user" u` or `model u`, with `$organization` and `$seconds`. */
const GUIDE_ROWS = {
  organization_members: {
    id: `'om_' || u.id || '_' || $organization`,
    organization_id: '$organization',
    user_id: 'u.id',
    role: `CASE WHEN u.role = 'admin' THEN 'admin' ELSE 'member' END`,
    is_active: '1',
    joined_at: '$seconds',
  },
  organization_models: {
    id: `'orgmod_' || $organization || '_' || u.id`,
    organization_id: '$organization',
    model_id: 'u.id',
    is_active: 'u.is_active',
    created_at: '$seconds',
    updated_at: '$seconds',
  },
};

type Table = keyof typeof GUIDE_ROWS;

/** Without `xinfo`: what is generated is read and never written. An `INTEGER PRIMARY KEY` numbers its rows itself. */
const WRITABLE_QUERY = `SELECT lower(name) FROM pragma_table_info(?)
  WHERE NOT (lower(name) = 'id' AND pk > 0 AND upper(type) = 'INTEGER')`;

/** @returns the guide's columns that this file's table has and does not fill by itself, in the guide's order */
export function writtenColumns(connection: Connection, table: Table): readonly string[] {
  const present = new Set(connection.prepare<[string], string>(WRITABLE_QUERY).pluck().all(table));
  return Object.keys(GUIDE_ROWS[table]).filter((name) => present.has(name));
}

/**
 * @param values SQL in place of the guide's, by column
 * @param verb by which a row that is there stays as it is
 * @returns the statement that writes rows of the guide, as far as its FROM
 */
export function insertRows(
  connection: Connection,
  table: Table,
  values: Readonly<Record<string, string>> = {},
  verb = 'INSERT OR IGNORE',
): string {
  const row: Readonly<Record<string, string>> = { ...GUIDE_ROWS[table], ...values };
  const columns = writtenColumns(connection, table);
  return `${verb} INTO ${table} (${columns.join(', ')}) SELECT ${columns.map((name) => row[name]).join(', ')}`;
}

export const nowInSeconds = (): number => Math.floor(Date.now() / 1000);

/**
 * Grants an organization every model without a base that it has no row of, each with its own `is_active`, as the
 * deployment guide's migration does, but for `NotLinked`.
 */
export function linkModels(connection: Connection, organization: string) {
  const { rowids, ...modelsLeftOut } = readLinkable(connection);
  const { changes: models } = connection
    .prepare(
      `${insertRows(connection, 'organization_models')} FROM model u WHERE ${IS_LINKABLE}
       AND u.id NOT IN (SELECT model_id FROM organization_models WHERE organization_id = $organization AND model_id IS NOT NULL)`,
    )
    .run({ organization, rowids: JSON.stringify(rowids), seconds: nowInSeconds() });
  return { models, modelsLeftOut };
}
