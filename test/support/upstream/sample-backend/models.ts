/** The sample's models and the shapes in which Open WebUI lists them (`utils/models.py`, routers `openai`, `ollama`, `models`). */
import type { JsonObject, SampleDirectory, SampleModelRow } from './directory.ts';

/** What a provider behind the backend offers. */
export interface ProviderModel {
  readonly id: string;
  readonly name: string;
  readonly owner: 'openai' | 'ollama' | 'arena';
}

export const SAMPLE_MODELS: readonly ProviderModel[] = [
  { id: 'gpt-4o', name: 'GPT-4o', owner: 'openai' },
  { id: 'gpt-4o-mini', name: 'GPT-4o mini', owner: 'openai' },
  { id: 'claude-sonnet-4', name: 'Claude Sonnet 4', owner: 'openai' },
  { id: 'mistral/mistral-large', name: 'Mistral Large', owner: 'openai' },
  { id: 'mistral/codestral', name: 'Codestral', owner: 'openai' },
  { id: 'llama3.2:latest', name: 'Llama 3.2', owner: 'ollama' },
  { id: 'arena-model', name: 'Arena Model', owner: 'arena' },
];

export interface SampleModels {
  readonly provider: readonly ProviderModel[];
  /** `GET /api/models`: provider models, each with its row's `info`, then the presets. */
  chatModels(): readonly JsonObject[];
  /** `GET /openai/models`. */
  openaiModels(): readonly JsonObject[];
  /** `GET /ollama/api/tags`. */
  ollamaTags(): readonly JsonObject[];
  /** Rows of the `model` table as `GET /api/v1/models/list` shows them. */
  rows(): readonly JsonObject[];
}

const CREATED = 1_735_689_600;
const CONNECTION = { connection_type: 'external', urlIdx: 0 };

export function createSampleModels(provider: readonly ProviderModel[], directory: SampleDirectory): SampleModels {
  return {
    provider,
    chatModels: () => listChatModels(provider, directory.modelRows()),
    openaiModels: () => provider.filter(({ owner }) => owner === 'openai').map(openaiEntry),
    ollamaTags: () => provider.filter(({ owner }) => owner === 'ollama').map(ollamaEntry),
    rows: () => directory.modelRows().map((row) => ({ ...toInfo(row), user: null, write_access: true })),
  };
}

function listChatModels(provider: readonly ProviderModel[], rows: readonly SampleModelRow[]): JsonObject[] {
  const listed = provider.flatMap((model) => {
    const row = rows.find(({ id, base_model_id }) => id === model.id && base_model_id === null);
    if (row?.is_active === false) return [];
    return [{ ...chatEntry(model), ...(row === undefined ? {} : { name: row.name, info: toInfo(row) }) }];
  });
  const taken = new Set(provider.map(({ id }) => id));
  const presets = rows.filter((row) => row.base_model_id !== null && row.is_active && !taken.has(row.id));
  return [...listed, ...presets.map((row) => presetEntry(row, provider))].map((entry) => ({
    ...entry,
    actions: [],
    filters: [],
    tags: [],
  }));
}

function chatEntry(model: ProviderModel): JsonObject {
  switch (model.owner) {
    case 'openai':
      return openaiEntry(model);
    case 'ollama':
      return { ...base(model), ollama: ollamaEntry(model), connection_type: 'local' };
    case 'arena':
      return {
        ...base(model),
        arena: true,
        info: { meta: { description: 'Submit your questions to anonymous AI chatbots.', model_ids: null } },
      };
  }
}

function base({ id, name, owner }: ProviderModel): JsonObject {
  return { id, name, object: 'model', created: CREATED, owned_by: owner };
}

function openaiEntry(model: ProviderModel): JsonObject {
  const own = { id: model.id, object: 'model', created: CREATED, owned_by: 'sample', ...CONNECTION };
  return { ...base(model), openai: own, ...CONNECTION };
}

function ollamaEntry({ id }: ProviderModel): JsonObject {
  const details = { family: 'llama', parameter_size: '3.2B', quantization_level: 'Q4_K_M' };
  return {
    name: id,
    model: id,
    modified_at: '2026-01-01T00:00:00Z',
    size: 2_019_393_189,
    digest: 'a80c4f17',
    details,
    urls: [0],
  };
}

function presetEntry(row: SampleModelRow, provider: readonly ProviderModel[]): JsonObject {
  const owner = provider.find(({ id }) => id === row.base_model_id)?.owner ?? 'openai';
  return {
    ...base({ ...row, owner }),
    created: row.created_at,
    preset: true,
    info: toInfo(row),
    action_ids: [],
    filter_ids: [],
  };
}

function toInfo(row: SampleModelRow): JsonObject {
  return { ...row, access_grants: [{ principal_type: 'user', principal_id: '*', permission: 'read' }] };
}
