/**
 * Keys under which the backend, the providers and the routers between them (OpenRouter, LiteLLM) read models. Their
 * value is a model id, a list of ids, or objects that name one in turn.
 */
export const NAMES_MODELS: ReadonlySet<string> = new Set([
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
]);
