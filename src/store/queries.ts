/** What a decision asks of the file: one statement for each question, and what its rows mean. And what is known of the file. */
import { randomInt } from 'node:crypto';
import { toUserId } from '../policy/principal.ts';
import type { ModelId } from '../policy/grant.ts';
import { prepareAllBudgets, prepareBudgets, prepareOrganizationName } from './budgets.ts';
import { type Connection, Unreadable, isBusy, prepareColumn } from './database.ts';
import { prepareComposites, prepareConnectionPrefixes, preparePresetsOn } from './models.ts';
import { prepareOpenrouterKeys, prepareProviderSettings } from './provider-settings.ts';
import { toAccount, toMemberships, toPreset, toText } from './rows.ts';
import { type Schema, COUNTED_TABLES, VERSION_TABLE, activeCondition, readSchema } from './schema.ts';

/** mAI's switch for a whole organization; where it stands more than once, off is off. */
export const SWITCH_QUERY = `SELECT min(${activeCondition(true)}) FROM client_organizations WHERE id = ?`;

/** What the one parameter of each statement is. */
const ASKS = {
  role: 'user',
  api_key: 'api_key',
  memberships: 'user',
  switch: 'organization',
  grants: 'organization',
  preset: 'model',
  versions: 'subject',
} as const;

type Name = keyof typeof ASKS;

/** The statements of one decision that nothing is cached for; undefined where they cannot run on this schema. */
function statementsFor(schema: Schema): Readonly<Record<Name, string | undefined>> {
  return {
    role: schema.sessionStamps
      ? 'SELECT u.role, a.id IS NOT NULL, a.session_stamp FROM "user" u LEFT JOIN auth a ON a.id = u.id WHERE u.id = ?'
      : 'SELECT role, 0, NULL FROM "user" WHERE id = ?',
    api_key: {
      table: 'SELECT user_id FROM api_key WHERE "key" = ?',
      column: 'SELECT id FROM "user" WHERE api_key = ?',
      none: undefined,
    }[schema.apiKeys],
    memberships: `SELECT organization_id COLLATE BINARY, user_id COLLATE BINARY, ${activeCondition(schema.memberActive)}
      FROM organization_members WHERE user_id = ? ORDER BY ${schema.memberSince ? 'joined_at NULLS LAST, ' : ''}organization_id`,
    switch: schema.clientOrganizations ? SWITCH_QUERY : undefined,
    // not of one whose id a column of numbers or without case takes for the same
    grants: `SELECT model_id FROM organization_models
      WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND ${activeCondition(schema.grantActive)}`,
    preset: `SELECT base_model_id, ${schema.presetParameters ? 'params' : 'NULL'}, ${schema.presetOwner ? 'user_id' : 'NULL'}
      FROM model WHERE id = ?`,
    versions: schema.counted ? `SELECT version FROM ${VERSION_TABLE.name} WHERE subject = ?` : undefined,
  };
}

/** @returns what `doctor` explains and `bench-queries` times: word for word what the gate prepares on this schema */
export const gateQueries = (schema: Schema) =>
  Object.entries(statementsFor(schema)).flatMap(([name, sql]) =>
    sql === undefined ? [] : [{ name: name as Name, sql, asks: ASKS[name as Name] }],
  );

/** The grant alone decides: the `is_active` of a `model` row is the backend's switch for its own lists. */
export function prepareGrants(connection: Connection, schema: Schema) {
  const { grants, switch: switched } = statementsFor(schema);
  const [own, switches] = [prepareColumn(connection, grants), prepareColumn(connection, switched)];
  const all = prepareColumn(
    connection,
    `SELECT DISTINCT model_id COLLATE BINARY FROM organization_models
    WHERE ${activeCondition(schema.grantActive)} AND model_id <> '*'`,
  );
  return {
    patternsOf: (organization: string) => own(organization).flatMap(toText),
    /** But for the one that grants everything. */
    allPatterns: () => all().flatMap(toText),
    isActive: (organization: string) => (switches(organization)[0] ?? 1) === 1,
  };
}

function prepareReads(connection: Connection, schema: Schema) {
  const statements = statementsFor(schema);
  const owners = prepareColumn(connection, statements.api_key);
  const rowsOf = (sql = '') => connection.prepare<[string], unknown[]>(sql).raw();
  const [accounts, memberships, presets] = [
    rowsOf(statements.role),
    rowsOf(statements.memberships),
    rowsOf(statements.preset),
  ];
  return {
    ...prepareGrants(connection, schema),
    composites: prepareComposites(connection, schema),
    connectionPrefixes: prepareConnectionPrefixes(connection, schema),
    providerSettings: prepareProviderSettings(connection, schema),
    openrouterKeyOf: prepareOpenrouterKeys(connection, schema),
    presetsOn: preparePresetsOn(connection, schema),
    budgetsOf: prepareBudgets(connection),
    allBudgets: prepareAllBudgets(connection),
    organizationName: prepareOrganizationName(connection),
    accountOf: (user: string) => toAccount(accounts.get(user)),
    userOfApiKey: (key: string) => toText(owners(key)[0]).map(toUserId)[0],
    membershipsOf: (user: string) => toMemberships(memberships.all(user), user),
    preset: (id: ModelId) => toPreset(presets.get(id), id),
  };
}

/** What is asked by a key, or by none; keys and answers may go from thread to thread. */
export type PointReads = ReturnType<typeof prepareReads>;
export type PointRead = keyof PointReads;

export interface PointCall {
  readonly name: PointRead;
  /** Empty for reads that ask for nothing. */
  readonly key: string;
}

export type Statements = ReturnType<typeof prepareStatements>;

/** @throws Unreadable where tables are missing or have another shape */
export function prepareStatements(connection: Connection) {
  const schema = readSchema(connection);
  if (schema.problem !== undefined) throw new Unreadable(schema.problem, schema.missing);
  const reads = prepareReads(connection, schema);
  const version = prepareColumn(connection, statementsFor(schema).versions);
  const [members, models] = COUNTED_TABLES;
  return {
    ...{ connection, schema, reads },
    /** Undefined where no triggers keep the counters. */
    versions: () =>
      schema.counted ? { members: Number(version(members)[0]), models: Number(version(models)[0]) } : undefined,
    probe: prepareProbe(connection, reads),
  };
}

/** What a few requests would read: column, and reads that take what stands in it as their key. */
const PROBED = [
  ['"user"', 'id', 'accountOf', 'membershipsOf'],
  ['organization_models', 'organization_id', 'isActive', 'patternsOf'],
  ['model', 'id', 'preset'],
] as const;

/**
 * A look at the file sees its header and the counters alone; the probe reads what a few requests would read.
 * @returns a function that throws the SqliteError that every request would meet; a single damaged page is met by some
 */
function prepareProbe(connection: Connection, reads: PointReads) {
  const probed = PROBED.map(([table, column, ...names]) => ({
    ends: prepareColumn(
      connection,
      `SELECT min(${column}) FROM ${table} UNION ALL SELECT max(${column}) FROM ${table}`,
    ),
    names,
  }));
  return (): void => {
    reads.composites();
    reads.connectionPrefixes();
    for (const { ends, names } of probed) {
      const found = ends().filter((id) => id !== null) as ModelId[];
      const failures: unknown[] = [];
      for (const id of found) {
        try {
          for (const name of names) reads[name](id);
        } catch (error) {
          if (isBusy(error) || failures.push(error) === found.length) throw error;
        }
      }
    }
  };
}

/** What is known of the file; may go from thread to thread. */
export type FileStatus = ReturnType<typeof unread>;

/** What reads of the file go through. */
export interface Source {
  readonly status: Readonly<Pick<FileStatus, 'generation' | 'epochs'>>;
  /** When the file last agreed, in milliseconds of its clock. */
  readonly goodAt: number;
  /** Where an answer is true for some questions only: is what was read as of this generation true for the one that is asked? */
  isCurrent?(generation: number): boolean;
  /** Why the file cannot be read, or undefined while it can. */
  readonly problem: string | undefined;
  /** @returns what the file answers, or undefined where it cannot be read now: then `problem` says why */
  read<N extends PointRead>(name: N, key: string): { readonly value: ReturnType<PointReads[N]> } | undefined;
}

type Damage = Readonly<{ problem: string; metAt: number }>;

/** The status of a file at which nothing has looked yet. */
export function unread() {
  // from a random start: a thread that takes the place of another one never comes to its numbers
  const start = randomInt(2 ** 47);
  return {
    /** Changes whenever the file may hold something else: what was read before must be read again. */
    generation: start,
    /** Change where memberships or grants may be others. */
    epochs: { members: start, models: start },
    problem: 'the database has not been read yet' as string | undefined,
    /** Is the trouble only that another process holds the lock? */
    isLocked: false,
    /** Grows when another file may stand at the path, so that it may have to be initialized. */
    file: 0,
    /** Which of them was initialized. */
    initialized: 0,
    missing: undefined as readonly string[] | undefined,
    /** How often the file could not be read, looks that were not tried again yet included. */
    failures: 0,
    /** How often reading failed, by SQLite's code: the file is away, locked, foreign or damaged. */
    errors: new Map<string, number>(),
    /** A page that a read has met, and when, until the next probe; `damage` where the probe then read all it reads. */
    met: undefined as Damage | undefined,
    damage: undefined as Damage | undefined,
    /** Why no request could read what it needs, whatever the looks say; and when one could last. */
    unsound: undefined as string | undefined,
    soundAt: Number.NEGATIVE_INFINITY,
    /** Why the last user without a membership could not be enrolled. */
    enrolment: undefined as
      { readonly problem: string; readonly isLocked: boolean; readonly metAt: number } | undefined,
    /** Why tables, indexes, views and triggers could not be made, and which of them. */
    obstacle: undefined as string | undefined,
    notMade: [] as readonly string[],
    /** How often writing failed, by operation and SQLite's code. */
    writeErrors: {} as Readonly<Record<string, number>>,
  };
}
