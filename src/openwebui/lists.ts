/** Where the answers of Open WebUI name models (0.6.18 to 0.12.4). */
import type { ListShape, ShapeNode } from '../enforcement/list.ts';

const REFERENCE: ShapeNode = { mark: 'reference' };
const NAMES: ShapeNode = { mark: 'names' };
const ID: ShapeNode = { mark: 'id' };
const CSV: ShapeNode = { mark: 'csv' };

const keys = (nodes: Readonly<Record<string, ShapeNode>>): ShapeNode => ({ keys: nodes });
const entries = (nodes: Readonly<Record<string, ShapeNode>>): ShapeNode => ({ mark: 'entries', each: keys(nodes) });

const PARAMETER: ShapeNode = { mark: 'reference', each: REFERENCE };
const PARAMETERS = { model: PARAMETER, models: PARAMETER, fallbacks: PARAMETER };
const ROW = {
  base_model_id: REFERENCE,
  meta: keys({ model_ids: NAMES }),
  params: keys({ ...PARAMETERS, custom_params: keys(PARAMETERS) }),
};
const VERSION = keys({ snapshot: keys(ROW) });
/** Ollama says of a model which other it was made of. */
const DETAILS = keys({ parent_model: REFERENCE });

export const SHAPES = {
  models: {
    name: 'models',
    root: keys({ data: entries({ id: ID, info: keys(ROW), ollama: keys({ details: DETAILS }) }) }),
    empty: '{"object":"list","data":[]}',
    showsProviders: true,
  },
  modelRows: { name: 'model_rows', root: entries({ id: ID, ...ROW }), empty: '[]' },
  modelPage: {
    name: 'model_page',
    root: keys({ items: entries({ id: ID, ...ROW }), total: { mark: 'total' } }),
    empty: '{"items":[],"total":0}',
  },
  /** One row: its own id is the one that was asked for, and was judged. */
  modelRow: { name: 'model_row', root: keys(ROW), empty: 'null' },
  modelVersions: { name: 'model_versions', root: { ...VERSION, each: VERSION }, empty: '[]' },
  ollamaModel: { name: 'ollama_model', root: keys({ details: DETAILS }), empty: '{}' },
  mediaRows: { name: 'media_rows', root: entries({ id: ID }), empty: '[]' },
  mediaModels: { name: 'media_models', root: keys({ models: entries({ id: ID }) }), empty: '{"models":[]}' },
  ollamaTags: {
    name: 'ollama_tags',
    root: keys({ models: entries({ model: ID, details: DETAILS }) }),
    empty: '{"models":[]}',
  },
  usage: { name: 'usage', root: keys({ model_ids: { mark: 'entries', each: {} } }), empty: '{"model_ids":[]}' },
  functions: {
    name: 'functions',
    // A pipe is a model, by its own id or with `.` and a name behind it; filters and actions are none
    root: entries({ id: ID, type: { mark: 'kind', model: 'pipe' } }),
    empty: '[]',
  },
  groups: {
    name: 'groups',
    root: { each: keys({ data: keys({ config: keys({ default_models: NAMES }) }) }) },
    empty: '[]',
  },
  taskConfig: { name: 'task_config', root: keys({ TASK_MODEL: ID, TASK_MODEL_EXTERNAL: ID }), empty: '{}' },
  config: {
    name: 'config',
    root: keys({
      default_models: CSV,
      default_pinned_models: CSV,
      audio: keys({ realtime: keys({ model: ID }) }),
    }),
    empty: '{}',
  },
} as const satisfies Record<string, ListShape>;
