/**
 * The organizations of a file: those that a member, a model or mAI's own table names; the guide has no table of them. And
 * the rows of its two tables, as the deployment guide writes them: a row that is there keeps its id.
 */
import { OperationFailure, unchanged } from '../backend-file/failure.ts';
import { quoted, quotedFew } from '../backend-file/text.ts';
import { type Operation, changing } from '../backend-file/transaction.ts';
import { nearest } from '../nearest.ts';
import { type Connection, failureCode, isFile } from '../store/database.ts';
import { insertRows, linkModels as linkStored, nowInSeconds, otherId, writtenColumns } from '../store/initialize.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';

export type ChosenOrganization = Readonly<{ id: string } & Record<'isConfigured' | 'mayBeNew', boolean>>;
type Use = 'read' | 'change' | 'add';

/** @returns the organization, whether mAI leaves it on, and whether it is new @throws OperationFailure where it may not be new */
export function requireOrganization(connection: Connection, schema: Schema, chosen: ChosenOrganization, use: Use) {
  const { id, isConfigured, mayBeNew } = chosen;
  const created = !isConfigured && !isNamed(connection, id);
  if (!created || mayBeNew) {
    if (created) requireUsableId(connection, id);
    const isActive = prepareGrants(connection, schema).isActive(id);
    return { connection, schema, organization: id, created, isActive };
  }
  const known = knownOrganizations(connection);
  const meant = nearest(id, known) ?? known.find((one) => one.toLowerCase().startsWith(id.trim().toLowerCase()));
  const some = meant === undefined ? `Known: ${quotedFew(known, 5)}.` : `Did you mean ${quoted(meant)}?`;
  const others = known.length === 0 ? 'There is none yet.' : `${some} All of them: \`modelgate org list\``;
  const [kept, making] = [use !== 'read' && ' Nothing was changed.', use === 'add' && ' --create makes a new one.'];
  const sentence = `There is no organization ${quoted(id)}.${kept || ''} ${others}${making || ''}`;
  throw new OperationFailure(sentence, { code: 'no_such_organization' });
}

export type FoundOrganization = ReturnType<typeof requireOrganization>;

const NEW_ID = /^[A-Za-z0-9_.:-]{1,64}$/;

/** @throws OperationFailure where no row names the organization, and a new one cannot have this id */
export function requireUsableId(connection: Connection, id: string): void {
  if (NEW_ID.test(id) || isNamed(connection, id)) return;
  const sentence = `${quoted(id)} cannot be the id of a new organization: at most 64 letters from a to z, digits and _ - . : are. Nothing was changed. Its name may be any text.`;
  throw new OperationFailure(sentence, { code: 'misused' });
}

const NAMING = [
  ['organization_members', 'organization_id'],
  ['organization_models', 'organization_id'],
  ['client_organizations', 'id'],
] as const;

/** SQL for every organization that a row names, once; a table of 100,000 members is read through its index. */
function namedIn(connection: Connection): string {
  const present = NAMING.filter(([table, column]) => columnsOf(connection, table).has(column));
  const selects = present.map(([table, column]) => `SELECT DISTINCT ${column} COLLATE BINARY AS id FROM ${table}`);
  return `(${['SELECT NULL AS id', ...selects].join(' UNION ')}) named`;
}

const isNamed = (connection: Connection, id: string): boolean =>
  readCount(connection, `SELECT 1 FROM ${namedIn(connection)} WHERE id = $id`, { id }) === 1;

export const knownOrganizations = (connection: Connection): readonly string[] =>
  readColumn<string>(connection, `SELECT id FROM ${namedIn(connection)} WHERE typeof(id) = 'text'`).toSorted();

export const readAll = <R>(connection: Connection, sql: string, parameters: object = {}): R[] =>
  connection.prepare<[object], R>(sql).all(parameters);

export const readColumn = <V>(connection: Connection, sql: string, parameters: object = {}): V[] =>
  connection.prepare<[object], V>(sql).pluck().all(parameters);

export const readCount = (connection: Connection, sql: string, parameters: object = {}): number =>
  readColumn<number>(connection, sql, parameters)[0] ?? 0;

export const MEMBERS = { name: 'organization_members', key: 'user_id' } as const;
export const GRANTS = { name: 'organization_models', key: 'model_id' } as const;
export type LinkTable = typeof MEMBERS | typeof GRANTS;

const keysOf = ({ name, key }: LinkTable): string =>
  `SELECT ${key} FROM ${name} WHERE organization_id = $organization AND ${key} IS NOT NULL`;
export const MEMBERS_OF = keysOf(MEMBERS);
export const MODELS_OF = keysOf(GRANTS);

export type RowWriter = ReturnType<typeof createRowWriter>;

/** Changes rows of one organization in one transaction. @throws OperationFailure where a table forbids it, or as `requireOrganization` */
export const changeRows = <T>(
  operation: Operation,
  chosen: ChosenOrganization,
  use: Use,
  table: LinkTable,
  change: (found: FoundOrganization & { readonly rows: RowWriter }) => T,
): Promise<T> =>
  changing(operation, 'organizations', (connection, schema) => {
    const found = requireOrganization(connection, schema, chosen, use);
    return explaining(table, () => change({ ...found, rows: createRowWriter(connection, table, chosen.id) }));
  });

function createRowWriter(connection: Connection, { name, key: keyColumn }: LinkTable, organization: string) {
  const written = writtenColumns(connection, name);
  const at = `organization_id = $organization AND ${keyColumn} = $key`;
  const isActive = activeCondition(columnsOf(connection, name).has('is_active'));
  const states = connection.prepare<[object], number>(`SELECT ${isActive} FROM ${name} WHERE ${at}`).pluck();
  const touch = written.includes('updated_at') ? ', updated_at = $seconds' : '';
  const setActive = written.includes('is_active')
    ? connection.prepare(
        `UPDATE ${name} SET is_active = $flag${touch} WHERE ${at} AND is_active IS DISTINCT FROM $flag`,
      )
    : undefined;
  const [guides, other] = [{ role: '$role' }, { role: '$role', id: otherId(name) }];
  const from = 'FROM (SELECT $key AS id, 1 AS is_active) u';
  const insert = connection.prepare(`${insertRows(connection, name, guides)} ${from}`);
  const insertOther = connection.prepare(`${insertRows(connection, name, other, 'INSERT')} ${from}`);
  const values = { organization, seconds: nowInSeconds() };

  return {
    add(key: string, role = 'member'): 'added' | 'restored' | 'unchanged' {
      const row = { ...values, key, role, flag: 1 };
      const found = states.all(row);
      if (found.length > 0) setActive?.run(row);
      else insert.run(row);
      if (states.all(row).length === 0) insertOther.run(row);
      if (!states.all(row).includes(1)) {
        const remedy = `It computes columns or has triggers of its own: .schema ${name} shows them.`;
        throw unchanged(`The table ${name} makes another row of what is written, one that does not count.`, remedy);
      }
      if (found.length === 0) return 'added';
      return found.includes(1) ? 'unchanged' : 'restored';
    },
    /** Switches a row that is there off, or deletes it. @throws OperationFailure where a table made by hand cannot switch */
    remove(key: string, purge: boolean): 'deleted' | 'switched_off' | 'off_already' {
      const row = { ...values, key, flag: 0 };
      if (purge) {
        connection.prepare(`DELETE FROM ${name} WHERE ${at}`).run(row);
        return 'deleted';
      }
      if (setActive === undefined) {
        throw unchanged(
          `The table ${name} has no column is_active that can be written, so nothing in it can be switched off.`,
          `--purge deletes the row instead. A column that is computed follows others: .schema ${name} shows them.`,
        );
      }
      const wasOn = states.all(row).includes(1);
      setActive.run(row);
      return wasOn ? 'switched_off' : 'off_already';
    },
    /** @returns the role that was there and the one that is now; undefined where none is wished, the table has none, or it is the same */
    setRole(key: string, role: string | undefined) {
      if (role === undefined || !written.includes('role')) return undefined;
      const [row, others] = [{ ...values, key, role }, `${at} AND role IS DISTINCT FROM $role`];
      const [before] = readColumn<string>(connection, `SELECT coalesce(role, '') FROM ${name} WHERE ${others}`, row);
      connection.prepare(`UPDATE ${name} SET role = $role WHERE ${others}`).run(row);
      return before === undefined ? undefined : { before, after: role };
    },
    areGone: () =>
      readCount(connection, `SELECT 1 FROM ${name} WHERE organization_id = $organization LIMIT 1`, values) === 0,
  };
}

/** @throws OperationFailure where the table has a rule of its own that refuses what is written */
export function explaining<T>({ name }: { readonly name: string }, write: () => T): T {
  try {
    return write();
  } catch (error) {
    const said = error instanceof Error ? error.message : failureCode(error);
    // a rule of the table, or a view or virtual table in its place, which has no code of its own
    const refusal =
      /^SQLITE_(CONSTRAINT|MISMATCH)|because it is a view$|may not be modified$|^(?:23|22|42809|428C9|55000)/;
    if (!refusal.test(`${failureCode(error)} ${said}`)) throw error;
    const remedy = `Neither the guide nor modelgate makes it with such a rule: look at .schema ${name}.`;
    throw unchanged(`The table ${name} does not take the row: ${said.replace(/\.?$/, '.')}`, remedy, { cause: error });
  }
}

/** @param role otherwise as the guide's migration has it @returns how many were linked: without it not those whose id is taken */
export function linkUsers(connection: Connection, organization: string, which: string, role?: string): number {
  // pages that do not fit into the cache are written early, and outside of WAL mode no other process can read from then
  // on; within a transaction only the number of pages that may wait has an effect, `cache_spill = off` has none
  if (isFile(connection)) {
    connection.pragma('cache_spill = 1000000');
    connection.pragma('cache_size = -65536');
  }
  const run = (values: Record<string, string>, verb?: 'INSERT'): number => {
    // in the order of the indexes that the rows fill, which halves the time
    const from = `FROM "user" u WHERE ${which} AND u.id NOT IN (${MEMBERS_OF}) ORDER BY u.id`;
    const insert = connection.prepare(`${insertRows(connection, MEMBERS.name, values, verb)} ${from}`);
    return insert.run({ organization, role, seconds: nowInSeconds() }).changes;
  };
  const own = { role: '$role' };
  return explaining(MEMBERS, () =>
    role === undefined ? run({}) : run(own) + run({ ...own, id: otherId(MEMBERS.name) }, 'INSERT'),
  );
}

export const linkModels = (connection: Connection, organization: string): number =>
  explaining(GRANTS, () => linkStored(connection, organization).models);
