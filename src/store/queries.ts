/** What a decision asks of the file: one statement for each question, and what its rows mean. */
import { type OrganizationId, type UserId, toOrganizationId, toUserId } from '../identity/principal.ts';
import type { Preset } from '../policy/decide.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { UNREADABLE } from '../references/saved-chat.ts';
import type { Connection } from './database.ts';
import { type Schema, activeCondition } from './schema-reader.ts';
import { VERSION_TABLE } from './tables.ts';

export interface UserReader {
  /** @returns the backend's word for the role, or undefined where it does not know the user */
  roleOf(user: string): string | undefined;
  userOfApiKey(key: string): UserId | undefined;
}

/** `user` is quoted for PostgreSQL's sake, where it is a reserved word; SQLite reads both. */
const ROLE_QUERY = 'SELECT role FROM "user" WHERE id = ?';

/** By `Schema.apiKeys`. */
const API_KEY_QUERIES = {
  table: 'SELECT user_id FROM api_key WHERE "key" = ?',
  column: 'SELECT id FROM "user" WHERE api_key = ?',
  none: undefined,
} as const;

export function prepareUsers(connection: Connection, schema: Schema): UserReader {
  const role = connection.prepare<[string]>(ROLE_QUERY).pluck();
  const keyQuery = API_KEY_QUERIES[schema.apiKeys];
  const key = keyQuery === undefined ? undefined : connection.prepare<[string]>(keyQuery).pluck();
  return {
    roleOf: (id) => {
      const found = role.get(id);
      // no role, or one that is no text: the backend lets such a user nowhere, and an empty role would pass for an ordinary one
      return found === undefined || typeof found === 'string' ? found : 'pending';
    },
    userOfApiKey: (value) => {
      const found = key?.get(value);
      return typeof found === 'string' ? toUserId(found) : undefined;
    },
  };
}

export interface Membership {
  /** Undefined for a row whose organization is no text: it gives nothing, and it is there. */
  readonly organization: OrganizationId | undefined;
  /** False too where the user's id only resembles the one that was asked for: `7` and `07` to a column of numbers. */
  readonly active: boolean;
}

/** Of one user. */
function membershipsQuery({ memberActive }: Pick<Schema, 'memberActive'>): string {
  return `SELECT DISTINCT organization_id COLLATE BINARY, user_id COLLATE BINARY, ${activeCondition(memberActive)}
    FROM organization_members WHERE user_id = ?`;
}

/** @returns every membership row of a user, the inactive ones too: enrolment must know that they are there */
export function prepareMemberships(connection: Connection, schema: Schema): (user: string) => readonly Membership[] {
  const statement = connection.prepare<[string], [unknown, unknown, number]>(membershipsQuery(schema)).raw();
  return (user) =>
    statement.all(user).map(([organization, found, isActive]) => ({
      organization: typeof organization === 'string' ? toOrganizationId(organization) : undefined,
      active: isActive === 1 && found === user,
    }));
}

/** Everything that is asked about organizations and what they grant. */
export interface GrantReader {
  /** @returns the patterns of the active rows; a NULL `is_active` counts as 1, the column's default */
  patternsOf(organization: string): readonly string[];
  /** @returns every pattern that some organization grants, but for the one that grants everything */
  allPatterns(): readonly string[];
  /** @returns false only where mAI's `client_organizations` says so */
  isActive(organization: string): boolean;
}

/** Of one organization, and not of one whose id a column of numbers or without case takes for the same. */
const grantsQuery = ({ grantActive }: Pick<Schema, 'grantActive'>): string =>
  `SELECT model_id FROM organization_models
    WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND ${activeCondition(grantActive)}`;

/** mAI's switch for a whole organization; where it stands more than once, off is off. */
export const SWITCH_QUERY = `SELECT min(${activeCondition(true)}) FROM client_organizations WHERE id = ?`;

/**
 * The grant alone decides: the `is_active` of a `model` row is the backend's switch for its own lists, and most
 * granted provider models have no such row.
 */
export function prepareGrants(connection: Connection, schema: Schema): GrantReader {
  const own = connection.prepare<[string]>(grantsQuery(schema)).pluck();
  const all = connection
    .prepare<[]>(
      `SELECT DISTINCT model_id COLLATE BINARY FROM organization_models WHERE ${activeCondition(schema.grantActive)}`,
    )
    .pluck();
  const organization = schema.clientOrganizations ? connection.prepare<[string]>(SWITCH_QUERY).pluck() : undefined;
  return {
    patternsOf: (id) => own.all(id).filter(isText),
    allPatterns: () =>
      all
        .all()
        .filter(isText)
        .filter((pattern) => pattern !== '*'),
    isActive: (id) => (organization?.get(id) ?? 1) === 1,
  };
}

const isText = (value: unknown): value is string => typeof value === 'string';

export interface PresetReader {
  /** @returns the row of the backend's `model` table, or undefined where there is none */
  preset(id: ModelId): Preset | undefined;
  /** @returns the ids of all rows; undefined where there are so many that reading them costs more than it saves */
  presetIds(): ReadonlySet<string> | undefined;
}

const MAX_IDS = 5_000;

const presetQuery = ({ presetParameters, presetOwner }: Pick<Schema, 'presetParameters' | 'presetOwner'>): string =>
  `SELECT base_model_id, ${presetParameters ? 'params' : 'NULL'}, ${presetOwner ? 'user_id' : 'NULL'} FROM model WHERE id = ?`;

export function preparePresets(connection: Connection, schema: Schema): PresetReader {
  const statement = connection.prepare<[string], [unknown, unknown, unknown]>(presetQuery(schema)).raw();
  const ids = connection.prepare<[], string>(`SELECT id FROM model LIMIT ${MAX_IDS + 1}`).pluck();
  return {
    preset: (id) => {
      const row = statement.get(id);
      if (row === undefined) return undefined;
      const [base, params, owner] = row;
      return {
        id,
        base: parseModelId(base),
        parameterModels: modelsInParameters(params),
        ...(typeof owner === 'string' ? { owner } : {}),
      };
    },
    presetIds: () => {
      const all = ids.all();
      return all.length > MAX_IDS ? undefined : new Set(all);
    },
  };
}

/**
 * Models that a preset's parameters name: the backend puts them over the request's own (0.6), or sends what it does not
 * know to the provider, whose routing fields name models too.
 *
 * @param stored the column as SQLite gives it: JSON text, NULL, or what a hand has put there
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
const ARENA_MODELS = {
  rows: 'SELECT value FROM config WHERE "key" = \'evaluation.arena.models\'',
  document:
    "SELECT json_extract(data, '$.evaluation.arena.models') FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1",
  none: 'SELECT NULL WHERE 0',
};

/**
 * @returns the ids of the models that pick others by chance, and their stems. Whether arenas are switched on is not asked: the
 *   environment may say otherwise than the table.
 */
export function prepareComposites(connection: Connection, schema: Schema): () => ReadonlySet<string> {
  const statement = connection.prepare<[]>(ARENA_MODELS[schema.config]).pluck();
  return () => {
    const stored = statement.get();
    const models = typeof stored === 'string' ? tryParseJson(stored) : undefined;
    const ids = Array.isArray(models) ? models.map(idOf).filter((id) => id !== undefined) : [];
    return new Set([DEFAULT_ARENA, ...ids].flatMap((id) => [id, stemOf(id)]));
  };
}

/** The backend matches a base with what stands before the first colon of an id too (utils/models.py). */
export const stemOf = (id: string): string => id.split(':', 1)[0] ?? id;

function idOf(model: unknown): string | undefined {
  if (typeof model !== 'object' || model === null || !('id' in model)) return undefined;
  return typeof model.id === 'string' ? model.id : undefined;
}

const API_CONFIGS = {
  rows: `SELECT value FROM config WHERE "key" IN ('openai.api_configs', 'ollama.api_configs')`,
  document: `SELECT value FROM (SELECT data FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1) newest,
    json_each(json_array(newest.data -> '$.openai.api_configs', newest.data -> '$.ollama.api_configs'))`,
  none: 'SELECT NULL WHERE 0',
};

/**
 * @returns the `prefix_id` of every connection, each with its dot: the backend lists a model of the connection as
 *   `<prefix_id>.<model>` (routers/openai.py, routers/ollama.py). Connections that only the backend's environment knows
 *   are not seen.
 */
export function prepareConnectionPrefixes(connection: Connection, schema: Schema): () => readonly string[] {
  const statement = connection.prepare<[]>(API_CONFIGS[schema.config]).pluck();
  return () =>
    statement.all().flatMap((stored) => {
      const configs = typeof stored === 'string' ? tryParseJson(stored) : undefined;
      return isObject(configs) ? Object.values(configs).flatMap(prefixOf) : [];
    });
}

function prefixOf(config: unknown): string[] {
  const prefix = isObject(config) ? config['prefix_id'] : undefined;
  return typeof prefix === 'string' && prefix !== '' ? [`${prefix}.`] : [];
}

export const VERSION_QUERY = `SELECT version FROM ${VERSION_TABLE.name} WHERE subject = ?`;

interface GateQuery {
  readonly name: string;
  readonly sql: string;
  /** What its one parameter is. */
  readonly asks: 'user' | 'organization' | 'model' | 'api_key' | 'subject';
}

/**
 * The statements of one decision that nothing is cached for, by name: what `doctor` explains and `bench-queries` times is
 * word for word what the gate prepares.
 * @returns those that can run on this schema
 */
export function gateQueries(schema: Schema): readonly GateQuery[] {
  const apiKey = API_KEY_QUERIES[schema.apiKeys];
  return [
    { name: 'role', sql: ROLE_QUERY, asks: 'user' },
    ...(apiKey === undefined ? [] : [{ name: 'api_key', sql: apiKey, asks: 'api_key' } as const]),
    { name: 'memberships', sql: membershipsQuery(schema), asks: 'user' },
    ...(schema.clientOrganizations ? [{ name: 'switch', sql: SWITCH_QUERY, asks: 'organization' } as const] : []),
    { name: 'grants', sql: grantsQuery(schema), asks: 'organization' },
    { name: 'preset', sql: presetQuery(schema), asks: 'model' },
    ...(schema.counted ? [{ name: 'versions', sql: VERSION_QUERY, asks: 'subject' } as const] : []),
  ];
}
