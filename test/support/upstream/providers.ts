/**
 * Providers behind a real backend: they answer everything, refuse nothing, and write down which models they were asked
 * for. A forbidden model that gets this far must be seen, not stopped.
 */
import type { ServerResponse } from 'node:http';
import { type DialectName, DIALECTS } from './dialects.ts';
import {
  type Answer,
  type RecordedRequest,
  type RecordingUpstream,
  sendJson,
  startRecordingUpstream,
  writeSlowly,
} from './upstreams.ts';

export interface Provider extends RecordingUpstream {
  /** Base URL as the backend's connection wants it: with `/v1` of an OpenAI provider, without a path of Ollama. */
  readonly url: string;
}

export interface ProviderOptions {
  /** Of Ollama with their tags (`llama3:latest`): a real one lists no other. */
  readonly models: readonly string[];
  /** Milliseconds between two streamed words. */
  readonly gapMs?: number;
}

/** An OpenAI-compatible provider. */
export const startProvider = (options: ProviderOptions): Promise<Provider> =>
  start(options, '/v1', async (request, outgoing, { models, gapMs }) => {
    const path = request.path.replace(/^\/v1(?=\/)/, '');
    if (request.method === 'GET' && path === '/models') return sendJson(outgoing, openAiModels(models));
    await answerOpenAi(path, request, outgoing, gapMs);
  });

/** A native Ollama with its OpenAI routes. */
export const startOllama = (options: ProviderOptions): Promise<Provider> =>
  start(options, '', async (request, outgoing, { models, gapMs }) => {
    const { path } = request;
    if (path === '/v1/models') return sendJson(outgoing, openAiModels(models));
    if (path.startsWith('/v1/')) return answerOpenAi(path.slice(3), request, outgoing, gapMs);
    // native streams are the other way round than OpenAI's: on unless `stream` is false
    if (path === '/api/chat') return speak('ollamaChat', request, outgoing, gapMs, true);
    if (path === '/api/generate') return speak('ollamaGenerate', request, outgoing, gapMs, true);
    if (path === '/') return void outgoing.end('Ollama is running');
    sendJson(outgoing, ollamaAnswer(request, models));
  });

type Talk = (request: RecordedRequest, outgoing: ServerResponse, options: Required<ProviderOptions>) => unknown;

async function start({ models, gapMs = 5 }: ProviderOptions, base: string, talk: Talk): Promise<Provider> {
  const answer: Answer = (_incoming, outgoing, request) => talk(request, outgoing, { models, gapMs });
  const upstream = await startRecordingUpstream(answer);
  return { ...upstream, url: upstream.origin + base };
}

const CREATED = 1_700_000_000;
const WHEN = '2026-01-01T00:00:00Z';
const VECTOR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const DETAILS = {
  format: 'gguf',
  family: 'llama',
  families: ['llama'],
  parameter_size: '8B',
  quantization_level: 'Q4_0',
};

const CAN = ['completion'];

function field({ json }: RecordedRequest, key: string): unknown {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>)[key] : undefined;
}

function modelOf(request: RecordedRequest): string {
  const model = field(request, 'model');
  return typeof model === 'string' ? model : 'unnamed';
}

/** How many texts are to be embedded. */
function inputCount(request: RecordedRequest): number {
  const input = field(request, 'input');
  return Array.isArray(input) ? input.length : 1;
}

/** Says which model speaks, word by word where a stream is wanted. */
async function speak(
  dialect: DialectName,
  request: RecordedRequest,
  outgoing: ServerResponse,
  gapMs: number,
  streamsUnasked = false,
): Promise<void> {
  const model = modelOf(request);
  const words = ['I', ' am', ` ${model}`, ' and', ' this', ' is', ' my', ' answer.'];
  const { contentType, whole, stream } = DIALECTS[dialect];
  if ((field(request, 'stream') ?? streamsUnasked) !== true) return sendJson(outgoing, whole(model, words));
  outgoing.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-cache' });
  await writeSlowly(outgoing, stream(model, words), gapMs);
}

const SPOKEN: Readonly<Record<string, DialectName>> = {
  '/chat/completions': 'openai',
  '/completions': 'completion',
  '/responses': 'responses',
};

/** @param path what follows `/v1`; an unknown one gets a harmless 200 */
async function answerOpenAi(
  path: string,
  request: RecordedRequest,
  outgoing: ServerResponse,
  gapMs: number,
): Promise<void> {
  const dialect = SPOKEN[path];
  if (dialect !== undefined) return speak(dialect, request, outgoing, gapMs);
  if (path === '/audio/speech') {
    outgoing.writeHead(200, { 'content-type': 'audio/mpeg' }).end(Buffer.from([0xff, 0xfb, 0x90, 0x00]));
    return;
  }
  if (path === '/embeddings') return sendJson(outgoing, openAiEmbeddings(request));
  if (path === '/audio/transcriptions') return sendJson(outgoing, { text: 'what was said' });
  if (path.startsWith('/images/')) return sendJson(outgoing, { created: CREATED, data: [{ b64_json: PIXEL }] });
  sendJson(outgoing, { ok: true, path });
}

function openAiEmbeddings(request: RecordedRequest): object {
  const count = inputCount(request);
  const data = Array.from({ length: count }, (_, index) => ({ object: 'embedding', index, embedding: VECTOR }));
  const usage = { prompt_tokens: count, total_tokens: count };
  return { object: 'list', model: modelOf(request), data, usage };
}

function openAiModels(ids: readonly string[]): object {
  return { object: 'list', data: ids.map((id) => ({ id, object: 'model', created: CREATED, owned_by: 'stub' })) };
}

function ollamaAnswer(request: RecordedRequest, models: readonly string[]): object {
  const file = { modified_at: WHEN, size: 1_000, digest: 'd'.repeat(64), details: DETAILS };
  const listed = models.map((name) => ({ name, model: name, ...file }));
  switch (request.path) {
    case '/api/version':
      return { version: '0.12.6' };
    case '/api/tags':
      return { models: listed };
    case '/api/ps':
      return { models: listed.slice(0, 1) };
    case '/api/show':
      return { modelfile: '', parameters: '', template: '', details: DETAILS, model_info: {}, capabilities: CAN };
    case '/api/embed':
      return { model: modelOf(request), embeddings: Array.from({ length: inputCount(request) }, () => VECTOR) };
    case '/api/embeddings':
      return { embedding: VECTOR };
    default:
      // pull, push, create, copy, delete and whatever comes next: done at once
      return { status: 'success' };
  }
}
