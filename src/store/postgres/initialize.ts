/** What a gate and `modelgate init` make in PostgreSQL: as on a file of SQLite, in one transaction that one process at a time is in. */
import { type Connection, Unreadable, failureCode, isFile } from '../database.ts';
import {
  type Initialization,
  type Organization,
  LINKED,
  NOTHING_LINKED,
  initialize,
  insertInto,
  nowInSeconds,
} from '../initialize.ts';
import { type StoredRow, linkableOf, modelRowsQuery, toModelRow } from '../models.ts';
import { COUNTED_TABLES } from '../schema.ts';
import { translate } from './dialect.ts';
import { identifier } from './failure.ts';
import { COLUMNS, GROWN, PRESENT, VERSIONS, objectsIn, startVersions } from './tables.ts';

/** Answers with rows as objects; on one connection, one statement after the other. */
type Ask = (text: string, values?: readonly unknown[]) => Promise<readonly Record<string, unknown>[]>;

type Columns = ReturnType<typeof toColumns>;

/** @param rows of `COLUMNS` @returns the columns of a table, all or those that can be written; none where there is no such table */
export function toColumns(rows: readonly Record<string, unknown>[]) {
  const byTable = Map.groupBy(rows, ({ table }) => table);
  const of = (table: string, isMeant: (row: Record<string, unknown>) => unknown): ReadonlySet<string> =>
    new Set((byTable.get(table) ?? []).filter(isMeant).map(({ column }) => String(column)));
  return {
    all: (table: string) => of(table, () => true),
    writable: (table: string) => of(table, (row) => row['writable']),
  };
}

/** @param rows of `PRESENT` */
export function missingIn(schema: string, rows: readonly Record<string, unknown>[]) {
  const present = new Set(rows.map(({ label }) => label));
  return objectsIn(schema).filter(({ label }) => !present.has(label));
}

/** Held until the transaction ends: `CREATE … IF NOT EXISTS` of two processes at once fails. */
export const ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('modelgate'), 1)";

/**
 * First asks with a read: a complete database may be one that cannot be written. @returns undefined where nothing is missing
 * @throws Unreadable where the backend has not made its own tables yet @throws what `ask` throws; then nothing was made
 */
export async function initializePostgres(
  ask: Ask,
  schema: string,
  organization?: Organization,
): Promise<Initialization | undefined> {
  if (await isComplete(ask, schema, organization)) return undefined;
  await ask('BEGIN');
  try {
    await ask("SET LOCAL lock_timeout = '5s'");
    const done = await makeAndLink(ask, schema, organization);
    await ask('COMMIT');
    return done;
  } catch (error) {
    // where the connection is gone, so is the transaction
    await ask('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

/** Is there nothing to make or to link? */
async function isComplete(ask: Ask, schema: string, organization: Organization | undefined): Promise<boolean> {
  if (missingIn(schema, await ask(PRESENT, [schema])).length > 0) return false;
  if (organization === undefined) return true;
  for (const table of COUNTED_TABLES) if (!(await hasRows(ask, schema, table, organization.id))) return false;
  return true;
}

/** In the caller's transaction, whichever engine it is of. */
export async function initializeIn(connection: Connection, organization?: Organization): Promise<Initialization> {
  if (isFile(connection)) return initialize(connection, organization);
  const { postgres } = connection;
  if (postgres === undefined) throw new TypeError('a connection of no engine');
  return makeAndLink((...asked) => Promise.resolve().then(() => postgres.ask(...asked)), postgres.name, organization);
}

async function makeAndLink(ask: Ask, schema: string, organization?: Organization): Promise<Initialization> {
  await ask(ONE_AT_A_TIME);
  const columns = toColumns(await ask(COLUMNS, [schema]));
  const has = (table: string, ...names: string[]) => names.every((name) => columns.all(table).has(name));
  const missing = missingIn(schema, await ask(PRESENT, [schema]));
  if (!has('user', 'id', 'role') || !has('model', 'id', 'base_model_id')) {
    throw new Unreadable(
      `the schema ${schema} has no tables of the backend`,
      missing.map(({ label }) => label),
    );
  }
  const [made, failed]: [string[], string[]] = [[], []];
  for (const { label, sql } of missing) {
    const failure = await make(ask, sql);
    if (failure === undefined) made.push(label);
    else failed.push(`${label}: ${failure}`);
  }
  if (!failed.some((words) => words.startsWith('table '))) {
    // what was written while a trigger was missing was not counted
    if (made.length > 0) await ask(`UPDATE ${identifier(schema)}.${VERSIONS} v SET version = ${GROWN}`);
    await ask(startVersions(schema));
  }
  const now = made.length > 0 ? toColumns(await ask(COLUMNS, [schema])) : columns;
  const linked = organization === undefined ? NOTHING_LINKED : await link(ask, schema, organization, now);
  return { made, failed, linked };
}

/** @returns why it cannot be made @throws where the trouble is the database and not this one object */
async function make(ask: Ask, sql: string): Promise<string | undefined> {
  await ask('SAVEPOINT making');
  try {
    for (const statement of sql.split(/;\s+(?=ALTER TABLE)/)) await ask(statement);
    await ask('RELEASE making');
    return undefined;
  } catch (error) {
    const code = failureCode(error);
    // a hand-made table may lack a column or hold duplicates, this role may lack a right: the rest is still worth making
    if (!/^(?:23|42|0A)/.test(code)) throw error;
    await ask('ROLLBACK TO making');
    return `${code}: ${error instanceof Error ? error.message : 'no further words'}`;
  }
}

async function hasRows(ask: Ask, schema: string, table: string, organization: string): Promise<boolean> {
  const sql = `SELECT 1 FROM ${identifier(schema)}.${table} WHERE organization_id = $1 LIMIT 1`;
  return (await ask(sql, [organization])).length > 0;
}

/** Table by table, when the organization is first met. Later starts link nothing: a row that was deleted must not come back. */
async function link(ask: Ask, schema: string, { id: organization }: Organization, columns: Columns) {
  const [members, models] = COUNTED_TABLES;
  const named = async (sql: string, values: Readonly<Record<string, unknown>>, isInsert: boolean): Promise<number> => {
    const { text, names } = translate(sql, schema);
    const counted = isInsert ? `WITH done AS (${text} RETURNING 1) SELECT count(*) AS count FROM done` : text;
    const [row] = await ask(
      counted,
      names.map((name) => values[name ?? '']),
    );
    return Number(row?.['count'] ?? 0);
  };
  let linked: Initialization['linked'] = NOTHING_LINKED;
  if (!(await hasRows(ask, schema, members, organization))) {
    const usersElsewhere = await named(`SELECT count(*) AS count ${LINKED.usersElsewhere}`, {}, false);
    const insert = `${insertInto(members, columns.writable(members))} ${LINKED.users}`;
    const users = await named(insert, { organization, seconds: nowInSeconds() }, true);
    linked = { ...linked, users, usersElsewhere };
  }
  if (!(await hasRows(ask, schema, models, organization))) {
    // the columns are those of the query
    const rows = (await ask(translate(modelRowsQuery(columns.all), schema).text)) as unknown as readonly StoredRow[];
    const { rowids, ...modelsLeftOut } = linkableOf(rows.map(toModelRow));
    const insert = `${insertInto(models, columns.writable(models))} ${LINKED.models}`;
    const values = { organization, rowids: JSON.stringify(rowids), seconds: nowInSeconds() };
    linked = { ...linked, models: await named(insert, values, true), modelsLeftOut };
  }
  return linked;
}
