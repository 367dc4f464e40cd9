/** The rows of the two tables of organizations, as the deployment guide writes them. A row that is there keeps its id. */
import { randomUUID } from 'node:crypto';
import { unchanged } from '../backend-file/failure.ts';
import { type Connection, failureCode } from '../store/database.ts';
import { insertRows, linkModels as linkStored, nowInSeconds, writtenColumns } from '../store/initialize.ts';
import { activeCondition, columnsOf } from '../store/schema.ts';

export const readAll = <R>(connection: Connection, sql: string, parameters: object = {}): R[] =>
  connection.prepare<[object], R>(sql).all(parameters);

export const readColumn = <V>(connection: Connection, sql: string, parameters: object = {}): V[] =>
  connection.prepare<[object], V>(sql).pluck().all(parameters);

export const readCount = (connection: Connection, sql: string, parameters: object = {}): number =>
  readColumn<number>(connection, sql, parameters)[0] ?? 0;

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

type LinkTable = typeof MEMBERS | typeof GRANTS;

const keysOf = ({ name, key }: LinkTable): string =>
  `SELECT ${key} FROM ${name} WHERE organization_id = $organization AND ${key} IS NOT NULL`;

export const MEMBERS_OF = keysOf(MEMBERS);
export const MODELS_OF = keysOf(GRANTS);

export type RowWriter = ReturnType<typeof createRowWriter>;

/** Runs `write` with what changes single rows of one organization. @throws OperationFailure where the table forbids it */
export const writeRows = <T>(
  connection: Connection,
  table: LinkTable,
  organization: string,
  write: (rows: RowWriter) => T,
): T => explaining(table, () => write(createRowWriter(connection, table, organization)));

function createRowWriter(connection: Connection, { name, key: keyColumn, idOf }: LinkTable, organization: string) {
  const columns = columnsOf(connection, name);
  const written: readonly string[] = writtenColumns(connection, name);
  const seconds = nowInSeconds();
  const at = `organization_id = $organization AND ${keyColumn} = $key`;
  const touch = written.includes('updated_at') ? ', updated_at = $seconds' : '';
  const states = connection
    .prepare<[object], number>(`SELECT ${activeCondition(columns.has('is_active'))} FROM ${name} WHERE ${at}`)
    .pluck();
  const setActive = written.includes('is_active')
    ? connection.prepare(`UPDATE ${name} SET is_active = $flag${touch} WHERE ${at} AND is_active IS NOT $flag`)
    : undefined;
  const insert = connection.prepare(
    `INSERT INTO ${name} (${written.join(', ')}) VALUES (${written.map((column) => `$${column}`).join(', ')})`,
  );
  const idTaken = written.includes('id') ? connection.prepare(`SELECT 1 FROM ${name} WHERE id = ?`) : undefined;

  function make(key: string, role: string): void {
    const guides = idOf(organization, key);
    const id = idTaken?.get(guides) === undefined ? guides : `${guides}_${randomUUID()}`;
    const times = { joined_at: seconds, created_at: seconds, updated_at: seconds };
    insert.run({ id, organization_id: organization, [keyColumn]: key, role, is_active: 1, ...times });
  }

  return {
    add(key: string, role = 'member'): 'added' | 'restored' | 'unchanged' {
      const found = states.all({ organization, key });
      if (found.length === 0) make(key, role);
      else setActive?.run({ organization, key, seconds, flag: 1 });
      if (!states.all({ organization, key }).includes(1)) {
        throw unchanged(
          `The table ${name} makes another row of what is written, one that does not count.`,
          `It computes columns or has triggers of its own: .schema ${name} shows them.`,
        );
      }
      if (found.length === 0) return 'added';
      return found.includes(1) ? 'unchanged' : 'restored';
    },
    /** Switches a row that is there off, or deletes it. @throws OperationFailure where a table made by hand cannot switch */
    remove(key: string, purge: boolean): 'deleted' | 'switched_off' | 'off_already' {
      if (purge) {
        connection.prepare(`DELETE FROM ${name} WHERE ${at}`).run({ organization, key });
        return 'deleted';
      }
      if (setActive === undefined) {
        throw unchanged(
          `The table ${name} has no column is_active that can be written, so nothing in it can be switched off.`,
          `--purge deletes the row instead. A column that is computed follows others: .schema ${name} shows them.`,
        );
      }
      const wasOn = states.all({ organization, key }).includes(1);
      setActive.run({ organization, key, seconds, flag: 0 });
      return wasOn ? 'switched_off' : 'off_already';
    },
  };
}

function explaining<T>({ name }: LinkTable, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const said = error instanceof Error ? error.message : failureCode(error);
    // a rule of the table, or a view or virtual table in its place, which has no code of its own
    const isRefusal =
      /^SQLITE_(CONSTRAINT|MISMATCH)/.test(failureCode(error)) ||
      /because it is a view$|may not be modified$/.test(said);
    if (!isRefusal) throw error;
    throw unchanged(
      `The table ${name} does not take the row: ${said}.`,
      `Neither the guide nor modelgate makes it with such a rule: look at .schema ${name}.`,
      { cause: error },
    );
  }
}

/** @param role otherwise as the guide's migration has it @returns how many were linked: not those whose id is that of another row */
export function linkUsers(connection: Connection, organization: string, which: string, role?: string): number {
  // pages that do not fit into the cache are written early, and outside of WAL mode no other process can read from then
  // on; within a transaction only the number of pages that may wait has an effect, `cache_spill = off` has none
  connection.pragma('cache_spill = 1000000');
  connection.pragma('cache_size = -65536');
  const values = role === undefined ? {} : { role: '$role' };
  return explaining(MEMBERS, () => {
    const insert = insertRows(connection, MEMBERS.name, values);
    // in the order of the indexes that the rows fill, which halves the time
    const sql = `${insert} FROM "user" u WHERE ${which} AND u.id NOT IN (${MEMBERS_OF}) ORDER BY u.id`;
    return connection.prepare(sql).run({ organization, role, seconds: nowInSeconds() }).changes;
  });
}

export const linkModels = (connection: Connection, organization: string): number =>
  explaining(GRANTS, () => linkStored(connection, organization).models);
