/** Where the answers of Open WebUI name models (0.6.18 to 0.12.4). */
import type { ListShape, ShapeNode } from '../enforcement/list.ts';

const REFERENCE: ShapeNode = { mark: 'reference' };
const NAMES: ShapeNode = { mark: 'names' };
const ID: ShapeNode = { mark: 'id' };
const CSV: ShapeNode = { mark: 'csv' };
const TOTAL: ShapeNode = { mark: 'total' };

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
const REALTIME = keys({ realtime: keys({ model: ID }) });

const shape = (name: string, empty: string, root: ShapeNode): ListShape => ({ name, empty, root });

export const SHAPES = {
  models: {
    ...shape(
      'models',
      '{"object":"list","data":[]}',
      keys({ data: entries({ id: ID, info: keys(ROW), ollama: keys({ details: DETAILS }) }) }),
    ),
    showsProviders: true,
  },
  modelRows: shape('model_rows', '[]', entries({ id: ID, ...ROW })),
  modelPage: shape('model_page', '{"items":[],"total":0}', keys({ items: entries({ id: ID, ...ROW }), total: TOTAL })),
  /** One row: its own id is the one that was asked for, and was judged. */
  modelRow: shape('model_row', 'null', keys(ROW)),
  modelVersions: shape('model_versions', '[]', { ...VERSION, each: VERSION }),
  ollamaModel: shape('ollama_model', '{}', keys({ details: DETAILS })),
  mediaRows: shape('media_rows', '[]', entries({ id: ID })),
  mediaModels: shape('media_models', '{"models":[]}', keys({ models: entries({ id: ID }) })),
  ollamaTags: shape('ollama_tags', '{"models":[]}', keys({ models: entries({ model: ID, details: DETAILS }) })),
  usage: shape('usage', '{"model_ids":[]}', keys({ model_ids: entries({}) })),
  // A pipe is a model, by its own id or with `.` and a name behind it; filters and actions are none
  functions: shape('functions', '[]', entries({ id: ID, type: { mark: 'kind', model: 'pipe' } })),
  groups: shape('groups', '[]', { each: keys({ data: keys({ config: keys({ default_models: NAMES }) }) }) }),
  taskConfig: shape('task_config', '{}', keys({ TASK_MODEL: ID, TASK_MODEL_EXTERNAL: ID })),
  config: shape('config', '{}', keys({ default_models: CSV, default_pinned_models: CSV, audio: REALTIME })),
} as const;
