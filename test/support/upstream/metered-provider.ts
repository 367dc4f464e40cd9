/** A provider as OpenRouter is one: it charges what it writes, says so at the end of an answer, and can be asked later. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RecordingUpstream, sendJson, startRecordingUpstream } from './upstreams.ts';

/** What the provider itself has written down of one call. */
export interface Charged {
  readonly generation: string;
  /** The id that the caller gave the call. */
  readonly request: string;
  readonly model: string;
  input: number;
  output: number;
  costNano: number;
  isCancelled: boolean;
}

export interface MeteredProvider extends RecordingUpstream {
  readonly url: string;
  /** The provider's own ledger: the judge. */
  readonly charged: readonly Charged[];
}

interface MeteredOptions {
  /** What it lists; it answers for any other too. */
  readonly models?: readonly string[];
  /** How many it answers; of the body of the question where that decides. */
  readonly tokens?: number | ((body: string) => number);
  /** Before the first token, and between two. */
  readonly thinkMs?: number;
  /** By the id that the caller gave the call: nothing is written, nor charged, before. */
  readonly mayWrite?: (request: string) => boolean;
  readonly gapMs?: number;
  /** What stands in an answer that is not streamed. */
  readonly content?: string;
}

export const INPUT_NANO = 150;
export const OUTPUT_NANO = 600;

/** A call for twelve tokens of A, and what it costs, exactly. */
export const TOKENS = 12;
export const BODY = JSON.stringify({ model: 'A', max_tokens: TOKENS, messages: [{ role: 'user', content: 'words' }] });
export const COST_NANO = BODY.length * INPUT_NANO + TOKENS * OUTPUT_NANO;

/** `GET /v1/generation?id=` answers what a call has cost; `usage` says it at the end of a stream that asks for it. */
export async function startMeteredProvider({
  models = ['A', 'F'],
  tokens = 12,
  thinkMs = 0,
  mayWrite = () => true,
  gapMs = 0,
  content = 'words',
}: MeteredOptions = {}): Promise<MeteredProvider> {
  const charged: Charged[] = [];
  const upstream = await startRecordingUpstream(async (incoming, outgoing, { path, json, body }) => {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://provider');
    if (pathname === '/v1/models')
      return sendJson(outgoing, { object: 'list', data: models.map((id) => ({ id, object: 'model' })) });
    if (pathname === '/v1/generation') return sendGeneration(outgoing, charged, searchParams.get('id'));
    const isEmbedding = path === '/v1/embeddings';
    if (path !== '/v1/chat/completions' && !isEmbedding)
      return sendJson(outgoing, { error: { message: 'unknown' } }, 404);
    const { model = '', stream = false, stream_options: asks, input = '' } = json as Asked;
    const row = rowOf(incoming, model);
    charged.push(row);
    outgoing.setHeader('x-generation-id', row.generation);
    if (isEmbedding) return sendEmbeddings(outgoing, row, [input].flat(), body.length);
    // A client that leaves cancels the generation, and is charged what was written
    outgoing.once('close', () => (row.isCancelled = !outgoing.writableFinished));
    if (stream) outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    do await sleep(thinkMs);
    while (!outgoing.destroyed && !mayWrite(row.request));
    if (outgoing.destroyed) return;
    row.input = body.length;
    row.costNano = row.input * INPUT_NANO;
    const wanted = typeof tokens === 'number' ? tokens : tokens(body);
    for (let token = 0; token < wanted && !row.isCancelled; token++) {
      row.output++;
      row.costNano += OUTPUT_NANO;
      if (stream) outgoing.write(eventOf(row, { choices: [{ index: 0, delta: { content: ' word' } }] }));
      if (gapMs > 0 && token + 1 < wanted) await sleep(gapMs);
    }
    const usage = usageOf(row);
    if (!stream) return sendJson(outgoing, { id: row.generation, model, choices: [{ message: { content } }], usage });
    if (asks?.include_usage === true) outgoing.write(eventOf(row, { choices: [], usage }));
    outgoing.end('data: [DONE]\n\n');
  });
  return { ...upstream, url: `${upstream.origin}/v1`, charged };
}

interface Asked {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  /** What is to be embedded. */
  readonly input?: unknown;
}

const rowOf = (incoming: IncomingMessage, model: string): Charged => ({
  generation: `gen-${randomUUID()}`,
  request: String(incoming.headers['x-request-id']),
  model,
  input: 0,
  output: 0,
  costNano: 0,
  isCancelled: false,
});

const eventOf = ({ generation, model }: Charged, more: object): string =>
  `data: ${JSON.stringify({ id: generation, object: 'chat.completion.chunk', model, ...more })}\n\n`;

const usageOf = ({ input, output, costNano }: Charged) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  cost: costNano / 1e9,
});

function sendEmbeddings(outgoing: ServerResponse, row: Charged, texts: readonly unknown[], bytes: number): void {
  row.input = bytes;
  row.costNano = bytes * INPUT_NANO;
  const data = texts.map((_, index) => ({ object: 'embedding', index, embedding: VECTOR }));
  const { completion_tokens: _none, ...usage } = usageOf(row);
  sendJson(outgoing, { object: 'list', model: row.model, data, usage });
}

const VECTOR = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];

function sendGeneration(outgoing: ServerResponse, charged: readonly Charged[], id: string | null): void {
  const row = charged.find(({ generation }) => generation === id);
  if (row === undefined) return sendJson(outgoing, { error: { message: 'not found' } }, 404);
  const { input, output, costNano, isCancelled: cancelled, model } = row;
  const tokens = {
    tokens_prompt: input,
    tokens_completion: output,
    native_tokens_prompt: input,
    native_tokens_completion: output,
  };
  sendJson(outgoing, { data: { id, model, ...tokens, total_cost: costNano / 1e9, cancelled } });
}
