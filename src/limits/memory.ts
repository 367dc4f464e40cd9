/**
 * The arithmetic of one limit: the generic cell rate algorithm (ITU-T I.371), which is nginx's leaky bucket with
 * `burst … nodelay` written with one number, the time at which everything taken so far will have been earned again.
 * Pure: no clock, no state.
 *
 * Not `rate-limiter-flexible`, which counts in fixed windows: its bursty limiter admits COUNT and BURST together, and the
 * same again a moment later across a window's edge, where nginx admits BURST and one. Measured besides: a timer and 400
 * bytes a key, without a bound, and a promise for every request (`test/bench/limiter-main.ts`).
 */
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import type { Allowances, Charge, RateName, Standing } from './allowance.ts';

/** Times in milliseconds. */
export interface Bucket {
  /** In which one request is earned. */
  readonly interval: number;
  /** Requests at once, from a full bucket. */
  readonly capacity: number;
  /** After which an untouched bucket is full, whatever was taken from it. */
  readonly fullAfter: number;
}

export function toBucket({ count, windowSeconds, burst }: RateLimit): Bucket {
  const interval = (windowSeconds * 1000) / count;
  return { interval, capacity: burst + 1, fullAfter: interval * (burst + 1) };
}

/** @returns the debt that a charge would leave: time until the bucket is full again; above `fullAfter` it is refused */
export function debtAfter(bucket: Bucket, earnedAt: number, now: number, cost: number): number {
  const debt = earnedAt > now ? earnedAt - now : 0;
  return debt + Math.min(cost, bucket.capacity) * bucket.interval;
}

/** What rounding may have added to a debt that is meant to fill the bucket exactly. */
const ROUNDING = 1e-6;

export function isCovered(bucket: Bucket, debt: number): boolean {
  return debt <= bucket.fullAfter + bucket.interval * ROUNDING;
}

export function remainingOf(bucket: Bucket, debt: number): number {
  return Math.max(0, Math.floor((bucket.fullAfter - debt) / bucket.interval + ROUNDING));
}

/** @returns time until one more than `remaining` would be admitted; 0 where the bucket is full */
export function moreIn(bucket: Bucket, debt: number, remaining: number): number {
  return Math.max(0, debt - (bucket.capacity - remaining - 1) * bucket.interval);
}
/**
 * Times by key that forgets by itself: two maps, of which the older is dropped whole. No timer and no list beside the
 * map; a key that is not written for a lifetime is gone without anybody looking for it.
 */
export class Generations {
  readonly #lifetimeMs: number;
  readonly #most: number;
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #turnedAt = 0;

  /**
   * @param lifetimeMs after which a key that was not written again means nothing
   * @param most keys of one generation: beyond them the oldest are forgotten early
   */
  constructor(lifetimeMs: number, most = MOST_KEYS) {
    this.#lifetimeMs = lifetimeMs;
    this.#most = most;
  }

  /** @returns what was written last, for at least a lifetime unless the map was full; undefined once it is forgotten */
  get(key: string): number | undefined {
    return this.#recent.get(key) ?? this.#older.get(key);
  }

  /** @param now milliseconds of any clock that never goes back */
  set(key: string, value: number, now: number): void {
    if (now - this.#turnedAt >= this.#lifetimeMs || this.#recent.size >= this.#most) this.#turn(now);
    this.#recent.set(key, value);
  }

  /** Keys in memory; one that is in both generations counts twice. */
  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  /** What was written last before the earlier turn is older than a lifetime now, unless the map was full. */
  #turn(now: number): void {
    this.#older = this.#recent;
    this.#recent = new Map();
    this.#turnedAt = now;
  }
}

/** Some 80 bytes each: at most 40 MB a limit, and more users than one backend serves. */
const MOST_KEYS = 250_000;

// Counts in this process: synchronous, one number a payer, bounded however many payers there are.

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
