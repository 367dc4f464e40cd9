/**
 * Makes what is missing, in one short transaction: safe to run again, and from several processes at once.
 * Never touches an object that another program has made, but for triggers of our own name.
 */
import { randomUUID } from 'node:crypto';
import { type Connection, describeFailure, failureCode, openForReading, openForWriting } from './database.ts';
import { UnreadableSchema } from './reader.ts';
import {
  type NotLinked,
  insertOrIgnore,
  intoTable,
  IS_LINKABLE,
  MEMBER_VALUES,
  MODEL_VALUES,
  readLinkable,
  writtenColumns,
} from './rows.ts';
import { readSchema } from './schema-reader.ts';
import { type SchemaObject, COUNTED_TABLES, COUNTERS, SCHEMA_OBJECTS } from './tables.ts';

export interface Organization {
  /** `OPENROUTER_EXTERNAL_USER` */
  readonly id: string;
  /** `ORGANIZATION_NAME`; the tables of the deployment guide have no place for it */
  readonly name: string;
}

export interface Initialization {
  /** Objects that were made, as `kind name`. */
  readonly made: readonly string[];
  /** Objects that could not be made, each with SQLite's words. */
  readonly failed: readonly string[];
  readonly linked: Linked;
}

export interface Linked {
  readonly users: number;
  /** Users who are not linked, because another organization has a row of theirs, switched on or off. */
  readonly usersElsewhere: number;
  readonly models: number;
  readonly modelsLeftOut: NotLinked;
}

/** Nothing is linked, and so nothing is left out. */
export const NOTHING_LINKED: Linked = {
  users: 0,
  usersElsewhere: 0,
  models: 0,
  modelsLeftOut: { unusable: [], ofUsers: [] },
};

export interface InitializeOptions {
  readonly organization?: Organization | undefined;
  readonly busyTimeoutMs: number;
}

/**
 * As `initializeFile`, but first asks with a read, so that a complete file that is read-only is not written to.
 * @returns undefined where nothing is missing
 */
export function initializeWhereIncomplete(path: string, options: InitializeOptions): Initialization | undefined {
  const connection = openForReading(path, options.busyTimeoutMs);
  try {
    if (isComplete(connection, options.organization)) return undefined;
  } finally {
    connection.close();
  }
  return initializeFile(path, options);
}

/**
 * @throws SqliteError where the file cannot be written at all: read-only, locked for longer than the busy timeout,
 *   or not a database
 */
export function initializeFile(path: string, options: InitializeOptions): Initialization {
  const connection = openForWriting(path, options.busyTimeoutMs);
  try {
    return initialize(connection, options.organization);
  } finally {
    connection.close();
  }
}

/**
 * @throws SqliteError as `initializeFile`
 * @throws UnreadableSchema where the backend has not made its own tables yet
 */
export function initialize(connection: Connection, organization?: Organization): Initialization {
  return connection
    .transaction((): Initialization => {
      const schema = readSchema(connection);
      if (!schema.backendReady) throw new UnreadableSchema('the tables of the backend are missing', schema.missing);
      const before = new Set(schema.missing);
      const attempts = SCHEMA_OBJECTS.filter((object) => before.has(nameOf(object))).map((object) =>
        make(connection, object),
      );
      const made = attempts.filter((attempt) => attempt.failure === undefined).map((attempt) => attempt.name);
      for (const sql of made.length > 0 ? [COUNTERS.leap, COUNTERS.start] : [COUNTERS.start]) {
        for (const subject of COUNTED_TABLES) connection.prepare(sql).run({ subject });
      }
      return {
        made,
        failed: attempts.flatMap((attempt) => attempt.failure ?? []),
        linked: organization === undefined ? NOTHING_LINKED : linkNewOrganization(connection, organization),
      };
    })
    .immediate();
}

/** @throws SqliteError where the trouble is the file and not this one object */
function make(connection: Connection, object: SchemaObject): { readonly name: string; readonly failure?: string } {
  const name = nameOf(object);
  try {
    if (object.kind === 'trigger') connection.exec(`DROP TRIGGER IF EXISTS ${object.name}`);
    connection.exec(object.sql);
    return { name };
  } catch (error) {
    // a hand-made table may lack a column, a file may hold duplicates: the rest is still worth making
    if (!/^SQLITE_(ERROR|CONSTRAINT)/.test(failureCode(error))) throw error;
    return { name, failure: `${name}: ${describeFailure(error)}` };
  }
}

const nameOf = (object: SchemaObject): string => `${object.kind} ${object.name}`;

/** Is there nothing for `initialize` to do? */
export function isComplete(connection: Connection, organization?: Organization): boolean {
  const schema = readSchema(connection);
  if (schema.missing.length > 0) return false;
  if (organization === undefined) return true;
  return COUNTED_TABLES.every((table) => hasRows(connection, table, organization));
}

/**
 * Links what is there when the organization is first met, table by table. Later starts link nothing: a row that
 * was deleted must not come back, and new users are the business of enrolment.
 */
function linkNewOrganization(connection: Connection, organization: Organization): Linked {
  const [members, models] = COUNTED_TABLES;
  return {
    ...NOTHING_LINKED,
    ...(hasRows(connection, members, organization) ? {} : linkUsers(connection, organization)),
    ...(hasRows(connection, models, organization) ? {} : linkModels(connection, organization)),
  };
}

type CountedTable = (typeof COUNTED_TABLES)[number];

function hasRows(connection: Connection, table: CountedTable, organization: Organization): boolean {
  return (
    connection.prepare(`SELECT 1 FROM ${table} WHERE organization_id = ? LIMIT 1`).get(organization.id) !== undefined
  );
}

/**
 * Every user but those that are pending or banned, as the deployment guide's migration does, and but those of another
 * organization: they were never meant for this one.
 */
function linkUsers(connection: Connection, organization: Organization): Pick<Linked, 'users' | 'usersElsewhere'> {
  const elsewhere = 'id IN (SELECT user_id FROM organization_members)';
  const eligible = "role NOT IN ('pending', 'banned')";
  const usersElsewhere = connection
    .prepare<[], number>(`SELECT count(*) FROM "user" WHERE ${eligible} AND ${elsewhere}`)
    .pluck()
    .get();
  const { changes: users } = connection
    .prepare(
      `${insertOrIgnore(connection, 'organization_members', MEMBER_VALUES)}
       FROM "user" u WHERE ${eligible} AND ${elsewhere} IS NOT TRUE`,
    )
    .run({ organization: organization.id, seconds: nowInSeconds() });
  return { users, usersElsewhere: usersElsewhere ?? 0 };
}

/** Models without a base, with their own `is_active`, as the deployment guide's migration does, but for `NotLinked`. */
function linkModels(connection: Connection, organization: Organization): Pick<Linked, 'models' | 'modelsLeftOut'> {
  const { rowids, ...modelsLeftOut } = readLinkable(connection);
  const { changes: models } = connection
    .prepare(
      `${insertOrIgnore(connection, 'organization_models', MODEL_VALUES)}
       FROM model u WHERE ${IS_LINKABLE}`,
    )
    .run({ organization: organization.id, rowids: JSON.stringify(rowids), seconds: nowInSeconds() });
  return { models, modelsLeftOut };
}

export const nowInSeconds = (): number => Math.floor(Date.now() / 1000);

// New users join the organization of this installation when they are first seen.

export interface EnrolmentWrite {
  /** The organization's id. */
  readonly organization: string;
  readonly user: string;
  readonly busyTimeoutMs: number;
}

/** Whom the backend itself lets nowhere near a model. */
export const ROLES_NOT_ENROLLED: ReadonlySet<string> = new Set(['pending', 'banned']);

/** @returns whether the user has a membership now @throws SqliteError where the file cannot be written */
export function enrol(path: string, { organization, user, busyTimeoutMs }: EnrolmentWrite): boolean {
  const connection = openForWriting(path, busyTimeoutMs);
  try {
    return insert(connection, organization, user) || hasMembership(connection, user);
  } finally {
    connection.close();
  }
}

/** Whether a user is enrolled is asked where it is written: another gate may have been quicker. */
function insert(connection: Connection, organization: string, user: string): boolean {
  const columns = writtenColumns(connection, 'organization_members');
  const statement = connection.prepare(
    `INSERT ${intoTable('organization_members', columns, { ...MEMBER_VALUES, id: '$id' })}
     FROM "user" u WHERE id = $user AND role NOT IN ('pending', 'banned')
       AND NOT EXISTS (SELECT 1 FROM organization_members WHERE user_id = $user)`,
  );
  const id = freeId(connection, columns.includes('id'), `om_${user}_${organization}`);
  return statement.run({ id, organization, user, seconds: nowInSeconds() }).changes > 0;
}

/** The guide's id, unless the row of another pair has it (`a` of `b_c`, `a_b` of `c`). */
function freeId(connection: Connection, hasId: boolean, guides: string): string {
  const isTaken =
    hasId && connection.prepare('SELECT 1 FROM organization_members WHERE id = ?').get(guides) !== undefined;
  return isTaken ? `${guides}_${randomUUID()}` : guides;
}

const hasMembership = (connection: Connection, user: string): boolean =>
  connection.prepare('SELECT 1 FROM organization_members WHERE user_id = ?').get(user) !== undefined;
