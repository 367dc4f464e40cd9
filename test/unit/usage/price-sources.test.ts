import { describe, expect, test } from 'vitest';
import { modelsInFile, pricesInList } from '../../../src/usage/price-sources.ts';

describe("a provider's list", () => {
  /** As OpenRouter's `GET /api/v1/models` has it, without descriptions. */
  const listed = (id: string, pricing: object, more: object = {}) => ({ id, name: id, pricing, ...more });

  test('has prices as texts in USD a token, and limits', () => {
    const pricing = {
      ...{ prompt: '0.000003', completion: '0.000015', request: '0', image: '0.0048', web_search: '0' },
      ...{ internal_reasoning: '0', input_cache_read: '0.0000003', input_cache_write: '0.00000375' },
    };
    const more = { context_length: 200_000, top_provider: { context_length: 200_000, max_completion_tokens: 64_000 } };
    expect(pricesInList({ data: [listed('anthropic/claude-sonnet-4', pricing, more)] })).toEqual([
      {
        model: 'anthropic/claude-sonnet-4',
        price: { input: 3e-6, output: 1.5e-5, cached: 3e-7, cacheWrite: 3.75e-6, free: false },
        context: 200_000,
        maxOutput: 64_000,
      },
    ]);
  });

  test.each<[what: string, pricing: object, price: object | undefined]>([
    [
      'is free where everything costs nothing',
      { prompt: '0', completion: '0', request: '0', image: '0' },
      { free: true },
    ],
    ['has no price where it varies', { prompt: '-1', completion: '-1' }, undefined],
    ['has no price where a part of it varies', { prompt: '0.000001', completion: '-1' }, undefined],
    ['is not free where pictures cost', { prompt: '0', completion: '0', image: '0.04' }, undefined],
    ['has no price in numbers, which may be by the million', { prompt: 0.15, completion: 0.6 }, undefined],
    ['has no price by the million', { prompt: '0.15', completion: '0.6' }, undefined],
    ['has no price that is no number', { prompt: 'free', completion: '0.000001' }, undefined],
    ['has no price in an empty text', { prompt: '', completion: '' }, undefined],
    ['has no price of cached input alone', { input_cache_read: '0.000001' }, undefined],
    [
      'has the price of a request',
      { prompt: '0', completion: '0', request: '0.01' },
      { input: 0, output: 0, request: 0.01, free: false },
    ],
  ])('%s', (_, pricing, price) => {
    expect(pricesInList({ data: [listed('m', pricing, { context_length: 10 })] })).toEqual([
      { model: 'm', price, context: 10, maxOutput: undefined },
    ]);
  });

  test.each<[what: string, body: unknown]>([
    ['no document', undefined],
    ['a list', []],
    ['an error', { error: { message: 'no' } }],
    [
      'models without prices',
      { data: [{ id: 'gpt-4o', object: 'model' }, { id: 1, pricing: { prompt: '1e-7' } }, null] },
    ],
    [
      'limits that are none',
      { data: [{ id: 'm', context_length: '8k', top_provider: { max_completion_tokens: null } }] },
    ],
  ])('of %s has nothing', (_, body) => {
    expect(pricesInList(body)).toEqual([]);
  });
});

describe('the file of LiteLLM', () => {
  const entry = { input_cost_per_token: 2.5e-6, output_cost_per_token: 1e-5, litellm_provider: 'openai', mode: 'chat' };

  test('names models behind the name of their provider', () => {
    const limits = { max_input_tokens: 128_000, max_output_tokens: 16_384, max_tokens: 16_384 };
    const file = {
      sample_spec: { ...entry, litellm_provider: 'one of https://docs.litellm.ai/docs/providers' },
      'gpt-4o': { ...entry, ...limits, cache_read_input_token_cost: 1.25e-6 },
      'openrouter/openai/gpt-4o': { ...entry, litellm_provider: 'openrouter' },
      'azure/gpt-4o': { ...entry, litellm_provider: 'azure' },
      'fireworks_ai/nomic-ai/nomic': { ...entry, litellm_provider: 'fireworks_ai-embedding-models' },
      'low/gpt-4o': entry,
    };
    const price = { input: 2.5e-6, output: 1e-5, free: false };
    const found = modelsInFile(file);
    expect(found?.format).toBe('litellm');
    expect(found?.models).toEqual([
      {
        provider: 'openai',
        model: 'gpt-4o',
        price: { ...price, cached: 1.25e-6 },
        context: 128_000,
        maxOutput: 16_384,
      },
      { provider: 'openrouter', model: 'openai/gpt-4o', price },
      { provider: 'azure', model: 'gpt-4o', price },
      { provider: 'fireworks_ai', model: 'nomic-ai/nomic', price },
      { provider: 'openai', model: 'low/gpt-4o', price },
    ]);
  });

  test.each<[skipped: string, changed: object]>([
    ['unknown_provider', { litellm_provider: 'bedrock' }],
    ['other_unit', { mode: 'image_generation' }],
    ['no_price', { input_cost_per_token: undefined, output_cost_per_token: undefined, input_cost_per_second: 0.1 }],
    ['no_price', { input_cost_per_token: '0.1' }],
    ['no_price', { input_cost_per_token: -1 }],
    ['zero', { input_cost_per_token: 0, output_cost_per_token: 0, input_cost_per_query: 0.002 }],
    ['implausible', { input_cost_per_token: 2.5, output_cost_per_token: 10 }],
  ])('leaves out as %s %j', (skipped, changed) => {
    const models = modelsInFile({ m: { ...entry, ...changed } })?.models;
    expect(models).toMatchObject([{ model: 'm', skipped }]);
    expect(models?.[0]).not.toHaveProperty('price');
  });

  test('has input alone for embeddings', () => {
    const embedding = {
      input_cost_per_token: 2e-8,
      output_cost_per_token: 0,
      litellm_provider: 'openai',
      mode: 'embedding',
    };
    expect(modelsInFile({ 'text-embedding-3-small': embedding })?.models).toMatchObject([
      { price: { input: 2e-8, output: 0, free: false } },
    ]);
  });
});

describe('the file of models.dev', () => {
  const model = (cost: object, limit = { context: 128_000, output: 4_096 }) => ({ id: 'm', cost, limit });

  test('has prices by the million, below providers with their addresses', () => {
    const file = {
      openai: { id: 'openai', models: { 'gpt-4o-mini': model({ input: 0.15, output: 0.6, cache_read: 0.08 }) } },
      venice: { api: 'https://api.venice.ai/api/v1', models: { v: model({ input: 0.7, output: 2.8 }) } },
      groq: { api: 'https://api.groq.com/openai/v1', models: { g: model({ input: 1, output: 2 }) } },
      bedrock: { models: { b: model({ input: 1, output: 2 }) } },
      plan: { api: 'https://plan.example/v1', models: { p: model({ input: 0, output: 0 }), q: { limit: {} } } },
      template: { api: 'https://${HOST}/v1', models: { t: model({ input: 1, output: 2 }) } },
    };
    const found = modelsInFile(file);
    const limits = { context: 128_000, maxOutput: 4_096 };
    expect(found?.format).toBe('models.dev');
    expect(found?.models).toEqual([
      {
        provider: 'openai',
        model: 'gpt-4o-mini',
        price: { input: 1.5e-7, output: 6e-7, cached: 8e-8, free: false },
        ...limits,
      },
      { provider: 'api.venice.ai', model: 'v', price: { input: 7e-7, output: 2.8e-6, free: false }, ...limits },
      { provider: 'groq', model: 'g', price: { input: 1e-6, output: 2e-6, free: false }, ...limits },
      { provider: 'bedrock', model: 'b', skipped: 'unknown_provider', ...limits },
      { provider: 'plan.example', model: 'p', skipped: 'zero', ...limits },
      { provider: 'plan.example', model: 'q', skipped: 'no_price' },
      { provider: 'template', model: 't', skipped: 'unknown_provider', ...limits },
    ]);
  });
});

test.each([[[]], ['text'], [null], [{}], [{ data: [] }], [{ a: { b: 1 } }]])('%j is neither', (content) => {
  expect(modelsInFile(content)).toBeUndefined();
});
