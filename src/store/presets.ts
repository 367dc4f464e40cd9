import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { Preset } from '../policy/decide.ts';
import type { Connection } from './database.ts';
import { modelsInParameters } from './parameter-models.ts';
import type { Schema } from './schema-reader.ts';

/** @returns the row of the backend's `model` table, or undefined where there is none */
export function preparePresets(connection: Connection, schema: Schema): (id: ModelId) => Preset | undefined {
  const parameters = schema.presetParameters ? 'params' : 'NULL';
  const statement = connection
    .prepare<[string], [unknown, unknown]>(`SELECT base_model_id, ${parameters} FROM model WHERE id = ?`)
    .raw();
  return (id) => {
    const row = statement.get(id);
    if (row === undefined) return undefined;
    return { id, base: parseModelId(row[0]), parameterModels: modelsInParameters(row[1]) };
  };
}
