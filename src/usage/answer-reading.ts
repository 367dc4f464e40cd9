/** What a provider's answer says of its usage, in each of their forms. Pure; the values are parsed JSON of any shape. */
import { isObject } from '../references/json.ts';
import { MOST_NANO, shifted } from './price.ts';
import type { Usage } from './usage.ts';

/** Whose JSON it is. `images` is OpenAI's, with pictures to count. */
export type AnswerForm = 'openai' | 'images' | 'anthropic' | 'ollama';

/** Counts by the provider's own names: what comes in several events is put together before it is understood. */
export type Counts = Readonly<Record<string, unknown>>;

/** A whole answer, some of its members, or one event of a stream. */
export interface AnswerPart {
  readonly counts: Counts | undefined;
  readonly model: string | undefined;
  readonly id: string | undefined;
  /** Nothing is written yet: Anthropic's first event has the input, and a first token of output. */
  readonly isStart: boolean;
  /** No event follows that counts. */
  readonly isLast: boolean;
  /** No choice, nothing but usage: OpenAI's event for `stream_options.include_usage`. */
  readonly isUsageAlone: boolean;
}

const LAST_TYPES: ReadonlySet<unknown> = new Set([
  'response.completed',
  'response.incomplete',
  'response.failed',
  'message_stop',
]);

export function readPart(form: AnswerForm, value: unknown): AnswerPart {
  const part = isObject(value) ? value : {};
  // an event of Responses, and Anthropic's first, hold the answer; Ollama's keys of these names hold its text
  const nested = form === 'ollama' ? undefined : (part['response'] ?? part['message']);
  const answer = isObject(nested) ? nested : part;
  const { usage, prompt_eval_count, eval_count } = answer;
  const counts = form === 'ollama' ? { prompt_eval_count, eval_count } : usage;
  return {
    counts: isObject(counts) ? counts : undefined,
    model: textOf(answer['model']),
    id: textOf(answer['id']),
    isStart: part['type'] === 'message_start',
    isLast: form === 'ollama' ? answer['done'] === true : LAST_TYPES.has(part['type']),
    isUsageAlone: isObject(counts) && Array.isArray(part['choices']) && part['choices'].length === 0,
  };
}

/** @returns both, the later ones before the earlier; null and what is no count replaces nothing */
export function joinCounts(earlier: Counts | undefined, later: Counts): Counts {
  const told = Object.entries(later).filter(([, value]) => isObject(value) || amountOf(value) !== undefined);
  return { ...earlier, ...Object.fromEntries(told) };
}

/** @returns undefined where nothing is known */
export function toUsage(form: AnswerForm, counts: Counts | undefined): Usage | undefined {
  if (counts === undefined) return undefined;
  const usage =
    form === 'ollama' ? ollamaUsage(counts) : form === 'anthropic' ? anthropicUsage(counts) : openAiUsage(counts);
  return isKnown(usage) ? usage : undefined;
}

const isKnown = (usage: Usage): boolean => Object.values(usage).some((value) => value !== undefined);

/** Chat, completions, embeddings; Responses, images and transcriptions say `input` and `output`. */
function openAiUsage(counts: Counts): Usage {
  const inputDetails = detailsOf(counts, 'prompt_tokens_details', 'input_tokens_details');
  const outputDetails = detailsOf(counts, 'completion_tokens_details', 'output_tokens_details');
  const total = countOf(counts['total_tokens']);
  const output = countOf(counts['completion_tokens']) ?? countOf(counts['output_tokens']);
  // rerankers give a total alone
  const input =
    countOf(counts['prompt_tokens']) ?? countOf(counts['input_tokens']) ?? (output === undefined ? total : undefined);
  const outputReasoning = countOf(outputDetails['reasoning_tokens']);
  const seconds = countOf(counts['seconds']);
  return {
    input,
    inputCached: countOf(inputDetails['cached_tokens']),
    inputCacheWrite: countOf(inputDetails['cache_write_tokens']),
    output: withReasoning({ input, output, outputReasoning, total }),
    outputReasoning,
    costNano: costIn(counts),
    units: seconds,
    unit: seconds === undefined ? undefined : 'seconds',
  };
}

/** xAI counts reasoning beside the completion: only the total shows it. */
function withReasoning({ input, output, outputReasoning, total }: Usage & { total: number | undefined }) {
  if (input === undefined || output === undefined || outputReasoning === undefined) return output;
  return total === input + output + outputReasoning ? output + outputReasoning : output;
}

/** `input_tokens` are those that are neither read from the cache nor written to it. */
function anthropicUsage(counts: Counts): Usage {
  const fresh = countOf(counts['input_tokens']);
  const inputCached = countOf(counts['cache_read_input_tokens']);
  const inputCacheWrite = countOf(counts['cache_creation_input_tokens']);
  return {
    input: fresh === undefined ? undefined : fresh + (inputCached ?? 0) + (inputCacheWrite ?? 0),
    inputCached,
    inputCacheWrite,
    output: countOf(counts['output_tokens']),
    costNano: costIn(counts),
  };
}

const ollamaUsage = (counts: Counts): Usage => ({
  input: countOf(counts['prompt_eval_count']),
  output: countOf(counts['eval_count']),
});

/**
 * OpenRouter's answer to `GET /api/v1/generation?id=`.
 * @param asked the id @returns undefined where it has no figures, or is about another one
 */
export function readGeneration(answer: unknown, asked: string): Usage | undefined {
  const data = isObject(answer) && isObject(answer['data']) ? answer['data'] : {};
  if ((data['id'] ?? asked) !== asked) return undefined;
  const usage = {
    input: countOf(data['native_tokens_prompt']) ?? countOf(data['tokens_prompt']),
    inputCached: countOf(data['native_tokens_cached']),
    output: countOf(data['native_tokens_completion']) ?? countOf(data['tokens_completion']),
    outputReasoning: countOf(data['native_tokens_reasoning']),
    costNano: costOf(data['total_cost'], data['is_byok'], data['upstream_inference_cost']),
  };
  return isKnown(usage) ? usage : undefined;
}

/** What OpenRouter calls its answers: other ids cannot be looked up. */
export const isGenerationId = (id: string): boolean => id.startsWith('gen-');

const costIn = (counts: Counts): number | undefined =>
  costOf(counts['cost'], counts['is_byok'], detailsOf(counts, 'cost_details')['upstream_inference_cost']);

/** With a key of one's own (`is_byok`) OpenRouter's cost is its fee, and the model is paid beside it. */
function costOf(cost: unknown, isByok: unknown, upstreamCost: unknown): number | undefined {
  const charged = nanoOf(cost);
  return charged === undefined || isByok !== true ? charged : charged + (nanoOf(upstreamCost) ?? 0);
}

/** By its decimal digits: 1.1 times a billion, as a float, is not what was charged. @param usd US dollars */
function nanoOf(usd: unknown): number | undefined {
  const amount = amountOf(usd);
  return amount === undefined ? undefined : countOf(shifted(amount, 9), MOST_NANO);
}

/** No call has used so many: a greater number is a mistake of the provider. */
const MOST_TOKENS = 1e9;

function countOf(value: unknown, most = MOST_TOKENS): number | undefined {
  const count = Math.round(amountOf(value) ?? NaN);
  return count <= most ? count : undefined;
}

const amountOf = (value: unknown): number | undefined =>
  typeof value === 'number' && value >= 0 && value < Infinity ? value : undefined;

/** What names an answer is kept with each call: a longer text is no name. */
const LONGEST_NAME = 256;

export const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= LONGEST_NAME ? value : undefined;

function detailsOf(counts: Counts, ...names: readonly string[]): Counts {
  return names.map((name) => counts[name]).find(isObject) ?? {};
}
