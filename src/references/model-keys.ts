/** The keys of a request: which of them name models, and which hold the caller's own content, where a name runs nothing. */

/**
 * Keys under which the backend, the providers and the routers between them (OpenRouter, LiteLLM) read models. Their
 * value is a model id, a list of ids, or objects that name one in turn.
 */
const NAMES_MODELS: readonly string[] = [
  'model',
  'models',
  'model_id',
  'modelId',
  'model_ids',
  'modelIds',
  'model_name',
  'model_list',
  'model_group',
  'target_model',
  'router_model',
  'base_model_id',
  'base_model',
  'fallback',
  'fallbacks',
  'fallback_model',
  'fallback_models',
  'allowed_models',
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'selectedModelId',
  'sibling_model_ids',
  'default_model',
  'draft_model',
  'judge_model',
  'analysis_models',
  // a timer's chat (utils/timers.py, 0.12)
  'timer_model_id',
  // Azure's `dataSources` and LiteLLM
  'embeddingDeploymentName',
  'embedding_deployment_name',
  'deploymentName',
  'deployment_name',
  'deployment_id',
  'specific_deployment',
  'target_model_names',
];

/**
 * Ollama, LocalAI and other servers in Go take `Model` for `model`, and of both the later one (encoding/json, which
 * folds `ſ` to `s` and the Kelvin sign to `k` too). The backend sends keys that it does not know on as they are.
 */
export const foldKey = (key: string): string => key.toUpperCase().toLowerCase();

const FOLDED: ReadonlySet<string> = new Set(NAMES_MODELS.map(foldKey));

export const namesModels = (key: string): boolean => FOLDED.has(foldKey(key));

/** What people wrote, what they attached, what ran before, and schemas: a name in there runs nothing. */
export const CONTENT: ReadonlySet<string> = new Set([
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
]);

/**
 * Objects that hold the parameters of a run: the body itself and what the backend merges into it (utils/payload.py).
 * Only there do the keys of `PARAMETER_CONTENT` mean a schema or the caller's own labels.
 */
export const PARAMETERS: ReadonlySet<string> = new Set(['params', 'custom_params', 'extra_body']);

/**
 * Content of a request's parameters, by the path of keys from the parameters on. Sources: OpenAI API reference
 * (`metadata`, `response_format`, `text.format`), Ollama API (`format`), vLLM (`guided_json`, `structured_outputs`),
 * Anthropic API (`output_config.format`).
 */
const PARAMETER_CONTENT: readonly (readonly string[])[] = [
  ['metadata'],
  ['format'],
  ['guided_json'],
  ['guided_decoding'],
  ['structured_outputs'],
  ['response_format'],
  ['text', 'format'],
  ['output_config', 'format'],
];

/** A schema is an object; under a key that expects one, a name of a model would be a string or a list. */
export function isParameterContent(path: readonly string[] | undefined, value: unknown): boolean {
  if (path === undefined || typeof value !== 'object' || Array.isArray(value)) return false;
  return PARAMETER_CONTENT.some((keys) => keys.length === path.length && keys.every((key, at) => key === path[at]));
}
