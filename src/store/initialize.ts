/**
 * Makes what is missing and links users and models, in one short transaction: safe to run again, and from several
 * processes at once. Never touches an object that another program has made, but for triggers of our own name.
 */
import { randomUUID } from 'node:crypto';
import {
  type Connection,
  type FileConnection,
  Unreadable,
  describeFailure,
  failureCode,
  openForReading,
  openForWriting,
} from './database.ts';
import { type NotLinked, IS_LINKABLE, readLinkable } from './models.ts';
import { type SchemaObject, COUNTED_TABLES, COUNTERS, SCHEMA_OBJECTS, readSchema } from './schema.ts';

export interface Organization {
  readonly id: string;
  /** The tables of the deployment guide have no place for it. */
  readonly name: string;
}

/** What was made and linked; of `usersElsewhere` another organization has a row, switched on or off. */
export type Initialization = ReturnType<typeof initialize>;

export const NOTHING_LINKED = {
  ...{ users: 0, usersElsewhere: 0, models: 0 },
  modelsLeftOut: { unusable: [], ofUsers: [] } as NotLinked,
};

/**
 * First asks with a read: a complete file may be read-only. @returns undefined where nothing is missing
 * @throws SqliteError where the file cannot be written: read-only, locked for longer than the busy timeout, no database
 */
export function initializeWhereIncomplete(path: string, busyTimeoutMs: number, organization?: Organization) {
  const isDone = closing(openForReading(path, busyTimeoutMs), (connection) => isComplete(connection, organization));
  if (isDone) return undefined;
  return closing(openForWriting(path, busyTimeoutMs), (connection) => initialize(connection, organization));
}

function closing<T>(connection: FileConnection, use: (connection: FileConnection) => T): T {
  try {
    return use(connection);
  } finally {
    connection.close();
  }
}

/** @throws SqliteError as above @throws Unreadable where the backend has not made its own tables yet */
export function initialize(connection: FileConnection, organization?: Organization) {
  return connection
    .transaction(() => {
      const schema = readSchema(connection);
      if (!schema.backendReady) throw new Unreadable('the tables of the backend are missing', schema.missing);
      const [made, failed]: [string[], string[]] = [[], []];
      for (const object of SCHEMA_OBJECTS.filter(({ label }) => schema.missing.includes(label))) {
        const failure = make(connection, object);
        if (failure === undefined) made.push(object.label);
        else failed.push(`${object.label}: ${failure}`);
      }
      for (const sql of made.length > 0 ? [COUNTERS.leap, COUNTERS.start] : [COUNTERS.start]) {
        for (const subject of COUNTED_TABLES) connection.prepare(sql).run({ subject });
      }
      return {
        /** Objects, as `kind name`. */
        made,
        /** Objects that could not be made, each with SQLite's words. */
        failed,
        linked: organization === undefined ? NOTHING_LINKED : linkNewOrganization(connection, organization),
      };
    })
    .immediate();
}

/** @returns why it cannot be made @throws SqliteError where the trouble is the file and not this one object */
function make(connection: Connection, object: SchemaObject): string | undefined {
  try {
    if (object.kind === 'trigger') connection.exec(`DROP TRIGGER IF EXISTS ${object.name}`);
    connection.exec(object.sql);
    return undefined;
  } catch (error) {
    // a hand-made table may lack a column, a file may hold duplicates: the rest is still worth making
    if (!/^SQLITE_(ERROR|CONSTRAINT)/.test(failureCode(error))) throw error;
    return describeFailure(error);
  }
}

/** Is there nothing for `initialize` to do? */
export function isComplete(connection: Connection, organization?: Organization): boolean {
  if (readSchema(connection).missing.length > 0) return false;
  return organization === undefined || COUNTED_TABLES.every((table) => hasRows(connection, table, organization.id));
}

/** Table by table, when the organization is first met. Later starts link nothing: a row that was deleted must not come back. */
function linkNewOrganization(connection: Connection, { id }: Organization) {
  const [members, models] = COUNTED_TABLES;
  const { modelsLeftOut } = NOTHING_LINKED;
  return {
    ...(hasRows(connection, members, id) ? { users: 0, usersElsewhere: 0 } : linkUsers(connection, id)),
    ...(hasRows(connection, models, id) ? { models: 0, modelsLeftOut } : linkModels(connection, id)),
  };
}

const hasRows = (connection: Connection, table: (typeof COUNTED_TABLES)[number], organization: string): boolean =>
  connection.prepare(`SELECT 1 FROM ${table} WHERE organization_id = ? LIMIT 1`).get(organization) !== undefined;

/** Whom the backend itself lets nowhere near a model. */
export const ROLES_NOT_ENROLLED: ReadonlySet<string> = new Set(['pending', 'banned']);
const MAY_JOIN = "u.role NOT IN ('pending', 'banned')";

/** As the deployment guide's migration, but for users of another organization: they were never meant for this one. */
function linkUsers(connection: Connection, organization: string) {
  const usersElsewhere = connection.prepare<[], number>(`SELECT count(*) ${LINKED.usersElsewhere}`).pluck().get() ?? 0;
  const insert = connection.prepare(`${insertRows(connection, 'organization_members')} ${LINKED.users}`);
  const { changes: users } = insert.run({ organization, seconds: nowInSeconds() });
  return { users, usersElsewhere };
}

const HAS_ROW = `FROM "user" u WHERE ${MAY_JOIN} AND u.id IN (SELECT user_id FROM organization_members)`;

/** What is linked, behind `insertRows`; `$rowids` is JSON of what `readLinkable` returns. */
export const LINKED = {
  usersElsewhere: HAS_ROW,
  users: `${HAS_ROW} IS NOT TRUE`,
  models: `FROM model u WHERE ${IS_LINKABLE}
    AND u.id NOT IN (SELECT model_id FROM organization_models WHERE organization_id = $organization AND model_id IS NOT NULL)`,
} as const;

/** The guide's rows by column, in its order: SQL over `"user" u` or `model u`, with `$organization` and `$seconds`. */
const GUIDE_ROWS = {
  organization_members: {
    id: `'om_' || u.id || '_' || $organization`,
    organization_id: '$organization',
    user_id: 'u.id',
    role: `CASE WHEN u.role = 'admin' THEN 'admin' ELSE 'member' END`,
    is_active: '1',
    joined_at: '$seconds',
  },
  organization_models: {
    id: `'orgmod_' || $organization || '_' || u.id`,
    organization_id: '$organization',
    model_id: 'u.id',
    is_active: 'u.is_active',
    created_at: '$seconds',
    updated_at: '$seconds',
  },
};

type Table = keyof typeof GUIDE_ROWS;

/** Two pairs can give one id of the guide (`a` of `b_c`, `a_b` of `c`); then the later row gets another. */
export const otherId = (table: Table): string => `${GUIDE_ROWS[table].id} || '_' || lower(hex(randomblob(16)))`;

/** Without `xinfo`: what is generated is read and never written. An `INTEGER PRIMARY KEY` numbers its rows itself. */
const WRITABLE_QUERY = `SELECT lower(name) FROM pragma_table_info(?)
  WHERE NOT (lower(name) = 'id' AND pk > 0 AND upper(type) = 'INTEGER')`;

/** @returns the guide's columns that this file's table has and does not fill by itself, in the guide's order */
export function writtenColumns(connection: Connection, table: Table): readonly string[] {
  const { postgres } = connection;
  return guideColumns(
    table,
    postgres?.writableIn(table) ?? new Set(connection.prepare<[string], string>(WRITABLE_QUERY).pluck().all(table)),
  );
}

const guideColumns = (table: Table, present: ReadonlySet<string>): readonly string[] =>
  Object.keys(GUIDE_ROWS[table]).filter((name) => present.has(name));

/**
 * @param values SQL in place of the guide's, by column
 * @param verb by which a row that is there stays as it is
 * @returns the statement that writes rows of the guide, as far as its FROM
 */
export const insertRows = (
  connection: Connection,
  table: Table,
  values?: Readonly<Record<string, string>>,
  verb?: string,
): string => insertInto(table, new Set(writtenColumns(connection, table)), values, verb);

/** @param present columns that can be written */
export function insertInto(
  table: Table,
  present: ReadonlySet<string>,
  values: Readonly<Record<string, string>> = {},
  verb = 'INSERT OR IGNORE',
): string {
  const row: Readonly<Record<string, string>> = { ...GUIDE_ROWS[table], ...values };
  const columns = guideColumns(table, present);
  return `${verb} INTO ${table} (${columns.join(', ')}) SELECT ${columns.map((name) => row[name]).join(', ')}`;
}

export const nowInSeconds = (): number => Math.floor(Date.now() / 1000);

/** Grants every model without a base, with its own `is_active`, as the deployment guide's migration does, but for `NotLinked`. */
export function linkModels(connection: Connection, organization: string) {
  const { rowids, ...modelsLeftOut } = readLinkable(connection);
  const { changes: models } = connection
    .prepare(`${insertRows(connection, 'organization_models')} ${LINKED.models}`)
    .run({ organization, rowids: JSON.stringify(rowids), seconds: nowInSeconds() });
  return { models, modelsLeftOut };
}

const HAS_MEMBERSHIP = 'SELECT 1 FROM organization_members WHERE user_id = $user';
/** The guide's id, unless the row of another pair has it (`a` of `b_c`, `a_b` of `c`). */
const FREE_ID = `(SELECT CASE WHEN EXISTS (SELECT 1 FROM organization_members WHERE id = guides) THEN guides || '_' || $random ELSE guides END
  FROM (SELECT 'om_' || $user || '_' || $organization AS guides) AS named)`;

/** Whether a user is enrolled is asked where it is written: another gate may have been quicker. @param present as of `insertInto` */
export const enrolmentInto = (present: ReadonlySet<string>, verb: string): string =>
  `${insertInto('organization_members', present, { id: FREE_ID }, verb)}
    FROM "user" u WHERE u.id = $user AND ${MAY_JOIN} AND NOT EXISTS (${HAS_MEMBERSHIP})`;

/** @returns whether the user has a membership now @throws SqliteError where the file cannot be written */
export function enrol(path: string, busyTimeoutMs: number, organization: string, user: string): boolean {
  return closing(openForWriting(path, busyTimeoutMs), (connection) => {
    const present = new Set(writtenColumns(connection, 'organization_members'));
    const insert = connection.prepare(enrolmentInto(present, 'INSERT'));
    const { changes } = insert.run({ organization, user, random: randomUUID(), seconds: nowInSeconds() });
    return changes > 0 || connection.prepare(HAS_MEMBERSHIP).get({ user }) !== undefined;
  });
}
