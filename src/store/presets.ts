import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { Preset } from '../policy/decide.ts';
import type { Connection } from './database.ts';
import { modelsInParameters } from './parameter-models.ts';
import type { Schema } from './schema-reader.ts';

export interface PresetReader {
  /** @returns the row of the backend's `model` table, or undefined where there is none */
  preset(id: ModelId): Preset | undefined;
  /** @returns the ids of all rows; undefined where there are so many that reading them costs more than it saves */
  presetIds(): ReadonlySet<string> | undefined;
}

const MAX_IDS = 5_000;

export const presetQuery = ({ presetParameters }: Pick<Schema, 'presetParameters'>): string =>
  `SELECT base_model_id, ${presetParameters ? 'params' : 'NULL'} FROM model WHERE id = ?`;

export function preparePresets(connection: Connection, schema: Schema): PresetReader {
  const statement = connection.prepare<[string], [unknown, unknown]>(presetQuery(schema)).raw();
  const ids = connection.prepare<[], string>(`SELECT id FROM model LIMIT ${MAX_IDS + 1}`).pluck();
  return {
    preset: (id) => {
      const row = statement.get(id);
      if (row === undefined) return undefined;
      return { id, base: parseModelId(row[0]), parameterModels: modelsInParameters(row[1]) };
    },
    presetIds: () => {
      const all = ids.all();
      return all.length > MAX_IDS ? undefined : new Set(all);
    },
  };
}
