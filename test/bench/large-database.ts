/**
 * A database of the size that the budgets name, in a few seconds. Users belong to one organization each, one in ten to
 * two; organizations grant much the same models, as they do where one provider serves them all.
 */
import { createDatabase, type DatabaseOptions, type TestDatabase } from '../support/database/database.ts';

export interface LargeDatabaseOptions extends DatabaseOptions {
  readonly users?: number;
  readonly organizations?: number;
  readonly grantsEach?: number;
  /** Models to choose from; the first `grantsEach` of a rotating window are an organization's grants. */
  readonly models?: number;
  /** Presets, each on one of the models. */
  readonly presets?: number;
}

export interface LargeDatabase extends TestDatabase {
  userId(index: number): string;
  apiKey(index: number): string;
  organizationId(index: number): string;
  modelId(index: number): string;
  presetId(index: number): string;
  readonly size: Required<Omit<LargeDatabaseOptions, keyof DatabaseOptions>>;
}

export function createLargeDatabase(options: LargeDatabaseOptions = {}): LargeDatabase {
  const { users = 100_000, organizations = 1_000, grantsEach = 50, models = 300, presets = 200 } = options;
  const database = createDatabase(options);
  const userId = (index: number) => `${index.toString(16).padStart(8, '0')}-4b1d-4c3e-9f00-000000000000`;
  const apiKey = (index: number) => `sk-${index.toString(16).padStart(32, '0')}`;
  const organizationId = (index: number) => `mai_client_${index}`;
  const modelId = (index: number) => `provider-${index % 12}/model-${index}:latest`;
  const presetId = (index: number) => `preset-${index}`;
  const fill = database.sql.transaction(() => {
    for (let user = 0; user < users; user++) {
      database.addUser({ id: userId(user), apiKey: apiKey(user) });
      database.addMember(organizationId(user % organizations), userId(user));
      if (user % 10 === 0) database.addMember(organizationId((user + 1) % organizations), userId(user));
    }
    for (let organization = 0; organization < organizations; organization++) {
      for (let grant = 0; grant < grantsEach; grant++) {
        database.grant(organizationId(organization), modelId((organization + grant) % models));
      }
    }
    for (let preset = 0; preset < presets; preset++) {
      database.addModel({ id: presetId(preset), base: modelId(preset % models), params: { temperature: 0.7 } });
    }
  });
  fill();
  database.sql.exec('ANALYZE');
  return {
    ...database,
    userId,
    apiKey,
    organizationId,
    modelId,
    presetId,
    size: { users, organizations, grantsEach, models, presets },
  };
}
