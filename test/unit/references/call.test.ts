import { describe, expect, test } from 'vitest';
import { type CallFacts, readCallFacts } from '../../../src/references/call.ts';

const factsOf = (value: unknown, endpoint = 'chat/completions'): CallFacts =>
  readCallFacts(Buffer.from(JSON.stringify(value)), value, endpoint);

describe('a stream', () => {
  test.each([
    [true, true],
    [false, false],
    [undefined, false],
    [null, false],
    [1, true],
    ['true', true],
  ])('is what is not plainly no: %j', (stream, expected) => {
    for (const endpoint of ['chat/completions', 'responses', 'messages'])
      expect(factsOf({ stream }, endpoint).isStreamed).toBe(expected);
  });

  test.each([
    [true, true],
    [false, false],
    [undefined, true],
    [null, true],
  ])('is what Ollama gives unless it is told not to: %j', (stream, expected) => {
    for (const endpoint of ['api/chat', 'api/generate'])
      expect(factsOf({ stream }, endpoint).isStreamed).toBe(expected);
  });

  test('is none of embeddings of Ollama', () => {
    expect(factsOf({}, 'api/embed').isStreamed).toBe(false);
  });
});

test.each([
  [{}, false],
  [{ stream_options: null }, false],
  [{ stream_options: {} }, false],
  [{ stream_options: { include_usage: null } }, false],
  [{ stream_options: { include_usage: false } }, false],
  [{ stream_options: { include_usage: true } }, true],
  [{ stream_options: { include_usage: 1 } }, undefined],
  [{ stream_options: { include_usage: 'true' } }, undefined],
  [{ stream_options: [] }, undefined],
  [{ stream_options: 'usage' }, undefined],
  [{ include_usage: true }, false],
])('usage is asked for: %j', (call, expected) => {
  expect(factsOf(call).asksForUsage).toBe(expected);
});

describe('the limit of the output', () => {
  test.each([
    ['chat/completions', { max_tokens: 7 }, 7],
    ['chat/completions', { max_tokens: 7, max_completion_tokens: 9 }, 9],
    ['chat/completions', { max_tokens: 9, max_completion_tokens: 7 }, 9],
    ['chat/completions', { max_output_tokens: 7 }, undefined],
    ['completions', { max_tokens: 7 }, 7],
    ['responses', { max_output_tokens: 7, max_tokens: 9 }, 7],
    ['messages', { max_tokens: 7 }, 7],
    ['api/chat', { options: { num_predict: 7 }, max_tokens: 9 }, 7],
    ['api/generate', { options: { num_predict: -1 } }, undefined],
    ['api/chat', { options: 7 }, undefined],
    ['embeddings', { max_tokens: 7 }, undefined],
  ])('is what %s knows: %j', (endpoint, call, expected) => {
    expect(factsOf(call, endpoint).outputLimit).toBe(expected);
  });

  test.each([0, -1, 1.5, '7', true, 1e300, 2e9])('is none where one is no positive integer: %j', (limit) => {
    expect(factsOf({ max_tokens: limit }).outputLimit).toBeUndefined();
    expect(factsOf({ max_tokens: 7, max_completion_tokens: limit }).outputLimit).toBeUndefined();
    expect(factsOf({ max_tokens: 7, n_predict: limit }).outputLimit).toBeUndefined();
  });

  test.each([
    [{ extra_body: { max_tokens: 900 } }, 900],
    [{ litellm_params: { extra_body: [{ max_output_tokens: 900 }] } }, 900],
    [{ fallbacks: [{ model: 'A', max_completion_tokens: 900 }] }, 900],
    [{ extra_body: { Max_Tokens: 900 } }, 900],
    [{ extra_body: Array(200_000).fill({ n_predict: 900 }) }, 900],
    [{ extra_body: { max_tokens: '900' } }, undefined],
    [{ additional_drop_params: ['max_tokens'] }, undefined],
    [{ extra_body: { drop_params: true } }, undefined],
    [{ reasoning: { max_tokens: 5 }, extra_body: { max_tokens: null } }, 7],
    [{ guided_json: { properties: { n: {} } }, extra_body: { guided_json: { n: {} } }, format: { n: {} } }, 7],
    [{ messages: [{ max_tokens: 900 }], response_format: { schema: { n: {}, max_tokens: {} } } }, 7],
  ])('is what routers put in its place (%#)', (beneath, expected) => {
    expect(factsOf({ max_tokens: 7, ...beneath })).toMatchObject({ outputLimit: expected, n: 1 });
  });

  test('is the other one where one is null', () => {
    expect(factsOf({ max_tokens: 7, max_completion_tokens: null }).outputLimit).toBe(7);
  });
});

test('choices are counted with those that the best were chosen from', () => {
  expect(factsOf({}).n).toBe(1);
  expect(factsOf({ n: null }).n).toBe(1);
  for (const n of ['5', 0, -1, 2.5, true, [5]]) expect(factsOf({ n }).n).toBeUndefined();
  expect(factsOf({ n: 2 }).n).toBe(2);
  expect(factsOf({ n: 2, best_of: 5 }, 'completions').n).toBe(5);
  expect(factsOf({ n: 3 }, 'images/generations').n).toBe(3);
  expect(factsOf({ n: 1, n_cmpl: 4 }).n).toBe(4);
  expect(factsOf({ n: 1, extra_body: { n: 4 } }).n).toBe(4);
});

test.each([
  ['completions', { prompt: 'one' }, 2],
  ['completions', { prompt: ['one', 'two', 'three'] }, 6],
  ['completions', { prompt: [[1, 2], [3]] }, 4],
  ['completions', { prompt: [1, 2, 3] }, 2],
  ['completions', { prompt: [] }, 2],
  ['chat/completions', { prompt: ['one', 'two'] }, 2],
  ['rerank', { query: 'x', documents: ['one', { text: 'two' }, 'three'] }, 6],
  ['rerank', { query: 'x', texts: ['one', 'two'] }, 4],
  ['completions', { prompt: 'one', extra_body: { prompt: ['one', 'two', 'three'] } }, 6],
])('%s answers each of its inputs: %j', (endpoint, call, expected) => {
  expect(factsOf({ n: 2, ...call }, endpoint).n).toBe(expected);
});

test.each([
  [{ messages: [{ role: 'user', content: 'an image_url' }] }, 'body'],
  [{ tools: [{ type: 'function', function: { parameters: { type: 'file' } } }, { name: 'of Anthropic' }] }, 'body'],
  [{ plugins: null, previous_response_id: null }, 'body'],
  [{ messages: [{ content: [{ type: 'image_url', image_url: { url: 'https://a/b' } }] }] }, 'context'],
  [{ messages: [{ content: [{ type: 'tool_result', content: [{ type: 'document' }] }] }] }, 'context'],
  [{ messages: [{ content: 'x', images: ['YQ=='] }] }, 'context'],
  [{ prompt: 'x', images: ['YQ=='] }, 'context'],
  [{ input: [{ content: [{ type: 'input_file', file_id: 'f' }] }] }, 'context'],
  [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'context'],
  [{ messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }, 'context'],
  [{ input: 'x', previous_response_id: 'resp_1' }, 'context'],
  [{ input: 'x', conversation: 'conv_1' }, 'context'],
  [{ input: 'x', tools: [{ type: 'function' }, { type: 'web_search' }] }, 'unbounded'],
  [{ messages: [], plugins: [{ id: 'web' }] }, 'unbounded'],
  [{ messages: [], web_search_options: {} }, 'unbounded'],
  [{ messages: [], extra_body: { plugins: [{ id: 'web' }] } }, 'unbounded'],
  [{ messages: [], extra_body: { messages: [{ content: [{ type: 'image_url' }] }] } }, 'context'],
  [{ messages: [], metadata: { conversation: 'x', container: 'y' } }, 'body'],
])('what the model reads is bounded: %j by %s', (call, expected) => {
  expect(factsOf(call).reads).toBe(expected);
});

test.each([
  { MAX_TOKENS: 9 },
  { max_tokens: 1, Max_Tokens: 9 },
  { N: 9 },
  { ſtream: true },
  { Stream_Options: {} },
  { stream_options: { include_usage: true, Include_Usage: false } },
  { Options: { num_predict: 9 } },
])('a member in other letters is refused, which servers in Go take too: %j', (call) => {
  expect(() => factsOf(call)).toThrow(/in other letters/);
  expect(() => factsOf({ options: { N: 1 }, messages: [{ Stream: 1 }] })).not.toThrow();
});

test('characters are counted where a text is spoken', () => {
  expect(factsOf({ input: 'aé😀' }, 'audio/speech').characters).toBe(3);
  expect(factsOf({ input: ['a'] }, 'audio/speech').characters).toBeUndefined();
  expect(factsOf({ input: 'a' }, 'embeddings').characters).toBeUndefined();
});

test('the members that the door may set are found where they are there', () => {
  const members = (call: unknown) => Object.keys(factsOf(call).place?.inside?.members ?? {});
  expect(members({ model: 'A', messages: [{ user: 'x' }] })).toEqual([]);
  expect(members({ model: 'A', user: 'x', metadata: null })).toEqual(['user', 'metadata']);
  expect(factsOf([]).place).toBeUndefined();
});
