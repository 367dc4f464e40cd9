/**
 * The generic cell rate algorithm (ITU-T I.371), nginx's leaky bucket with `burst … nodelay`. Not `rate-limiter-
 * flexible`: its fixed windows admit COUNT and BURST together, and the same again across a window's edge.
 */
import type { LimitsConfig, RateLimit } from '../config/schema.ts';
import type { RateName, Standing } from './headers.ts';
import type { Allowances, Charge } from './limits.ts';

/** @param now monotonic, in milliseconds */
export function createMemoryAllowances(limits: LimitsConfig, now: () => number): Allowances {
  const { concurrentChats: places, ...all } = limits;
  const rates: Partial<Record<RateName, RateLimit>> = {};
  const buckets: Partial<Record<RateName, Buckets>> = {};
  // the cast: `Object.entries` promises no more than texts for names
  for (const [name, rate] of Object.entries(all) as [RateName, RateLimit | 'off'][]) {
    if (rate === 'off') continue;
    rates[name] = rate;
    buckets[name] = new Buckets(name, rate);
  }
  const concurrentChats = places === 'off' ? undefined : places;
  return {
    rates,
    concurrentChats,
    take: (charges) => take(buckets, charges, now()),
    occupy: createPlaces(concurrentChats ?? Infinity),
  };
}

/** Twice over the charges: what is refused has taken nothing. */
function take(limits: Partial<Record<RateName, Buckets>>, charges: readonly Charge[], at: number) {
  let refusal: Standing | undefined;
  let scarcest: Buckets | undefined;
  let debtOfScarcest = 0;
  let least = Infinity;
  for (const charge of charges) {
    const buckets = limits[charge.limit];
    if (buckets === undefined) continue;
    const debt = buckets.debtAfter(charge, at);
    const remaining = buckets.remaining(debt);
    if (!buckets.covers(debt)) {
      const refused = buckets.refusal(charge, debt, at);
      if (refusal === undefined || refused.moreInMs > refusal.moreInMs) refusal = refused;
    } else if (remaining < least) {
      least = remaining;
      scarcest = buckets;
      debtOfScarcest = debt;
    }
  }
  if (refusal !== undefined) return refusal;
  for (const charge of charges) limits[charge.limit]?.take(charge, at);
  return scarcest?.admission(debtOfScarcest);
}

/** What rounding may have added to a debt that is meant to fill a bucket exactly. */
const ROUNDING = 1e-6;

/** A payer's debt is the time until its bucket is full again, in milliseconds. */
class Buckets {
  readonly #name: RateName;
  readonly #interval: number;
  readonly #capacity: number;
  readonly #fullAfter: number;
  /** By payer: when all that was taken is earned again. Absent: full. */
  readonly #earnedAt: Generations;

  constructor(name: RateName, { count, windowSeconds, burst }: RateLimit) {
    this.#name = name;
    this.#interval = (windowSeconds * 1000) / count;
    this.#capacity = burst + 1;
    this.#fullAfter = this.#interval * this.#capacity;
    this.#earnedAt = new Generations(this.#fullAfter);
  }

  #owed(key: string, at: number): number {
    return Math.max(0, (this.#earnedAt.get(key) ?? 0) - at);
  }

  debtAfter({ key, cost }: Charge, at: number): number {
    return this.#owed(key, at) + Math.min(cost, this.#capacity) * this.#interval;
  }

  covers(debt: number): boolean {
    return debt <= this.#fullAfter + this.#interval * ROUNDING;
  }

  remaining(debt: number): number {
    return Math.max(0, Math.floor((this.#fullAfter - debt) / this.#interval + ROUNDING));
  }

  take(charge: Charge, at: number): void {
    this.#earnedAt.set(charge.key, at + this.debtAfter(charge, at), at);
  }

  admission(debt: number): Standing {
    const remaining = this.remaining(debt);
    const moreInMs = Math.max(0, debt - (this.#capacity - remaining - 1) * this.#interval);
    return { limit: this.#name, admitted: true, remaining, moreInMs, fullInMs: debt };
  }

  refusal({ key }: Charge, debt: number, at: number): Standing {
    const owed = this.#owed(key, at);
    const moreInMs = debt - this.#fullAfter;
    return { limit: this.#name, admitted: false, remaining: this.remaining(owed), moreInMs, fullInMs: owed };
  }
}

/** Some 80 bytes each: at most 40 MB a limit, and more users than one backend serves. */
const MOST_KEYS = 250_000;

/** Times by key, in two maps of which the older is dropped whole: no timer, no list, no search. */
class Generations {
  readonly #lifetimeMs: number;
  readonly #most: number;
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #turnedAt = 0;

  constructor(lifetimeMs: number, most = MOST_KEYS) {
    this.#lifetimeMs = lifetimeMs;
    this.#most = most;
  }

  get(key: string): number | undefined {
    return this.#recent.get(key) ?? this.#older.get(key);
  }

  /** @param now milliseconds of any clock that never goes back */
  set(key: string, value: number, now: number): void {
    if (now - this.#turnedAt >= this.#lifetimeMs || this.#recent.size >= this.#most) {
      this.#older = this.#recent;
      this.#recent = new Map();
      this.#turnedAt = now;
    }
    this.#recent.set(key, value);
  }
}

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
