/** What an operator has typed, or a database holds, made harmless inside a sentence, a command or a file name. */

/** C0 and C1 controls (escape sequences begin with one), and what turns or hides the text around it. */
export const UNPRINTABLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e0fff}]/gu;

const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, '0');
const unicode = (unit: string): string => `\\u${hex(unit.charCodeAt(0), 4)}`;

/** @returns JSON with what cannot be printed as escapes too, which is the same value */
export const escapedJson = (json: string): string =>
  json.replace(UNPRINTABLE, (found) => found.replace(/[^]/g, unicode));

/** @returns the text between quotes as JSON, in at most 120 characters; backticks, which mark commands, are escaped too */
export function quoted(text: string): string {
  const plain = escapedJson(JSON.stringify(text)).replaceAll('`', unicode);
  return plain.length > 120 ? `${plain.slice(0, 119)}…"` : plain;
}

/** @returns the first `most` of them, such as `"a", "b" and 3 more` */
export function quotedFew(texts: readonly string[], most: number): string {
  const shown = texts.slice(0, most).map((text) => quoted(text));
  const rest = texts.length - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest.toLocaleString('en')} more` : ''}`;
}

/** No shell changes it. */
const PLAIN = /^[\w@%+=:,./-]+$/;

/** @returns a command in one line to be pasted into a shell: each word is quoted where the shell would change it */
export const shellCommand = (...words: readonly string[]): string => words.map(shellWord).join(' ');

function shellWord(word: string): string {
  if (word.length > 300) return '…';
  if (PLAIN.test(word)) return word;
  if (!word.includes('`') && word.search(UNPRINTABLE) < 0) return `'${word.replaceAll("'", "'\\''")}'`;
  return `$'${word.replace(/[\\']/g, '\\$&').replaceAll('`', escapeOf).replace(UNPRINTABLE, escapeOf)}'`;
}

function escapeOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x80 ? `\\x${hex(code, 2)}` : code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
}

/** Commands that a sentence advises, between backticks: `quoted` and `shellCommand` escape those of others. */
export const COMMAND = /`((?:modelgate|chmod|mkdir) [^`]+)`/g;

export const commandsIn = (text: string): readonly string[] =>
  [...text.matchAll(COMMAND)].map(({ 1: command = '' }) => command);

/** @returns ISO 8601 in UTC for seconds, what is no number as it is, and null for nothing */
export function toDate(seconds: number | string | null): string | null {
  if (typeof seconds !== 'number') return seconds;
  // the furthest moment that a `Date` can hold (ECMA-262 21.4.1.1)
  return Math.abs(seconds) <= 8.64e12 ? `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z` : String(seconds);
}

/** @returns such as `20260131_030000`: local time, as the deployment guide's `date +%Y%m%d_%H%M%S` writes it */
export function toMoment(date: Date): string {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_');
}

/** @param text as `toMoment` writes it @returns undefined for digits that are no moment */
export function parseMoment(text: string): Date | undefined {
  const date = new Date(text.replace(/^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$/, '$1-$2-$3T$4:$5:$6'));
  // an hour that a clock change skips is still a moment; a thirtieth of February is none
  return !Number.isNaN(date.getTime()) && toMoment(date).startsWith(text.slice(0, 9)) ? date : undefined;
}

/** @returns a name for the first, second, … attempt: `-2` goes behind the moment */
export const numbered = (text: string, attempt: number): string => (attempt === 1 ? text : `${text}-${attempt}`);

/** @returns such as `478.2 MB` or `12.5 KB`; 1 MB = 1024 KB, as in the settings */
export function asSize(bytes: number): string {
  const [scale, unit] = bytes < 1024 ** 2 ? [1024, 'KB'] : bytes < 1024 ** 3 ? [1024 ** 2, 'MB'] : [1024 ** 3, 'GB'];
  return `${(bytes / scale).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ${unit}`;
}

/** @param started as `performance.now()` gave it @returns seconds with three decimals, for JSON */
export const secondsSince = (started: number): number => Number(((performance.now() - started) / 1000).toFixed(3));
