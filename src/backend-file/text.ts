/** What an operator has typed, or a database holds, made harmless inside a sentence. */

/** Ids may be of any length, and nobody reads the end of a long one. */
const LONGEST = 120;

/** @returns the text between quotes as JSON writes it, in at most 120 characters; what cannot be seen is escaped, and what marks a command */
export function quoted(text: string): string {
  const plain = JSON.stringify(text).replace(
    /[`\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST - 1)}…"` : plain;
}

/** @returns the first `most` of them, such as `"a", "b" and 3 more` */
export function quotedFew(texts: readonly string[], most: number): string {
  const shown = texts.slice(0, most).map((text) => quoted(text));
  const rest = texts.length - shown.length;
  return `${shown.join(', ')}${rest > 0 ? ` and ${rest.toLocaleString('en')} more` : ''}`;
}
/** Commands that a finding or an explanation advises, to be pasted into a shell whatever the ids and paths are. */

/** Nothing that bash, zsh or dash would change. */
const PLAIN = /^[\w@%+=:,./-]+$/;
/** What a terminal must not be shown, or would not show; and the backtick, which ends a command inside of a sentence. */
const HIDDEN =
  /[\u0000-\u001f`\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e0fff}]/gu;
/** A longer word helps nobody who reads. */
const LONGEST_WORD = 300;

/** @returns the words in one line, each quoted where the shell would read it otherwise */
export const shellCommand = (...words: readonly string[]): string => words.map(shellWord).join(' ');

function shellWord(word: string): string {
  if (word.length > LONGEST_WORD) return '…';
  if (PLAIN.test(word)) return word;
  HIDDEN.lastIndex = 0;
  if (!HIDDEN.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/[\\']/g, '\\$&').replace(HIDDEN, escapeOf);
  return `$'${escaped}'`;
}

/** As `$'…'` of bash and zsh reads it. */
function escapeOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
}
/** Moments in file names, as the deployment guide's `date +%Y%m%d_%H%M%S` writes them: local time. */

/** @returns such as `20260131_030000` */
export function toMoment(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  return `${day}_${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
}

/** @returns undefined for digits that are no moment, such as a thirteenth month */
export function parseMoment(text: string): Date | undefined {
  const [, year, month, day, hours, minutes, seconds] =
    /^(\d{4})(\d{2})(\d{2})_(\d{2})(\d{2})(\d{2})$/.exec(text)?.map(Number) ?? [];
  if (year === undefined || month === undefined) return undefined;
  const date = new Date(year, month - 1, day, hours, minutes, seconds);
  // an hour that a clock change skips is still a moment; a thirteenth month is none
  return date.getMonth() === month - 1 && date.getDate() === day ? date : undefined;
}

/** A name for the first, second, … attempt: `-2` goes behind the moment. */
export const numbered = (text: string, attempt: number): string => (attempt === 1 ? text : `${text}-${attempt}`);
