/** What many measurements come to, as the deployment guide's Python counts it. */

export interface Distribution {
  readonly min: number;
  readonly median: number;
  readonly avg: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** @param values at least two @throws RangeError for fewer */
export function distributionOf(values: readonly number[]): Distribution {
  const sorted = Float64Array.from(values).sort();
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined || sorted.length < 2) throw new RangeError('at least two values');
  return {
    min,
    median: quantile(sorted, 1, 2),
    avg: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p95: quantile(sorted, 19, 20),
    p99: quantile(sorted, 99, 100),
    max,
  };
}

/**
 * Cut point `part` of `parts`, by the exclusive method: the values are taken for a sample of something larger, so that a
 * high percentile of few values lies above all of them.
 * Source: `statistics.quantiles` of Python 3.8 and later.
 */
function quantile(sorted: Float64Array, part: number, parts: number): number {
  const scaled = part * (sorted.length + 1);
  const place = Math.min(Math.max(Math.floor(scaled / parts), 1), sorted.length - 1);
  const rest = scaled - place * parts;
  // `place` is within 1 and length - 1
  const [below = 0, above = 0] = [sorted[place - 1], sorted[place]];
  return (below * (parts - rest) + above * rest) / parts;
}
