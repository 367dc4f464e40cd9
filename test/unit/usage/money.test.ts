import { describe, expect, test } from 'vitest';
import { type Decimal, asAmount, inCents, inUsd, parseDecimal } from '../../../src/usage/money.ts';

const decimal = (text: string): Decimal => parseDecimal(text) ?? expect.fail(`${text} is no decimal`);

describe('a factor', () => {
  test.each(['1', '1.3', '4.0215', '0.00000001', '999999.99999999', '007'])('%s is one', (text) => {
    expect(decimal(text)).toMatchObject({ text, digits: BigInt(text.replace('.', '')) });
  });

  test.each(['', '-1', '0', '0.00', '1,3', '1e3', '.5', '1.', '1.123456789', '1000000', ' 1', 'NaN', 'Infinity'])(
    '"%s" is none',
    (text) => {
      expect(parseDecimal(text)).toBeUndefined();
    },
  );

  test('is the same after a column of SQLite has kept it as a float', () => {
    for (const text of ['1.3', '4.0215', '0.00000001', '999999.99999999']) {
      expect(decimal(String(Number(text)).replace('1e-8', '0.00000001'))).toMatchObject({
        digits: decimal(text).digits,
      });
    }
  });
});

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

describe('an amount', () => {
  test.each([
    [5_000_000n, '0.01'],
    [4_999_999n, '0.00'],
    [-5_000_000n, '-0.01'],
    [-4_999_999n, '0.00'],
    [1_004_999_999n, '1.00'],
    [1_005_000_000n, '1.01'],
  ])('of %s nano is %s: half of a cent goes away from zero', (nano, amount) => {
    expect(asAmount(inCents(nano, []))).toBe(amount);
  });

  test('is rounded once, after both factors', () => {
    // 0.0038 × 1.3 is 0.00494, which would be no cent before the rate
    expect(asAmount(inCents(3_800_000n, [decimal('1.3'), decimal('4.0215')]))).toBe('0.02');
    // what a float makes of 1.005 × 100 is 100.49999999999999
    expect(asAmount(inCents(1_000_000_000n, [decimal('1.005')]))).toBe('1.01');
  });

  test('of more money than a float can count is exact', () => {
    expect(asAmount(inCents(9_007_199_254_740_993_000n, [decimal('1.3')]))).toBe('11709359031.16');
  });
});
