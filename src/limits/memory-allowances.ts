/** Counts in this process: synchronous, one number a payer, bounded however many payers there are. */
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import type { Allowances, Charge, RateName, Standing } from './allowance.ts';
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

type Limits = Readonly<Partial<Record<RateName, Kept>>>;

/** Twice over the charges, so that what is refused has taken nothing; one standing is made, of the limit that is told. */
function take(limits: Limits, charges: readonly Charge[], at: number): Standing | undefined {
  let told: Charge | undefined;
  let least = Infinity;
  for (const charge of charges) {
    const kept = limits[charge.limit];
    if (kept === undefined) continue;
    const debt = debtOf(kept, charge.key, at, charge.cost);
    if (!isCovered(kept.bucket, debt)) return longestWait(limits, charges, at);
    const remaining = remainingOf(kept.bucket, debt);
    if (remaining >= least) continue;
    least = remaining;
    told = charge;
  }
  let standing: Standing | undefined;
  for (const charge of charges) {
    const kept = limits[charge.limit];
    if (kept === undefined) continue;
    const debt = debtOf(kept, charge.key, at, charge.cost);
    kept.earnedAt.set(charge.key, at + debt, at);
    if (charge === told) standing = admission(charge.limit, kept.bucket, debt);
  }
  return standing;
}

function debtOf({ bucket, earnedAt }: Kept, key: string, at: number, cost: number): number {
  return debtAfter(bucket, earnedAt.get(key) ?? 0, at, cost);
}

function admission(limit: RateName, bucket: Bucket, debt: number): Standing {
  const remaining = remainingOf(bucket, debt);
  return { limit, admitted: true, remaining, moreInMs: moreIn(bucket, debt, remaining), fullInMs: debt };
}

/** @returns the standing of the charge that has to wait longest of those that are refused */
function longestWait(limits: Limits, charges: readonly Charge[], at: number): Standing | undefined {
  let longest: Standing | undefined;
  for (const { limit, key, cost } of charges) {
    const kept = limits[limit];
    if (kept === undefined) continue;
    const { bucket } = kept;
    const debt = debtOf(kept, key, at, cost);
    const moreInMs = debt - bucket.fullAfter;
    if (isCovered(bucket, debt) || (longest !== undefined && moreInMs <= longest.moreInMs)) continue;
    const owed = debtOf(kept, key, at, 0);
    longest = { limit, admitted: false, remaining: remainingOf(bucket, owed), moreInMs, fullInMs: owed };
  }
  return longest;
}

/** As many payers are remembered as have something running. */
function createPlaces(most: number): Allowances['occupy'] {
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
