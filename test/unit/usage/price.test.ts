import { describe, expect, test } from 'vitest';
import { type Price, costOf, isPlausible, shifted } from '../../../src/usage/price.ts';
import type { Usage } from '../../../src/usage/usage.ts';

/** 0.15 USD a million tokens of input, 0.60 of output. */
const MINI: Price = { input: 1.5e-7, output: 6e-7, free: false };
const CACHING: Price = { input: 3e-6, cached: 3e-7, cacheWrite: 3.75e-6, output: 1.5e-5, free: false };

describe('the cost of a call', () => {
  test.each<[what: string, price: Price, usage: Usage, nano: number | undefined]>([
    ['input and output', MINI, { input: 1_000, output: 500 }, 450_000],
    ['rounded half up, once', { input: 5e-10, output: 5e-10, free: false }, { input: 1, output: 0 }, 1],
    ['two halves that make a whole', { input: 5e-10, output: 5e-10, free: false }, { input: 1, output: 1 }, 1],
    ['less than half', { input: 4e-10, free: false }, { input: 1 }, 0],
    ['cached input at its own price', CACHING, { input: 1_000, inputCached: 900, output: 0 }, 570_000],
    ['cached input without a price of its own as other input', MINI, { input: 1_000, inputCached: 900 }, 150_000],
    ['cache writes at their own price', CACHING, { input: 1_000, inputCacheWrite: 1_000 }, 3_750_000],
    ['cache writes without a price of their own as other input', MINI, { input: 10, inputCacheWrite: 10 }, 1_500],
    [
      'all parts',
      CACHING,
      { input: 100, inputCached: 50, inputCacheWrite: 20, output: 10 },
      90_000 + 15_000 + 75_000 + 150_000,
    ],
    ['reasoning as the part of the output that it is', MINI, { input: 0, output: 10, outputReasoning: 9 }, 6_000],
    ['a price of zero for a part', { input: 0, output: 6e-7, free: false }, { input: 9, output: 1 }, 600],
    ['a request', { request: 0.01, free: false }, { input: 1_000, output: 9 }, 10_000_000],
    ['a request and tokens', { ...MINI, request: 0.01 }, { input: 1_000, output: 0 }, 10_150_000],
    ['a request whose usage is not known', { ...MINI, request: 0.01 }, {}, 10_000_000],
    ['explicit zeros', MINI, { input: 0, output: 0 }, 0],
    ['what is free, with usage', { free: true }, { input: 1_000, output: 9 }, 0],
    ['what is free, without usage', { free: true }, {}, 0],
    ['unknown usage', MINI, {}, undefined],
    ['pictures, which have no price', MINI, { units: 2, unit: 'pictures' }, undefined],
    ['output without a price', { input: 1e-7, free: false }, { input: 10, output: 1 }, undefined],
    [
      'output without a price, beside a price of the request',
      { input: 1e-7, request: 0.01, free: false },
      { input: 10, output: 1 },
      undefined,
    ],
    ['no output where only input has a price', { input: 1e-7, free: false }, { input: 10, output: 0 }, 1_000],
    ['more cached than input', CACHING, { input: 10, inputCached: 20 }, 6_000],
    ['a billion tokens', { input: 0.01, free: false }, { input: 1_000_000_000 }, 1e16],
  ])('of %s', (_, price, usage, nano) => {
    expect(costOf(price, usage)).toBe(nano);
  });

  test('has no error of floating point: 0.1 and 0.2 USD a million are 0.3', () => {
    const cost = costOf({ input: 1e-7, output: 2e-7, free: false }, { input: 5_000_000, output: 5_000_000 });
    expect(cost).toBe(1_500_000_000);
    expect(costOf({ input: 0.15 / 1e6, free: false }, { input: 10_000_000_000 })).toBe(1_500_000_000_000);
  });
});

test('a decimal point moves without an error', () => {
  expect([shifted(0.15, -6), shifted(1.5e-7, 6), shifted(0, -6), shifted(0.07, -3), shifted(12, -6)]).toEqual([
    1.5e-7, 0.15, 0, 7e-5, 1.2e-5,
  ]);
});

test('a price by the token is plausible between those by the million and by nothing', () => {
  expect([0, 1.5e-7, 6e-4, 0.01, 5e-9].filter((usd) => !isPlausible(usd))).toEqual([]);
  expect([0.15, 0.011, 1.5e-13, -1, Number.NaN, Infinity].filter(isPlausible)).toEqual([]);
});
