import { describe, expect, test } from 'vitest';
import type { LimitsConfig, RateLimit } from '../../../src/config/schema.ts';
import type { RateName } from '../../../src/limits/headers.ts';
import { createMemoryAllowances } from '../../../src/limits/memory.ts';
import { manualClock } from '../../support/process/clock.ts';

const OFF: LimitsConfig = { address: 'off', user: 'off', chat: 'off', organization: 'off', concurrentChats: 'off' };
/** One request each half second, and five more than are due at once. */
const RATE: RateLimit = { count: 120, windowSeconds: 60, burst: 5 };

function keep(limits: Partial<LimitsConfig>) {
  const clock = manualClock();
  const allowances = createMemoryAllowances({ ...OFF, ...limits }, clock.now);
  return {
    clock,
    allowances,
    take: (limit: RateName, key = 'ann', cost = 1) => allowances.take([{ limit, key, cost }]),
  };
}

describe('a rate', () => {
  test('admits the burst and one at once, and then one as often as the rate says', () => {
    const { clock, take } = keep({ user: RATE });
    const atOnce = Array.from({ length: 8 }, () => take('user')?.admitted);
    expect(atOnce).toEqual([true, true, true, true, true, true, false, false]);
    clock.advance(499);
    expect(take('user')?.admitted).toBe(false);
    clock.advance(1);
    expect([take('user')?.admitted, take('user')?.admitted]).toEqual([true, false]);
    clock.advance(60_000);
    expect(Array.from({ length: 7 }, () => take('user')?.admitted).filter(Boolean)).toHaveLength(6);
  });

  test('without a burst admits its whole count at once', () => {
    const { take } = keep({ user: { count: 3, windowSeconds: 60, burst: 2 } });
    expect(Array.from({ length: 4 }, () => take('user')?.admitted)).toEqual([true, true, true, false]);
  });

  test('tells what is left, when more comes, and when all is there again', () => {
    const { clock, take } = keep({ user: RATE });
    expect(take('user')).toEqual({ limit: 'user', admitted: true, remaining: 5, moreInMs: 500, fullInMs: 500 });
    expect(take('user')).toMatchObject({ remaining: 4, moreInMs: 500, fullInMs: 1_000 });
    clock.advance(200);
    expect(take('user')).toMatchObject({ remaining: 3, moreInMs: 300, fullInMs: 1_300 });
    for (let left = 3; left > 0; left -= 1) take('user');
    expect(take('user')).toEqual({ limit: 'user', admitted: false, remaining: 0, moreInMs: 300, fullInMs: 2_800 });
  });

  test('does not charge what it refuses', () => {
    const { clock, take } = keep({ user: RATE });
    for (let request = 0; request < 100; request += 1) take('user');
    clock.advance(500);
    expect(take('user')?.admitted).toBe(true);
  });

  test('counts each payer alone', () => {
    const { take } = keep({ user: { count: 1, windowSeconds: 1, burst: 0 } });
    expect([take('user', 'ann'), take('user', 'bob'), take('user', 'ann')].map((one) => one?.admitted)).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('that never has as much as a request costs gives all that it has', () => {
    const { clock, take } = keep({ address: { count: 5, windowSeconds: 5, burst: 4 } });
    expect(take('address', '::1', 10)).toMatchObject({ admitted: true, remaining: 0 });
    expect(take('address', '::1', 10)).toMatchObject({ admitted: false, moreInMs: 5_000 });
    clock.advance(5_000);
    expect(take('address', '::1', 10)).toMatchObject({ admitted: true });
  });

  test('of a million in a second is kept exactly', () => {
    const { take } = keep({ user: { count: 1_000_000, windowSeconds: 1, burst: 9 } });
    expect(Array.from({ length: 12 }, () => take('user')?.admitted).filter(Boolean)).toHaveLength(10);
  });
});

describe('several charges', () => {
  const both = [
    { limit: 'chat', key: 'ann', cost: 1 },
    { limit: 'organization', key: 'acme', cost: 1 },
  ] as const;

  test('are taken together or not at all', () => {
    const { allowances, take } = keep({ chat: RATE, organization: { count: 1, windowSeconds: 60, burst: 0 } });
    expect(allowances.take(both)).toMatchObject({ admitted: true, limit: 'organization' });
    expect(allowances.take(both)).toMatchObject({ admitted: false, limit: 'organization' });
    expect(take('chat')).toMatchObject({ remaining: 4 });
  });

  test('tell the limit that has least left', () => {
    const { allowances } = keep({ chat: RATE, organization: { ...RATE, burst: 1 } });
    expect(allowances.take(both)).toMatchObject({ limit: 'organization', remaining: 1 });
  });

  test('tell the longest wait where two refuse', () => {
    const { allowances } = keep({
      chat: { count: 1, windowSeconds: 10, burst: 0 },
      organization: { count: 1, windowSeconds: 60, burst: 0 },
    });
    void allowances.take(both);
    expect(allowances.take(both)).toMatchObject({ admitted: false, limit: 'organization', moreInMs: 60_000 });
  });

  test('to limits that are off cost nothing and tell nothing', () => {
    const { allowances } = keep({ user: RATE });
    expect(allowances.take(both)).toBeUndefined();
    expect(allowances.take([])).toBeUndefined();
    expect(allowances.rates).toEqual({ user: RATE });
  });
});

describe('places', () => {
  test('are as many as the limit says, each given back once', () => {
    const { allowances } = keep({ concurrentChats: 2 });
    const [first, second] = [allowances.start('ann', 1, []).release, allowances.start('ann', 1, []).release];
    expect(allowances.start('ann', 1, []).release).toBeUndefined();
    expect(allowances.start('bob', 1, []).release).toBeTypeOf('function');
    if (typeof first !== 'function' || typeof second !== 'function') throw new Error('there were places');
    first();
    first();
    expect(allowances.start('ann', 1, []).release).toBeTypeOf('function');
    expect(allowances.start('ann', 1, []).release).toBeUndefined();
  });

  test('are never short where there is no limit', () => {
    const { allowances } = keep({});
    for (let request = 0; request < 1_000; request += 1)
      expect(allowances.start('ann', 1, []).release).toBeTypeOf('function');
  });
});
