/**
 * Hosts of providers, and what LiteLLM and models.dev call them: imported prices stand under these names. A host that is not
 * here has prices of models.dev alone, where that names its address. Nothing is guessed: the same id at another host
 * (a server of one's own, a reseller) has another price. Pure.
 */
const NAMES: readonly (readonly [host: string | RegExp, ...names: readonly string[]])[] = [
  ['openrouter.ai', 'openrouter'],
  ['api.openai.com', 'openai', 'text-completion-openai'],
  ['api.anthropic.com', 'anthropic'],
  [/\.(?:openai|cognitiveservices)\.azure\.com$/, 'azure'],
  [/\.services\.ai\.azure\.com$/, 'azure_ai', 'azure'],
  ['generativelanguage.googleapis.com', 'gemini', 'google'],
  ['api.mistral.ai', 'mistral'],
  ['codestral.mistral.ai', 'codestral', 'text-completion-codestral'],
  ['api.groq.com', 'groq'],
  ['api.deepseek.com', 'deepseek'],
  ['api.x.ai', 'xai'],
  ['api.together.xyz', 'together_ai', 'togetherai'],
  ['api.fireworks.ai', 'fireworks_ai', 'fireworks-ai'],
  ['api.cerebras.ai', 'cerebras'],
  ['api.perplexity.ai', 'perplexity'],
  ['api.cohere.com', 'cohere', 'cohere_chat'],
  ['api.cohere.ai', 'cohere', 'cohere_chat'],
  ['api.deepinfra.com', 'deepinfra'],
  ['api.sambanova.ai', 'sambanova'],
  ['api.moonshot.ai', 'moonshot', 'moonshotai'],
  ['api.voyageai.com', 'voyage'],
  ['api.jina.ai', 'jina_ai'],
  ['api.novita.ai', 'novita', 'novita-ai'],
  ['dashscope-intl.aliyuncs.com', 'dashscope', 'alibaba'],
  ['dashscope.aliyuncs.com', 'dashscope', 'alibaba-cn'],
  ['api.z.ai', 'zai'],
  ['api.minimax.io', 'minimax'],
  ['ai-gateway.vercel.sh', 'vercel_ai_gateway', 'vercel'],
  ['api.hyperbolic.xyz', 'hyperbolic'],
  ['api.scaleway.ai', 'scaleway'],
  ['integrate.api.nvidia.com', 'nvidia_nim', 'nvidia'],
];

const KNOWN: ReadonlySet<string> = new Set(NAMES.flatMap(([, ...names]) => names));

const BY_HOST = new Map(NAMES.map(([host, ...names]) => [host, names]));
const PATTERNS = NAMES.flatMap(([host, ...names]) => (typeof host === 'string' ? [] : [{ host, names }]));

/** @param host as in `MODELGATE_PROVIDERS`, with its port where it has one @returns itself, and its names in imported files */
export function namesOf(host: string): readonly string[] {
  const names = BY_HOST.get(host) ?? PATTERNS.find((pattern) => pattern.host.test(host))?.names ?? [];
  return [host, ...names];
}

/** @param name of an imported file, or a host @returns whether a provider of the door can have prices that stand under it */
export const isReachable = (name: string): boolean => KNOWN.has(name) || /[.:]/.test(name);
