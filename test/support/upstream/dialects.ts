/** How an answer looks in each API that the backend speaks: whole, and as the pieces of a stream. */
import { randomUUID } from 'node:crypto';

type JsonObject = Record<string, unknown>;

export interface Dialect {
  readonly contentType: string;
  whole(model: string, words: readonly string[]): JsonObject;
  /** One piece a word, with what the protocol wants before and after. */
  stream(model: string, words: readonly string[]): Iterable<string>;
}

export type DialectName = 'openai' | 'completion' | 'anthropic' | 'responses' | 'ollamaChat' | 'ollamaGenerate';

const sse = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;
const event = (type: string, data: object): string => `event: ${type}\n${sse({ type, ...data })}`;
const ndjson = (data: object): string => `${JSON.stringify(data)}\n`;
export const seconds = (): number => Math.floor(Date.now() / 1000);
const usage = (words: readonly string[]) => ({
  prompt_tokens: 1,
  completion_tokens: words.length,
  total_tokens: words.length + 1,
});

/** `chat/completions` and the older `completions` differ in the name of the object and where the text stands. */
function openaiDialect(object: string, choice: (content: string, streamed: boolean) => JsonObject): Dialect {
  const envelope = (model: string, id: string, kind: string) => ({ id, object: kind, created: seconds(), model });
  const newId = () => `chatcmpl-${randomUUID()}`;
  return {
    contentType: 'text/event-stream; charset=utf-8',
    whole: (model, words) => ({
      ...envelope(model, newId(), object),
      choices: [{ index: 0, ...choice(words.join(''), false), logprobs: null, finish_reason: 'stop' }],
      usage: usage(words),
    }),
    *stream(model, words) {
      const head = envelope(model, newId(), object === 'chat.completion' ? 'chat.completion.chunk' : object);
      for (const word of words)
        yield sse({ ...head, choices: [{ index: 0, ...choice(word, true), finish_reason: null }] });
      yield sse({ ...head, choices: [{ index: 0, ...choice('', true), finish_reason: 'stop' }] });
      yield 'data: [DONE]\n\n';
    },
  };
}

const anthropic: Dialect = {
  contentType: 'text/event-stream; charset=utf-8',
  whole: (model, words) => ({
    ...anthropicMessage(model),
    content: [{ type: 'text', text: words.join('') }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 1, output_tokens: words.length },
  }),
  *stream(model, words) {
    yield event('message_start', { message: anthropicMessage(model) });
    yield event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
    for (const text of words) yield event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } });
    yield event('content_block_stop', { index: 0 });
    yield event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: words.length } });
    yield event('message_stop', {});
  },
};

function anthropicMessage(model: string): JsonObject {
  const usageSoFar = { input_tokens: 1, output_tokens: 0 };
  return {
    id: `msg_${randomUUID()}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    usage: usageSoFar,
  };
}

const responses: Dialect = {
  contentType: 'text/event-stream; charset=utf-8',
  whole: (model, words) => responseObject(model, words),
  *stream(model, words) {
    yield event('response.created', { response: { ...responseObject(model, []), status: 'in_progress' } });
    const place = { item_id: 'msg_1', output_index: 0, content_index: 0 };
    for (const delta of words) yield event('response.output_text.delta', { ...place, delta });
    yield event('response.completed', { response: responseObject(model, words) });
  },
};

function responseObject(model: string, words: readonly string[]): JsonObject {
  const content = [{ type: 'output_text', text: words.join(''), annotations: [] }];
  const output = [{ id: 'msg_1', type: 'message', role: 'assistant', status: 'completed', content }];
  return { id: `resp_${randomUUID()}`, object: 'response', created_at: seconds(), model, status: 'completed', output };
}

const TOTALS = { total_duration: 1, eval_count: 8, eval_duration: 1, prompt_eval_count: 3 };

function ollamaDialect(part: (content: string) => JsonObject): Dialect {
  const piece = (model: string, content: string, done: boolean) => ({
    model,
    created_at: new Date().toISOString(),
    ...part(content),
    ...(done ? { ...TOTALS, done, done_reason: 'stop' } : { done }),
  });
  return {
    contentType: 'application/x-ndjson',
    whole: (model, words) => piece(model, words.join(''), true),
    *stream(model, words) {
      for (const word of words) yield ndjson(piece(model, word, false));
      yield ndjson(piece(model, '', true));
    },
  };
}

export const DIALECTS: Readonly<Record<DialectName, Dialect>> = {
  openai: openaiDialect('chat.completion', (content, streamed) =>
    streamed
      ? { delta: content === '' ? {} : { role: 'assistant', content } }
      : { message: { role: 'assistant', content } },
  ),
  completion: openaiDialect('text_completion', (text) => ({ text })),
  anthropic,
  responses,
  ollamaChat: ollamaDialect((content) => ({ message: { role: 'assistant', content } })),
  ollamaGenerate: ollamaDialect((response) => ({ response })),
};
