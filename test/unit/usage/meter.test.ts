import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type AnswerFacts, createMeter } from '../../../src/usage/meter.ts';
import type { AnswerForm } from '../../../src/usage/answer-reading.ts';
import { EVENTS, JSON_BODY, LINES, meter, singleBytes, split } from '../../support/usage/metered.ts';

const event = (data: unknown, name?: string) =>
  `${name === undefined ? '' : `event: ${name}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const DONE = event('[DONE]');
const word = (content: string, more: object = {}) =>
  event({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    model: 'gpt-5',
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
    ...more,
  });
const stop = (more: object = {}) =>
  event({ id: 'chatcmpl-1', model: 'gpt-5', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], ...more });
const usageAlone = (usage: object) => event({ id: 'chatcmpl-1', model: 'gpt-5', choices: [], usage });

const USAGE = {
  prompt_tokens: 19,
  completion_tokens: 10,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 8 },
  completion_tokens_details: { reasoning_tokens: 4 },
};
const READ = { input: 19, inputCached: 8, output: 10, outputReasoning: 4 };
const RESPONSES_USAGE = {
  input_tokens: 19,
  input_tokens_details: { cached_tokens: 8 },
  output_tokens: 10,
  output_tokens_details: { reasoning_tokens: 4 },
  total_tokens: 29,
};
const OPENROUTER_USAGE = { ...USAGE, cost: 0.00000123, cost_details: { upstream_inference_cost: null } };
/** In a text it says nothing. */
const LIAR = 'é "usage": {"prompt_tokens": 1} [DONE] \\" "done":true message_stop 😀';

interface Case {
  readonly form?: AnswerForm;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
  readonly usage: object | undefined;
  readonly model?: string | undefined;
  readonly pictures?: number;
}

const STREAMS: Readonly<Record<string, Case>> = {
  'OpenAI, usage in an event of its own': {
    body: word('Hi', { usage: null }) + word(LIAR, { usage: null }) + stop({ usage: null }) + usageAlone(USAGE) + DONE,
    usage: READ,
  },
  'usage in the event of the finish reason': { body: word('Hi') + stop({ usage: USAGE }) + DONE, usage: READ },
  'usage that grows with every event': {
    body: word('a', { usage: { prompt_tokens: 19, completion_tokens: 1 } }) + stop({ usage: USAGE }) + DONE,
    usage: READ,
  },
  'usage that is null throughout': {
    body: word('Hi', { usage: null }) + stop({ usage: null }) + DONE,
    usage: undefined,
  },
  'usage of zero': {
    body: word('Hi') + usageAlone({ prompt_tokens: 0, completion_tokens: 0, cost: 0 }) + DONE,
    usage: { input: 0, output: 0, costNano: 0 },
  },
  'no usage': { body: word(LIAR) + stop() + DONE, usage: undefined },
  'no event that says it is the last': { body: word('Hi') + stop({ usage: USAGE }), usage: READ },
  'Azure, whose first event has no model': {
    body:
      event({ choices: [], id: '', model: '', object: '', prompt_filter_results: [{ prompt_index: 0 }] }) +
      word('Hi') +
      stop() +
      usageAlone(USAGE) +
      DONE,
    usage: READ,
  },
  'OpenRouter, with comments and a cost': {
    body: `: OPENROUTER PROCESSING\n\n${word('Hi')}: OPENROUTER PROCESSING\n\n${stop()}${usageAlone(OPENROUTER_USAGE)}${DONE}`,
    usage: { ...READ, costNano: 1230 },
  },
  'an event of several data lines': {
    body: `${word('Hi')}id: 7\ndata: {"choices":[],\ndata:"usage":\ndata: {"prompt_tokens":3}}\nretry: 1\n\n${DONE}`,
    usage: { input: 3 },
  },
  Responses: {
    body:
      event({ type: 'response.created', response: { id: 'resp_1', model: 'gpt-5', usage: null } }, 'response.created') +
      event({ type: 'response.output_text.delta', delta: LIAR }, 'response.output_text.delta') +
      event(
        { type: 'response.completed', response: { id: 'resp_1', model: 'gpt-5', usage: RESPONSES_USAGE } },
        'response.completed',
      ),
    usage: READ,
  },
  'Responses that failed': {
    body: event({ type: 'response.failed', response: { id: 'resp_1', model: 'gpt-5', usage: null } }),
    usage: undefined,
  },
  Anthropic: {
    form: 'anthropic',
    body:
      event(
        {
          type: 'message_start',
          message: {
            id: 'msg_1',
            model: 'claude',
            usage: { input_tokens: 5, cache_read_input_tokens: 7, cache_creation_input_tokens: 11, output_tokens: 1 },
          },
        },
        'message_start',
      ) +
      event({ type: 'content_block_delta', delta: { type: 'text_delta', text: LIAR } }, 'content_block_delta') +
      event({ type: 'ping' }, 'ping') +
      event({ type: 'message_delta', delta: { stop_reason: null }, usage: { output_tokens: 20 } }, 'message_delta') +
      event(
        { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 31 } },
        'message_delta',
      ) +
      event({ type: 'message_stop' }, 'message_stop'),
    usage: { input: 23, inputCached: 7, inputCacheWrite: 11, output: 31 },
    model: 'claude',
  },
  'Anthropic, whose last event has the input too': {
    form: 'anthropic',
    body:
      event({
        type: 'message_start',
        message: { model: 'claude', usage: { input_tokens: 1, cache_read_input_tokens: 7 } },
      }) +
      event({ type: 'message_delta', usage: { input_tokens: 6, cache_read_input_tokens: null, output_tokens: 2 } }) +
      event({ type: 'message_stop' }),
    usage: { input: 13, inputCached: 7, output: 2 },
    model: 'claude',
  },
};

const LINED: Readonly<Record<string, Case>> = {
  'Ollama chat': {
    form: 'ollama',
    headers: LINES,
    body:
      `${JSON.stringify({ model: 'llama3', message: { role: 'assistant', content: LIAR }, done: false })}\n` +
      `${JSON.stringify({ model: 'llama3', message: { content: '' }, done: true, prompt_eval_count: 26, eval_count: 0 })}\n`,
    usage: { input: 26, output: 0 },
    model: 'llama3',
  },
  'Ollama generate, whose last line has no end': {
    form: 'ollama',
    headers: LINES,
    body: `{"model":"llama3","response":"a","done":false}\n{"model":"llama3","response":"","done":true,"eval_count":2}`,
    usage: { output: 2 },
    model: 'llama3',
  },
};

const WHOLE: Readonly<Record<string, Case>> = {
  'OpenAI chat': {
    body: JSON.stringify({ id: 'chatcmpl-1', choices: [{ message: { content: LIAR } }], usage: USAGE, model: 'gpt-5' }),
    usage: READ,
  },
  'OpenRouter chat': {
    body: JSON.stringify({ model: 'gpt-5', usage: OPENROUTER_USAGE }, null, 2),
    usage: { ...READ, costNano: 1230 },
  },
  'Responses whole': {
    body: JSON.stringify({
      object: 'response',
      model: 'gpt-5',
      output: [{ usage: { input_tokens: 1 } }],
      usage: RESPONSES_USAGE,
    }),
    usage: READ,
  },
  'Anthropic message': {
    form: 'anthropic',
    body: JSON.stringify({
      type: 'message',
      model: 'claude',
      usage: { input_tokens: 5, cache_read_input_tokens: 7, output_tokens: 1 },
    }),
    usage: { input: 12, inputCached: 7, output: 1 },
    model: 'claude',
  },
  'Ollama whole': {
    form: 'ollama',
    body: '{"model":"llama3","message":{"content":"a"},"done":true,"prompt_eval_count":26,"eval_count":1}',
    usage: { input: 26, output: 1 },
    model: 'llama3',
  },
  'Ollama embed': {
    form: 'ollama',
    body: '{"model":"llama3","embeddings":[[0.1,0.2]],"prompt_eval_count":3}',
    usage: { input: 3 },
    model: 'llama3',
  },
  embeddings: {
    body: JSON.stringify({
      object: 'list',
      data: [{ embedding: [0.1, -1e-7] }],
      model: 'gpt-5',
      usage: { prompt_tokens: 8, total_tokens: 8 },
    }),
    usage: { input: 8 },
  },
  'a reranker': { body: '{"model":"gpt-5","usage":{"total_tokens":15},"results":[]}', usage: { input: 15 } },
  pictures: {
    form: 'images',
    body: '{"created":1,"data":[{"b64_json":"AA=="},{"url":"a,b"}]}',
    usage: undefined,
    model: undefined,
    pictures: 2,
  },
  'pictures with usage': {
    form: 'images',
    body: '{"data":[{"b64_json":"AA=="}],"usage":{"input_tokens":50,"output_tokens":60,"total_tokens":110}}',
    usage: { input: 50, output: 60 },
    model: undefined,
    pictures: 1,
  },
  'a transcription by the second': {
    body: '{"text":"a","usage":{"type":"duration","seconds":9}}',
    usage: { units: 9, unit: 'seconds' },
    model: undefined,
  },
  'null usage': { body: '{"model":"gpt-5","usage":null}', usage: undefined },
  'zero usage': {
    body: '{"model":"gpt-5","usage":{"prompt_tokens":0,"completion_tokens":0}}',
    usage: { input: 0, output: 0 },
  },
  'JSON without usage': { body: '{"model":"gpt-5","choices":[]}', usage: undefined },
};

const known = (usage: object | undefined) =>
  usage === undefined
    ? undefined
    : Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined));
const ALL = Object.entries({ ...STREAMS, ...LINED, ...WHOLE });
const headersOf = (name: string) => (name in STREAMS ? EVENTS : JSON_BODY);

describe.each(ALL)('%s', (name, one) => {
  const { form = 'openai', headers = headersOf(name), usage, model = 'model' in one ? undefined : 'gpt-5' } = one;
  const check = async (chunks: Buffer[]) => {
    const body = Buffer.concat(chunks).toString('latin1');
    const { out, facts, ended } = await meter(chunks, { form, headers });
    expect(out).toBe(body);
    expect(ended).toBe(1);
    // between the CR and the LF of the last line the last event has come
    expect(facts.bytesOut).toBeGreaterThanOrEqual(body.length - (body.endsWith('\r\n') ? 1 : 0));
    expect({ ...facts, usage: known(facts.usage) }).toEqual({
      status: 200,
      usage,
      answeredModel: one.model ?? model,
      generationId: undefined,
      bytesOut: facts.bytesOut,
      pictures: one.pictures,
      isCut: false,
    });
  };
  const bytes = Buffer.from(one.body);

  test('in one chunk', () => check([bytes]));
  test('an event or line a chunk', () => check(one.body.split(/(?<=\n\n)|(?<=\}\n)/).map((text) => Buffer.from(text))));
  test('byte by byte', () => check(singleBytes(bytes)));
  test('split at every place', async () => {
    for (let at = 1; at < bytes.length; at++) await check(split(bytes, [at]));
  });
  if (!(name in STREAMS)) return;
  test.each([
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('with lines that end in %s, split at every place', async (_name, end) => {
    const changed = Buffer.from(one.body.replaceAll('\n', end));
    await check(singleBytes(changed));
    for (let at = 1; at < changed.length; at++) await check(split(changed, [at]));
  });
  test('without the empty line at its end', () => check([bytes.subarray(0, -2)]));
});

describe('the end of an answer', () => {
  const stream = word('Hi') + stop() + usageAlone(USAGE);
  const kept = async (body: string, options: Parameters<typeof meter>[1] = {}, ends: number[] = []) =>
    (await meter(split(Buffer.from(body), ends), options)).beforeKept;

  test('is held back until the ledger has it: the last event, and what follows in its chunk', async () => {
    expect(await kept(`${stream}${DONE}: bye\n\n`, {}, [stream.length])).toBe(stream);
    expect(await kept(`${stream}${DONE}`, {}, [stream.length + 9])).toBe(stream);
  });
  test('is that of the connection where no event is the last', async () => {
    expect(await kept(stream)).toBe(stream);
  });
  test('is the last chunk of a JSON answer', async () => {
    const body = JSON.stringify({ usage: USAGE });
    expect(await kept(body, { headers: JSON_BODY }, [5, 9])).toBe(body.slice(0, 9));
  });
  test.each([
    [
      'throws',
      () => {
        throw new Error('the ledger is gone');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the ledger is gone'))],
  ])('goes out where the ledger %s', async (_name, ended) => {
    const tap = createMeter({ form: 'openai', hidesUsage: false, identified: () => undefined, ended });
    tap.begin(200, EVENTS);
    expect(String(await tap.take(Buffer.from(stream + DONE)))).toBe(stream + DONE);
    expect(String(await tap.end())).toBe('');
  });
  test('waits for no promise where the ledger gives none', () => {
    const tap = createMeter({ form: 'openai', hidesUsage: false, identified: () => undefined, ended: () => undefined });
    tap.begin(200, EVENTS);
    expect(tap.take(Buffer.from(DONE))).toEqual(Buffer.from(DONE));
  });
  test('comes to the ledger with the last event, and what comes later passes', async () => {
    const seen: AnswerFacts[] = [];
    const tap = createMeter({
      form: 'openai',
      hidesUsage: false,
      identified: () => undefined,
      ended: (facts) => void seen.push(facts),
    });
    tap.begin(200, EVENTS);
    await tap.take(Buffer.from(stream + DONE));
    expect(seen).toHaveLength(1);
    expect(String(await tap.take(Buffer.from('data: half')))).toBe('data: half');
    expect(String(await tap.end())).toBe('');
    tap.cut();
    expect(seen).toHaveLength(1);
  });
  test('that is cut before its provider has said what was written is not the one token with which it began', async () => {
    const message = { model: 'claude', usage: { input_tokens: 5, output_tokens: 1 } };
    const start = event({ type: 'message_start', message });
    const words = event({ type: 'content_block_delta', delta: { type: 'text_delta', text: 'all that there is' } });
    const [left, told] = [
      start + words,
      start + words + event({ type: 'message_delta', usage: { output_tokens: 31 } }),
    ];
    const usageOf = async (body: string) =>
      (await meter([Buffer.from(body)], { form: 'anthropic' }, 'cut')).facts.usage;
    expect(await usageOf(left)).toBeUndefined();
    expect(await usageOf(told)).toEqual({ input: 5, output: 31 });
  });

  test('that is cut says so, with what was read until then', async () => {
    const { facts, ended } = await meter([Buffer.from(stream), Buffer.from('data: [DO')], {}, 'cut');
    expect(ended).toBe(1);
    expect(facts).toMatchObject({ isCut: true, usage: READ, status: 200 });
  });
  test('before the head has no status', () => {
    const seen: AnswerFacts[] = [];
    createMeter({
      form: 'openai',
      hidesUsage: false,
      identified: () => undefined,
      ended: (facts) => void seen.push(facts),
    }).cut();
    expect(seen).toMatchObject([{ status: undefined, usage: undefined, isCut: true, bytesOut: 0 }]);
  });
});

describe('the event with usage alone', () => {
  const before = word('Hi', { usage: null }) + stop({ usage: null });
  test.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('is left out where only the door has asked for it, with %s, split anywhere', async (_name, end) => {
    const lines = (text: string) => text.replaceAll('\n', end);
    const bytes = Buffer.from(lines(before + usageAlone(USAGE) + DONE));
    const splits = [[bytes], singleBytes(bytes), ...Array.from(bytes.subarray(1), (_, at) => split(bytes, [at + 1]))];
    for (const chunks of splits) {
      const { out, facts } = await meter(chunks, { hidesUsage: true });
      expect(out).toBe(lines(before + DONE));
      expect(known(facts.usage)).toEqual(READ);
    }
  });
  test('is left out at the end of a stream, too', async () => {
    expect((await meter([Buffer.from(before + usageAlone(USAGE).trimEnd())], { hidesUsage: true })).out).toBe(before);
  });
  test('is no event with a choice, none without usage, and none where the caller has asked', async () => {
    const filtered = event({ choices: [], prompt_filter_results: [] });
    const body = filtered + word('Hi') + stop({ usage: USAGE }) + DONE;
    expect((await meter([Buffer.from(body)], { hidesUsage: true })).out).toBe(body);
    const asked = before + usageAlone(USAGE) + DONE;
    expect((await meter([Buffer.from(asked)], { hidesUsage: false })).out).toBe(asked);
  });
});

describe('the generation id', () => {
  test('is that of the head, before a byte of the body', () => {
    const ids: string[] = [];
    createMeter({
      form: 'openai',
      hidesUsage: false,
      identified: (id) => void ids.push(id),
      ended: () => undefined,
    }).begin(200, { ...EVENTS, 'x-generation-id': 'gen-head' });
    expect(ids).toEqual(['gen-head']);
  });
  test('of the head counts before that of the body, and comes once', async () => {
    const { ids, facts } = await meter([Buffer.from(event({ id: 'gen-body', model: 'm' }) + DONE)], {
      headers: { ...EVENTS, 'x-generation-id': 'gen-head' },
    });
    expect(ids).toEqual(['gen-head']);
    expect(facts.generationId).toBe('gen-head');
  });
  test.each([
    [
      'the first event',
      event({ id: 'gen-1', model: 'm' }) + event({ id: 'gen-1', model: 'm', choices: [], usage: {} }) + DONE,
      EVENTS,
    ],
    ['the body', '{"id":"gen-1","usage":{}}', JSON_BODY],
  ])('is the id of %s where OpenRouter has given it', async (_name, body, headers) => {
    expect(await meter([Buffer.from(body)], { headers })).toMatchObject({
      ids: ['gen-1'],
      facts: { generationId: 'gen-1' },
    });
  });
  test('is no id of another provider', async () => {
    expect(await meter([Buffer.from(word('Hi') + DONE)])).toMatchObject({
      ids: [],
      facts: { generationId: undefined },
    });
  });
});

describe('what is not read', () => {
  const body = stop({ usage: USAGE }) + DONE;
  test.each<[string, Parameters<typeof meter>[1] & object]>([
    ['an error', { status: 429 }],
    ['audio', { headers: { 'content-type': 'audio/mpeg' } }],
    ['a body with a coding', { headers: { ...EVENTS, 'content-encoding': 'gzip' } }],
    ['what has no type', { headers: {} }],
  ])('%s passes, and its bytes are counted', async (_name, options) => {
    const { out, facts, beforeKept } = await meter([Buffer.from(body)], options);
    expect(out).toBe(body);
    expect(beforeKept).toBe(body);
    expect(facts).toMatchObject({
      usage: undefined,
      status: options.status ?? 200,
      bytesOut: body.length,
      isCut: false,
    });
  });
  test('an event of more than a megabyte passes before it has ended, and the next is read', async () => {
    const long = Buffer.from(word('x'.repeat(3_000_000), { usage: { prompt_tokens: 1 } }));
    const tap = createMeter({ form: 'openai', hidesUsage: false, identified: () => undefined, ended: () => undefined });
    tap.begin(200, EVENTS);
    const [first, second, third] = split(long, [1_000_000, 2_000_000]);
    expect((await tap.take(first!)).length).toBe(0);
    expect((await tap.take(second!)).length).toBe(2_000_000);
    expect((await tap.take(third!)).length).toBe(third!.length);
    const { out, facts } = await meter([first!, second!, third!, Buffer.from(body)]);
    expect(out).toBe(String(long) + body);
    expect(known(facts.usage)).toEqual(READ);
  });
});

test('chunks of whole events that tell nothing pass as they are', async () => {
  const tap = createMeter({
    form: 'openai',
    hidesUsage: true,
    identified: () => undefined,
    ended: () => turn(undefined),
  });
  tap.begin(200, EVENTS);
  await tap.take(Buffer.from(word('Hi')));
  const chunk = Buffer.from(word('a', { usage: null }) + word('b'));
  expect(tap.take(chunk)).toBe(chunk);
});
