/**
 * The backend's connections to providers, and the ids under which it offers their models (routers/openai.py and
 * routers/ollama.py, `get_all_models`, 0.6.18 and 0.12.4).
 */
import type { Connection as Database } from '../../store/database.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { quoted } from '../quoted.ts';
import type { SettingKey } from './backend-settings.ts';
import { createSettings, isRecord, textsOf } from './backend-settings.ts';

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
