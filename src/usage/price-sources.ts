/** Prices and limits as others publish them: a provider's own list, the same as a file, and the files of LiteLLM and models.dev. Pure. */
import { isObject } from '../references/json.ts';
import { type Price, isPlausible, shifted } from './price.ts';
import { isReachable } from './provider-names.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A model as it is asked for. `price` is undefined where the source has none, or none by the token. */
export interface PricedModel {
  readonly model: string;
  readonly price?: Price | undefined;
  /** Tokens, input and output together. */
  readonly context?: number | undefined;
  /** Tokens. */
  readonly maxOutput?: number | undefined;
}

/** @param body of `GET models`, parsed: OpenRouter's form, whose prices are texts in USD a token; other lists have limits at most */
export function pricesInList(body: unknown): readonly PricedModel[] {
  const models = isObject(body) && Array.isArray(body['data']) ? body['data'].filter(isObject) : [];
  return models.flatMap((listed) => {
    const { id: model, pricing, context_length: context, top_provider: provider } = listed;
    const price = isObject(pricing) ? priceInList(pricing) : undefined;
    const limits = limitsOf(context, isObject(provider) ? provider['max_completion_tokens'] : undefined);
    const isNews = price !== undefined || limits.context !== undefined || limits.maxOutput !== undefined;
    return typeof model === 'string' && isNews ? [{ model, price, ...limits }] : [];
  });
}

/** Numbers are not read: other providers give them by the million. A price below zero means that it varies. */
function priceInList(pricing: Fields): Price | undefined {
  const amount = (name: string) => {
    const text = pricing[name];
    return typeof text === 'string' && text.trim() !== '' ? Number(text) : undefined;
  };
  const request = amount('request');
  const price = priceOf({
    input: amount('prompt'),
    output: amount('completion'),
    cached: amount('input_cache_read'),
    cacheWrite: amount('input_cache_write'),
    request: request === 0 ? undefined : request,
  });
  if (price !== 'zero') return typeof price === 'object' ? price : undefined;
  // what is charged by the picture or the second only
  const isCharged = Object.keys(pricing).some((name) => (amount(name) ?? 0) !== 0);
  return isCharged ? undefined : { free: true };
}

/** Why a model of a file is left out. */
export type Skipped = 'unknown_provider' | 'other_unit' | 'no_price' | 'zero' | 'implausible';

/** `provider` is a host, or the file's own name for a provider. */
export interface ImportedModel extends PricedModel {
  readonly provider: string;
  readonly skipped?: Skipped | undefined;
}

/** @returns every model of a file, found by the file's shape; undefined for anything else */
export function modelsInFile(
  content: unknown,
): { readonly format: 'litellm' | 'models.dev' | 'openrouter'; readonly models: readonly ImportedModel[] } | undefined {
  if (!isObject(content)) return undefined;
  const listed = pricesInList(content);
  if (listed.some(({ price }) => price !== undefined)) {
    return { format: 'openrouter', models: listed.map((model) => ({ ...model, provider: 'openrouter.ai' })) };
  }
  const entries = Object.entries(content).filter((entry): entry is [string, Fields] => isObject(entry[1]));
  if (entries.some(([, entry]) => isObject(entry['models']))) {
    return { format: 'models.dev', models: entries.flatMap(([id, entry]) => modelsOfProvider(id, entry)) };
  }
  const models = entries.flatMap(([key, { litellm_provider: provider, ...entry }]) =>
    key !== 'sample_spec' && typeof provider === 'string' ? [liteLlmModel(provider, key, entry)] : [],
  );
  return models.length > 0 ? { format: 'litellm', models } : undefined;
}

/** What is answered with tokens. Other modes have prices by the token beside those by picture or second. */
const TOKEN_MODES = new Set(['chat', 'completion', 'responses', 'embedding', 'rerank']);

/**
 * LiteLLM: the key is the model, for most behind the provider's name and a slash. `litellm_provider` may say more than that
 * name (`fireworks_ai-embedding-models`). Prices by the token of ordinary calls: those of batches and long contexts are left.
 */
function liteLlmModel(full: string, key: string, entry: Fields): ImportedModel {
  const [first = '', ...rest] = key.split('/');
  const isNamed = rest.length > 0 && full.startsWith(first);
  const [provider, model] = isNamed ? [first, rest.join('/')] : [full, key];
  const named = { provider, model, ...limitsOf(entry['max_input_tokens'], entry['max_output_tokens']) };
  const { mode = 'chat', input_cost_per_request: request } = entry;
  if (typeof mode !== 'string' || !TOKEN_MODES.has(mode)) return { ...named, skipped: 'other_unit' };
  return withPrice(named, {
    input: entry['input_cost_per_token'],
    output: entry['output_cost_per_token'],
    cached: entry['cache_read_input_token_cost'] ?? entry['input_cost_per_token_cache_hit'],
    cacheWrite: entry['cache_creation_input_token_cost'],
    request: request === 0 ? undefined : request,
  });
}

/** models.dev: providers with their models, prices by the million. */
function modelsOfProvider(id: string, { api, models }: Fields): readonly ImportedModel[] {
  const provider = isReachable(id) ? id : (hostOf(api) ?? id);
  return Object.entries(isObject(models) ? models : {}).flatMap(([model, entry]) => {
    if (!isObject(entry)) return [];
    const [limit, cost] = [entry['limit'], entry['cost']].map((part) => (isObject(part) ? part : {}));
    const byToken = (name: string) => {
      const amount = cost?.[name];
      return typeof amount === 'number' ? shifted(amount, -6) : amount;
    };
    const amounts = { input: byToken('input'), output: byToken('output'), cached: byToken('cache_read') };
    const named = { provider, model, ...limitsOf(limit?.['context'], limit?.['output']) };
    return [withPrice(named, { ...amounts, cacheWrite: byToken('cache_write') })];
  });
}

function hostOf(api: unknown): string | undefined {
  const url = typeof api === 'string' ? URL.parse(api) : null;
  return url === null || url.host === '' || url.host.includes('$') ? undefined : url.host;
}

type Amounts = Readonly<Partial<Record<Exclude<keyof Price, 'free'>, unknown>>>;

function withPrice(named: ImportedModel, amounts: Amounts): ImportedModel {
  if (!isReachable(named.provider)) return { ...named, skipped: 'unknown_provider' };
  const price = priceOf(amounts);
  return typeof price === 'object' ? { ...named, price } : { ...named, skipped: price };
}

/** A zero for everything stands in these files for what is free, for what is in a subscription and for what is not known. */
function priceOf({ input, output, ...rest }: Amounts): Price | 'no_price' | 'zero' | 'implausible' {
  const known = Object.entries({ input, output, ...rest }).filter(([, amount]) => amount != null);
  const isAmount = (amount: unknown): amount is number => typeof amount === 'number' && amount >= 0;
  if (!known.every((pair): pair is [keyof Amounts, number] => isAmount(pair[1]))) return 'no_price';
  if (input == null && output == null && rest.request == null) return 'no_price';
  if (known.every(([, amount]) => amount === 0)) return 'zero';
  if (!known.every(([name, amount]) => (name === 'request' ? Number.isFinite(amount) : isPlausible(amount)))) {
    return 'implausible';
  }
  return { ...Object.fromEntries(known), free: false };
}

function limitsOf(context: unknown, maxOutput: unknown): Pick<PricedModel, 'context' | 'maxOutput'> {
  const tokens = (value: unknown) => (Number.isSafeInteger(value) && Number(value) > 0 ? Number(value) : undefined);
  return { context: tokens(context), maxOutput: tokens(maxOutput) };
}
