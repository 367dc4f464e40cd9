/** Names under which providers and routers in front of them (OpenRouter, LiteLLM, Ollama) take a model id. */
const KEYS = new Set([
  'model',
  'models',
  'model_id',
  'model_ids',
  'base_model',
  'base_model_id',
  'fallback',
  'fallbacks',
  'fallback_models',
  'context_window_fallbacks',
  'name',
  'source',
  'from',
]);

/** Texts and schemas of the conversation: a `model` in there is something said, not something asked for. */
const CONTENT = new Set(['messages', 'input', 'prompt', 'system', 'tools', 'functions', 'response_format', 'metadata']);

/** The model that a path names: Azure's deployments, Gemini's and Ollama's and the model endpoint's own. */
const IN_PATH = [/\/deployments\/([^/]+)\//, /\/models\/([^/:]+(?:[/:][^/:]+)*?)(?::[a-zA-Z]+)?$/];

function strings(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(strings);
  if (typeof value !== 'object' || value === null) return [];
  // LiteLLM writes fallbacks as {"first": ["second"]}; OpenRouter's router objects nest an id
  return Object.entries(value).flatMap(([key, inner]) => [key, ...strings(inner)]);
}

function inBody(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(inBody);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (CONTENT.has(key)) return [];
    // servers in Go take `Model` for `model`
    return KEYS.has(key.toLowerCase()) ? strings(inner) : inBody(inner);
  });
}

/** The `model` field of a multipart form, the shape of transcriptions and image edits. */
function inForm(text: string): string[] {
  return [...text.matchAll(/name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n/g)].flatMap((match) => match[1] ?? []);
}

/**
 * Every model id that a request to a provider names, without repeats. Wider than any provider reads: the tests'
 * oracle must see a forbidden id wherever it is put.
 */
export function modelsNamed(path: string, body: unknown): string[] {
  const fromPath = IN_PATH.flatMap((pattern) => pattern.exec(path)?.[1] ?? []).map(decodeURIComponent);
  const fromBody = typeof body === 'string' ? inForm(body) : inBody(body);
  return [...new Set([...fromPath, ...fromBody])];
}
