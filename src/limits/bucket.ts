/**
 * The generic cell rate algorithm (ITU-T I.371), nginx's leaky bucket with `burst … nodelay`. Not `rate-limiter-
 * flexible`: its fixed windows admit COUNT and BURST together, and the same again across a window's edge.
 */
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import type { RateName, Standing } from './headers.ts';
import type { Charge } from './limits.ts';

/** What rounding may have added to a debt that is meant to fill a bucket exactly. */
const ROUNDING = 1e-6;

/** A payer's debt is the time until its bucket is full again, in milliseconds. */
export class Bucket {
  readonly name: RateName;
  readonly fullAfter: number;
  /** The largest debt that is admitted. */
  readonly mostOwed: number;
  readonly #interval: number;
  readonly #capacity: number;

  constructor(name: RateName, { count, windowSeconds, burst }: RateLimit) {
    this.name = name;
    this.#interval = (windowSeconds * 1000) / count;
    this.#capacity = burst + 1;
    this.fullAfter = this.#interval * this.#capacity;
    this.mostOwed = this.fullAfter + this.#interval * ROUNDING;
  }

  /** What a charge adds to a debt. More than the bucket ever has counts as all that it has. */
  priceOf(cost: number): number {
    return Math.min(cost, this.#capacity) * this.#interval;
  }

  remaining(debt: number): number {
    return Math.max(0, Math.floor((this.fullAfter - debt) / this.#interval + ROUNDING));
  }

  admission(debt: number): Standing {
    const remaining = this.remaining(debt);
    const moreInMs = Math.max(0, debt - (this.#capacity - remaining - 1) * this.#interval);
    return { limit: this.name, admitted: true, remaining, moreInMs, fullInMs: debt };
  }

  refusal(owed: number, debt: number): Standing {
    const moreInMs = debt - this.fullAfter;
    return { limit: this.name, admitted: false, remaining: this.remaining(owed), moreInMs, fullInMs: owed };
  }
}

type Buckets<B extends Bucket> = Readonly<Partial<Record<RateName, B>>>;

/** @returns the rates that are on, and what `create` makes of each */
export function bucketsOf<B extends Bucket>(
  { concurrentChats: _, ...all }: LimitsConfig,
  create: (name: RateName, rate: RateLimit) => B,
) {
  const rates: Partial<Record<RateName, RateLimit>> = {};
  const buckets: Partial<Record<RateName, B>> = {};
  // the cast: `Object.entries` promises no more than texts for names
  for (const [name, rate] of Object.entries(all) as [RateName, RateLimit | 'off'][]) {
    if (rate === 'off') continue;
    rates[name] = rate;
    buckets[name] = create(name, rate);
  }
  return { rates, buckets };
}

/** @param owed before the charge, by its place @returns the limit that refuses (the longest wait), or that will have least left */
export function judge<B extends Bucket>(
  buckets: Buckets<B>,
  charges: readonly Charge[],
  owed: (bucket: B, charge: Charge, place: number) => number,
): Standing | undefined {
  let refusal: Standing | undefined;
  let scarcest: B | undefined;
  let debtOfScarcest = 0;
  let least = Infinity;
  let place = -1;
  for (const charge of charges) {
    place += 1;
    const bucket = buckets[charge.limit];
    if (bucket === undefined) continue;
    const before = owed(bucket, charge, place);
    const debt = before + bucket.priceOf(charge.cost);
    const remaining = bucket.remaining(debt);
    if (debt > bucket.mostOwed) {
      const refused = bucket.refusal(before, debt);
      if (refusal === undefined || refused.moreInMs > refusal.moreInMs) refusal = refused;
    } else if (remaining < least) {
      least = remaining;
      scarcest = bucket;
      debtOfScarcest = debt;
    }
  }
  return refusal ?? scarcest?.admission(debtOfScarcest);
}

/** Some 80 bytes each: at most 40 MB a limit, and more users than one backend serves. */
const MOST_KEYS = 250_000;

/** Debts by payer, in two maps of which the older is dropped whole: no timer, no list, no search. */
export class Debts extends Bucket {
  readonly #most: number;
  /** When all that was taken is earned again. Absent: full. */
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #turnedAt = 0;

  constructor(name: RateName, rate: RateLimit, most = MOST_KEYS) {
    super(name, rate);
    this.#most = most;
  }

  owed(key: string, at: number): number {
    return Math.max(0, (this.#recent.get(key) ?? this.#older.get(key) ?? 0) - at);
  }

  /** @param at milliseconds of any clock that never goes back */
  owe(key: string, debt: number, at: number): void {
    if (at - this.#turnedAt >= this.fullAfter || this.#recent.size >= this.#most) {
      this.#older = this.#recent;
      this.#recent = new Map();
      this.#turnedAt = at;
    }
    this.#recent.set(key, at + debt);
  }
}
