import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Pace } from '../../../src/transport/pace.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

function tooSlowAfter(bytesPerSecond: number, seconds: number): boolean {
  const pace = new Pace();
  for (let second = 0; second < seconds; second += 1) {
    vi.advanceTimersByTime(1_000);
    if (pace.isTooSlow(bytesPerSecond)) return true;
  }
  return false;
}

test('a body that drips is too slow after twenty seconds and some', () => {
  expect(tooSlowAfter(10, 20)).toBe(false);
  expect(tooSlowAfter(10, 25)).toBe(true);
});

test('a slow line is not', () => {
  expect(tooSlowAfter(600, 3_600)).toBe(false);
});

test('time in which nobody read does not count', () => {
  const pace = new Pace();
  vi.advanceTimersByTime(60_000);
  pace.restart();
  expect(pace.isTooSlow(1)).toBe(false);
});
