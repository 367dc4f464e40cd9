/** Which payers are remembered, and how many: seen by their debts, for which the clock is turned back. */
import { expect, test } from 'vitest';
import type { RateLimit } from '../../../src/config/schema.ts';
import { createMemoryAllowances } from '../../../src/limits/memory.ts';

const OFF = { user: 'off', chat: 'off', organization: 'off', concurrentChats: 'off' } as const;
/** Ten at once, and one each second: a debt is paid after ten seconds. */
const TEN: RateLimit = { count: 1, windowSeconds: 1, burst: 9 };

function payers(address: RateLimit) {
  let now = 0;
  const allowances = createMemoryAllowances({ ...OFF, address }, () => now);
  const charge = (key: string, at: number, cost = address.burst + 1) => {
    now = at;
    return allowances.take([{ limit: 'address', key, cost }]);
  };
  // what is refused is not written down
  return { charge, knows: (key: string, at: number) => charge(key, at)?.admitted === false };
}

test('a payer is known for a lifetime after it was charged, and gone after two', () => {
  const { charge, knows } = payers(TEN);
  charge('a', 10_000);
  charge('b', 10_999, 1);
  expect(knows('a', 10_999)).toBe(true);
  charge('b', 20_000);
  expect([knows('a', 19_999), knows('b', 20_000)]).toEqual([true, true]);
  charge('c', 30_000);
  expect([knows('b', 29_999), knows('c', 30_000), knows('a', 19_999)]).toEqual([true, true, false]);
});

test('a payer that goes on being charged stays', () => {
  const { charge } = payers({ ...TEN, burst: 99 });
  for (let turn = 0; turn < 300; turn += 1) {
    // each charge is a second, of which seven tenths are paid until the next
    expect(charge('a', turn * 700, 1)).toMatchObject({ admitted: true, fullInMs: 1_000 + turn * 300 });
  }
});

test('of very many addresses no more than half a million are kept, and the newest are among them', () => {
  const { charge, knows } = payers({ count: 10, windowSeconds: 86_400, burst: 0 });
  const address = (key: number) => `2001:db8:${key.toString(16)}::/64`;
  for (let key = 0; key < 750_000; key += 1) charge(address(key), 1);
  const newest = Array.from({ length: 25_000 }, (_none, at) => address(749_999 - at * 10));
  expect(newest.filter((key) => !knows(key, 1))).toEqual([]);
  // what is not known any more is charged anew, and written down
  const oldest = Array.from({ length: 250 }, (_none, at) => address(at * 1_000));
  expect(oldest.filter((key) => knows(key, 1))).toEqual([]);
});
