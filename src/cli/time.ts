/** Moments and spans of time as they are shown: the backend and our tables keep seconds, we measure milliseconds. */

import { counted } from './output.ts';

/** Furthest moment that a `Date` can hold (ECMA-262 21.4.1.1), in seconds. */
const LAST_SECOND = 8.64e12;

/** @returns ISO 8601 in UTC for seconds, what is no number as it is, and null for nothing */
export function toDate(seconds: number | string | null): string | null {
  if (typeof seconds !== 'number') return seconds;
  return Math.abs(seconds) <= LAST_SECOND ? `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z` : String(seconds);
}

/** @returns seconds with three decimals, for JSON */
export const toSeconds = (milliseconds: number): number => Number((milliseconds / 1000).toFixed(3));

/** `24.1 s` */
export const inSeconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;

/** `30 days`, `12 hours`: the largest unit that divides it. */
export function asDuration(milliseconds: number): string {
  const units = [
    ['day', 86_400_000],
    ['hour', 3_600_000],
    ['minute', 60_000],
    ['second', 1_000],
  ] as const;
  const [unit, scale] = units.find(([, size]) => milliseconds % size === 0) ?? ['millisecond', 1];
  return counted(milliseconds / scale, unit);
}
