/** The catalogue of the backend's configuration: models that its connections to providers list one by one. */
import { type SettingKey, createSettings, idsOf, textsOf } from '../backend-file/backend.ts';
import { quoted } from '../backend-file/text.ts';
import { prepareComposites, readModelRows } from '../store/models.ts';
import type { Connection } from '../store/database.ts';
import { type Schema, columnsOf } from '../store/schema.ts';
import { type Catalogue, type Gap, type Offer, type Wishes, createPresetOffers, toCatalogue } from './catalogue.ts';
import { isObject } from '../references/json.ts';

/** A connection that lists its models only at run time is a gap. @throws SqliteError */
export function fromConfig(connection: Connection, schema: Schema, wishes: Wishes): Catalogue {
  const rows = new Map(readModelRows(connection).map((row) => [row.id, row]));
  const known = readConnections(connection, schema);
  const offers = known.connections.flatMap(({ kind, models }) =>
    models.map((id): Offer => {
      // a row on `llama3` stands for `llama3:latest` too (utils/models.py)
      const row = rows.get(id) ?? (kind === 'ollama' ? rows.get(id.split(':')[0] ?? id) : undefined);
      return { id, leftOut: row?.isActive === false && !row.isPreset ? 'switched_off' : undefined };
    }),
  );
  const presets = [...rows.values()]
    .filter(({ isPreset }) => isPreset)
    .map(createPresetOffers(connection, schema, wishes));
  const arenas = idsOf(createSettings(connection, schema)('evaluation.arena.models'));
  return toCatalogue([...offers, ...presets, ...arenas.map((id): Offer => ({ id, leftOut: 'arena' }))], {
    beside: prepareComposites(connection, schema)(),
    gaps: [...gapsOf(known), ...pipesOf(connection)],
  });
}

function gapsOf({ connections, unknown }: ProviderConnections): readonly Gap[] {
  return [
    ...unknown.map((kind) => ({
      why: `The connections of ${nameOf(kind)} are not in the file: the backend takes them from its environment. --from live asks the backend itself.`,
      mayHave: (id: string) => kind === 'openai' || id.includes(':'),
    })),
    ...connections
      .filter(({ models }) => models.length === 0)
      .map(({ label, mayHave }) => ({
        why: `The ${label} lists its models at run time, and so they are not in the file. --from live asks for them.`,
        mayHave,
      })),
  ];
}

/** Functions that are models: what a manifold offers, only its code knows. */
function pipesOf(connection: Connection): readonly Gap[] {
  const columns = columnsOf(connection, 'function');
  if (!columns.has('type') || !columns.has('is_active')) return [];
  return connection
    .prepare<[], string>("SELECT id FROM function WHERE type = 'pipe' AND is_active = 1")
    .pluck()
    .all()
    .map((pipe) => ({
      why: `The function ${quoted(pipe)} makes models of its own. --from live asks for them.`,
      mayHave: (id: string) => id === pipe || id.startsWith(`${pipe}.`),
    }));
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
  /** Ids as the backend offers them; none: the backend asks the connection at run time. */
  readonly models: readonly string[];
  /** Whether a model with this id may be of this connection. */
  mayHave(id: string): boolean;
}

interface ProviderConnections {
  readonly connections: readonly ProviderConnection[];
  /** The backend takes the addresses of these from its environment. */
  readonly unknown: readonly ProviderKind[];
}

/** By the protocol that is spoken. */
type ProviderKind = 'openai' | 'ollama';

const KINDS: Readonly<Record<ProviderKind, { readonly name: string; readonly urls: SettingKey }>> = {
  openai: { name: 'OpenAI', urls: 'openai.api_base_urls' },
  ollama: { name: 'Ollama', urls: 'ollama.base_urls' },
};

/** @returns as people write it, for sentences */
const nameOf = (kind: ProviderKind): string => KINDS[kind].name;

/** @returns those that are switched on, in the order of the backend's lists @throws SqliteError */
export function readConnections(connection: Connection, schema: Schema): ProviderConnections {
  const setting = createSettings(connection, schema);
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
      const found = readConnection(kind, index, typeof url === 'string' ? url : '', configs);
      if (found !== undefined) connections.push(found);
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
  const found = isObject(configs) ? (configs[String(index)] ?? configs[url]) : undefined;
  const config = isObject(found) ? found : {};
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
