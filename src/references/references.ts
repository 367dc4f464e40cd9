/**
 * The models that a JSON document names: one reader for requests, stored presets and saved chats. Every key that names a
 * model counts, at any depth, outside of content and history.
 */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { bound } from './bounds.ts';
import { isObject, isTruthyInPython, parseStrictText } from './json.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/**
 * Ollama, LocalAI and other servers in Go take `Model` for `model`, and of both the later one (encoding/json, which
 * folds `ſ` to `s` and the Kelvin sign to `k` too). The backend sends keys that it does not know on as they are.
 */
export const foldKey = (key: string): string => key.toUpperCase().toLowerCase();

/** Keys of the backend, providers and routers (OpenRouter, LiteLLM, Azure's `dataSources`). */
const NAMES_MODELS = words(
  foldKey(`
  model models model_id modelId model_ids modelIds model_name model_list model_group sibling_model_ids selectedModelId
  base_model base_model_id default_model draft_model judge_model safety_model router_model target_model target_model_names
  timer_model_id analysis_models allowed_models fallback fallbacks fallback_model fallback_models
  context_window_fallbacks content_policy_fallbacks deployment_id deployment_name deploymentName specific_deployment
  embedding_deployment_name embeddingDeploymentName`),
);

export const namesModels = (key: string): boolean => NAMES_MODELS.has(foldKey(key));

/** What people wrote, what they attached, what ran before, and schemas: a name in there runs nothing. */
const CONTENT = words(`
  messages history files variables chat_variables user_message parent_message tool_servers input_schema json_schema`);

/** What the backend merges into the body (utils/payload.py): there, and in the body, keys of `SCHEMAS` mean schemas. */
const PARAMETERS = words('params custom_params extra_body');

interface Schemas {
  readonly [key: string]: 'content' | Schemas;
}

/**
 * Content of a request's parameters. Sources: OpenAI API reference (`metadata`, `response_format`, `text.format`), Ollama
 * API (`format`), vLLM (`guided_json`, `structured_outputs`), Anthropic API (`output_config.format`).
 */
export const SCHEMAS: Schemas = {
  metadata: 'content',
  format: 'content',
  guided_json: 'content',
  guided_decoding: 'content',
  structured_outputs: 'content',
  response_format: 'content',
  text: { format: 'content' },
  output_config: { format: 'content' },
};

/** A list with an entry for each run that the request starts (0.9+); in its old form an object whose keys are model ids. */
export const FAN_OUT = 'message_ids';

/** Provider routing: readable only as an object or a list of objects, whose model names are then checked. */
const ROUTING = words('provider plugins extra_body');
/** OpenRouter's plugins that choose models, with a panel of their own where none is named. */
const OPAQUE_PLUGINS = /fusion|router/i;
/** OpenRouter runs these tools itself. All others of its own may run a model, and do so if none is named. */
const OPAQUE_TOOLS = /^openrouter:(?!(?:web_search|web_fetch|datetime)$)/i;

export type References = Pick<Walk, 'models' | 'routed' | 'unreadable' | 'direct'>;

export interface ReferenceRules {
  /** Further top-level keys that name a model on this surface: Ollama's `name`, `source`, `from`. */
  readonly topLevel?: ReadonlySet<string>;
  /**
   * What `model_controls` holds (0.12). In a request and a saved chat: the options that a user has chosen, keyed by
   * model; the page sends all of them. In a preset: the options themselves, whose parameters reach the provider.
   */
  readonly controls?: 'chosen' | 'defined';
}

/** @param body parsed JSON; anything but an object names nothing */
export function collectReferences(body: unknown, { topLevel, controls }: ReferenceRules = {}): References {
  const walk = new Walk(controls === 'defined');
  for (const [key, value] of Object.entries(isObject(body) ? body : {})) {
    if (topLevel?.has(foldKey(key)) === true) walk.named(value, key);
  }
  walk.visit(body, '', { hidden: false, schemas: SCHEMAS });
  return walk;
}

export const collectParameters = (params: unknown, controls: 'chosen' | 'defined'): References =>
  collectReferences({ params }, { controls });

interface Place {
  /** Inside of `custom_params`, where strings are JSON that the backend parses (utils/payload.py). */
  readonly hidden: boolean;
  readonly schemas?: Schemas | undefined;
}

class Walk {
  readonly models = new Set<ModelId>();
  /** Those that are sent to the connection of the model that runs, and mean what its provider takes them for. */
  readonly routed = new Set<ModelId>();
  /** The path of keys to a model in a form that cannot be read. */
  unreadable: string | undefined = undefined;
  /** `model_item.direct` is set: the request asks for a model of the caller's own browser. */
  direct = false;
  readonly #definesControls: boolean;

  constructor(definesControls: boolean) {
    this.#definesControls = definesControls;
  }

  /** @param known keys that were looked at before: twice at each level would be a million times at twenty */
  visit(value: unknown, path: string, place: Place, known?: ReadonlySet<string>): void {
    if (typeof value === 'string') {
      const read = place.hidden ? this.#hiddenValue(value, path) : value;
      if (read !== value) this.visit(read, path, place);
    } else if (Array.isArray(value)) {
      for (const one of value) this.visit(one, path, { hidden: place.hidden });
    } else if (isObject(value)) {
      if (typeof value['type'] === 'string' && OPAQUE_TOOLS.test(value['type'])) this.#refuse(`${path}.type`);
      for (const key of Object.keys(value)) {
        if (known?.has(key) === true || (key === 'parameters' && isFunction(value, path))) continue;
        this.#visitKey(key, value[key], beneath(path, key), place);
      }
    }
  }

  #visitKey(key: string, value: unknown, path: string, place: Place): void {
    if (value === null || value === undefined || CONTENT.has(key)) return;
    if (key === 'model_item') return this.#visitModelItem(value);
    if (key === 'model_controls') return this.#visitControls(value, path);
    const beneathKey =
      place.schemas !== undefined && Object.hasOwn(place.schemas, key) ? place.schemas[key] : undefined;
    const isSchema = (one: unknown) => beneathKey === 'content' && isObject(one);
    if (isSchema(value)) return;
    if (key === FAN_OUT && isObject(value)) for (const id of Object.keys(value)) this.named(id, path);
    if (namesTemplate(key, value)) return this.#refuse(path);
    const read = place.hidden && typeof value === 'string' ? this.#hiddenValue(value, path) : value;
    if (isSchema(read)) return;
    if (namesModels(key)) return this.named(read, path);
    if (key === 'plugins' && [read].flat().some(isOpaquePlugin)) return this.#refuse(path);
    if (ROUTING.has(key) && !isObject(read) && !(Array.isArray(read) && read.every(isObject))) this.#refuse(path);
    const schemas = PARAMETERS.has(key) ? SCHEMAS : beneathKey === 'content' ? undefined : beneathKey;
    this.visit(read, path, { hidden: place.hidden || key === 'custom_params', schemas });
  }

  /** Each option's parameters are merged into `custom_params` (utils/payload.py `apply_model_controls`, 0.12.4). */
  #visitControls(value: unknown, path: string): void {
    if (!this.#definesControls || !isObject(value)) return;
    for (const [name, control] of Object.entries(value)) {
      const options = isObject(control) && isObject(control['options']) ? Object.entries(control['options']) : [];
      for (const [option, chosen] of options) {
        const params = isObject(chosen) ? chosen['params'] : undefined;
        this.visit(params, beneath(beneath(path, name), option), { hidden: true, schemas: SCHEMAS });
      }
    }
  }

  /** @param value of a key that names models: an id, a list, or objects that name models by key or as keys */
  named(value: unknown, path: string): void {
    if (value === null) return;
    if (Array.isArray(value)) {
      for (const item of value) this.named(item, path);
    } else if (isObject(value)) this.#namedInObject(value, path);
    else {
      const model = parseModelId(value);
      if (model === undefined) return this.#refuse(path);
      this.models.add(model);
      bound(this.models.size, 'names of models');
      if (!LOOKED_UP.test(path)) this.routed.add(model);
    }
  }

  /** `{"model": "x"}` and `{"id": "x"}` name x; LiteLLM's `{"a": ["b"]}` names a and b. */
  #namedInObject(value: Record<string, unknown>, path: string): void {
    const known = new Set(Object.keys(value).filter((key) => foldKey(key) === 'id' || namesModels(key)));
    if (known.size > 0) {
      for (const key of known) this.named(value[key], beneath(path, key));
      return this.visit(value, path, { hidden: false }, known);
    }
    for (const [key, item] of Object.entries(value)) {
      this.named(key, path);
      this.named(item, path);
    }
  }

  /** The backend uses `model_item` only if `direct` is true in Python's sense; otherwise it drops it unread. */
  #visitModelItem(value: unknown): void {
    if (isObject(value)) this.direct ||= isTruthyInPython(value['direct']);
    else if (value !== false) this.#refuse('model_item');
  }

  /** @returns what Python's `json.loads` makes of the string, or the string itself where it is none */
  #hiddenValue(text: string, path: string): unknown {
    if (!STARTS_LIKE_JSON.test(text)) return text;
    try {
      return parseStrictText(text);
    } catch {
      // Not clean JSON for us may still be JSON for Python (NaN, repeated keys): refused, not passed. So is what is too much
      this.#refuse(path);
      return text;
    }
  }

  #refuse(path: string): void {
    this.unreadable ??= path;
  }
}

/** A path must not grow with what a client nests. */
function beneath(path: string, key: string): string {
  if (path === '') return key;
  return path.length + key.length < LONGEST_PATH ? `${path}.${key}` : '…';
}

const LONGEST_PATH = 256;

/** Where the backend looks the name up in its own list of models, before it chooses the connection. */
const LOOKED_UP = /^(?:model|message_ids(?:\.model_id)?|params(?:\.custom_params)?\.model)$/;

/** The caller's own function, whose `parameters` are a schema; those of a provider's tool are settings. */
const isFunction = ({ type, name }: Record<string, unknown>, path: string) =>
  type === 'function' || (type === undefined && (typeof name === 'string' || path.endsWith('.function')));

/**
 * A name that stands for a model of another person's choosing cannot be judged at all: a preset of OpenRouter, a stored
 * prompt of OpenAI (`prompt`), LiteLLM and Keywords AI (`prompt_id`), an agent of Azure. A text to complete is no such name.
 */
function namesTemplate(key: string, value: unknown): boolean {
  const folded = foldKey(key);
  if (folded === 'preset') return typeof value !== 'boolean';
  return folded === 'prompt_id' || folded === 'agent_reference' || (TEMPLATES.has(folded) && isObject(value));
}

const TEMPLATES = words('prompt agent');

const isOpaquePlugin = (plugin: unknown) =>
  isObject(plugin) && typeof plugin['id'] === 'string' && OPAQUE_PLUGINS.test(plugin['id']);

const STARTS_LIKE_JSON = /^\s*[{["]/;
