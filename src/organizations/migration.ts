/**
 * The deployment guide's migration of an existing deployment: counted first, then the very rows and ids of its script in
 * one transaction. As there, banned users are linked and pending ones are not; a row that is there stays as it is,
 * switched off or not. Of the models, those of `NotLinked` are left out.
 */
import { accessSync, constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { numbered, toMoment } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { type Organization, initialize } from '../store/initialize.ts';
import { IS_LINKABLE, readLinkable } from '../store/models.ts';
import { SWITCH_QUERY } from '../store/queries.ts';
import {
  type Schema,
  COUNTED_TABLES,
  ORGANIZATION_MEMBERS,
  ORGANIZATION_MODELS,
  activeCondition,
} from '../store/schema.ts';
import { type OnStep, makeVerifiedCopy } from '../upkeep/backup.ts';
import { discard, prepareDirectory, publish, requireSpace, sizeOf } from '../upkeep/files.ts';
import { MEMBERS_OF, MODELS_OF, linkModels, linkUsers } from './linking.ts';
import { requireUsableId } from './organizations.ts';

/** What a migration would do, or has done: figures of the record, and what sentences name. */
export type Migration = ReturnType<typeof countMigration>;

/** @returns whether there is anything to do */
export const isNeeded = ({ made, users, models }: Migration['figures']): boolean =>
  made.length > 0 || users.joined > 0 || models.linked > 0;

/**
 * @param isConfigured the environment names the organization already
 * @throws OperationFailure as `reading`, where a table that is there cannot take members or models, and where a new
 *   organization cannot have that id
 */
export const planMigration = (
  operation: Operation,
  organization: Organization,
  isConfigured = false,
): Promise<Migration> =>
  reading(operation, 'backend', (connection, schema) => {
    if (!isConfigured) requireUsableId(connection, organization.id);
    return countMigration(connection, schema, organization.id);
  });

/** @throws OperationFailure where a table that is there cannot take members or models */
function countMigration(connection: Connection, schema: Schema, organization: string) {
  requireUsableTables(schema);
  const { rowids, ...leftOut } = readLinkable(connection);
  const count = (from: string, which: string): number =>
    connection
      .prepare<[object], number>(`SELECT count(*) FROM ${from} WHERE ${which}`)
      .pluck()
      .get({ organization, rowids: JSON.stringify(rowids) }) ?? 0;
  const has = (table: string): boolean => !schema.missing.includes(`table ${table}`);
  const [members, grants] = COUNTED_TABLES;
  const rows = (table: string, hasActive: boolean) => {
    const mine = 'organization_id = $organization';
    if (!has(table)) return { present: 0, present_off: 0 };
    return { present: count(table, mine), present_off: count(table, `${mine} AND NOT ${activeCondition(hasActive)}`) };
  };
  const newUser = has(members) ? `id NOT IN (${MEMBERS_OF})` : '1';
  const isElsewhere = has(members) ? `id IN (SELECT user_id FROM ${members})` : '0';
  const newModel = `${IS_LINKABLE} AND ${has(grants) ? `id NOT IN (${MODELS_OF})` : '1'}`;
  const users = (which: string): number => count('"user"', `${which} AND ${newUser}`);
  const figures = {
    made: schema.missing,
    failed: UNDONE.failed,
    users: {
      joined: users("role != 'pending'"),
      joined_admins: users("role = 'admin'"),
      joined_banned: users("role = 'banned'"),
      joined_elsewhere: users(`role != 'pending' AND ${isElsewhere}`),
      ...rows(members, schema.memberActive),
      left_out_pending: users("role = 'pending'"),
      left_out_without_role: users('role IS NULL'),
      left_out_id_taken: 0,
    },
    models: {
      linked: count('model', newModel),
      linked_inactive: count('model', `${newModel} AND is_active = 0`),
      ...rows(grants, schema.grantActive),
      left_out_presets: count('model', 'base_model_id IS NOT NULL'),
      left_out_unusable: leftOut.unusable.length,
      left_out_of_users: leftOut.ofUsers.length,
      left_out_id_taken: 0,
    },
    total: UNDONE.total,
  };
  const isActive = !schema.clientOrganizations || connection.prepare(SWITCH_QUERY).pluck().get(organization) !== 0;
  return { figures, leftOut, isActive };
}

const UNDONE: {
  /** Objects that a hand-made table does not allow, each with SQLite's words. */
  readonly failed: readonly string[];
  /** Rows of the organization afterwards, switched off or not. */
  readonly total: { readonly members: number; readonly models: number } | null;
} = { failed: [], total: null };

/** One of the two may be missing and the other one be there; what is there must have the columns that decide. */
function requireUsableTables({ problem }: Schema): void {
  if (problem === undefined || COUNTED_TABLES.some((table) => problem === `table ${table} is missing`)) return;
  throw new OperationFailure(
    `The ${problem}, so no user can be linked there. Nothing was changed. Rename the table, and it is made as in the deployment guide.`,
  );
}

/** @param onProgress rows linked, and rows to link @throws OperationFailure; then nothing was changed */
export const migrate = (
  operation: Operation,
  { id: organization }: Organization,
  onProgress: (done: number, total: number) => void,
): Promise<Migration> =>
  changing(operation, 'backend', async (connection, schema) => {
    const planned = countMigration(connection, schema, organization);
    const { users, models } = planned.figures;
    const total = users.joined + models.linked;
    // new tables are filled before there is an index to keep or a trigger to fire, so that writers wait half as long
    const isUntouched = COUNTED_TABLES.every((table) => schema.missing.includes(`table ${table}`));
    if (isUntouched) for (const { sql } of [ORGANIZATION_MODELS, ORGANIZATION_MEMBERS]) connection.exec(sql);
    const madeBefore = isUntouched ? undefined : make(connection);
    const { linked: joined } = await linkUsers(connection, {
      ...{ organization, which: "role != 'pending'", signal: operation.patience.signal },
      onProgress: (done) => onProgress(done, total),
    });
    const linked = linkModels(connection, organization);
    const { made, failed } = madeBefore ?? make(connection);
    onProgress(total, total);
    const rowsOf = (table: string): number =>
      connection
        .prepare<[string], number>(`SELECT count(*) FROM ${table} WHERE organization_id = ?`)
        .pluck()
        .get(organization) ?? 0;
    const figures = {
      made: isUntouched ? [...COUNTED_TABLES.map((table) => `table ${table}`), ...made] : made,
      failed,
      users: { ...users, joined, left_out_id_taken: users.joined - joined },
      models: { ...models, linked, left_out_id_taken: models.linked - linked },
      total: { members: rowsOf('organization_members'), models: rowsOf('organization_models') },
    };
    return { ...planned, figures };
  });

/** @throws OperationFailure where rows forbid an index: the guide's script fails there too */
function make(connection: Connection) {
  const { made, failed } = initialize(connection);
  const forbidden = failed.find((words) => words.includes('SQLITE_CONSTRAINT'));
  if (forbidden === undefined) return { made, failed };
  throw new OperationFailure(
    `The rows that are there do not allow ${forbidden}. Nothing was changed. Delete the rows that are there twice first.`,
  );
}

/**
 * The backup before a migration.
 * @param directory undefined: beside the database, as in the deployment guide
 * @returns a whole and checked copy, of a name such as `webui.db.backup.20260131_030000`
 * @throws OperationFailure where the database is damaged or the copy cannot be made; then nothing was left behind
 */
export async function backUpBeforeMigration(
  operation: Operation,
  { directory = dirname(operation.path), now, onStep }: { directory?: string | undefined; now: Date; onStep: OnStep },
) {
  requireWritable(operation.path);
  prepareDirectory(directory);
  requireSpace(sizeOf(operation.path), directory, 'the backup');
  const nameOf = (attempt: number): string => numbered(`${basename(operation.path)}.backup.${toMoment(now)}`, attempt);
  const { partial, facts, complaints } = await makeVerifiedCopy(operation, join(directory, nameOf(1)), onStep);
  try {
    return { path: publish(partial, nameOf), facts, complaints };
  } catch (error) {
    discard(partial);
    throw toFailure(error, directory);
  }
}

/** A backup of a file that cannot be migrated would only be in the way. */
function requireWritable(path: string): void {
  for (const needed of [path, dirname(path)]) {
    try {
      accessSync(needed, constants.W_OK);
    } catch (error) {
      throw toFailure(error, needed);
    }
  }
}
