/** Where the answers of Open WebUI name models (0.6.18 to 0.12.4). */
import type { ListShape, ShapeNode } from '../enforcement/list-index.ts';

const REFERENCE: ShapeNode = { mark: 'reference' };
const NAMES: ShapeNode = { mark: 'names' };
const ID: ShapeNode = { mark: 'id' };
const CSV: ShapeNode = { mark: 'csv' };

/** What a preset's parameters name: text under a key that names models is an id, or JSON that is not taken apart. */
const PARAMETERS: Record<string, ShapeNode> = Object.fromEntries(
  ['model', 'models', 'fallbacks'].map((key) => [key, { mark: 'reference', each: REFERENCE } as const]),
);
/** What a model row's `meta` and the row itself name beside its own id. */
const ROW_KEYS: Record<string, ShapeNode> = {
  base_model_id: REFERENCE,
  meta: { keys: { model_ids: NAMES } },
  params: { keys: { ...PARAMETERS, custom_params: { keys: PARAMETERS } } },
};
const VERSION: ShapeNode = { keys: { snapshot: { keys: ROW_KEYS } } };
const ROW: ShapeNode = { keys: { id: ID, ...ROW_KEYS } };
/** Ollama says of a model which other it was made of. */
const DETAILS: ShapeNode = { keys: { parent_model: REFERENCE } };
const ENTRY: ShapeNode = { keys: { id: ID, info: { keys: ROW_KEYS }, ollama: { keys: { details: DETAILS } } } };

const entries = (each: ShapeNode): ShapeNode => ({ mark: 'entries', each });

export const SHAPES = {
  models: {
    name: 'models',
    root: { keys: { data: entries(ENTRY) } },
    empty: '{"object":"list","data":[]}',
    showsProviders: true,
  },
  modelRows: { name: 'model_rows', root: entries(ROW), empty: '[]' },
  modelPage: {
    name: 'model_page',
    root: { keys: { items: entries(ROW), total: { mark: 'total' } } },
    empty: '{"items":[],"total":0}',
  },
  /** One row: its own id is the one that was asked for, and was judged. */
  modelRow: { name: 'model_row', root: { keys: ROW_KEYS }, empty: 'null' },
  /** Earlier versions of a row: a list of them, or one. */
  modelVersions: { name: 'model_versions', root: { ...VERSION, each: VERSION }, empty: '[]' },
  ollamaModel: { name: 'ollama_model', root: { keys: { details: DETAILS } }, empty: '{}' },
  mediaRows: { name: 'media_rows', root: entries({ keys: { id: ID } }), empty: '[]' },
  mediaModels: {
    name: 'media_models',
    root: { keys: { models: entries({ keys: { id: ID } }) } },
    empty: '{"models":[]}',
  },
  ollamaTags: {
    name: 'ollama_tags',
    root: { keys: { models: entries({ keys: { model: ID, details: DETAILS } }) } },
    empty: '{"models":[]}',
  },
  usage: { name: 'usage', root: { keys: { model_ids: entries({}) } }, empty: '{"model_ids":[]}' },
  functions: {
    name: 'functions',
    // A pipe is a model, by its own id or with `.` and a name behind it; filters and actions are none
    root: entries({ keys: { id: ID }, onlyIf: { key: 'type', value: 'pipe' } }),
    empty: '[]',
  },
  groups: {
    name: 'groups',
    root: { each: { keys: { data: { keys: { config: { keys: { default_models: NAMES } } } } } } },
    empty: '[]',
  },
  taskConfig: {
    name: 'task_config',
    root: { keys: { TASK_MODEL: ID, TASK_MODEL_EXTERNAL: ID } },
    empty: '{}',
  },
  config: {
    name: 'config',
    root: {
      keys: {
        default_models: CSV,
        default_pinned_models: CSV,
        audio: { keys: { realtime: { keys: { model: ID } } } },
      },
    },
    empty: '{}',
  },
} as const satisfies Record<string, ListShape>;
