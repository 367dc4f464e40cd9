/**
 * The deployment guide's migration of an existing deployment: the very rows and ids of its script, in one transaction.
 * As there, banned users are linked and pending ones are not; what is there already stays as it is, switched off or not.
 * Of the models, those of `NotLinked` are left out.
 */
import { accessSync, constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { numbered, toMoment } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { changing, hearStop } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import type { Organization } from '../store/initialize.ts';
import { initialize, nowInSeconds } from '../store/initialize.ts';
import { IS_LINKABLE, readLinkable } from '../store/model-rows.ts';
import type { Schema } from '../store/schema-reader.ts';
import { COUNTED_TABLES, ORGANIZATION_MEMBERS, ORGANIZATION_MODELS } from '../store/tables.ts';
import { MEMBER_VALUES, MODEL_VALUES, insertOrIgnore } from '../store/written-columns.ts';
import { prepareDirectory } from '../upkeep/backup.ts';
import { discard, publish, requireSpace, sizeOf } from '../upkeep/files.ts';
import type { OnStep, VerifiedCopy } from '../upkeep/verified-copy.ts';
import { makeVerifiedCopy } from '../upkeep/verified-copy.ts';
import type { Migration } from './migration-plan.ts';
import { countMigration, keysIn } from './migration-plan.ts';
import { explaining } from './rows.ts';

export interface MigrationResult extends Migration {
  /** Objects that a hand-made table does not allow, each with SQLite's words. */
  readonly failed: readonly string[];
  /** Rows that could not be linked, because the guide's id for them is that of somebody else's row. */
  readonly idTaken: { readonly users: number; readonly models: number };
  /** Rows of the organization afterwards, switched off or not. */
  readonly total: { readonly members: number; readonly models: number };
}

/** @param onProgress rows linked, and rows to link @throws OperationFailure; then nothing was changed */
export function migrate(
  operation: Operation,
  organization: Organization,
  onProgress: (done: number, total: number) => void,
): Promise<MigrationResult> {
  const { signal } = operation.patience;
  return changing(operation, 'backend', async (connection, schema) => {
    const planned = countMigration(connection, schema, organization);
    const total = planned.users.joining + planned.models.linked;
    const link = async (): Promise<Links> => {
      const users = await linkUsers(connection, organization, async (done) => {
        onProgress(done, total);
        await hearStop(signal);
      });
      return { users, models: linkModels(connection, organization) };
    };
    const { made, failed, links } = await (isUntouched(schema)
      ? linkFirst(connection, link)
      : makeFirst(connection, link));
    onProgress(total, total);
    return {
      ...planned,
      made,
      failed,
      users: { ...planned.users, joining: links.users },
      models: { ...planned.models, linked: links.models },
      idTaken: { users: planned.users.joining - links.users, models: planned.models.linked - links.models },
      total: {
        members: countRows(connection, 'organization_members', organization),
        models: countRows(connection, 'organization_models', organization),
      },
    };
  });
}

interface Links {
  readonly users: number;
  readonly models: number;
}

interface Done {
  readonly made: readonly string[];
  readonly failed: readonly string[];
  readonly links: Links;
}

const isUntouched = ({ missing }: Schema): boolean =>
  COUNTED_TABLES.every((table) => missing.includes(`table ${table}`));

/** New tables are filled before there is an index to keep or a trigger to fire, so that writers wait half as long. */
async function linkFirst(connection: Connection, link: () => Promise<Links>): Promise<Done> {
  connection.exec(ORGANIZATION_MODELS.sql);
  connection.exec(ORGANIZATION_MEMBERS.sql);
  const links = await link();
  const { made, failed } = make(connection);
  return { made: [...COUNTED_TABLES.map((table) => `table ${table}`), ...made], failed, links };
}

async function makeFirst(connection: Connection, link: () => Promise<Links>): Promise<Done> {
  const made = make(connection);
  return { ...made, links: await link() };
}

/** @throws OperationFailure where rows forbid an index: the guide's script fails there too */
function make(connection: Connection): Omit<Done, 'links'> {
  const { made, failed } = initialize(connection);
  const forbidden = failed.find((words) => words.includes('SQLITE_CONSTRAINT'));
  if (forbidden === undefined) return { made, failed };
  throw new OperationFailure(
    `The rows that are there do not allow ${forbidden}. Nothing was changed. Delete the rows that are there twice first.`,
  );
}

/** Some 100 ms, after which the progress is drawn. */
const ROWS_A_STEP = 10_000;

async function linkUsers(
  connection: Connection,
  { id }: Organization,
  onProgress: (done: number) => Promise<void>,
): Promise<number> {
  const sql = `${insertOrIgnore(connection, 'organization_members', MEMBER_VALUES)} FROM "user" u
     WHERE u.rowid BETWEEN $from AND $to AND u.role != 'pending' ${unlessThere(connection, 'organization_members', 'user_id')}`;
  const insert = explaining('organization_members', () => connection.prepare(sql));
  const rows = connection.prepare<[], number>('SELECT rowid FROM "user" ORDER BY rowid').pluck().all();
  const seconds = nowInSeconds();
  let linked = 0;
  for (let first = 0; first < rows.length; first += ROWS_A_STEP) {
    const step = rows.slice(first, first + ROWS_A_STEP);
    const values = { organization: id, seconds, from: step[0], to: step.at(-1) };
    linked += explaining('organization_members', () => insert.run(values).changes);
    await onProgress(linked);
  }
  return linked;
}

function linkModels(connection: Connection, { id }: Organization): number {
  const sql = `${insertOrIgnore(connection, 'organization_models', MODEL_VALUES)} FROM model u
     WHERE ${IS_LINKABLE} ${unlessThere(connection, 'organization_models', 'model_id')}`;
  const rowids = JSON.stringify(readLinkable(connection).rowids);
  const values = { organization: id, seconds: nowInSeconds(), rowids };
  return explaining('organization_models', () => connection.prepare(sql).run(values).changes);
}

type Table = 'organization_members' | 'organization_models';

/** The guide's tables refuse a second row by themselves. Hand-made ones may take it: there it is looked for. */
function unlessThere(connection: Connection, table: Table, key: string): string {
  const columns = connection
    .prepare<[string], string>(
      'SELECT group_concat(name) FROM (SELECT lower(name) AS name FROM pragma_index_info(?) ORDER BY 1)',
    )
    .pluck();
  const unique = connection
    .prepare<[string], string>('SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND partial = 0')
    .pluck()
    .all(table);
  const wanted = [key, 'organization_id'].toSorted().join(',');
  const isUnique = unique.some((index) => columns.get(index) === wanted);
  return isUnique ? '' : `AND u.id NOT IN (${keysIn(table, key)})`;
}

const countRows = (connection: Connection, table: Table, { id }: Organization): number =>
  connection.prepare<[string], number>(`SELECT count(*) FROM ${table} WHERE organization_id = ?`).pluck().get(id) ?? 0;

// The backup before a migration: beside the database as in the deployment guide, or in a folder of the operator's.

export interface MigrationBackup extends Omit<VerifiedCopy, 'partial'> {
  readonly path: string;
}

/**
 * @param directory undefined: beside the database
 * @returns `webui.db.backup.20260131_030000`, a whole and checked copy
 * @throws OperationFailure where the database is damaged or the copy cannot be made; then nothing was left behind
 */
export async function backUpBeforeMigration(
  operation: Operation,
  { directory = dirname(operation.path), now, onStep }: { directory?: string | undefined; now: Date; onStep: OnStep },
): Promise<MigrationBackup> {
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

/** A backup of what cannot be migrated afterwards would only be in the way. */
function requireWritable(path: string): void {
  for (const needed of [path, dirname(path)]) {
    try {
      accessSync(needed, constants.W_OK);
    } catch (error) {
      throw toFailure(error, needed);
    }
  }
}
