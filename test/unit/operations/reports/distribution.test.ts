import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Distribution } from '../../../../src/operations/reports/distribution.ts';
import { distributionOf } from '../../../../src/operations/reports/distribution.ts';
import { askPython, hasPython } from '../../../support/python.ts';

describe('the distribution of measurements', () => {
  test('of the numbers from 1 to 99 is what one would count', () => {
    const values = Array.from({ length: 99 }, (_, index) => 99 - index);
    expect(distributionOf(values)).toEqual({ min: 1, median: 50, avg: 50, p95: 95, p99: 99, max: 99 });
  });

  test('of fewer than two is none', () => expect(() => distributionOf([1])).toThrow(RangeError));

  test.runIf(hasPython)("is Python's, as the guide's script counts it", () => {
    const few = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 2, maxLength: 400 });
    const samples = fc.sample(few, 200);
    const expected = askPython<Distribution>(
      './quantiles.py',
      samples.map((values) => ({ values })),
    );
    for (const [at, values] of samples.entries()) {
      const own = distributionOf(values);
      for (const figure of ['min', 'max', 'avg', 'median', 'p95', 'p99'] as const) {
        expect(own[figure]).toBeCloseTo(expected[at]![figure], 9);
      }
    }
  });
});
