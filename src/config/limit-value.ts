/** How a limit is spelled: `COUNT/WINDOW[:BURST]`, or `off`. */
import type { RateLimit } from './schema.ts';
import { Misspelled, spelled } from './value.ts';

const SECONDS_OF = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;
/** Beyond this nothing is limited any more; the arithmetic is exact below it. */
const LARGEST = 1_000_000;
const LONGEST_SECONDS = SECONDS_OF.d;

/**
 * `120/1m:40`: 120 a minute in the long run, and 40 more than are due at once. Without a burst the whole count may
 * come at once. Windows are whole seconds, as the header fields that announce them want it.
 */
export const rate = spelled((text): RateLimit | 'off' => {
  if (text === 'off') return 'off';
  const [before, burstText, ...more] = text.split(':');
  const [countText = '', windowText, ...rest] = (before ?? '').split('/');
  if (more.length > 0 || rest.length > 0) throw new Misspelled('there is too much in it');
  if (windowText === undefined) throw new Misspelled('it has no window, which comes after a slash: `120/1m`');
  const count = whole(countText, 'the count before the slash');
  if (count === 0) throw new Misspelled('it would refuse everything; `off` switches a limit off');
  const burst = burstText === undefined ? count - 1 : whole(burstText, 'the burst after the colon');
  return { count, windowSeconds: windowSeconds(windowText), burst };
});

/** A number of things at a time, or `off`. */
export const concurrency = spelled((text): number | 'off' => {
  if (text === 'off') return 'off';
  const count = whole(text, 'it');
  if (count === 0) throw new Misspelled('it would refuse everything; `off` switches a limit off');
  return count;
});

function windowSeconds(text: string): number {
  const match = /^(\d{1,7})(ms|s|m|h|d)$/.exec(text);
  if (match === null) throw new Misspelled(windowFault(text));
  if (match[2] === 'ms') throw new Misspelled('its window is not in whole seconds');
  // the cast: the expression above lets no other unit through
  const seconds = Number(match[1]) * SECONDS_OF[match[2] as keyof typeof SECONDS_OF];
  if (seconds === 0) throw new Misspelled('its window is too short');
  if (seconds > LONGEST_SECONDS) throw new Misspelled('its window is too long');
  return seconds;
}

function windowFault(text: string): string {
  if (/^\d+$/.test(text)) return 'its window has no unit, as in `1m`';
  return /^(?:s|m|h|d)$/.test(text) ? 'its window has no number, as in `1m`' : 'its window is no duration, as in `1m`';
}

function whole(text: string, what: string): number {
  if (text === '') throw new Misspelled(`${what} is missing`);
  if (!/^\d{1,9}$/.test(text)) throw new Misspelled(`${what} is not a whole number`);
  const count = Number(text);
  if (count > LARGEST) throw new Misspelled(`${what} is larger than ${LARGEST}`);
  return count;
}
