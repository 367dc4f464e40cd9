/**
 * `backup --policy`: the rows of our three tables as one file, which either engine takes. Of tables made by hand it keeps what
 * their rows mean to the gate: a switch is 0 or 1, and a row that means nothing is left out, and counted.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { OperationFailure, toFailure } from '../backend-file/failure.ts';
import { numbered, secondsSince, toMoment } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { readBudgetEntries } from '../store/budgets.ts';
import type { Connection } from '../store/database.ts';
import { activeCondition, columnsOf } from '../store/schema.ts';
import { POLICY_BACKUP, deleteOldBackups } from '../upkeep/backup.ts';
import { createPartial, discard, prepareDirectory, publish, removeStalePartials, sizeOf } from '../upkeep/files.ts';
import { type LinkTable, GRANTS, MEMBERS, readAll } from './organizations.ts';

type Value = string | number | null;

/** Columns that are not here are none of the policy's. */
export const POLICY_COLUMNS = {
  organization_members: ['id', 'organization_id', 'user_id', 'role', 'is_active', 'joined_at'],
  organization_models: ['id', 'organization_id', 'model_id', 'is_active', 'created_at', 'updated_at'],
  organization_budgets: [
    ...['id', 'organization_id', 'measure', 'amount', 'period', 'scope', 'soft_percent', 'is_hard'],
    ...['time_zone', 'valid_from', 'valid_to', 'raised', 'raised_until', 'is_active'],
  ],
} as const;

export type PolicyTable = keyof typeof POLICY_COLUMNS;
export const POLICY_TABLES = Object.keys(POLICY_COLUMNS) as readonly PolicyTable[];

/** By table rows in the order of its columns. */
export type PolicyRows = Readonly<Record<PolicyTable, readonly (readonly Value[])[]>>;

export const FORMAT = 'modelgate policy 1';

/** @returns what is in force, and how many rows mean nothing; empty where the tables are missing */
function readPolicy(connection: Connection) {
  const links = [MEMBERS, GRANTS].map((table) => readLinks(connection, table));
  const entries = readBudgetEntries(connection).filter(({ isMai }) => !isMai);
  const budgets = entries.flatMap(({ organization, row, isActive, budget }): Value[][] => {
    if (budget === undefined || !isId(organization) || !isId(row.id)) return [];
    const { measure, amount, period, scope } = row;
    const until = budget.raise.until;
    const limits = [budget.validFrom, budget.validTo].map((at) => (Number.isFinite(at) ? at : null));
    return [
      [
        ...[row.id, organization, measure as string, amount as number, period as string, scope as string],
        ...[budget.softPercent ?? null, Number(budget.isHard), textOf(row.time_zone), ...limits],
        ...[budget.raise.amount, Number.isFinite(until) ? until : null, Number(isActive)],
      ],
    ];
  });
  const [members, grants] = links.map(({ rows }) => rows);
  const rows = {
    organization_members: members ?? [],
    organization_models: grants ?? [],
    organization_budgets: budgets,
  };
  const meaningless = links.reduce((sum, { leftOut }) => sum + leftOut, entries.length - budgets.length);
  return { rows, meaningless };
}

/** What PostgreSQL cannot hold is nothing that a backend has, either. */
export const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.isWellFormed() && !value.includes('\0');
export const isId = (value: unknown): value is string => isText(value) && value !== '';

const textOf = (value: unknown): string | null => (isText(value) ? value : null);
// `+ 0`: JSON has no minus zero
const secondsOf = (value: unknown): number | null => (Number.isFinite(value) ? Math.trunc(value as number) + 0 : null);

/** Of several rows for one member or grant, one that is on. */
function readLinks(connection: Connection, { name, key }: LinkTable) {
  const present = columnsOf(connection, name);
  if (!present.has(key) || !present.has('organization_id')) return { rows: [], leftOut: 0 };
  const columns = POLICY_COLUMNS[name].map((column) => {
    if (column === 'is_active') return `${activeCondition(present.has(column))} AS is_active`;
    return present.has(column) ? column : `NULL AS ${column}`;
  });
  const sql = `SELECT ${columns.join(', ')} FROM ${name} ORDER BY organization_id, ${key}, is_active`;
  const all = readAll<Record<string, unknown>>(connection, sql);
  const rows = new Map<string, readonly Value[]>();
  const ids = new Set<string>();
  for (const row of all) {
    const { id, organization_id: organization, is_active: active, role } = row;
    const linked = row[key];
    if (!isId(organization) || !isId(linked)) continue;
    const made = name === 'organization_members' ? `om_${linked}_${organization}` : `orgmod_${organization}_${linked}`;
    // a table made by hand may have an id twice
    const own = [id, made].filter(isId).find((one) => !ids.has(one)) ?? randomUUID();
    ids.add(own);
    const rest: Readonly<Record<string, Value>> = {
      ...{ id: own, organization_id: organization, [key]: linked, role: textOf(role) },
      ...{ is_active: active === 1 ? 1 : 0, joined_at: secondsOf(row['joined_at']) },
      ...{ created_at: secondsOf(row['created_at']), updated_at: secondsOf(row['updated_at']) },
    };
    rows.set(
      JSON.stringify([organization, linked]),
      POLICY_COLUMNS[name].map((column) => rest[column] ?? null),
    );
  }
  return { rows: [...rows.values()], leftOut: all.length - rows.size };
}

interface PolicyBackupOptions {
  readonly directory: string;
  /** Undefined keeps everything. */
  readonly keepMs?: number | undefined;
  readonly now: Date;
}

export type PolicyBackup = Awaited<ReturnType<typeof backUpPolicy>>;

/** @returns what was made, and which old ones were deleted, for `--json` @throws OperationFailure; then neither was done */
export async function backUpPolicy(operation: Operation, { directory, keepMs, now }: PolicyBackupOptions) {
  const started = performance.now();
  const { rows, meaningless } = await reading(operation, 'backend', readPolicy);
  const madeDirectory = prepareDirectory(directory);
  const nameOf = (attempt: number): string => `${numbered(`policy_${toMoment(now)}`, attempt)}.json.gz`;
  let partial: string | undefined;
  try {
    removeStalePartials(directory);
    partial = createPartial(join(directory, nameOf(1)));
    const document = { format: FORMAT, made_at: now.toISOString(), columns: POLICY_COLUMNS, rows };
    writeFileSync(partial, gzipSync(JSON.stringify(document)));
    if (!isDeepStrictEqual(JSON.parse(gunzipSync(readFileSync(partial)).toString()), document)) {
      throw new OperationFailure(
        `The backup does not give back what was read. Look into the log of the system for errors of the disk under ${directory}.`,
      );
    }
    const path = publish(partial, nameOf);
    const record = { path, bytes: sizeOf(path), ...countsOf(rows), meaningless, made_directory: madeDirectory };
    return {
      ...record,
      seconds: secondsSince(started),
      ...deleteOldBackups(directory, [path], keepMs, now, POLICY_BACKUP),
    };
  } catch (error) {
    if (partial !== undefined) discard(partial);
    throw toFailure(error, directory);
  }
}

export const countsOf = (rows: PolicyRows) => ({
  members: rows.organization_members.length,
  grants: rows.organization_models.length,
  budgets: rows.organization_budgets.length,
});
