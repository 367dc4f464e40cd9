import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MinimumRate } from '../../../src/transport/body.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

function startRate(): { rate: MinimumRate; isTooSlow: () => boolean } {
  let isTooSlow = false;
  const rate = new MinimumRate(() => (isTooSlow = true));
  rate.start();
  return { rate, isTooSlow: () => isTooSlow };
}

/** @returns after how many seconds such a body is too slow, undefined where it is not within `seconds` */
function tooSlowAfter(bytesPerSecond: number, seconds: number): number | undefined {
  const { rate, isTooSlow } = startRate();
  for (let second = 1; second <= seconds; second += 1) {
    vi.advanceTimersByTime(1_000);
    if (isTooSlow()) return second;
    rate.add(bytesPerSecond);
  }
  rate.stop();
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
  const { isTooSlow } = startRate();
  vi.advanceTimersByTime(19_999);
  expect(isTooSlow()).toBe(false);
  vi.advanceTimersByTime(1);
  expect(isTooSlow()).toBe(true);
});

test('whoever has sent much may stand still for a minute, not for the time that all of it is worth', () => {
  const { rate, isTooSlow } = startRate();
  rate.add(100_000_000);
  vi.advanceTimersByTime(59_999);
  rate.add(1);
  vi.advanceTimersByTime(59_999);
  expect(isTooSlow()).toBe(false);
  vi.advanceTimersByTime(1);
  expect(isTooSlow()).toBe(true);
});

test('time in which nobody reads does not count', () => {
  const { rate, isTooSlow } = startRate();
  rate.stop();
  vi.advanceTimersByTime(3_600_000);
  rate.start();
  vi.advanceTimersByTime(19_000);
  expect(isTooSlow()).toBe(false);
  rate.stop();
});
