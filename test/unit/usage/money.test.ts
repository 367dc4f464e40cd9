import { expect, test } from 'vitest';
import { inUsd } from '../../../src/usage/money.ts';

test.each([
  [0n, '0.00'],
  [1n, '0.000000001'],
  [10_000_000n, '0.01'],
  [123_456_789_000n, '123.456789'],
  [1_500_000_000n, '1.50'],
  [-400_000_000n, '-0.40'],
  [9_223_372_036_854_775_807n, '9223372036.854775807'],
])('%s nano are %s USD', (nano, usd) => {
  expect(inUsd(nano)).toBe(usd);
});
