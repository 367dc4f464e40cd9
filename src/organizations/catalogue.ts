/** The models that an organization could be allowed, wherever the list of them comes from. */
import type { SettingKey } from '../backend-file/backend.ts';
import { createSettings, isRecord, textsOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import type { ModelId } from '../policy/grant.ts';
import { parsePattern } from '../policy/grant.ts';
import type { Connection, Connection as Database } from '../store/database.ts';
import type { Maker } from '../store/model-rows.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';

/** Why a model of the source is not in the catalogue; its grants are left as they are. */
export type LeftOut =
  | 'preset'
  /** Picks another model by chance, so it is granted by its own id, by whoever means it. */
  | 'arena'
  /** By its row in the backend's `model` table. */
  | 'switched_off'
  /** An id that no request can name, or that would be read as a pattern. */
  | 'unusable'
  /** Its row was made by a user who is no admin. */
  | 'of_user'
  /** A private preset that another organization was granted by its own id. */
  | 'of_organization';

/** Whose model it is that was left out. */
export type Owner = { readonly user: Maker } | { readonly organization: string };

/** Something that may have models which the source does not show. */
export interface Gap {
  /** A sentence for the operator. */
  readonly why: string;
  mayHave(id: string): boolean;
}

export interface Catalogue {
  /** In the order of the source, each once. */
  readonly models: readonly ModelId[];
  readonly leftOut: ReadonlyMap<string, LeftOut>;
  /** Of what was left out because it is somebody's. */
  readonly owners: ReadonlyMap<string, Owner>;
  /** What is there without being offered, such as the arena of a backend that has not been told of any. */
  readonly beside: ReadonlySet<string>;
  /** What is not in the catalogue and may be of a gap is not switched off. */
  readonly gaps: readonly Gap[];
}

/** What a source says about one model. */
export interface Offer {
  readonly id: string;
  readonly leftOut?: LeftOut | undefined;
  readonly owner?: Owner | undefined;
}

/** @param offers in the order of the source; an id that is offered and left out is offered */
export function toCatalogue(
  offers: Iterable<Offer>,
  { beside, gaps = [] }: { readonly beside: ReadonlySet<string>; readonly gaps?: readonly Gap[] },
): Catalogue {
  const models = new Set<ModelId>();
  const leftOut = new Map<string, LeftOut>();
  const owners = new Map<string, Owner>();
  for (const { id, leftOut: why, owner } of offers) {
    const pattern = parsePattern(id);
    // nobody should be advised to allow such an id by itself
    if (pattern?.kind !== 'exact') leftOut.set(id, 'unusable');
    else if (why === undefined) models.add(pattern.model);
    else leftOut.set(id, why);
    if (owner !== undefined) owners.set(id, owner);
  }
  for (const model of models) leftOut.delete(model);
  for (const id of owners.keys()) if (!leftOut.has(id)) owners.delete(id);
  return { models: [...models], leftOut, owners, beside, gaps };
}

// Presets that are an organization's own: it was granted them by their own ids, and the backend keeps them private.

/**
 * @param organization that asks: what it has a grant of, switched on or off, is its own too
 * @returns a function that names another organization whose private preset it is
 */
export function createOwnership(
  connection: Connection,
  { grantActive }: Schema,
  organization: string,
): (preset: string) => string | undefined {
  const isPublic = createPublicity(connection);
  const others = connection
    .prepare<[object], string>(
      `SELECT organization_id FROM organization_models
       WHERE model_id = $preset AND organization_id <> $organization AND ${activeCondition(grantActive)}
         AND typeof(organization_id) = 'text' AND NOT EXISTS (
           SELECT 1 FROM organization_models own WHERE own.model_id = $preset AND own.organization_id = $organization)
       ORDER BY organization_id LIMIT 1`,
    )
    .pluck();
  return (preset) => (isPublic(preset) ? undefined : others.get({ preset, organization }));
}

/**
 * For whom a preset is: everybody where `access_control` is null (0.6), or where `*` may read it (`access_grant`, 0.12).
 * @returns a function that tells whether the backend shows a preset to everybody
 */
function createPublicity(connection: Connection): (preset: string) => boolean {
  // SQLAlchemy writes None into a JSON column as the JSON value
  const publicity = columnsOf(connection, 'model').has('access_control')
    ? "SELECT 1 FROM model WHERE id = ? AND coalesce(access_control, 'null') = 'null'"
    : columnsOf(connection, 'access_grant').has('principal_id')
      ? `SELECT 1 FROM access_grant WHERE resource_type = 'model' AND resource_id = ?
           AND principal_id = '*' AND permission = 'read'`
      : undefined;
  if (publicity === undefined) return () => true;
  const statement = connection.prepare<[string]>(publicity);
  return (preset) => statement.get(preset) !== undefined;
}

// The backend's connections to providers, and the ids under which it offers their models (routers/openai.py and
// routers/ollama.py, `get_all_models`, 0.6.18 and 0.12.4).

/** One that is switched on. */
export interface ProviderConnection {
  readonly kind: ProviderKind;
  /** Its place in the backend's list, which answers repeat. */
  readonly index: number;
  /** For sentences: `OpenAI connection 2 (https://openrouter.ai/api/v1)`. */
  readonly label: string;
  /** Ids as the backend offers them; none: the connection is asked what it has whenever somebody lists. */
  readonly models: readonly string[];
  /** Whether a model with this id may be of this connection, as far as anybody can tell. */
  mayHave(id: string): boolean;
}

export interface ProviderConnections {
  readonly connections: readonly ProviderConnection[];
  /** Kinds whose addresses are not in the file: the backend takes them from its environment. */
  readonly unknown: readonly ProviderKind[];
}

/** By the protocol that is spoken. */
export type ProviderKind = 'openai' | 'ollama';

const KINDS: Readonly<Record<ProviderKind, { readonly name: string; readonly urls: SettingKey }>> = {
  openai: { name: 'OpenAI', urls: 'openai.api_base_urls' },
  ollama: { name: 'Ollama', urls: 'ollama.base_urls' },
};

/** @returns as people write it, for sentences */
export const nameOf = (kind: ProviderKind): string => KINDS[kind].name;

/** @returns those that are switched on, in the order of the backend's lists @throws SqliteError */
export function readConnections(database: Database, schema: Schema): ProviderConnections {
  const setting = createSettings(database, schema);
  const connections: ProviderConnection[] = [];
  const unknown: ProviderKind[] = [];
  for (const kind of ['openai', 'ollama'] as const) {
    if (setting(`${kind}.enable`) === false) continue;
    const urls = setting(KINDS[kind].urls);
    if (!Array.isArray(urls)) {
      unknown.push(kind);
      continue;
    }
    const configs = setting(`${kind}.api_configs`);
    urls.forEach((url: unknown, index) => {
      const connection = readConnection(kind, index, typeof url === 'string' ? url : '', configs);
      if (connection !== undefined) connections.push(connection);
    });
  }
  return { connections, unknown };
}

/** @returns undefined where it is switched off */
function readConnection(
  kind: ProviderKind,
  index: number,
  url: string,
  configs: unknown,
): ProviderConnection | undefined {
  // by place, and as it was before 0.5 by address
  const found = isRecord(configs) ? (configs[String(index)] ?? configs[url]) : undefined;
  const config = isRecord(found) ? found : {};
  if ('enable' in config && !isTrue(config['enable'])) return undefined;
  const { prefix_id: given } = config;
  const prefix = typeof given === 'string' && given !== '' ? `${given}.` : '';
  const models = textsOf(config['model_ids']).map((id) => `${prefix}${id}`);
  return {
    kind,
    index,
    label: `${nameOf(kind)} connection ${index + 1} (${quoted(withoutSecrets(url))})`,
    models: models.filter((id) => kind === 'ollama' || isOffered(id, url)),
    mayHave: (id) => {
      if (models.length > 0) return models.includes(id);
      // every model of Ollama has a tag
      return id.startsWith(prefix) && (kind === 'openai' || id.includes(':'));
    },
  };
}

/** As Python does. */
const isTrue = (value: unknown): boolean => Boolean(value) && !(Array.isArray(value) && value.length === 0);

/** Of OpenAI's own models the backend drops what cannot chat. */
const isOffered = (id: string, url: string): boolean =>
  !url.includes('api.openai.com') || !NO_CHAT.some((word) => id.includes(word));

const NO_CHAT = ['babbage', 'dall-e', 'davinci', 'embedding', 'tts', 'whisper'];

/** An address may carry a password or a key. */
function withoutSecrets(url: string): string {
  if (!URL.canParse(url)) return url.split(/[?#]/)[0] ?? '';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
