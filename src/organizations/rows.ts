/**
 * The rows of the two tables of organizations, as the deployment guide writes them: same ids, seconds, integers. A row
 * that is there is updated and keeps its id, because mAI's tables and those made by hand have ids of their own; a column
 * that this file's table lacks is left out.
 */
import { randomUUID } from 'node:crypto';
import { OperationFailure } from '../backend-file/failure.ts';
import { type Connection, failureCode } from '../store/database.ts';
import { nowInSeconds, writtenColumns } from '../store/initialize.ts';
import { activeCondition, columnsOf } from '../store/schema.ts';

/** A table of organizations. Its texts are constants of this file, so they may be part of a statement. */
type LinkTable = typeof MEMBERS | typeof GRANTS;

/** Two pairs can give one id (`a` of `b_c`, `a_b` of `c`); then the later row gets another. */
export const MEMBERS = {
  name: 'organization_members',
  key: 'user_id',
  idOf: (organization: string, user: string) => `om_${user}_${organization}`,
} as const;

export const GRANTS = {
  name: 'organization_models',
  key: 'model_id',
  idOf: (organization: string, model: string) => `orgmod_${organization}_${model}`,
} as const;

export type RowWriter = ReturnType<typeof createRowWriter>;

/**
 * Runs `write` with what changes single rows of one organization, inside of a transaction of `changing`.
 * @throws OperationFailure where the table forbids it
 */
export const writeRows = <T>(
  connection: Connection,
  table: LinkTable,
  organization: string,
  write: (rows: RowWriter) => T,
): T => explaining(table.name, () => write(createRowWriter(connection, table, organization)));

function createRowWriter(connection: Connection, { name, key: keyColumn, idOf }: LinkTable, organization: string) {
  const columns = columnsOf(connection, name);
  const written = new Set(writtenColumns(connection, name));
  const seconds = nowInSeconds();
  const at = `organization_id = $organization AND ${keyColumn} = $key`;
  const touch = written.has('updated_at') ? ', updated_at = $seconds' : '';
  const isOn = activeCondition(columns.has('is_active'));
  const states = connection.prepare<[object], number>(`SELECT ${isOn} FROM ${name} WHERE ${at}`).pluck();
  const setActive = written.has('is_active')
    ? connection.prepare(`UPDATE ${name} SET is_active = $flag${touch} WHERE ${at} AND is_active IS NOT $flag`)
    : undefined;
  const insert = connection.prepare(
    `INSERT INTO ${name} (${[...written].join(', ')}) VALUES (${[...written].map((column) => `$${column}`).join(', ')})`,
  );
  const idTaken = written.has('id') ? connection.prepare(`SELECT 1 FROM ${name} WHERE id = ?`) : undefined;

  function make(key: string, role: string): void {
    const guides = idOf(organization, key);
    const id = idTaken?.get(guides) === undefined ? guides : `${guides}_${randomUUID()}`;
    const times = { joined_at: seconds, created_at: seconds, updated_at: seconds };
    insert.run({ id, organization_id: organization, [keyColumn]: key, role, is_active: 1, ...times });
  }

  return {
    /** @param role of a member, on a new row */
    add(key: string, role = 'member'): 'added' | 'restored' | 'unchanged' {
      const found = states.all({ organization, key });
      if (found.length === 0) make(key, role);
      else setActive?.run({ organization, key, seconds, flag: 1 });
      if (!states.all({ organization, key }).includes(1)) throw otherRow(name);
      if (found.length === 0) return 'added';
      return found.includes(1) ? 'unchanged' : 'restored';
    },
    /** @throws OperationFailure where a table made by hand has no `is_active`, or computes it */
    switchOff(key: string): 'switched_off' | 'off_already' | 'absent' {
      if (setActive === undefined) throw noSwitch(name, columns.has('is_active'));
      const found = states.all({ organization, key });
      setActive.run({ organization, key, seconds, flag: 0 });
      if (found.length === 0) return 'absent';
      return found.includes(1) ? 'switched_off' : 'off_already';
    },
    purge(key: string): 'deleted' {
      connection.prepare(`DELETE FROM ${name} WHERE ${at}`).run({ organization, key });
      return 'deleted';
    },
    /** @returns the role that was replaced; undefined where it is that role already, or the table has none */
    setRole(key: string, role: string): string | undefined {
      if (!written.has('role')) return undefined;
      const other = `${at} AND role IS NOT $role`;
      const before = connection
        .prepare<[object], string>(`SELECT coalesce(role, '') FROM ${name} WHERE ${other}`)
        .pluck()
        .get({ organization, key, role });
      connection.prepare(`UPDATE ${name} SET role = $role WHERE ${other}`).run({ organization, key, role });
      return before;
    },
  };
}

const noSwitch = (table: string, isComputed: boolean): OperationFailure =>
  new OperationFailure(
    isComputed
      ? `The table ${table} computes its column is_active from others, so modelgate cannot switch a row on or off. Nothing was changed. Change the columns that it is computed from (.schema ${table} shows them), or delete the row with --purge.`
      : `The table ${table} has no column is_active, so nothing in it can be switched off. Nothing was changed. --purge deletes the row instead.`,
  );

const otherRow = (table: string): OperationFailure =>
  new OperationFailure(
    `The table ${table} makes another row of what is written, one that does not count. Nothing was changed. It computes columns or has triggers of its own: .schema ${table} shows them.`,
  );

/** Runs `write`. @throws OperationFailure with the rule of a table made by hand that forbids it */
export function explaining<T>(table: LinkTable['name'], write: () => T): T {
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
