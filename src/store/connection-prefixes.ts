import { isObject, tryParseJson } from '../references/json.ts';
import type { Connection } from './database.ts';
import type { Schema } from './schema-reader.ts';

/** By `Schema.config`; of the documents the newest row counts (config.py, to 0.9). */
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
