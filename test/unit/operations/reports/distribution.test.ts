import { describe, expect, test } from 'vitest';
import { distributionOf } from '../../../../src/diagnosis/query-bench.ts';

describe('the distribution of measurements', () => {
  test('of the numbers from 1 to 99 is what one would count', () => {
    const values = Array.from({ length: 99 }, (_, index) => 99 - index);
    expect(distributionOf(values)).toEqual({ min: 1, median: 50, avg: 50, p95: 95, p99: 99, max: 99 });
  });

  test('of fewer than two is none', () => expect(() => distributionOf([1])).toThrow(RangeError));
});
