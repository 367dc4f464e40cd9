/** Times as they are shown: the backend and our tables keep seconds. */

/** Furthest moment that a `Date` can hold (ECMA-262 21.4.1.1), in seconds. */
const LAST_SECOND = 8.64e12;

/** @returns ISO 8601 in UTC for seconds, what is no number as it is, and null for nothing */
export function toDate(seconds: number | string | null): string | null {
  if (typeof seconds !== 'number') return seconds;
  return Math.abs(seconds) <= LAST_SECOND ? `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z` : String(seconds);
}
