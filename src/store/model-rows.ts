/** Rows of the backend's `model` table, and which of them may become grants without anybody having named them. */
import { parsePattern } from '../policy/grant.ts';
import type { Connection } from './database.ts';
import { activeCondition, columnsOf } from './schema-reader.ts';

/** Somebody who uses the backend without being its admin. */
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

/** @returns rows by id; one whose id is no text is no model to anybody @throws SqliteError */
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
export const isGrantable = (id: string): boolean => parsePattern(id)?.kind === 'exact';

/** Models that the deployment guide's migration would link, and that nobody should get in this way. */
export interface NotLinked {
  /** Ids that a grant would read as patterns, or that no request can name. */
  readonly unusable: readonly string[];
  /** Made by users who are no admins: to link these would let users grant themselves what a provider has one day. */
  readonly ofUsers: readonly string[];
}

export interface Linkable extends NotLinked {
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
