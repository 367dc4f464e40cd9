/** What the backend's settings say of its providers: connections, and the models that it runs for itself. */
import { isObject } from '../references/json.ts';
import { type Connection, prepareColumn } from './database.ts';
import { type Setting, prepareSettings } from './models.ts';
import type { Schema } from './schema.ts';

/** One connection as the backend's admin page shows it. */
interface ProviderConnection {
  /** Where it is configured: the setting's key, and the place in its list. */
  readonly setting: string;
  readonly url: string;
  /** What the backend puts before its models' ids, with the dot; empty where it puts nothing. */
  readonly prefix: string;
  /** Whether the engine that would call it is switched on. */
  readonly isUsed: boolean;
}

interface ProviderSettings {
  readonly connections: readonly ProviderConnection[];
  /** What the backend runs for itself: by the ids of its lists, and as it sends them to the provider. */
  readonly serviceModels: { readonly listed: readonly string[]; readonly sent: readonly string[] };
  /** Settings of connections that the database has; all others come from the backend's environment. */
  readonly named: readonly string[];
}

/** Lists of addresses, each with a configuration by place, or by address (routers/openai.py, ollama.py, 0.6.18 and 0.12.4). */
const LISTS = { 'openai.api_base_urls': 'openai.api_configs', 'ollama.base_urls': 'ollama.api_configs' };

/** One address each, the engine that calls it, and its switch where it has one (config.py, 0.6.18 and 0.12.4): most are always set. */
const ADDRESSES: Readonly<Record<string, readonly [engine: string, name: unknown, enabled?: string]>> = {
  'rag.openai_api_base_url': ['rag.embedding_engine', 'openai'],
  'rag.openai.api_base_url': ['rag.embedding_engine', 'openai'],
  'rag.azure_openai.base_url': ['rag.embedding_engine', 'azure_openai'],
  'rag.ollama.url': ['rag.embedding_engine', 'ollama'],
  'rag.ollama.base_url': ['rag.embedding_engine', 'ollama'],
  'rag.external_reranker_url': ['rag.reranking_engine', 'external'],
  'audio.stt.openai.api_base_url': ['audio.stt.engine', 'openai'],
  'audio.tts.openai.api_base_url': ['audio.tts.engine', 'openai'],
  'audio.realtime.openai.api_base_url': ['audio.realtime.enabled', true],
  'image_generation.openai.api_base_url': ['image_generation.engine', 'openai', 'image_generation.enable'],
  'images.edit.openai.api_base_url': ['images.edit.engine', 'openai', 'images.edit.enable'],
};

const LISTED_MODELS = ['task.model.default', 'task.model.external', 'chat.context_compaction.model'];
/** No prefix of a connection stands before them (retrieval/utils.py). */
const SENT_MODELS = ['rag.embedding_model', 'rag.reranking_model'];

const NAMES = [...Object.keys(LISTS), ...Object.keys(ADDRESSES)];
export const PROVIDER_SETTINGS = [
  ...[...NAMES, ...Object.values(LISTS), 'openai.enable', 'ollama.enable', ...LISTED_MODELS, ...SENT_MODELS],
  ...Object.values(ADDRESSES).flatMap(([engine, , enabled = engine]) => [engine, enabled]),
];

/** @returns nothing of what the backend has from its environment alone */
export function prepareProviderSettings(connection: Connection, schema: Schema): () => ProviderSettings {
  const setting = prepareSettings(connection, schema);
  return () => providerSettingsOf(setting);
}

export function providerSettingsOf(setting: Setting): ProviderSettings {
  const found = new Map(PROVIDER_SETTINGS.map((key) => [key, setting(key)]));
  return {
    connections: [...Object.entries(LISTS).flatMap((names) => listed(found, ...names)), ...single(found)],
    serviceModels: {
      listed: LISTED_MODELS.flatMap((key) => toText(found.get(key))),
      sent: SENT_MODELS.flatMap((key) => toText(found.get(key))),
    },
    named: NAMES.filter((key) => found.get(key) !== undefined),
  };
}

const READABLE_KEYS = "FROM client_organizations WHERE typeof(id) = 'text'";

/** mAI pays each organization's calls to OpenRouter with a key of its own. @returns what reads it; undefined where there is none */
export function prepareOpenrouterKeys(
  connection: Connection,
  schema: Schema,
): (organization: string) => string | undefined {
  const sql = `SELECT openrouter_api_key ${READABLE_KEYS} AND id = ? COLLATE BINARY`;
  const keys = prepareColumn(connection, schema.openrouterKeys ? sql : undefined);
  return (organization) => usableKey(keys(organization));
}

/** @returns the organizations to which mAI gives one, and the keys @throws SqliteError */
export function listOpenrouterKeys(connection: Connection, { openrouterKeys }: Pick<Schema, 'openrouterKeys'>) {
  if (!openrouterKeys) return [];
  const sql = `SELECT id, openrouter_api_key AS stored ${READABLE_KEYS} ORDER BY id`;
  const rows = connection.prepare<[], { readonly id: string; readonly stored: unknown }>(sql).all();
  return rows.flatMap(({ id, stored }) => {
    const key = usableKey([stored]);
    return key === undefined ? [] : [{ organization: id, key }];
  });
}

export const usableKey = (stored: readonly unknown[]): string | undefined =>
  stored
    .flatMap(toText)
    .map((key) => key.trim())
    .find((key) => key !== '');

function listed(found: ReadonlyMap<string, unknown>, setting: string, configsKey: string): ProviderConnection[] {
  const [urls, configs] = [found.get(setting), found.get(configsKey)];
  if (!Array.isArray(urls)) return [];
  const isUsed = found.get(setting.replace(/\..*/, '.enable')) !== false;
  return urls.flatMap((url: unknown, index): ProviderConnection[] => {
    if (typeof url !== 'string' || url === '') return [];
    const config = member(configs, String(index)) ?? member(configs, url);
    if (member(config, 'enable') === false) return [];
    const [prefix] = toText(member(config, 'prefix_id'));
    return [{ setting: `${setting}[${index}]`, url, prefix: prefix === undefined ? '' : `${prefix}.`, isUsed }];
  });
}

const single = (found: ReadonlyMap<string, unknown>): ProviderConnection[] =>
  Object.entries(ADDRESSES).flatMap(([setting, [engine, name, enabled = engine]]) => {
    const isUsed = found.get(engine) === name && found.get(enabled) !== false;
    return toText(found.get(setting)).map((url) => ({ setting, url, prefix: '', isUsed }));
  });

const member = (value: unknown, key: string): unknown =>
  isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
const toText = (value: unknown): string[] => (typeof value === 'string' && value !== '' ? [value] : []);
