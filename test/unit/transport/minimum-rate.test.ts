import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Intake } from '../../../src/transport/body.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

/** Of a body, with what a connection does left out. */
function startRate() {
  let isPaused = false;
  const incoming = Object.assign(new EventEmitter(), {
    pause: () => void (isPaused = true),
    resume: () => void (isPaused = false),
    isPaused: () => isPaused,
  });
  let isTooSlow = false;
  const rate = new Intake({ req: incoming } as unknown as ServerResponse, vi.fn(), () => (isTooSlow = true));
  const add = (bytes: number) => incoming.emit('data', Buffer.alloc(bytes));
  return { rate, add, isTooSlow: () => isTooSlow };
}

/** @returns after how many seconds such a body is too slow, undefined where it is not within `seconds` */
function tooSlowAfter(bytesPerSecond: number, seconds: number): number | undefined {
  const { rate, add, isTooSlow } = startRate();
  for (let second = 1; second <= seconds; second += 1) {
    vi.advanceTimersByTime(1_000);
    if (isTooSlow()) return second;
    add(bytesPerSecond);
  }
  rate.cancel();
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

test('a client that has sent much may pause for a minute, not for the time that all of it is worth', () => {
  const { add, isTooSlow } = startRate();
  add(100_000_000);
  vi.advanceTimersByTime(59_999);
  add(1);
  vi.advanceTimersByTime(59_999);
  expect(isTooSlow()).toBe(false);
  vi.advanceTimersByTime(1);
  expect(isTooSlow()).toBe(true);
});

test('time in which the gate does not read does not count', () => {
  const { rate, isTooSlow } = startRate();
  rate.pause();
  vi.advanceTimersByTime(3_600_000);
  rate.resume();
  vi.advanceTimersByTime(19_000);
  expect(isTooSlow()).toBe(false);
  rate.cancel();
});
