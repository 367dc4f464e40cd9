/** What a call to a provider says of the answer that it wants, as the provider of that endpoint reads it. */
import { isObject } from './json.ts';
import { type Place, placeOf } from './members.ts';

export interface CallFacts {
  /** A form (`multipart/form-data`): nothing else is read of it. */
  readonly isForm: boolean;
  /** Only what all providers read so: of `1` and `"true"` pydantic makes a stream, and Go an error. */
  readonly isStreamed: boolean;
  /** `stream_options.include_usage`; undefined where it is in a form that providers read in different ways. */
  readonly asksForUsage: boolean | undefined;
  /** The most tokens of one answer; undefined where the call names no limit that the endpoint knows, or one that is no positive integer. */
  readonly outputLimit: number | undefined;
  /** Choices of a chat, or pictures; undefined in a form that providers read in different ways. */
  readonly n: number | undefined;
  /** Characters of a text that is to be spoken. */
  readonly characters: number | undefined;
  /** Members by which the answer would only say that the model runs: nothing of what it uses would ever be seen. */
  readonly detaching: readonly string[];
  /** Where these, `stream_options`, `user` and `metadata` stand, as far as they are there; undefined where the body is no object. */
  readonly place: Place | undefined;
}

/** What may be set in a call, and so is looked for. */
const SET = {
  stream_options: { include_usage: {} },
  user: {},
  metadata: { user_id: {} },
  background: {},
  deferred: {},
};

/** OpenAI's Responses, and xAI's chats. */
const DETACHING = ['background', 'deferred'];

/** Of several that are named the greatest counts: providers differ in which one that is. llama.cpp has its own name. */
const LIMITS: Readonly<Record<string, readonly string[]>> = {
  'chat/completions': ['max_completion_tokens', 'max_tokens', 'n_predict'],
  completions: ['max_tokens', 'n_predict'],
  responses: ['max_output_tokens'],
  messages: ['max_tokens'],
};

/** Ollama streams unless it is asked not to (api/types.go), and has its limit among the options of the model. */
const OLLAMA: ReadonlySet<string> = new Set(['api/chat', 'api/generate']);

export const FORM_CALL: CallFacts = {
  isForm: true,
  isStreamed: false,
  asksForUsage: false,
  outputLimit: undefined,
  n: undefined,
  characters: undefined,
  detaching: [],
  place: undefined,
};

/** @param value what `body` says, which is strict JSON @param endpoint its name behind base and version */
export function readCallFacts(body: Buffer, value: unknown, endpoint: string): CallFacts {
  const call = isObject(value) ? value : {};
  const { stream, stream_options: options, n, best_of: best, input } = call;
  const isOllama = OLLAMA.has(endpoint);
  const limits = (LIMITS[endpoint] ?? []).map((name) => call[name]);
  const limit = isOllama && isObject(call['options']) ? call['options']['num_predict'] : undefined;
  return {
    isForm: false,
    isStreamed: isOllama ? stream !== false : stream === true,
    asksForUsage: asksForUsage(options),
    outputLimit: greatest([...limits, limit]),
    // What the best were chosen from is charged too
    n: greatest([n ?? 1, best]),
    characters: endpoint === 'audio/speech' && typeof input === 'string' ? charactersOf(input) : undefined,
    detaching: DETACHING.filter((name) => (call[name] ?? false) !== false),
    place: placeOf(body, value, SET),
  };
}

function asksForUsage(options: unknown): boolean | undefined {
  if (options === undefined || options === null) return false;
  const asked = isObject(options) ? (options['include_usage'] ?? false) : undefined;
  return typeof asked === 'boolean' ? asked : undefined;
}

/** @returns undefined where there is none, or one that is no positive integer: of `"9"` and `-1` nothing is known */
function greatest(values: readonly unknown[]): number | undefined {
  const named = values.filter((value) => value !== undefined && value !== null);
  return named.length > 0 && named.every(isCount) ? Math.max(...named) : undefined;
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0;

/** A pair of surrogates is one. */
const charactersOf = (text: string): number => text.length - (text.match(PAIR)?.length ?? 0);

const PAIR = /[\ud800-\udbff][\udc00-\udfff]/g;
