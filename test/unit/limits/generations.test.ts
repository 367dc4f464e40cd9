import { expect, test } from 'vitest';
import { Generations } from '../../../src/limits/memory.ts';

test('a value is known for a lifetime after it was written, and gone after two', () => {
  const times = new Generations(1_000);
  times.set('a', 7, 10_000);
  times.set('b', 8, 10_999);
  expect(times.get('a')).toBe(7);
  times.set('b', 9, 11_000);
  expect([times.get('a'), times.get('b')]).toEqual([7, 9]);
  times.set('c', 1, 12_000);
  expect([times.get('a'), times.get('b'), times.get('c')]).toEqual([undefined, 9, 1]);
});

test('a key that goes on being written stays', () => {
  const times = new Generations(1_000);
  for (let now = 0; now < 20_000; now += 700) {
    times.set('a', now, now);
    expect(times.get('a')).toBe(now);
  }
  expect(times.size).toBeLessThanOrEqual(2);
});

test('however many keys come, no more than two generations are kept, and the newest are among them', () => {
  const times = new Generations(1_000_000, 1_000);
  for (let key = 0; key < 100_000; key += 1) times.set(`key ${key}`, key, 1);
  expect(times.size).toBeLessThanOrEqual(2_000);
  for (let key = 99_000; key < 100_000; key += 1) expect(times.get(`key ${key}`)).toBe(key);
});

test('a million addresses take no more than the half million that are kept', { timeout: 60_000 }, () => {
  const times = new Generations(60_000);
  for (let key = 0; key < 1_000_000; key += 1) times.set(`2001:db8:${key.toString(16)}::/64`, key, key / 100);
  expect(times.size).toBeLessThanOrEqual(500_000);
});
