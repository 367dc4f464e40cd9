/**
 * The arithmetic of one limit: the generic cell rate algorithm (ITU-T I.371), which is nginx's leaky bucket with
 * `burst … nodelay` written with one number, the time at which everything taken so far will have been earned again.
 * Pure: no clock, no state.
 *
 * Not `rate-limiter-flexible`, which counts in fixed windows: its bursty limiter admits COUNT and BURST together, and the
 * same again a moment later across a window's edge, where nginx admits BURST and one. Measured besides: a timer and 400
 * bytes a key, without a bound, and a promise for every request (`test/bench/limiter-main.ts`).
 */
import type { RateLimit } from '../config/schema.ts';

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
