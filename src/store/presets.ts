import type { ModelId } from '../policy/grant.ts';
import { parseModelId } from '../policy/grant.ts';
import type { Preset } from '../policy/decide.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { UNREADABLE } from '../references/saved-chat.ts';
import type { Connection } from './database.ts';
import type { Schema } from './schema-reader.ts';

export interface PresetReader {
  /** @returns the row of the backend's `model` table, or undefined where there is none */
  preset(id: ModelId): Preset | undefined;
  /** @returns the ids of all rows; undefined where there are so many that reading them costs more than it saves */
  presetIds(): ReadonlySet<string> | undefined;
}

const MAX_IDS = 5_000;

export const presetQuery = ({
  presetParameters,
  presetOwner,
}: Pick<Schema, 'presetParameters' | 'presetOwner'>): string =>
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
export function modelsInParameters(stored: unknown): readonly ModelId[] {
  if (typeof stored !== 'string' || stored === '' || stored === '{}') return [];
  const params = tryParseJson(stored);
  const { models, unreadable } = collectParameters(params, 'defined');
  const isReadable = unreadable === undefined && (params === null || isObject(params));
  return isReadable ? [...models] : [...models, UNREADABLE as ModelId];
}
