/** What the migration of a deployment to one organization would do: counted in one reading transaction. */
import { OperationFailure } from '../backend-file/failure.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import type { Organization } from '../store/initialize.ts';
import type { NotLinked } from '../store/model-rows.ts';
import { IS_LINKABLE, readLinkable } from '../store/model-rows.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition } from '../store/schema-reader.ts';
import { COUNTED_TABLES, isOn } from '../store/tables.ts';
import { requireUsableId } from './organizations.ts';

/** What a migration would do, or has done. */
export interface Migration {
  /** Objects that are missing and are made, as `kind name`. */
  readonly made: readonly string[];
  readonly users: UserCounts;
  readonly models: ModelCounts;
  /** mAI's `client_organizations` says that the organization is off: it gives nothing to anybody. */
  readonly switchedOff: boolean;
}

export interface UserCounts {
  /** Become members. */
  readonly joining: number;
  /** Of those, admins of the backend: they become admins of the organization. */
  readonly admins: number;
  /** Of those that join, banned ones: linked as by the guide's script, and refused by the gate all the same. */
  readonly banned: number;
  /** Of those that join, members of another organization, who are then in both. */
  readonly elsewhere: number;
  /** Rows of the organization that are there already, and those of them that are switched off; they stay as they are. */
  readonly present: number;
  readonly presentOff: number;
  readonly pending: number;
  readonly withoutRole: number;
}

export interface ModelCounts {
  readonly linked: number;
  /** Of those, models that are inactive in the backend: their grant begins switched off. */
  readonly inactive: number;
  readonly present: number;
  readonly presentOff: number;
  /** Models with a base are not linked: they follow it. */
  readonly presets: number;
  /** What the guide's script would link, too. */
  readonly leftOut: NotLinked;
}

/** @returns whether there is anything to do */
export const isNeeded = ({ made, users, models }: Migration): boolean =>
  made.length > 0 || users.joining > 0 || models.linked > 0;

/**
 * @param isConfigured the environment names the organization already
 * @throws OperationFailure as `reading`, where a table that is there cannot take members or models, and where a new
 *   organization cannot have that id
 */
export function planMigration(
  operation: Operation,
  organization: Organization,
  isConfigured = false,
): Promise<Migration> {
  return reading(operation, 'backend', (connection, schema) => {
    if (!isConfigured) requireUsableId(connection, organization.id);
    return countMigration(connection, schema, organization);
  });
}

/** @throws OperationFailure where a table that is there cannot take members or models */
export function countMigration(connection: Connection, schema: Schema, { id }: Organization): Migration {
  requireUsableTables(schema);
  const [members, grants] = COUNTED_TABLES;
  const has = (table: string): boolean => !schema.missing.includes(`table ${table}`);
  // SQLite answers with the columns that the statement names: the casts below say which
  const one = (sql: string, more: object = {}): unknown => connection.prepare(sql).get({ organization: id, ...more });
  const { rowids, ...leftOut } = readLinkable(connection);
  const linkable = { rowids: JSON.stringify(rowids) };
  const present = (table: string, hasActive: boolean): Present =>
    has(table) ? (one(presentIn(table, hasActive)) as Present) : { present: 0, presentOff: 0 };
  return {
    made: schema.missing,
    users: {
      ...(one(
        has(members)
          ? JOINING(`u.id NOT IN (${keysIn(members, 'user_id')})`, `u.id IN (SELECT user_id FROM ${members})`)
          : JOINING('1', '0'),
      ) as Joining),
      ...present(members, schema.memberActive),
    },
    models: {
      ...(one(LINKING(has(grants) ? `u.id NOT IN (${keysIn(grants, 'model_id')})` : '1'), linkable) as Linking),
      ...present(grants, schema.grantActive),
      leftOut,
    },
    switchedOff:
      schema.clientOrganizations &&
      one(`SELECT 1 FROM client_organizations WHERE id = $organization AND NOT ${isOn('is_active')}`) !== undefined,
  };
}

/** One of the two may be missing and the other one be there; what is there must have the columns that decide. */
function requireUsableTables({ problem }: Schema): void {
  if (problem === undefined || COUNTED_TABLES.some((table) => problem === `table ${table} is missing`)) return;
  throw new OperationFailure(
    `The ${problem}, so nobody can be linked there. Nothing was changed. Rename the table, and it is made as in the deployment guide.`,
  );
}

type Joining = Omit<UserCounts, keyof Present>;
type Linking = Omit<ModelCounts, keyof Present | 'leftOut'>;

interface Present {
  readonly present: number;
  readonly presentOff: number;
}

/** Keys that the organization has rows of. The names come from this file and no value stands in the text. */
export const keysIn = (table: string, key: string): string =>
  `SELECT ${key} FROM ${table} WHERE organization_id = $organization AND ${key} IS NOT NULL`;

const presentIn = (table: string, hasActive: boolean): string =>
  `SELECT count(*) AS present, count(CASE WHEN NOT ${activeCondition(hasActive)} THEN 1 END) AS presentOff
   FROM ${table} WHERE organization_id = $organization`;

const JOINING = (isNew: string, isElsewhere: string): string =>
  `SELECT count(CASE WHEN role != 'pending' THEN 1 END) AS joining,
     count(CASE WHEN role = 'admin' THEN 1 END) AS admins,
     count(CASE WHEN role = 'banned' THEN 1 END) AS banned,
     count(CASE WHEN role != 'pending' AND ${isElsewhere} THEN 1 END) AS elsewhere,
     count(CASE WHEN role = 'pending' THEN 1 END) AS pending,
     count(CASE WHEN role IS NULL THEN 1 END) AS withoutRole
   FROM "user" u WHERE ${isNew} AND $organization IS NOT NULL`;

const LINKING = (isNew: string): string =>
  `SELECT count(CASE WHEN ${IS_LINKABLE} AND ${isNew} THEN 1 END) AS linked,
     count(CASE WHEN ${IS_LINKABLE} AND ${isNew} AND is_active = 0 THEN 1 END) AS inactive,
     count(CASE WHEN base_model_id IS NOT NULL THEN 1 END) AS presets
   FROM model u WHERE $organization IS NOT NULL`;
