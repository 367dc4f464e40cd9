/** What a decision asks of the file: one statement for each question, and what its rows mean. */
import { type OrganizationId, toOrganizationId, toUserId } from '../identity/principal.ts';
import type { Preset } from '../policy/decide.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { UNREADABLE } from '../references/saved-chat.ts';
import type { Connection } from './database.ts';
import { type Schema, activeCondition } from './schema-reader.ts';
import { VERSION_TABLE } from './tables.ts';

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

/** The statements of one decision that nothing is cached for; undefined where they cannot run on this schema. */
export function statementsFor(schema: Schema): Readonly<Record<keyof typeof ASKS, string | undefined>> {
  return {
    role: 'SELECT role FROM "user" WHERE id = ?',
    api_key: {
      table: 'SELECT user_id FROM api_key WHERE "key" = ?',
      column: 'SELECT id FROM "user" WHERE api_key = ?',
      none: undefined,
    }[schema.apiKeys],
    memberships: `SELECT DISTINCT organization_id COLLATE BINARY, user_id COLLATE BINARY, ${activeCondition(schema.memberActive)}
      FROM organization_members WHERE user_id = ?`,
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
export function gateQueries(schema: Schema) {
  const statements = statementsFor(schema);
  return (Object.keys(ASKS) as (keyof typeof ASKS)[]).flatMap((name) => {
    const sql = statements[name];
    return sql === undefined ? [] : [{ name, sql, asks: ASKS[name] }];
  });
}

const toText = (value: unknown): readonly string[] => (typeof value === 'string' ? [value] : []);

/** Prepares a statement that may not exist on this schema. @returns what gives the first column of all rows */
export function prepare(connection: Connection, sql: string | undefined): (...key: string[]) => readonly unknown[] {
  const statement = sql === undefined ? undefined : connection.prepare<string[]>(sql).pluck();
  return (...key) => statement?.all(...key) ?? [];
}

function prepareUsers(connection: Connection, schema: Schema) {
  const { role, api_key } = statementsFor(schema);
  const [roles, owners] = [prepare(connection, role), prepare(connection, api_key)];
  return {
    /** @returns the backend's word for the role, or undefined where it does not know the user */
    roleOf(user: string): string | undefined {
      const [found] = roles(user);
      // no role, or one that is no text: the backend lets such a user nowhere, and an empty role would pass for an ordinary one
      return found === undefined || typeof found === 'string' ? found : 'pending';
    },
    userOfApiKey: (key: string) => owners(key).flatMap(toText).map(toUserId)[0],
  };
}

export interface Membership {
  /** Undefined for a row whose organization is no text: it gives nothing, and it is there. */
  readonly organization: OrganizationId | undefined;
  /** False too where the user's id only resembles the one that was asked for: `7` and `07` to a column of numbers. */
  readonly active: boolean;
}

function prepareMemberships(connection: Connection, schema: Schema) {
  const statement = connection
    .prepare<[string], [unknown, unknown, number]>(statementsFor(schema).memberships ?? '')
    .raw();
  /** @returns every membership row of a user, the inactive ones too: enrolment must know that they are there */
  return (user: string): readonly Membership[] =>
    statement.all(user).map(([organization, found, isActive]) => ({
      organization: typeof organization === 'string' ? toOrganizationId(organization) : undefined,
      active: isActive === 1 && found === user,
    }));
}

/**
 * Everything that is asked about organizations and what they grant. The grant alone decides: the `is_active` of a `model`
 * row is the backend's switch for its own lists, and most granted provider models have no such row.
 */
export function prepareGrants(connection: Connection, schema: Schema) {
  const own = prepare(connection, statementsFor(schema).grants);
  const everyActive = `SELECT DISTINCT model_id COLLATE BINARY FROM organization_models WHERE ${activeCondition(schema.grantActive)}`;
  const all = prepare(connection, everyActive);
  const switches = prepare(connection, statementsFor(schema).switch);
  return {
    /** @returns the patterns of the active rows */
    patternsOf: (organization: string) => own(organization).flatMap(toText),
    /** @returns every pattern that some organization grants, but for the one that grants everything */
    allPatterns: () =>
      all()
        .flatMap(toText)
        .filter((pattern) => pattern !== '*'),
    /** @returns false only where mAI's `client_organizations` says so */
    isActive: (organization: string) => (switches(organization)[0] ?? 1) === 1,
  };
}

const MAX_IDS = 5_000;

function preparePresets(connection: Connection, schema: Schema) {
  const statement = connection.prepare<[string], [unknown, unknown, unknown]>(statementsFor(schema).preset ?? '').raw();
  const ids = connection.prepare<[], string>(`SELECT id FROM model LIMIT ${MAX_IDS + 1}`).pluck();
  return {
    /** @returns the row of the backend's `model` table, or undefined where there is none */
    preset(id: ModelId): Preset | undefined {
      const row = statement.get(id);
      if (row === undefined) return undefined;
      const [base, params, owner] = row;
      const preset = { id, base: parseModelId(base), parameterModels: modelsInParameters(params) };
      return typeof owner === 'string' ? { ...preset, owner } : preset;
    },
    /** @returns the ids of all rows; undefined where there are so many that reading them costs more than it saves */
    presetIds(): ReadonlySet<string> | undefined {
      const all = ids.all();
      return all.length > MAX_IDS ? undefined : new Set(all);
    },
  };
}

/**
 * @param stored JSON text, NULL, or what a hand has put there
 * @returns models that a preset's parameters name: the backend puts them over the request's own (0.6), or sends them to
 *   the provider, whose routing fields name models too
 */
function modelsInParameters(stored: unknown): readonly ModelId[] {
  if (typeof stored !== 'string' || stored === '' || stored === '{}') return [];
  const params = tryParseJson(stored);
  const { models, unreadable } = collectParameters(params, 'defined');
  const isReadable = unreadable === undefined && (params === null || isObject(params));
  return isReadable ? [...models] : [...models, UNREADABLE as ModelId];
}

/** What the backend calls its arena where none is configured (utils/models.py, 0.6.0 to 0.12.4). */
const DEFAULT_ARENA = 'arena-model';

/** By `Schema.config`; of the documents the newest row counts (config.py, to 0.9). */
const SETTINGS = {
  rows: {
    arenas: 'SELECT value FROM config WHERE "key" = \'evaluation.arena.models\'',
    connections: `SELECT value FROM config WHERE "key" IN ('openai.api_configs', 'ollama.api_configs')`,
  },
  document: {
    arenas:
      "SELECT json_extract(data, '$.evaluation.arena.models') FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1",
    connections: `SELECT value FROM (SELECT data FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1) newest,
      json_each(json_array(newest.data -> '$.openai.api_configs', newest.data -> '$.ollama.api_configs'))`,
  },
  none: { arenas: undefined, connections: undefined },
};

const parsed = (stored: unknown): unknown => (typeof stored === 'string' ? tryParseJson(stored) : undefined);

/**
 * @returns the ids of the models that pick others by chance, and their stems. Whether arenas are switched on is not asked: the
 *   environment may say otherwise than the table.
 */
export function prepareComposites(connection: Connection, schema: Schema): () => ReadonlySet<string> {
  const stored = prepare(connection, SETTINGS[schema.config].arenas);
  return () => {
    const models = parsed(stored()[0]);
    const ids = Array.isArray(models) ? models.flatMap((model) => (isObject(model) ? toText(model['id']) : [])) : [];
    return new Set([DEFAULT_ARENA, ...ids].flatMap((id) => [id, stemOf(id)]));
  };
}

/** The backend matches a base with what stands before the first colon of an id too (utils/models.py). */
export const stemOf = (id: string): string => id.split(':', 1)[0] ?? id;

/**
 * @returns the `prefix_id` of every connection, each with its dot: the backend lists a model of the connection as
 *   `<prefix_id>.<model>` (routers/openai.py, routers/ollama.py). Connections of the backend's environment are not seen.
 */
function prepareConnectionPrefixes(connection: Connection, schema: Schema) {
  const stored = prepare(connection, SETTINGS[schema.config].connections);
  return (): readonly string[] =>
    stored()
      .map(parsed)
      .flatMap((configs) => (isObject(configs) ? Object.values(configs) : []))
      .flatMap((config) => (isObject(config) ? toText(config['prefix_id']) : []))
      .flatMap((prefix) => (prefix === '' ? [] : [`${prefix}.`]));
}

/** Everything that a decision asks of a file with this schema. */
export const prepareReads = (connection: Connection, schema: Schema) => ({
  ...prepareUsers(connection, schema),
  ...prepareGrants(connection, schema),
  membershipsOf: prepareMemberships(connection, schema),
  ...preparePresets(connection, schema),
  composites: prepareComposites(connection, schema),
  connectionPrefixes: prepareConnectionPrefixes(connection, schema),
});
