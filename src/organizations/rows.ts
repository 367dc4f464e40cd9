/**
 * The rows of the two tables of organizations, one at a time, as the deployment guide writes them: same ids, seconds,
 * integers. What is there is updated and keeps its id, because tables of mAI's or made by hand have ids of their own;
 * a column that this file's table lacks is left out.
 */
import { randomUUID } from 'node:crypto';
import { OperationFailure } from '../backend-file/failure.ts';
import type { Connection } from '../store/database.ts';
import { failureCode } from '../store/database.ts';
import { nowInSeconds } from '../store/initialize.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';
import { writtenColumns } from '../store/written-columns.ts';

/** A table of organizations, and how its rows are made. All of it is constant: values are bound. */
interface RowTable {
  readonly name: 'organization_members' | 'organization_models';
  /** What the organization is linked to. */
  readonly key: 'user_id' | 'model_id';
  /** The guide's id; two pairs can give one id (`a` of `b_c`, `a_b` of `c`), and then the later row gets another. */
  idOf(organization: string, key: string): string;
}

export const MEMBERS: RowTable = {
  name: 'organization_members',
  key: 'user_id',
  idOf: (organization, user) => `om_${user}_${organization}`,
};

export const GRANTS: RowTable = {
  name: 'organization_models',
  key: 'model_id',
  idOf: (organization, model) => `orgmod_${organization}_${model}`,
};

export type Added = 'added' | 'restored' | 'unchanged';
export type SwitchedOff = 'switched_off' | 'off_already' | 'absent';

/** What `is_active` is in a table: made by hand, it may not be there, or be computed from other columns. */
export type Switch = 'written' | 'computed' | 'absent';

export interface RowWriter {
  readonly switch: Switch;
  /** @param role of a member, on a new row; undefined: the guide's `member` */
  add(key: string, role?: string): Added;
  switchOff(key: string): SwitchedOff;
  /** @returns whether there was a row */
  purge(key: string): boolean;
  /** @returns the role that was replaced; undefined where it is that role already */
  setRole(key: string, role: string): string | undefined;
}

/** Inside of a transaction of `changing`. @throws OperationFailure (its functions too) where the table forbids it */
export const createRowWriter = (connection: Connection, table: RowTable, organization: string): RowWriter =>
  explaining(table.name, () => prepareRowWriter(connection, table, organization));

function prepareRowWriter(connection: Connection, table: RowTable, organization: string): RowWriter {
  const columns = columnsOf(connection, table.name);
  const written = new Set<string>(writtenColumns(connection, table.name));
  const kind = written.has('is_active') ? 'written' : columns.has('is_active') ? 'computed' : 'absent';
  const seconds = nowInSeconds();
  const insert = createInsert(connection, table, organization);
  const touch = written.has('updated_at') ? ', updated_at = $seconds' : '';
  const at = `organization_id = $organization AND ${table.key} = $key`;
  const states = connection
    .prepare<[object], number>(`SELECT ${activeCondition(kind !== 'absent')} FROM ${table.name} WHERE ${at}`)
    .pluck();
  const setActive =
    kind === 'written'
      ? connection.prepare(`UPDATE ${table.name} SET is_active = $flag${touch} WHERE ${at} AND is_active IS NOT $flag`)
      : undefined;
  const remove = connection.prepare(`DELETE FROM ${table.name} WHERE ${at}`);
  const changeRole = written.has('role')
    ? connection.prepare(`UPDATE ${table.name} SET role = $role WHERE ${at} AND role IS NOT $role`)
    : undefined;
  const roles = written.has('role')
    ? connection
        .prepare<[object], string>(`SELECT coalesce(role, '') FROM ${table.name} WHERE ${at} AND role IS NOT $role`)
        .pluck()
    : undefined;
  const flag = (key: string, value: 0 | 1) => setActive?.run({ organization, key, seconds, flag: value });
  return {
    switch: kind,
    add: (key, role) =>
      explaining(table.name, () => {
        const found = states.all({ organization, key });
        if (found.length === 0) insert(key, role);
        else flag(key, 1);
        if (!states.all({ organization, key }).includes(1)) throw otherRow(table.name);
        if (found.length === 0) return 'added';
        return found.includes(1) ? 'unchanged' : 'restored';
      }),
    switchOff: (key) =>
      explaining(table.name, () => {
        const found = states.all({ organization, key });
        if (found.length === 0) return 'absent';
        flag(key, 0);
        return found.includes(1) ? 'switched_off' : 'off_already';
      }),
    purge: (key) => explaining(table.name, () => remove.run({ organization, key }).changes > 0),
    setRole: (key, role) =>
      explaining(table.name, () => {
        const [before] = roles?.all({ organization, key, role }) ?? [];
        changeRole?.run({ organization, key, role });
        return before;
      }),
  };
}

/** @throws OperationFailure where a table made by hand has no `is_active`, or computes it */
export function requireSwitch({ switch: kind }: RowWriter, table: RowTable['name']): void {
  if (kind === 'computed') throw computed(table);
  if (kind === 'written') return;
  throw new OperationFailure(
    `The table ${table} has no column is_active, so nothing in it can be switched off. Nothing was changed. --purge deletes the row instead.`,
  );
}

const computed = (table: RowTable['name']): OperationFailure =>
  new OperationFailure(
    `The table ${table} computes its column is_active from others, so modelgate cannot switch a row on or off. Nothing was changed. Change the columns that it is computed from (.schema ${table} shows them), or delete the row with --purge.`,
  );

const otherRow = (table: RowTable['name']): OperationFailure =>
  new OperationFailure(
    `The table ${table} makes another row of what is written, one that does not count. Nothing was changed. It computes columns or has triggers of its own: .schema ${table} shows them.`,
  );

/** @returns a function that writes a new row with every column of the guide's that the table has */
function createInsert(
  connection: Connection,
  table: RowTable,
  organization: string,
): (key: string, role?: string) => void {
  const seconds = nowInSeconds();
  const names: readonly string[] = writtenColumns(connection, table.name);
  const statement = connection.prepare(
    `INSERT INTO ${table.name} (${names.join(', ')}) VALUES (${names.map((name) => `$${name}`).join(', ')})`,
  );
  const taken = names.includes('id') ? connection.prepare(`SELECT 1 FROM ${table.name} WHERE id = ?`) : undefined;
  return (key, role = 'member') => {
    const guides = table.idOf(organization, key);
    const id = taken?.get(guides) === undefined ? guides : `${guides}_${randomUUID()}`;
    const row: Record<string, string | number> = {
      id,
      organization_id: organization,
      [table.key]: key,
      role,
      is_active: 1,
      joined_at: seconds,
      created_at: seconds,
      updated_at: seconds,
    };
    statement.run(Object.fromEntries(names.map((name) => [name, row[name]])));
  };
}

/** Runs `write`. @throws OperationFailure that says what a table of somebody else's making forbids */
export function explaining<T>(table: RowTable['name'], write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new OperationFailure(
      `The table ${table} does not take the row: ${error instanceof Error ? error.message : failureCode(error)}. Nothing was changed. Neither the guide nor modelgate makes it with such a rule: look at .schema ${table}.`,
      { cause: error },
    );
  }
}

/** A rule of the table, or a view or virtual table in its place, which has no code of its own. */
const isRefusal = (error: unknown): boolean =>
  /^SQLITE_(CONSTRAINT|MISMATCH)/.test(failureCode(error)) ||
  (error instanceof Error && /because it is a view$|may not be modified$/.test(error.message));
