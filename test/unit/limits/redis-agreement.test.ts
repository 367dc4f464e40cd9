import { expect, test } from 'vitest';
import { createAgreement } from '../../../src/limits/redis-agreement.ts';

/** @param kinds of limits that Redis tells of, one look after the other; nothing where it is away @returns after which look it is said */
async function saidAfter(kinds: readonly (number | undefined)[]): Promise<number | undefined> {
  let looks = 0;
  let said: number | undefined;
  const agreement = createAgreement({
    link: { ask: <T>() => Promise.resolve(kinds[looks++] as T | undefined) },
    ...{ key: 'kinds', redis: 'redis://127.0.0.1' },
    log: { warn: () => (said ??= looks) },
  });
  for (const _kinds of kinds) await agreement.look();
  expect(agreement.warning() !== undefined).toBe(said !== undefined);
  return said;
}

test.each([
  ['at the fourth look', [2, 2, 3, 2, 2], 4],
  ['not where they agree in between', [2, 2, 2, 1, 2, 2, 2], undefined],
  ['though Redis is away in between, and then says nothing', [2, 2, undefined, 2, undefined, 2], 6],
])('that gates have other limits is said %s', async (_when, kinds, after) => {
  expect(await saidAfter(kinds)).toBe(after);
});
