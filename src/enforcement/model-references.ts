/**
 * The set of models that a request names. A request names more than one: the backend and the providers behind it read
 * models from `params`, from JSON hidden in `custom_params`, from fan-out lists and from routing fields. So every key
 * that names a model counts, at any depth, outside what is content or history, and all of them must be permitted.
 */
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import { foldKey, namesModels } from '../policy/model-keys.ts';
import { parseStrictText } from './strict-json.ts';

export interface References {
  readonly models: ReadonlySet<ModelId>;
  /** Where a model should be named in a form that cannot be read; the path of keys, for the refusal. */
  readonly unreadable: string | undefined;
  /** `model_item.direct` is set: the request asks for a model of the caller's own browser. */
  readonly direct: boolean;
}

export interface ReferenceRules {
  /** Further top-level keys that name a model on this surface: Ollama's `name`, `source`, `from`. */
  readonly topLevel?: ReadonlySet<string>;
}

/** A list with an entry for each run that the request starts (0.9+); in its old form an object whose keys are model ids. */
export const FAN_OUT = 'message_ids';

/**
 * What people wrote, what they attached, what ran before, and schemas: names in there run nothing. `model_controls`
 * holds the choices a user ever made, keyed by model: the page sends all of them with every request (0.12).
 */
const CONTENT: ReadonlySet<string> = new Set([
  'messages',
  'history',
  'files',
  'variables',
  'chat_variables',
  'user_message',
  'parent_message',
  'tool_servers',
  'input_schema',
  'json_schema',
  'model_controls',
]);

/** Provider routing: readable only as an object or a list of objects, whose model names are then checked. */
const ROUTING: ReadonlySet<string> = new Set(['provider', 'plugins', 'extra_body']);

/** Routing by a name that stands for models of somebody else's choosing cannot be judged at all. */
const OPAQUE_ROUTING: ReadonlySet<string> = new Set(['preset']);
/** So do OpenRouter's plugins that choose models, with a panel of their own where none is named. */
const OPAQUE_PLUGINS = /fusion|router/i;
/** OpenRouter runs these tools itself. All others of its own may run a model, and do so if none is named. */
const OPAQUE_TOOLS = /^openrouter:(?!(?:web_search|web_fetch|datetime)$)/i;

/** @param body parsed JSON; anything but an object names nothing */
export function collectReferences(body: unknown, rules: ReferenceRules = {}): References {
  const walk = new Walk();
  if (isObject(body)) {
    for (const key of Object.keys(body)) if (rules.topLevel?.has(foldKey(key)) === true) walk.named(body[key], key);
  }
  walk.visit(body, '', false);
  return walk;
}

class Walk implements References {
  readonly models = new Set<ModelId>();
  unreadable: string | undefined = undefined;
  direct = false;

  /** @param hidden inside `custom_params`, where strings are JSON that the backend parses (utils/payload.py) */
  visit(value: unknown, path: string, hidden: boolean): void {
    if (typeof value === 'string') {
      if (hidden) this.visitText(value, path);
    } else if (Array.isArray(value)) {
      for (const item of value) this.visit(item, path, hidden);
    } else if (isObject(value)) {
      if (typeof value['type'] === 'string' && OPAQUE_TOOLS.test(value['type'])) this.refuse(`${path}.type`);
      for (const key of Object.keys(value)) {
        if (key === 'parameters' && isFunction(value, path)) continue;
        this.visitKey(key, value[key], path === '' ? key : `${path}.${key}`, hidden);
      }
    }
  }

  visitKey(key: string, value: unknown, path: string, hidden: boolean): void {
    if (value === null || CONTENT.has(key)) return;
    if (key === 'model_item') return this.visitModelItem(value);
    if (key === FAN_OUT && isObject(value)) {
      for (const id of Object.keys(value)) this.named(id, path);
    }
    if (OPAQUE_ROUTING.has(key) && typeof value !== 'boolean') return this.refuse(path);
    const read = hidden && typeof value === 'string' ? this.hiddenValue(value, path) : value;
    if (namesModels(key)) return this.named(read, path);
    if (key === 'plugins' && [read].flat().some(isOpaquePlugin)) return this.refuse(path);
    if (ROUTING.has(key) && !isObject(read) && !(Array.isArray(read) && read.every(isObject))) this.refuse(path);
    this.visit(read, path, hidden || key === 'custom_params');
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
  }

  /** `{"model": "x"}` and `{"id": "x"}` name x; LiteLLM's `{"a": ["b"]}` names a and b. */
  namedInObject(value: Record<string, unknown>, path: string): void {
    const known = Object.keys(value).filter((key) => foldKey(key) === 'id' || namesModels(key));
    if (known.length > 0) {
      for (const key of known) this.named(value[key], `${path}.${key}`);
      return this.visit(value, path, false);
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

  visitText(text: string, path: string): void {
    const value = this.hiddenValue(text, path);
    if (value !== text) this.visit(value, path, true);
  }

  /** @returns what Python's `json.loads` makes of the string, or the string itself where it is none */
  hiddenValue(text: string, path: string): unknown {
    if (!STARTS_LIKE_JSON.test(text)) return text;
    try {
      return parseStrictText(text);
    } catch {
      // Not clean JSON for us may still be JSON for Python (NaN, repeated keys): refused, not passed
      this.refuse(path);
      return text;
    }
  }

  refuse(path: string): void {
    this.unreadable ??= path;
  }
}

/** The caller's own function, whose `parameters` are a schema; those of a provider's tool are settings. */
const isFunction = ({ type, name }: Record<string, unknown>, path: string) =>
  type === 'function' || (type === undefined && (typeof name === 'string' || path.endsWith('.function')));

const isOpaquePlugin = (plugin: unknown) =>
  isObject(plugin) && typeof plugin['id'] === 'string' && OPAQUE_PLUGINS.test(plugin['id']);

const STARTS_LIKE_JSON = /^\s*[{["]/;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `bool(value)` of Python for what JSON can hold: the backend tests `model_item.get("direct")` that way. */
function isTruthyInPython(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return Object.keys(value).length > 0;
  return Boolean(value);
}
