import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { RecordedRequest } from './recording-server.ts';
import { sendJson } from './recording-server.ts';

export interface AnswerOptions {
  /** Milliseconds between two words of a stream. */
  gapMs: number;
}

const CREATED = 1_700_000_000;
const VECTOR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** The words of every answer; they name the model, so that a test can tell who has spoken. */
export function spokenWords(model: string): string[] {
  return ['I', ' am', ` ${model}`, ' and', ' this', ' is', ' my', ' answer.'];
}

function field(body: unknown, key: string): unknown {
  return typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[key] : undefined;
}

export function modelOf(body: unknown): string {
  const model = field(body, 'model');
  return typeof model === 'string' ? model : 'unnamed';
}

function isTrue(body: unknown, key: string): boolean {
  return field(body, key) === true;
}

/** One item of a stream after the other, with a gap between them, for as long as the caller listens. */
export async function writeSlowly(response: ServerResponse, items: string[], gapMs: number): Promise<void> {
  for (const item of items) {
    if (response.destroyed) return;
    response.write(item);
    await delay(gapMs);
  }
  response.end();
}

function sse(data: unknown, event?: string): string {
  return `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;
}

async function stream(response: ServerResponse, items: string[], gapMs: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  await writeSlowly(response, items, gapMs);
}

const usage = { prompt_tokens: 3, completion_tokens: 8, total_tokens: 11 };

async function chatCompletion({ body }: RecordedRequest, response: ServerResponse, gapMs: number): Promise<void> {
  const model = modelOf(body);
  const base = { id: 'chatcmpl-stub', created: CREATED, model };
  const words = spokenWords(model);
  if (!isTrue(body, 'stream')) {
    const message = { role: 'assistant', content: words.join('') };
    sendJson(response, {
      ...base,
      object: 'chat.completion',
      choices: [{ index: 0, message, finish_reason: 'stop' }],
      usage,
    });
    return;
  }
  const chunk = (delta: object, finish: string | null): string =>
    sse({ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] });
  const items = words.map((content) => chunk({ role: 'assistant', content }, null));
  await stream(response, [...items, chunk({}, 'stop'), 'data: [DONE]\n\n'], gapMs);
}

async function completion({ body }: RecordedRequest, response: ServerResponse, gapMs: number): Promise<void> {
  const model = modelOf(body);
  const base = { id: 'cmpl-stub', object: 'text_completion', created: CREATED, model };
  const words = spokenWords(model);
  if (!isTrue(body, 'stream')) {
    sendJson(response, { ...base, choices: [{ index: 0, text: words.join(''), finish_reason: 'stop' }], usage });
    return;
  }
  const items = words.map((text) => sse({ ...base, choices: [{ index: 0, text, finish_reason: null }] }));
  await stream(response, [...items, 'data: [DONE]\n\n'], gapMs);
}

async function responses({ body }: RecordedRequest, response: ServerResponse, gapMs: number): Promise<void> {
  const model = modelOf(body);
  const words = spokenWords(model);
  const content = [{ type: 'output_text', text: words.join(''), annotations: [] }];
  const output = [{ type: 'message', id: 'msg_stub', role: 'assistant', status: 'completed', content }];
  const base = { id: 'resp_stub', object: 'response', created_at: CREATED, model };
  if (!isTrue(body, 'stream')) {
    sendJson(response, { ...base, status: 'completed', output });
    return;
  }
  const place = { item_id: 'msg_stub', output_index: 0, content_index: 0 };
  const items = words.map((delta) =>
    sse({ type: 'response.output_text.delta', ...place, delta }, 'response.output_text.delta'),
  );
  const created = sse({ type: 'response.created', response: { ...base, status: 'in_progress' } }, 'response.created');
  const done = sse(
    { type: 'response.completed', response: { ...base, status: 'completed', output } },
    'response.completed',
  );
  await stream(response, [created, ...items, done], gapMs);
}

function embeddings({ body }: RecordedRequest, response: ServerResponse): void {
  const input = field(body, 'input');
  const count = Array.isArray(input) ? input.length : 1;
  const data = Array.from({ length: count }, (_, index) => ({ object: 'embedding', index, embedding: VECTOR }));
  sendJson(response, {
    object: 'list',
    model: modelOf(body),
    data,
    usage: { prompt_tokens: count, total_tokens: count },
  });
}

/** Answers a request in OpenAI's shapes; `path` is what follows `/v1`. Unknown paths get a harmless 200. */
export async function answerOpenAi(
  path: string,
  request: RecordedRequest,
  response: ServerResponse,
  { gapMs }: AnswerOptions,
): Promise<void> {
  if (path === '/chat/completions') return chatCompletion(request, response, gapMs);
  if (path === '/completions') return completion(request, response, gapMs);
  if (path === '/responses') return responses(request, response, gapMs);
  if (path === '/embeddings') return embeddings(request, response);
  if (path === '/audio/speech') {
    response.writeHead(200, { 'content-type': 'audio/mpeg' });
    response.end(Buffer.from([0xff, 0xfb, 0x90, 0x00]));
    return;
  }
  if (path === '/audio/transcriptions') return sendJson(response, { text: 'what was said' });
  if (path.startsWith('/images/')) return sendJson(response, { created: CREATED, data: [{ b64_json: PIXEL }] });
  sendJson(response, { ok: true, path });
}

/** The list of `GET /models`. */
export function openAiModelList(ids: readonly string[]): object {
  return { object: 'list', data: ids.map((id) => ({ id, object: 'model', created: CREATED, owned_by: 'stub' })) };
}
