/** Every call belongs to one period, and the sums by quarter of an hour are enough for all of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { periodOf } from '../../../src/policy/period.ts';
import { SLOT_MS } from '../../../src/usage/schema.ts';

const zones = fc.constantFrom(...Intl.supportedValuesOf('timeZone'), 'Asia/Kathmandu', 'Etc/GMT+12');
const periods = fc.constantFrom('day' as const, 'week' as const, 'month' as const);
const moments = fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2050, 0) });

test('periods follow each other without gap or overlap, and each begins on a quarter of an hour', () => {
  fc.assert(
    fc.property(zones, periods, moments, (zone, period, at) => {
      const found = periodOf(period, zone, at);
      const { from, to } = found;
      expect(from <= at && at < to).toBe(true);
      for (const within of [from, to - 1]) expect(periodOf(period, zone, within)).toEqual(found);
      expect(periodOf(period, zone, to).from).toBe(to);
      expect(periodOf(period, zone, from - 1).to).toBe(from);
      expect([from % SLOT_MS, to % SLOT_MS]).toEqual([0, 0]);
    }),
    { numRuns: 3_000 },
  );
});

test('all months of a year are as long as the year', () => {
  fc.assert(
    fc.property(zones, fc.integer({ min: 2000, max: 2049 }), (zone, year) => {
      const { from } = periodOf('month', zone, Date.UTC(year, 0, 15));
      let at = from;
      for (let month = 0; month < 12; month++) ({ to: at } = periodOf('month', zone, at));
      expect(at).toBe(periodOf('month', zone, Date.UTC(year + 1, 0, 15)).from);
      expect([365, 366].map((days) => days * 86_400_000 - (at - from)).some((ms) => Math.abs(ms) <= 86_400_000)).toBe(
        true,
      );
    }),
    { numRuns: 200 },
  );
});
