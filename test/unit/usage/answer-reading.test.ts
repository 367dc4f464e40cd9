import { describe, expect, test } from 'vitest';
import { joinCounts, readGeneration, readPart, toUsage } from '../../../src/usage/answer-reading.ts';

const known = (usage: object | undefined) =>
  usage && Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== undefined));
const openAi = (counts: object) => known(toUsage('openai', { ...counts }));

describe('cost', () => {
  test.each([
    ['0', 0],
    ['0.00000123', 1230],
    ['1e-7', 100],
    ['1.5E-6', 1500],
    ['0.000014255', 14255],
    ['1.1', 1_100_000_000],
    ['1.005', 1_005_000_000],
    ['123456.789012345', 123_456_789_012_345],
    ['0.0000000014', 1],
    ['0.0000000015', 2],
    ['1.0000000005', 1_000_000_001],
    ['4e-10', 0],
  ])('of %s dollars is %d nano-USD', (text, nano) => {
    expect(openAi({ cost: JSON.parse(text) as unknown })).toEqual({ costNano: nano });
  });
  test('with a key of one’s own is the fee, and what the model has cost', () => {
    const details = { cost: 0.95, cost_details: { upstream_inference_cost: 19 } };
    expect(openAi({ ...details, is_byok: true })).toEqual({ costNano: 19_950_000_000 });
    expect(openAi({ ...details, is_byok: false })).toEqual({ costNano: 950_000_000 });
    expect(openAi({ cost: 0.5, is_byok: true, cost_details: null })).toEqual({ costNano: 500_000_000 });
  });
});

describe('counts', () => {
  test.each([
    [-1],
    [NaN],
    [Infinity],
    [1e300],
    [4_294_967_295],
    [Number.MAX_SAFE_INTEGER],
    ['7'],
    [null],
    [true],
    [[7]],
    [{}],
  ])('that are %j are not known', (value) => {
    expect(toUsage('openai', { prompt_tokens: value, cost: value })).toBeUndefined();
    expect(toUsage('anthropic', { input_tokens: value })).toBeUndefined();
    expect(toUsage('ollama', { eval_count: value })).toBeUndefined();
  });
  test('of a later event replace earlier ones, and what is none replaces nothing', () => {
    const earlier = joinCounts(undefined, {
      prompt_tokens: 3,
      completion_tokens: 1,
      prompt_tokens_details: { cached_tokens: 2 },
    });
    const joined = joinCounts(earlier, { prompt_tokens: null, completion_tokens: 5, prompt_tokens_details: null });
    expect(known(toUsage('openai', joined))).toEqual({ input: 3, inputCached: 2, output: 5 });
  });
  test('of xAI keep reasoning beside the completion, others inside of it', () => {
    const counts = { prompt_tokens: 37, completion_tokens: 530, completion_tokens_details: { reasoning_tokens: 233 } };
    expect(openAi({ ...counts, total_tokens: 800 })).toEqual({ input: 37, output: 763, outputReasoning: 233 });
    expect(openAi({ ...counts, total_tokens: 567 })).toEqual({ input: 37, output: 530, outputReasoning: 233 });
    expect(openAi(counts)).toEqual({ input: 37, output: 530, outputReasoning: 233 });
  });
  test('of a cache that is written are part of the input', () => {
    const details = { cached_tokens: 0, cache_write_tokens: 100 };
    expect(openAi({ prompt_tokens: 194, prompt_tokens_details: details })).toEqual({
      input: 194,
      inputCached: 0,
      inputCacheWrite: 100,
    });
  });
});

test.each([[null], ['text'], [7], [[]], [{}], [{ usage: 'much', response: null, message: 'hi' }]])(
  '%j tells nothing',
  (value) => {
    for (const form of ['openai', 'anthropic'] as const) {
      const nothing = {
        counts: undefined,
        model: undefined,
        id: undefined,
        isStart: false,
        isLast: false,
        isUsageAlone: false,
      };
      expect(readPart(form, value)).toEqual(nothing);
    }
    expect(toUsage('ollama', readPart('ollama', value).counts)).toBeUndefined();
  },
);

describe('the answer to a generation id', () => {
  const data = {
    id: 'gen-1',
    total_cost: 0.0015,
    tokens_prompt: 10,
    tokens_completion: 25,
    native_tokens_prompt: 11,
    native_tokens_completion: 26,
    native_tokens_reasoning: 5,
    native_tokens_cached: 0,
    cancelled: true,
    is_byok: false,
    upstream_inference_cost: 0.0012,
  };
  const READ = { input: 11, inputCached: 0, output: 26, outputReasoning: 5, costNano: 1_500_000 };

  test('has the model’s own tokens, and the cost', () => {
    expect(readGeneration({ data }, 'gen-1')).toEqual(READ);
  });
  test('has other tokens where those are not known', () => {
    expect(
      known(
        readGeneration({ data: { tokens_prompt: 10, tokens_completion: 25, native_tokens_prompt: null } }, 'gen-1'),
      ),
    ).toEqual({ input: 10, output: 25 });
  });
  test('with a key of one’s own has what the model has cost, too', () => {
    expect(readGeneration({ data: { ...data, is_byok: true } }, 'gen-1')).toEqual({ ...READ, costNano: 2_700_000 });
  });
  test.each([
    [undefined],
    [{ error: { code: 404 } }],
    [{ data: null }],
    [{ data: { id: 'gen-1', total_cost: null } }],
    [{ data: { ...data, id: 'gen-2' } }],
  ])('is none in %j', (answer) => {
    expect(readGeneration(answer, 'gen-1')).toBeUndefined();
  });
});
