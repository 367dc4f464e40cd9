/** What a call to a provider says of the answer that it wants, as the provider of that endpoint reads it. */
import { GatewayError } from '../errors.ts';
import { isObject } from './json.ts';
import { type Place, placeOf } from './members.ts';
import { SCHEMAS, foldKey } from './references.ts';

export interface CallFacts {
  /** A form (`multipart/form-data`): nothing else is read of it. */
  readonly isForm: boolean;
  /** What is not plainly no may be one: of `1` and `"true"` pydantic makes a stream, and Go an error. */
  readonly isStreamed: boolean;
  /** `stream_options.include_usage`; undefined where it is in a form that providers read in different ways. */
  readonly asksForUsage: boolean | undefined;
  /** The most tokens of one answer; undefined where the call names no limit that the endpoint knows, or one that is no positive integer. */
  readonly outputLimit: number | undefined;
  /**
   * Where all that the model reads stands: in the `body`, as text; in its `context` at most, with pictures, files and what the
   * provider keeps; nowhere that has a bound, where the provider runs tools and asks the model again with what they say.
   */
  readonly reads: 'body' | 'context' | 'unbounded';
  /** Answers: choices of each prompt, pictures, documents to rank; undefined in a form that providers read in different ways. */
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

/** Settings beneath others, which routers put in the place of the call's own (LiteLLM's `extra_body` and `fallbacks`), and what takes limits away there. */
const LIMITS_BENEATH = [...new Set(Object.values(LIMITS).flat()), 'num_predict'];
const DROPPING = ['drop_params', 'additional_drop_params'];
/** llama.cpp has a name of its own for them, too. */
const CHOICES = ['n', 'n_cmpl'];
const SETTINGS = [...LIMITS_BENEATH, ...DROPPING, ...CHOICES];
/** Words, schemas and notes of the caller. */
const NO_SETTINGS = ['messages', 'input', 'prompt', 'tools', 'functions', ...Object.keys(SCHEMAS)];

/** What the provider keeps, and what it runs by itself: OpenAI, OpenRouter, xAI, Anthropic. */
const KEPT = ['previous_response_id', 'conversation'];
const RUN_BY_PROVIDER = ['plugins', 'web_search_options', 'search_parameters', 'mcp_servers', 'container'];
/** The caller's own are functions, or `custom`; Anthropic's have no type. */
const OWN_TOOLS: ReadonlySet<unknown> = new Set([undefined, 'function', 'custom']);

/** All members that are read here. */
const READ: ReadonlySet<string> = new Set([
  ...[...Object.keys(SET), ...DETACHING, ...Object.values(LIMITS).flat(), ...KEPT, ...RUN_BY_PROVIDER, ...CHOICES],
  ...['stream', 'include_usage', 'options', 'best_of', 'input', 'messages', 'images', 'tools'],
]);

/** Ollama streams unless it is asked not to (api/types.go), and has its limit among the options of the model. */
const OLLAMA: ReadonlySet<string> = new Set(['api/chat', 'api/generate']);

export const FORM_CALL: CallFacts = {
  isForm: true,
  isStreamed: false,
  asksForUsage: false,
  outputLimit: undefined,
  reads: 'unbounded',
  n: undefined,
  characters: undefined,
  detaching: [],
  place: undefined,
};

/**
 * @param value what `body` says, which is strict JSON @param endpoint its name behind base and version
 * @throws GatewayError `body_unreadable` where a member of these stands in other letters
 */
export function readCallFacts(body: Buffer, value: unknown, endpoint: string): CallFacts {
  const call = isObject(value) ? value : {};
  const { stream, stream_options: options, input } = call;
  for (const one of [call, options]) refuseOtherLetters(one);
  const isOllama = OLLAMA.has(endpoint);
  const limits = (LIMITS[endpoint] ?? []).map((name) => call[name]);
  const limit = isOllama && isObject(call['options']) ? call['options']['num_predict'] : undefined;
  const own = greatest([...limits, limit]);
  const beneath = Object.fromEntries(SETTINGS.map((name): [string, unknown[]] => [name, []]));
  const nested = Object.entries(call).filter(([key]) => !NO_SETTINGS.includes(key));
  for (const [, one] of nested) collectSettings(one, beneath);
  const places = [call, ...nested.map(([, one]) => one).filter(isObject)];
  const beneathOf = (names: readonly string[]) => names.flatMap((name) => beneath[name] ?? []);
  const dropping = [...DROPPING.map((name) => call[name]), ...beneathOf(DROPPING)];
  // What the best were chosen from is charged too
  const choices = [...CHOICES, 'best_of'].map((name) => call[name]);
  const n = greatest([1, ...choices, ...beneathOf(CHOICES)]);
  return {
    isForm: false,
    isStreamed: isOllama ? stream !== false : (stream ?? false) !== false,
    asksForUsage: asksForUsage(options),
    outputLimit: own && greatest([own, ...beneathOf(LIMITS_BENEATH), ...dropping]),
    reads: READS.find((one) => places.some((place) => readsOf(place) === one)) ?? 'unbounded',
    n: n && greatest([n * inputsOf(places, endpoint)]),
    characters: endpoint === 'audio/speech' && typeof input === 'string' ? charactersOf(input) : undefined,
    detaching: DETACHING.filter((name) => (call[name] ?? false) !== false),
    place: placeOf(body, value, SET),
  };
}

function collectSettings(value: unknown, into: Readonly<Record<string, unknown[]>>): void {
  if (Array.isArray(value)) for (const one of value) collectSettings(one, into);
  if (!isObject(value)) return;
  for (const [key, one] of Object.entries(value)) {
    if (NO_SETTINGS.includes(key)) continue;
    const name = foldKey(key);
    if (Object.hasOwn(into, name)) into[name]?.push(one);
    collectSettings(one, into);
  }
}

/** Each prompt is answered by itself (OpenAI), and a reranker reads the question anew with each document. */
function inputsOf(places: readonly Readonly<Record<string, unknown>>[], endpoint: string): number {
  const inputs = { completions: places.map(({ prompt }) => prompt), rerank: places.flatMap(Object.values) }[endpoint];
  // of numbers it is one prompt, in tokens
  const isSeveral = (one: unknown): one is unknown[] => Array.isArray(one) && typeof one[0] !== 'number';
  return (inputs ?? []).filter(isSeveral).reduce((most, { length }) => Math.max(most, length), 1);
}

/** Servers in Go take them too, and of two the later one (see `foldKey`): who judges one must not send both. */
function refuseOtherLetters(value: unknown): void {
  const other = Object.keys(isObject(value) ? value : {}).find((key) => !READ.has(key) && READ.has(foldKey(key)));
  if (other === undefined) return;
  throw new GatewayError('body_unreadable', { detail: `Found "${foldKey(other)}" in other letters.` });
}

/** The least bounded first. */
const READS = ['unbounded', 'context', 'body'] as const;

function readsOf(call: Readonly<Record<string, unknown>>): CallFacts['reads'] {
  const isThere = (name: string): boolean => (call[name] ?? undefined) !== undefined;
  const tools = Array.isArray(call['tools']) ? call['tools'] : [];
  if (RUN_BY_PROVIDER.some(isThere) || tools.some((tool) => isObject(tool) && !OWN_TOOLS.has(tool['type'])))
    return 'unbounded';
  const { messages, input, images } = call;
  return KEPT.some(isThere) || holdsOther({ messages, input, images }) ? 'context' : 'body';
}

/** What is no text, or only the name of what the provider keeps, in the words of all dialects. */
const OTHER = /image|audio|video|file|document|reference/;

function holdsOther(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsOther);
  const { type, images, audio } = value as Readonly<Record<string, unknown>>;
  if ((typeof type === 'string' && OTHER.test(type)) || Array.isArray(images) || isObject(audio)) return true;
  return Object.values(value).some(holdsOther);
}

function asksForUsage(options: unknown): boolean | undefined {
  if (options === undefined || options === null) return false;
  const asked = isObject(options) ? (options['include_usage'] ?? false) : undefined;
  return typeof asked === 'boolean' ? asked : undefined;
}

/** @returns undefined where there is none, or one that is no positive integer: of `"9"` and `-1` nothing is known */
function greatest(values: readonly unknown[]): number | undefined {
  const named = values.filter((value) => value !== undefined && value !== null);
  return named.length > 0 && named.every(isCount) ? named.reduce((most, one) => Math.max(most, one)) : undefined;
}

const isCount = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) > 0 && Number(value) <= MOST;

/** No model writes so much: a greater number limits nothing. */
const MOST = 1e9;

/** A pair of surrogates is one. */
const charactersOf = (text: string): number => text.length - (text.match(PAIR)?.length ?? 0);

const PAIR = /[\ud800-\udbff][\udc00-\udfff]/g;
