/** What commands print. What comes out of the database is made harmless first: it must neither steer the terminal nor break a line. */
import { createRequire } from 'node:module';
import { stripVTControlCharacters, styleText } from 'node:util';
import { stringify } from 'csv-stringify/sync';
import type stringWidth from 'string-width';
import { UNPRINTABLE, escapedJson, quoted } from '../backend-file/text.ts';
import { type Given, type Terminal, EXIT, givenOf, inPlace, laidOut, say, misused } from './terminal.ts';

interface Report {
  readonly record: unknown;
  /** What a person reads, with an empty line between two parts: sentences without their last line end, facts, tables. */
  readonly parts: readonly (string | readonly Fact[] | Table)[];
  /** `false` stands for a note that is not needed. */
  readonly notes?: readonly (string | false | undefined)[] | undefined;
  readonly code?: number | undefined;
}

export type Fact = readonly [name: string, value: Cell];

export interface Table {
  readonly title?: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

export type Cell = string | number | boolean | null | undefined;

type Column = string | { readonly title: string; readonly align: 'right' };

/** Prints JSON, the tables as CSV, or every part that is no empty text; then the notes. @returns the exit code */
export function print(
  terminal: Terminal,
  { json, csv }: { readonly json?: boolean; readonly csv?: boolean },
  { record, parts, notes = [], code = EXIT.done }: Report,
): number {
  if (json === true) terminal.write(asJson(record));
  else if (csv === true) {
    const tables = parts.filter((part) => typeof part === 'object' && 'columns' in part);
    const texts = tables.map(({ columns, rows }) => asCsv(terminal, [columns.map(titleOf), ...rows]));
    terminal.write(texts.join('\r\n'));
  } else {
    const texts = parts.filter((part) => part !== '').map((part) => textOf(terminal, part));
    terminal.write(texts.join('\n'));
  }
  for (const note of notes) if (typeof note === 'string') say(terminal, note);
  return code;
}

function textOf(terminal: Terminal, part: Report['parts'][number]): string {
  if (typeof part === 'object' && 'columns' in part) {
    const heading = part.title === undefined ? '' : `${emphasize(terminal, 'bold', part.title)}\n`;
    return heading + asTable(terminal, part.columns, part.rows);
  }
  return laidOut(`${typeof part === 'string' ? part : asRows(part)}\n`, givenOf(terminal));
}

const titleOf = (column: Column): string => (typeof column === 'string' ? column : column.title);

/** A model id of 10 kB is a legal id, and unreadable in a table; JSON and CSV hold all of it. */
const LONGEST_CELL = 120;

/** Most cells; looking for each unprintable character takes ten times as long. */
const PLAIN = /^[ -~]*$/;

/** @returns the text in one line that cannot steer a terminal; at most 120 characters where it is `shortened` */
export function printable(text: string, shortened = true): string {
  const plain = PLAIN.test(text) ? text : text.replace(UNPRINTABLE, '\ufffd');
  return shortened && plain.length > LONGEST_CELL ? `${plain.slice(0, LONGEST_CELL - 1)}…` : plain;
}

function shown(cell: Cell): string {
  if (cell === null || cell === undefined) return '-';
  if (typeof cell !== 'string') return typeof cell === 'number' ? String(cell) : cell ? 'yes' : 'no';
  // two ids that differ in invisible characters must not look the same
  const isSeenWhole = cell.trim() === cell && (PLAIN.test(cell) || cell.search(UNPRINTABLE) < 0);
  return isSeenWhole ? printable(cell) : quoted(cell);
}

export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

export const inSeconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;

const UNITS = { day: 86_400_000, hour: 3_600_000, minute: 60_000, second: 1_000 };

/** `30 days`, `12 hours`: the largest unit that divides it. */
export function asDuration(milliseconds: number): string {
  const [unit, size] = Object.entries(UNITS).find(([, scale]) => milliseconds % scale === 0) ?? ['millisecond', 1];
  return counted(milliseconds / size, unit);
}

/** @returns the value as JSON, one document that ends with a newline; each element of a list is a line */
export const asJson = (value: unknown): string => `${spread(JSON.parse(JSON.stringify(value)) as unknown)}\n`;

/** As `asJson`, without the newline. @param indent of the line in which the value begins */
export function spread(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return asJsonLine(value);
  const lines = Array.isArray(value)
    ? value.map(asJsonLine)
    : Object.entries(value).map(([name, part]) => `${asJsonLine(name)}: ${spread(part, `${indent}  `)}`);
  const [open, close] = Array.isArray(value) ? '[]' : '{}';
  return lines.length === 0
    ? `${open}${close}`
    : `${open}\n${indent}  ${lines.join(`,\n${indent}  `)}\n${indent}${close}`;
}

export const toErrorJson = ({ code, message }: Record<'code' | 'message', string>, given: Given) => ({
  code,
  message: inPlace(message, given),
});

/** @returns the value as JSON in one line */
export const asJsonLine = (value: unknown): string => escapedJson(JSON.stringify(value));

/** On a terminal that is too narrow each row is a paragraph. Libraries for tables need 13 s for 10,000 rows, this 0.3 s. */
function asTable(terminal: Terminal, columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const titles = columns.map((column) => titleOf(column).toUpperCase());
  const lines = rows.map((row) => columns.map((_, at) => shown(row[at])));
  const widths = titles.map(widthOf);
  for (const line of lines) line.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, widthOf(cell))));
  if (terminal.screen.output && leastWidth(widths, lines) > terminal.screen.columns && lines.length > 0) {
    const paragraphs = lines.map((line) => line.map((cell, at) => [titles[at] ?? '', cell] as const));
    return `${paragraphs.map((pairs) => inRows(pairs.filter(([, cell]) => cell !== ''))).join('\n\n')}\n`;
  }
  const align = (cells: readonly string[], style = (text: string): string => text): string => {
    const padded = cells.map((cell, at) => {
      const gap = ' '.repeat((widths[at] ?? 0) - widthOf(cell));
      return typeof columns[at] === 'object' ? gap + style(cell) : style(cell) + gap;
    });
    return `${padded.join('  ').trimEnd()}\n`;
  };
  return align(titles, (title) => emphasize(terminal, 'bold', title)) + lines.map((line) => align(line)).join('');
}

function leastWidth(widths: readonly number[], lines: readonly (readonly string[])[]): number {
  const last = lines.flatMap((line) => (line.at(-1) ?? '').split(' '));
  return widths.slice(0, -1).reduce((sum, width) => sum + width + 2, Math.max(0, ...last.map(widthOf)));
}

const asRows = (rows: readonly Fact[]): string => inRows(rows.map(([name, cell]) => [name, shown(cell)]));

/** As `asRows`, for values that must be seen whole, such as paths. */
export const asLines = (rows: readonly (readonly [name: string, value: string])[]): string =>
  inRows(rows.map(([name, value]) => [name, printable(value, false)]));

function inRows(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n');
}

type Emphasis = 'bold' | 'red' | 'green' | 'yellow' | 'dim';

/** Coloured on a terminal that wants it (https://no-color.org), plain elsewhere. */
export function emphasize({ screen, environment }: Terminal, emphasis: Emphasis, text: string): string {
  const unwanted = (environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb';
  return screen.output && !unwanted ? styleText(emphasis, text, { validateStream: false }) : text;
}

/** CSV as RFC 4180 has it; an apostrophe before what a spreadsheet would run as a formula, and nothing that steers a terminal. */
export const asCsv = ({ screen }: Terminal, rows: readonly (readonly Cell[])[]): string =>
  stringify(
    rows.map((row) => row.map((cell) => (screen.output && typeof cell === 'string' ? printable(cell, false) : cell))),
    { record_delimiter: 'windows', escape_formulas: true, cast: { boolean: String } },
  );

export function requireOneFormat({ csv, json }: { readonly csv?: boolean; readonly json?: boolean }): void {
  if (csv !== true || json !== true) return;
  throw misused('Either --csv or --json: one output cannot be both.');
}

const require = createRequire(import.meta.url);
let measure: typeof stringWidth | undefined;

/** Columns of a terminal: 2 for East Asian scripts and emoji, none for what sets colours. */
function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  // its tables take 40 ms of every start, and few texts need them
  measure ??= (require('string-width') as { readonly default: typeof stringWidth }).default;
  return measure(text);
}

/** Breaks long lines between words; `NAME=value` and what stands between backticks stay whole, a command goes on behind a backslash. */
export const fitLines = (text: string, columns: number): string =>
  text.replace(/[^\n]+/g, (line) => fitLine(line, columns));

const SETTING = /^[A-Z_]+=/;
const COMMAND = /^ +(?:\$|npx|node|modelgate|chmod|mkdir|kill|[A-Z_]+=\S+) /;
const WORDS = /\s*(?:`[^`]*`|\S)+|\s+$/g;
const SHELL_WORDS = /\s*(?:'[^']*'|"[^"]*"|\S)+/g;
const NARROW = 20;

function fitLine(line: string, columns: number): string {
  const plain = stripVTControlCharacters(line);
  if (widthOf(plain) <= columns || SETTING.test(plain)) return line;
  const isCommand = COMMAND.test(plain);
  const starts = [...plain.matchAll(/(?:^ | ) +(?=\S)/g)].map(({ 0: gap, index }) => index + gap.length);
  const hang = isCommand ? 4 : (starts.findLast((start) => start <= columns - NARROW) ?? 0);
  const [limit, end] = isCommand ? [columns - 2, ' \\'] : [columns, ''];
  let [text, width] = ['', 0];
  for (const word of line.match(isCommand ? SHELL_WORDS : WORDS) ?? []) {
    const size = widthOf(word);
    const isBreak = width > hang && width + size > limit;
    const part = isBreak ? word.trimStart() : word;
    text += isBreak ? `${end}\n${' '.repeat(hang)}${part}` : part;
    width = isBreak ? hang + widthOf(part) : width + size;
  }
  return text;
}
