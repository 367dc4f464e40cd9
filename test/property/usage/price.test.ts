/** The cost of a call against arithmetic on the decimal digits of its prices, as a person with paper would do it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { costOf } from '../../../src/usage/price.ts';

const RUNS = { numRuns: 2_000 };

/** A price in 1e-15 USD a token: what a person can type, up to 0.01 USD. */
const price = fc.bigInt({ min: 0n, max: 10n ** 13n });
const count = fc.nat({ max: 2_000_000 });

const toDouble = (amount: bigint): number => Number(`${amount}e-15`);
/** From 1e-15 USD to nano-USD, half up. */
const toNano = (amount: bigint): number => Number((amount + 500_000n) / 1_000_000n);

test('the cost is that of exact arithmetic', () => {
  fc.assert(
    fc.property(price, price, price, price, count, count, count, count, (input, cached, write, output, a, b, c, d) => {
      const sum = input * BigInt(a) + cached * BigInt(b) + write * BigInt(c) + output * BigInt(d);
      const prices = { input: toDouble(input), cached: toDouble(cached), cacheWrite: toDouble(write) };
      const usage = { input: a + b + c, inputCached: b, inputCacheWrite: c, output: d };
      expect(costOf({ ...prices, output: toDouble(output), free: false }, usage)).toBe(toNano(sum));
    }),
    RUNS,
  );
});

test('a price by the million costs the same, however it was divided', () => {
  fc.assert(
    fc.property(fc.nat({ max: 1_000_000 }), count, (microUsd, tokens) => {
      const [typed, divided] = [Number(`${microUsd}e-12`), microUsd / 1e6 / 1e6];
      const usage = { input: tokens };
      expect(costOf({ input: divided, free: false }, usage)).toBe(costOf({ input: typed, free: false }, usage));
    }),
    RUNS,
  );
});

test('more of anything never costs less', () => {
  fc.assert(
    fc.property(price, price, count, count, fc.nat({ max: 1_000 }), (input, output, a, b, more) => {
      const each = { input: toDouble(input), output: toDouble(output), free: false };
      const cost = costOf(each, { input: a, output: b }) ?? Number.NaN;
      expect(costOf(each, { input: a + more, output: b + more })).toBeGreaterThanOrEqual(cost);
    }),
    RUNS,
  );
});
