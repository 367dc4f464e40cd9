/** Counts in this process: synchronous, one number a payer, bounded however many payers there are. */
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import type { Allowances, Charge, RateName, Release, Standing } from './allowance.ts';
import type { Bucket } from './gcra.ts';
import { debtAfter, isCovered, moreIn, remainingOf, toBucket } from './gcra.ts';
import { Generations } from './generations.ts';

const NAMES: readonly RateName[] = ['address', 'user', 'chat', 'organization'];

/** @param now monotonic, in milliseconds */
export function createMemoryAllowances(limits: LimitsConfig, now: () => number): Allowances {
  const rates: Partial<Record<RateName, RateLimit>> = {};
  const kept: Partial<Record<RateName, Kept>> = {};
  for (const name of NAMES) {
    const rate = limits[name];
    if (rate === 'off') continue;
    const bucket = toBucket(rate);
    rates[name] = rate;
    kept[name] = { bucket, earnedAt: new Generations(bucket.fullAfter) };
  }
  const concurrentChats = limits.concurrentChats === 'off' ? undefined : limits.concurrentChats;
  return {
    rates,
    concurrentChats,
    take: (charges) => take(kept, charges, now()),
    occupy: createPlaces(concurrentChats ?? Infinity),
  };
}

interface Kept {
  readonly bucket: Bucket;
  /** By payer: the time at which all that was taken is earned again. Absent: full. */
  readonly earnedAt: Generations;
}

function take(
  limits: Readonly<Partial<Record<RateName, Kept>>>,
  charges: readonly Charge[],
  at: number,
): Standing | undefined {
  let shown: Standing | undefined;
  for (const charge of charges) {
    const limit = limits[charge.limit];
    if (limit === undefined) continue;
    const standing = standingAfter(limit, charge, at);
    if (shown === undefined || isTighter(standing, shown)) shown = standing;
  }
  if (shown?.admitted !== true) return shown;
  for (const charge of charges) {
    const limit = limits[charge.limit];
    if (limit === undefined) continue;
    // Of the one that is told the debt is known already
    const debt = charge.limit === shown.limit ? shown.fullInMs : debtOf(limit, charge, at);
    limit.earnedAt.set(charge.key, at + debt, at);
  }
  return shown;
}

function debtOf({ bucket, earnedAt }: Kept, { key, cost }: Charge, at: number): number {
  return debtAfter(bucket, earnedAt.get(key) ?? 0, at, cost);
}

function standingAfter(kept: Kept, charge: Charge, at: number): Standing {
  const { bucket, earnedAt } = kept;
  const { limit } = charge;
  const debt = debtOf(kept, charge, at);
  if (isCovered(bucket, debt)) {
    const remaining = remainingOf(bucket, debt);
    return { limit, admitted: true, remaining, moreInMs: moreIn(bucket, debt, remaining), fullInMs: debt };
  }
  const owed = Math.max(0, (earnedAt.get(charge.key) ?? 0) - at);
  const remaining = remainingOf(bucket, owed);
  return { limit, admitted: false, remaining, moreInMs: debt - bucket.fullAfter, fullInMs: owed };
}

/** A refusal before an admission; the longer wait of two refusals; of two admissions the one with less left. */
function isTighter(one: Standing, other: Standing): boolean {
  if (one.admitted !== other.admitted) return other.admitted;
  if (!one.admitted || one.remaining === other.remaining) return one.moreInMs > other.moreInMs;
  return one.remaining < other.remaining;
}

/** As many payers are remembered as have something running. */
function createPlaces(places: number): (user: string) => Release | undefined {
  const taken = new Map<string, number>();
  return function occupy(user) {
    const before = taken.get(user) ?? 0;
    if (before >= places) return undefined;
    taken.set(user, before + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (taken.get(user) ?? 0) - 1;
      if (left > 0) taken.set(user, left);
      else taken.delete(user);
    };
  };
}
