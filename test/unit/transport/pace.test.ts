import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Pace } from '../../../src/transport/pace.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

function startPace(): { pace: Pace; isTooSlow: () => boolean } {
  let isTooSlow = false;
  const pace = new Pace(() => (isTooSlow = true));
  pace.start();
  return { pace, isTooSlow: () => isTooSlow };
}

/** @returns after how many seconds such a body is too slow, undefined where it is not within `seconds` */
function tooSlowAfter(bytesPerSecond: number, seconds: number): number | undefined {
  const { pace, isTooSlow } = startPace();
  for (let second = 1; second <= seconds; second += 1) {
    vi.advanceTimersByTime(1_000);
    if (isTooSlow()) return second;
    pace.add(bytesPerSecond);
  }
  pace.stop();
  return undefined;
}

test('a body that drips is too slow after twenty seconds and some', () => {
  expect(tooSlowAfter(10, 60)).toBe(21);
  expect(tooSlowAfter(100, 60)).toBe(25);
});

test('a slow line is not', () => {
  expect(tooSlowAfter(600, 3_600)).toBeUndefined();
});

test('silence is too slow no later than dripping', () => {
  const { isTooSlow } = startPace();
  vi.advanceTimersByTime(19_999);
  expect(isTooSlow()).toBe(false);
  vi.advanceTimersByTime(1);
  expect(isTooSlow()).toBe(true);
});

test('whoever has sent much may stand still for a minute, not for the time that all of it is worth', () => {
  const { pace, isTooSlow } = startPace();
  pace.add(100_000_000);
  vi.advanceTimersByTime(59_999);
  pace.add(1);
  vi.advanceTimersByTime(59_999);
  expect(isTooSlow()).toBe(false);
  vi.advanceTimersByTime(1);
  expect(isTooSlow()).toBe(true);
});

test('time in which nobody reads does not count', () => {
  const { pace, isTooSlow } = startPace();
  pace.stop();
  vi.advanceTimersByTime(3_600_000);
  pace.start();
  vi.advanceTimersByTime(19_000);
  expect(isTooSlow()).toBe(false);
  pace.stop();
});
