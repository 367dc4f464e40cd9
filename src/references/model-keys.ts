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
