/** `init` and `migrate`: the very rows and ids of the guide's script, counted first and then written in one transaction. */
import { basename, dirname, join } from 'node:path';
import { toFailure, unchanged } from '../backend-file/failure.ts';
import { numbered, toMoment } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import { type Connection, isFile } from '../store/database.ts';
import { type Initialization, type Organization, NOTHING_LINKED, isComplete } from '../store/initialize.ts';
import { IS_LINKABLE, readLinkable } from '../store/models.ts';
import { initializeIn } from '../store/postgres/initialize.ts';
import { SWITCH_QUERY } from '../store/queries.ts';
import {
  type Schema,
  COUNTED_TABLES,
  SCHEMA_OBJECTS,
  activeCondition,
  isOff,
  objectsOf,
  readSchema,
} from '../store/schema.ts';
import { discard, prepareDirectory, publish } from '../upkeep/files.ts';
import { BACKEND } from '../upkeep/kinds.ts';
import { type OnStep, makeVerifiedCopy } from '../upkeep/verified-copy.ts';
import { findUnwritable } from './explanation.ts';
import { MEMBERS_OF, MODELS_OF, linkModels, linkUsers, readCount, requireUsableId } from './organizations.ts';

/** Makes what is missing. A complete file is only read, so that one that may not be written is no failure. */
export async function initializeBackend(operation: Operation, organization?: Organization, isConfigured = false) {
  const isDone = await reading(operation, 'backend', (connection) => {
    if (!isComplete(connection, organization)) return undefined;
    return describe(connection, { made: [], failed: [], linked: NOTHING_LINKED }, organization);
  });
  if (isDone !== undefined) return isDone;
  return changing(operation, 'backend', async (connection) => {
    if (organization !== undefined && !isConfigured) requireUsableId(connection, organization.id);
    const done = await initializeIn(connection, organization);
    return describe(connection, done, organization, readSchema(connection).problem);
  });
}

function describe(
  connection: Connection,
  done: Initialization,
  organization?: Organization,
  problem: string | null = null,
) {
  const { made, failed, linked } = done;
  const objects = objectsOf(connection).map(({ kind, name }) => {
    const start = `${kind} ${name}`;
    const failure = failed.find((line) => line.startsWith(`${start}: `))?.slice(start.length + 2) ?? null;
    const state = failure !== null ? 'failed' : made.includes(start) ? 'made' : 'present';
    return { kind, name, state, failure } as const;
  });
  const count = (wanted: 'made' | 'failed'): number => objects.filter(({ state }) => state === wanted).length;
  const record = {
    objects,
    made: count('made'),
    failed: count('failed'),
    organization: organization?.id ?? null,
    linked_users: linked.users,
    linked_models: linked.models,
    left_out_users: linked.usersElsewhere,
    left_out_unusable: linked.modelsLeftOut.unusable.length,
    left_out_of_users: linked.modelsLeftOut.ofUsers.length,
    problem,
  };
  return { record, leftOut: linked.modelsLeftOut };
}

export type Migration = ReturnType<typeof countMigration>;

export const isNeeded = ({ made, users, models }: Migration['figures']): boolean =>
  made.length > 0 || users.joined > 0 || models.linked > 0;

export const planMigration = (operation: Operation, organization: Organization, isConfigured = false) =>
  reading(operation, 'backend', (connection, schema) => {
    if (!isConfigured) requireUsableId(connection, organization.id);
    return countMigration(connection, schema, organization.id);
  });

function countMigration(connection: Connection, schema: Schema, organization: string) {
  const { problem, missing, memberActive, grantActive } = schema;
  if (problem !== undefined && !COUNTED_TABLES.some((table) => problem === `table ${table} is missing`)) {
    const remedy = 'Rename the table, and it is made as in the deployment guide.';
    throw unchanged(`The ${problem}, so no user can be linked there.`, remedy);
  }
  const { rowids, ...leftOut } = readLinkable(connection);
  const parameters = { organization, rowids: JSON.stringify(rowids) };
  const count = (from: string, which: string): number =>
    readCount(connection, `SELECT count(*) FROM ${from} WHERE ${which}`, parameters);
  const has = (table: string): boolean => !missing.includes(`table ${table}`);
  const present = (table: string, hasActive: boolean) => {
    const rows = (which: string): number => (has(table) ? count(table, `organization_id = $organization${which}`) : 0);
    return { present: rows(''), present_off: rows(` AND NOT ${activeCondition(hasActive)}`) };
  };
  const [members, grants] = COUNTED_TABLES;
  const newUser = has(members) ? `id NOT IN (${MEMBERS_OF})` : 'TRUE';
  const newModel = `${IS_LINKABLE} AND ${has(grants) ? `id NOT IN (${MODELS_OF})` : 'TRUE'}`;
  const users = (which: string): number => count('"user"', `${which} AND ${newUser}`);
  const figures = {
    made: missing,
    failed: [] as readonly string[],
    users: {
      joined: users(MAY_JOIN),
      joined_admins: users("role = 'admin'"),
      joined_banned: users("role = 'banned'"),
      joined_elsewhere: has(members) ? users(`${MAY_JOIN} AND id IN (SELECT user_id FROM ${members})`) : 0,
      ...present(members, memberActive),
      left_out_pending: users("role = 'pending'"),
      left_out_without_role: users('role IS NULL'),
      left_out_id_taken: 0,
    },
    models: {
      linked: count('model', newModel),
      linked_inactive: count('model', `${newModel} AND ${isOff('is_active')}`),
      ...present(grants, grantActive),
      left_out_presets: count('model', 'base_model_id IS NOT NULL'),
      left_out_unusable: leftOut.unusable.length,
      left_out_of_users: leftOut.ofUsers.length,
      left_out_id_taken: 0,
    },
    total: null as { readonly members: number; readonly models: number } | null,
  };
  const isActive = !schema.clientOrganizations || connection.prepare(SWITCH_QUERY).pluck().get(organization) !== 0;
  return { figures, leftOut, isActive };
}

const MAY_JOIN = "role != 'pending'";

/** @throws OperationFailure where tables or rows that are there forbid it; then nothing was changed */
export const migrate = (operation: Operation, { id: organization }: Organization): Promise<Migration> =>
  changing(operation, 'backend', async (connection, schema) => {
    const planned = countMigration(connection, schema, organization);
    const { users, models } = planned.figures;
    // new tables are filled before there is an index to keep or a trigger to fire, so that writers wait half as long
    const isUntouched =
      isFile(connection) && COUNTED_TABLES.every((table) => schema.missing.includes(`table ${table}`));
    const ours = SCHEMA_OBJECTS.filter(({ name }) => COUNTED_TABLES.some((table) => table === name));
    if (isUntouched) for (const { sql } of ours) connection.exec(sql);
    const madeBefore = isUntouched ? undefined : await make(connection);
    const joined = linkUsers(connection, organization, MAY_JOIN);
    const linked = linkModels(connection, organization);
    const { made, failed } = madeBefore ?? (await make(connection));
    const rowsOf = (table: string): number =>
      readCount(connection, `SELECT count(*) FROM ${table} WHERE organization_id = $organization`, { organization });
    const figures = {
      made: isUntouched ? [...COUNTED_TABLES.map((table) => `table ${table}`), ...made] : made,
      failed,
      users: { ...users, joined, left_out_id_taken: users.joined - joined },
      models: { ...models, linked, left_out_id_taken: models.linked - linked },
      total: { members: rowsOf('organization_members'), models: rowsOf('organization_models') },
    };
    return { ...planned, figures };
  });

async function make(connection: Connection): Promise<Pick<Initialization, 'made' | 'failed'>> {
  const { made, failed } = await initializeIn(connection);
  const forbidden = failed.find((words) => /SQLITE_CONSTRAINT|: 23505:/.test(words));
  if (forbidden === undefined) return { made, failed };
  throw unchanged(`The rows that are there do not allow ${forbidden}.`, 'Delete the rows that are there twice first.');
}

/** @returns a whole and checked copy, of a name such as `webui.db.backup.20260131_030000` @throws OperationFailure */
export async function backUpBeforeMigration(
  operation: Operation,
  { directory = dirname(operation.path), now, onStep }: { directory?: string | undefined; now: Date; onStep: OnStep },
) {
  const stuck = findUnwritable(operation.path);
  if (stuck !== undefined) throw toFailure(stuck.error, stuck.target);
  prepareDirectory(directory);
  const nameOf = (attempt: number): string => numbered(`${basename(operation.path)}.backup.${toMoment(now)}`, attempt);
  const { partial, facts, complaints } = await makeVerifiedCopy(operation, BACKEND, join(directory, nameOf(1)), onStep);
  try {
    return { path: publish(partial, nameOf), facts, complaints };
  } catch (error) {
    discard(partial);
    throw toFailure(error, directory);
  }
}
