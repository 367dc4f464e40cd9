/** Limits that are counted in this process. */
import type { LimitsConfig } from '../config/schema.ts';
import { Debts, bucketsOf, judge } from './bucket.ts';
import type { Allowances, Charge, Release, Start } from './limits.ts';

/** @param now monotonic, in milliseconds */
export function createMemoryAllowances(limits: LimitsConfig, now: () => number) {
  const { rates, buckets } = bucketsOf(limits, (name, rate) => new Debts(name, rate));
  const concurrentChats = limits.concurrentChats === 'off' ? undefined : limits.concurrentChats;
  const occupy = createPlaces(concurrentChats ?? Infinity);
  function take(charges: readonly Charge[]) {
    const at = now();
    const standing = judge(buckets, charges, (debts, { key }) => debts.owed(key, at));
    if (standing?.admitted !== true) return standing;
    for (const { limit, key, cost } of charges) {
      const debts = buckets[limit];
      debts?.owe(key, debts.owed(key, at) + debts.priceOf(cost), at);
    }
    return standing;
  }
  return {
    rates,
    concurrentChats,
    take,
    start: (user, places, charges) => startWith(occupy(user, places), () => take(charges)),
  } satisfies Allowances;
}

/** The place comes first, and goes back if the charge is refused: what is refused has cost nothing. */
export function startWith(release: Release | undefined, charge: () => Start['standing']): Start {
  if (release === undefined) return {};
  const standing = charge();
  if (standing?.admitted !== false) return { release, standing };
  release();
  return { standing };
}

function createPlaces(most: number): (user: string, places: number) => Release | undefined {
  const taken = new Map<string, number>();
  return function occupy(user, places) {
    const before = taken.get(user) ?? 0;
    if (before + places > most) return undefined;
    taken.set(user, before + places);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (taken.get(user) ?? 0) - places;
      if (left > 0) taken.set(user, left);
      else taken.delete(user);
    };
  };
}
