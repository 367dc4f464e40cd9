/**
 * The backend's own settings as its file holds them: one document up to 0.9, one row a key from 0.10.0. What is not
 * there is a default or comes from the backend's environment, and nobody else can tell which.
 */
import type { Connection } from '../../store/database.ts';
import { tryParseJson } from '../../references/exact-json.ts';
import type { Schema } from '../../store/schema-reader.ts';

export type SettingKey =
  | `${'openai' | 'ollama'}.${'enable' | 'api_configs'}`
  | 'openai.api_base_urls'
  | 'ollama.base_urls'
  | 'evaluation.arena.models';

/** @returns a function that reads one setting, undefined where it is not stored; of the documents the newest counts */
export function createSettings(connection: Connection, { config }: Schema): (key: SettingKey) => unknown {
  if (config === 'none') return () => undefined;
  const statement = connection
    .prepare<[string]>(
      config === 'rows'
        ? 'SELECT value FROM config WHERE "key" = ?'
        : // `->` and not json_extract, which would give `false` and `0` alike
          "SELECT data -> ('$.' || ?) FROM config WHERE json_valid(data, 2) ORDER BY id DESC LIMIT 1",
    )
    .pluck();
  return (key) => {
    const stored = statement.get(key);
    return typeof stored === 'string' ? tryParseJson(stored) : undefined;
  };
}

/** Settings are the backend's JSON: an array is an object there too, and none of ours. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @returns the texts of a list, and nothing of anything else */
export const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

/** @returns the ids of `[{"id": "…"}, …]`, and nothing of anything else */
export const idsOf = (models: unknown): readonly string[] =>
  textsOf(Array.isArray(models) ? models.filter(isRecord).map(({ id }) => id) : undefined);
