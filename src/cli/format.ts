/** How values read: counts, dates, spans of time, and text that fits a terminal and cannot steer it. */
import { stripVTControlCharacters } from 'node:util';
import stringWidth from 'string-width';
import { UNPRINTABLE } from '../backend-file/text.ts';

/** A model id of 10 kB is a legal id, and unreadable in a table; JSON and CSV hold all of it. */
const LONGEST_CELL = 120;

/** Most cells; looking for each unprintable character takes ten times as long. */
export const PLAIN = /^[ -~]*$/;

/** @returns the text in one line that cannot steer a terminal; at most 120 characters where it is `shortened` */
export function printable(text: string, shortened = true): string {
  const plain = PLAIN.test(text) ? text : text.replace(UNPRINTABLE, '\ufffd');
  return shortened && plain.length > LONGEST_CELL ? `${plain.slice(0, LONGEST_CELL - 1)}…` : plain;
}

/** `1 user`, `2 users` */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

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

/** @returns the columns of a terminal that the text takes, without what sets colours: 2 for East Asian scripts and emoji */
export const widthOf = (text: string): number => (PLAIN.test(text) ? text.length : stringWidth(text));

/**
 * Breaks long lines between words; what follows stands under the text of the last column, or behind the indent. A
 * command goes on behind a backslash, as a shell reads it; `NAME=value` and what stands between backticks stay whole.
 */
export const fitLines = (text: string, columns: number): string =>
  text
    .split('\n')
    .map((line) => fitLine(line, columns))
    .join('\n');

const SETTING = /^[A-Z_]+=/;
const COMMAND = /^ +(?:\$|npx|node|modelgate|chmod|mkdir|kill|[A-Z_]+=\S+) /;
const WORDS = /\s*(?:`[^`]*`|\S)+|\s+$/g;
const SHELL_WORDS = /\s*(?:'[^']*'|"[^"]*"|\S)+/g;
/** Text in fewer columns than these is hard to read. */
const NARROW = 20;

function fitLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  if (widthOf(plain) <= columns || SETTING.test(plain)) return line;
  if (COMMAND.test(plain)) {
    return filled(line.match(SHELL_WORDS) ?? [], columns - 2, 4, ' \\');
  }
  const starts = [...plain.matchAll(/(?:^ | ) +(?=\S)/g)].map(({ 0: gap, index }) => index + gap.length);
  const hang = starts.findLast((start) => start <= columns - NARROW) ?? 0;
  return filled(line.match(WORDS) ?? [], columns, hang, '');
}

/** @param hang columns before each line but the first @param end what stands behind each line but the last */
function filled(words: readonly string[], columns: number, hang: number, end: string): string {
  let [text, width] = ['', 0];
  for (const word of words) {
    const size = widthOf(word);
    const isBreak = width > hang && width + size > columns;
    const shown = isBreak ? word.trimStart() : word;
    text += isBreak ? `${end}\n${' '.repeat(hang)}${shown}` : shown;
    width = isBreak ? hang + widthOf(shown) : width + size;
  }
  return text;
}
