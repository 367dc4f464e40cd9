/**
 * The models that a JSON document names. One reader serves requests, stored presets and saved chats, so that what is
 * refused in a request is refused where it is stored.
 *
 * A document names more than one model: the backend and the providers behind it read models from `params`, from JSON
 * hidden in `custom_params`, from fan-out lists and from routing fields. Every key that names a model counts, at any
 * depth, outside of content and history. All of these models must be permitted.
 */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { boundJson, boundNames } from './bounds.ts';
import { isObject, isTruthyInPython, parseStrictText } from './json.ts';
import { CONTENT, foldKey, isParameterContent, namesModels, PARAMETERS } from './model-keys.ts';

export interface References {
  readonly models: ReadonlySet<ModelId>;
  /** Those of them that are sent to the connection of the model that runs, and mean what its provider takes them for. */
  readonly routed: ReadonlySet<ModelId>;
  /** Where a model should be named in a form that cannot be read; the path of keys, for the refusal. */
  readonly unreadable: string | undefined;
  /** `model_item.direct` is set: the request asks for a model of the caller's own browser. */
  readonly direct: boolean;
}

export interface ReferenceRules {
  /** Further top-level keys that name a model on this surface: Ollama's `name`, `source`, `from`. */
  readonly topLevel?: ReadonlySet<string>;
  /**
   * What `model_controls` holds (0.12). In a request and a saved chat: the options that a user has chosen, keyed by
   * model; the page sends all of them. In a preset: the options themselves, whose parameters reach the provider.
   */
  readonly controls?: 'chosen' | 'defined';
}

/** A list with an entry for each run that the request starts (0.9+); in its old form an object whose keys are model ids. */
export const FAN_OUT = 'message_ids';

/** Provider routing: readable only as an object or a list of objects, whose model names are then checked. */
const ROUTING: ReadonlySet<string> = new Set(['provider', 'plugins', 'extra_body']);

/** Routing by a name that stands for models of another person's choosing cannot be judged at all. */
const OPAQUE_ROUTING: ReadonlySet<string> = new Set(['preset']);
/** So do OpenRouter's plugins that choose models, with a panel of their own where none is named. */
const OPAQUE_PLUGINS = /fusion|router/i;
/** OpenRouter runs these tools itself. All others of its own may run a model, and do so if none is named. */
const OPAQUE_TOOLS = /^openrouter:(?!(?:web_search|web_fetch|datetime)$)/i;

/** @param body parsed JSON; anything but an object names nothing */
export function collectReferences(body: unknown, rules: ReferenceRules = {}): References {
  const walk = new Walk(rules.controls ?? 'chosen');
  if (isObject(body)) {
    for (const key of Object.keys(body)) if (rules.topLevel?.has(foldKey(key)) === true) walk.named(body[key], key);
  }
  walk.visit(body, '', { hidden: false, parameters: [] });
  const { models, routed, unreadable, direct } = walk;
  return { models, routed, unreadable, direct };
}

/**
 * References of a preset's `params` column, or of the parameters that a chat or a message keeps. They become parameters
 * of a run, and are read as such.
 */
export const collectParameters = (params: unknown, controls: 'chosen' | 'defined'): References =>
  collectReferences({ params }, { controls });

interface Place {
  /** Inside of `custom_params`, where strings are JSON that the backend parses (utils/payload.py). */
  readonly hidden: boolean;
  /** The keys that lead here from the nearest parameters object; undefined where none leads here. */
  readonly parameters: readonly string[] | undefined;
}

class Walk implements References {
  readonly models = new Set<ModelId>();
  readonly routed = new Set<ModelId>();
  unreadable: string | undefined = undefined;
  direct = false;
  readonly #controls: 'chosen' | 'defined';

  constructor(controls: 'chosen' | 'defined') {
    this.#controls = controls;
  }

  /** @param known keys that were looked at before: twice at each level would be a million times at twenty */
  visit(value: unknown, path: string, place: Place, known: ReadonlySet<string> = NONE): void {
    if (typeof value === 'string') {
      if (place.hidden) this.visitText(value, path, place);
    } else if (Array.isArray(value)) {
      const item = { hidden: place.hidden, parameters: undefined };
      for (const one of value) this.visit(one, path, item);
    } else if (isObject(value)) {
      if (typeof value['type'] === 'string' && OPAQUE_TOOLS.test(value['type'])) this.refuse(`${path}.type`);
      for (const key of Object.keys(value)) {
        if (known.has(key) || (key === 'parameters' && isFunction(value, path))) continue;
        this.visitKey(key, value[key], beneath(path, key), place);
      }
    }
  }

  visitKey(key: string, value: unknown, path: string, place: Place): void {
    if (value === null || value === undefined || CONTENT.has(key)) return;
    if (key === 'model_item') return this.visitModelItem(value);
    if (key === 'model_controls') return this.visitControls(value, path);
    const parameters = place.parameters === undefined ? undefined : [...place.parameters, key];
    if (isParameterContent(parameters, value)) return;
    if (key === FAN_OUT && isObject(value)) {
      for (const id of Object.keys(value)) this.named(id, path);
    }
    if (OPAQUE_ROUTING.has(key) && typeof value !== 'boolean') return this.refuse(path);
    const read = place.hidden && typeof value === 'string' ? this.hiddenValue(value, path) : value;
    if (isParameterContent(parameters, read)) return;
    if (namesModels(key)) return this.named(read, path);
    if (key === 'plugins' && [read].flat().some(isOpaquePlugin)) return this.refuse(path);
    if (ROUTING.has(key) && !isObject(read) && !(Array.isArray(read) && read.every(isObject))) this.refuse(path);
    const within = PARAMETERS.has(key) ? [] : parameters;
    this.visit(read, path, { hidden: place.hidden || key === 'custom_params', parameters: within });
  }

  /** Each option's parameters are merged into `custom_params` (utils/payload.py `apply_model_controls`, 0.12.4). */
  visitControls(value: unknown, path: string): void {
    if (this.#controls === 'chosen' || !isObject(value)) return;
    for (const [name, control] of Object.entries(value)) {
      const options = isObject(control) && isObject(control['options']) ? Object.entries(control['options']) : [];
      for (const [option, chosen] of options) {
        const params = isObject(chosen) ? chosen['params'] : undefined;
        this.visit(params, beneath(beneath(path, name), option), { hidden: true, parameters: [] });
      }
    }
  }

  /** A value under a key that names models: an id, a list, or objects that name models by key or as keys. */
  named(value: unknown, path: string): void {
    if (value === null) return;
    if (Array.isArray(value)) {
      for (const item of value) this.named(item, path);
      return;
    }
    if (isObject(value)) return this.namedInObject(value, path);
    const model = parseModelId(value);
    if (model === undefined) return this.refuse(path);
    this.models.add(model);
    boundNames(this.models.size);
    if (!LOOKED_UP.test(path)) this.routed.add(model);
  }

  /** `{"model": "x"}` and `{"id": "x"}` name x; LiteLLM's `{"a": ["b"]}` names a and b. */
  namedInObject(value: Record<string, unknown>, path: string): void {
    const known = new Set(Object.keys(value).filter((key) => foldKey(key) === 'id' || namesModels(key)));
    if (known.size > 0) {
      for (const key of known) this.named(value[key], beneath(path, key));
      return this.visit(value, path, { hidden: false, parameters: undefined }, known);
    }
    for (const [key, item] of Object.entries(value)) {
      this.named(key, path);
      this.named(item, path);
    }
  }

  /** The backend uses `model_item` only if `direct` is true in Python's sense; otherwise it drops it unread. */
  visitModelItem(value: unknown): void {
    if (!isObject(value)) return value === false ? undefined : this.refuse('model_item');
    if (isTruthyInPython(value['direct'])) this.direct = true;
  }

  visitText(text: string, path: string, place: Place): void {
    const value = this.hiddenValue(text, path);
    if (value !== text) this.visit(value, path, place);
  }

  /** @returns what Python's `json.loads` makes of the string, or the string itself where it is none */
  hiddenValue(text: string, path: string): unknown {
    if (!STARTS_LIKE_JSON.test(text)) return text;
    try {
      if (text.length > WEIGHED_FROM) boundJson(Buffer.from(text));
      return parseStrictText(text);
    } catch {
      // Not clean JSON for us may still be JSON for Python (NaN, repeated keys): refused, not passed. So is what is too much
      this.refuse(path);
      return text;
    }
  }

  refuse(path: string): void {
    this.unreadable ??= path;
  }
}

/** A path is compared and shown, and must not grow with what a client nests: from some length on it is no path that counts. */
function beneath(path: string, key: string): string {
  if (path === '') return key;
  return path.length + key.length < LONGEST_PATH ? `${path}.${key}` : '…';
}

const LONGEST_PATH = 256;
/** Shorter texts are never too heavy (`boundJson`). */
const WEIGHED_FROM = 1024 * 1024;

const NONE: ReadonlySet<string> = new Set();

/** Where the backend looks the name up in its own list of models, before it chooses the connection. */
const LOOKED_UP = /^(?:model|message_ids(?:\.model_id)?|params(?:\.custom_params)?\.model)$/;

/** The caller's own function, whose `parameters` are a schema; those of a provider's tool are settings. */
const isFunction = ({ type, name }: Record<string, unknown>, path: string) =>
  type === 'function' || (type === undefined && (typeof name === 'string' || path.endsWith('.function')));

const isOpaquePlugin = (plugin: unknown) =>
  isObject(plugin) && typeof plugin['id'] === 'string' && OPAQUE_PLUGINS.test(plugin['id']);

const STARTS_LIKE_JSON = /^\s*[{["]/;
