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
  readonly tokens?: number;
  /** Before the first token, and between two. */
  readonly thinkMs?: number;
  readonly gapMs?: number;
}

export const INPUT_NANO = 150;
export const OUTPUT_NANO = 600;

/** `GET /v1/generation?id=` answers what a call has cost; `usage` says it at the end of a stream that asks for it. */
export async function startMeteredProvider({
  tokens = 12,
  thinkMs = 0,
  gapMs = 0,
}: MeteredOptions = {}): Promise<MeteredProvider> {
  const charged: Charged[] = [];
  const upstream = await startRecordingUpstream(async (incoming, outgoing, { path, json, body }) => {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://provider');
    if (pathname === '/v1/models') return sendJson(outgoing, { object: 'list', data: [{ id: 'A' }, { id: 'F' }] });
    if (pathname === '/v1/generation') return sendGeneration(outgoing, charged, searchParams.get('id'));
    if (path !== '/v1/chat/completions') return sendJson(outgoing, { error: { message: 'unknown' } }, 404);
    const { model = '', stream = false, stream_options: asks } = json as Asked;
    const row = rowOf(incoming, model);
    charged.push(row);
    outgoing.setHeader('x-generation-id', row.generation);
    // A client that leaves cancels the generation, and is charged what was written
    outgoing.once('close', () => (row.isCancelled = !outgoing.writableFinished));
    if (stream) outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    await sleep(thinkMs);
    if (outgoing.destroyed) return;
    row.input = body.length;
    row.costNano = row.input * INPUT_NANO;
    for (let token = 0; token < tokens && !row.isCancelled; token++) {
      if (gapMs > 0 && token > 0) await sleep(gapMs);
      row.output++;
      row.costNano += OUTPUT_NANO;
      if (stream) outgoing.write(eventOf(row, { choices: [{ index: 0, delta: { content: ' word' } }] }));
    }
    const usage = usageOf(row);
    if (!stream)
      return sendJson(outgoing, { id: row.generation, model, choices: [{ message: { content: 'words' } }], usage });
    if (asks?.include_usage === true) outgoing.write(eventOf(row, { choices: [], usage }));
    outgoing.end('data: [DONE]\n\n');
  });
  return { ...upstream, url: `${upstream.origin}/v1`, charged };
}

interface Asked {
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
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
