import type { Connection } from './database.ts';
import { tryParseJson } from '../references/json.ts';
import type { Schema } from './schema-reader.ts';

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
