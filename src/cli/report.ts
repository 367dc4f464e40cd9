/**
 * What commands print: JSON as it is, and for eyes a table or rows of names and values. Whatever comes out of the
 * database is made harmless first: it must neither steer the terminal nor break a line.
 */
import { styleText } from 'node:util';
import { stringify } from 'csv-stringify/sync';
import { UNPRINTABLE, escapedJson, quoted } from '../backend-file/text.ts';
import { PLAIN, printable, widthOf } from './format.ts';
import { type Given, type Terminal, CommandFailure, EXIT, givenOf, inPlace, laidOut, say } from './terminal.ts';

/** What a command has found or done. */
interface Report {
  /** What `--json` prints. */
  readonly record: unknown;
  /** What a person reads, with an empty line between two parts: sentences without their last line end, facts, tables. */
  readonly parts: readonly (string | readonly Fact[] | Table)[];
  /** On standard error, after it. */
  readonly notes?: readonly string[] | undefined;
  /** The exit code, if it is not 0. */
  readonly code?: number | undefined;
}

export type Fact = readonly [name: string, value: Cell];

export interface Table {
  /** In a line above it, not in CSV. */
  readonly title?: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
}

/** Prints JSON, the tables as CSV, or every part; then the notes. Parts that are empty texts are left out. @returns the exit code */
export function print(
  terminal: Terminal,
  { json, csv }: { readonly json?: boolean; readonly csv?: boolean },
  { record, parts, notes = [], code = EXIT.done }: Report,
): number {
  if (json === true) terminal.write(asJson(record));
  else {
    const texts = parts.filter((part) => part !== '').map((part) => textOf(terminal, part, csv === true));
    // of several tables in one file, an empty line says where the next begins
    terminal.write(csv === true ? texts.filter((text) => text !== '').join('\r\n') : texts.join('\n'));
  }
  for (const note of notes) say(terminal, note);
  return code;
}

function textOf(terminal: Terminal, part: Report['parts'][number], isCsv: boolean): string {
  if (typeof part === 'object' && 'columns' in part) {
    const { title, columns, rows } = part;
    if (isCsv) return asCsv(terminal, [columns.map(titleOf), ...rows]);
    const heading = title === undefined ? '' : `${emphasize(terminal, 'bold', title)}\n`;
    return heading + asTable(terminal, columns, rows);
  }
  if (isCsv) return '';
  return laidOut(typeof part === 'string' ? `${part}\n` : asRows(part), givenOf(terminal));
}

export type Cell = string | number | boolean | null | undefined;

/** Its title; figures stand at the right. */
export type Column = string | { readonly title: string; readonly align: 'right' };

const titleOf = (column: Column): string => (typeof column === 'string' ? column : column.title);

/** Two ids that differ in invisible characters must not look the same. */
const isSeenWhole = (text: string): boolean =>
  text.trim() === text && (PLAIN.test(text) || text.search(UNPRINTABLE) < 0);

function shown(cell: Cell): string {
  if (cell === null || cell === undefined) return '-';
  if (typeof cell === 'boolean') return cell ? 'yes' : 'no';
  if (typeof cell === 'number') return String(cell);
  return isSeenWhole(cell) ? printable(cell) : quoted(cell);
}

/** @returns the value as JSON, one document that ends with a newline; each element of a list is a line */
export const asJson = (value: unknown): string => `${spread(JSON.parse(JSON.stringify(value)) as unknown)}\n`;

/** @param indent of the line in which the value begins */
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

/** What `--json` says of a failure. */
export const toErrorJson = (failure: { readonly code: string; readonly message: string }, given: Given) => ({
  code: failure.code,
  message: inPlace(failure.message, given),
});

/** @returns the value as JSON in one line */
export const asJsonLine = (value: unknown): string => escapedJson(JSON.stringify(value));

/**
 * Written by hand because libraries for tables compare every cell with every other one: a list of 10,000 members took
 * 13 s, and here 0.3 s.
 * @returns titles and rows in columns, without frames, so that `awk` and eyes read them alike; on a terminal that is too
 *   narrow each row as a paragraph of titles and values
 */
export function asTable(terminal: Terminal, columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const titles = columns.map((column) => titleOf(column).toUpperCase());
  const lines = rows.map((row) => columns.map((_, at) => shown(row[at])));
  const widths = titles.map(widthOf);
  for (const line of lines) line.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, widthOf(cell))));
  if (terminal.screen.output && leastWidth(widths, lines) > terminal.screen.columns && lines.length > 0) {
    const pairs = lines.map((line) => line.map((cell, at) => [titles[at] ?? '', cell] as const));
    return pairs
      .map((rows) =>
        inRows(
          rows.filter(([, cell]) => cell !== ''),
          String,
        ),
      )
      .join('\n');
  }
  const align = (cells: readonly string[], style: (text: string) => string = (text) => text): string => {
    const padded = cells.map((cell, at) => {
      const gap = ' '.repeat((widths[at] ?? 0) - widthOf(cell));
      return typeof columns[at] === 'object' ? gap + style(cell) : style(cell) + gap;
    });
    return `${padded.join('  ').trimEnd()}\n`;
  };
  return align(titles, (title) => emphasize(terminal, 'bold', title)) + lines.map((line) => align(line)).join('');
}

/** The last column may break between its words. */
function leastWidth(widths: readonly number[], lines: readonly (readonly string[])[]): number {
  const last = lines.flatMap((line) => (line.at(-1) ?? '').split(' '));
  return widths.slice(0, -1).reduce((sum, width) => sum + width + 2, Math.max(0, ...last.map(widthOf)));
}

/** @returns one `name  value` a line */
export const asRows = (rows: readonly (readonly [name: string, value: Cell])[]): string => inRows(rows, shown);

/** As `asRows`, for values that must be seen whole, such as paths. */
export const asLines = (rows: readonly (readonly [name: string, value: string])[]): string =>
  inRows(rows, (value) => printable(value, false));

function inRows<V>(rows: readonly (readonly [name: string, value: V])[], show: (value: V) => string): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${show(value)}`.trimEnd() + '\n').join('');
}

export type Emphasis = 'bold' | 'red' | 'green' | 'yellow' | 'dim';

/** Coloured on a terminal that wants it (https://no-color.org), plain elsewhere. */
export function emphasize({ screen, environment }: Terminal, emphasis: Emphasis, text: string): string {
  const unwanted = (environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb';
  return screen.output && !unwanted ? styleText(emphasis, text, { validateStream: false }) : text;
}

// CSV as RFC 4180 has it: UTF-8, lines end in CRLF, quotes where they are needed. A cell that a spreadsheet would run
// as a formula (`=`, `+`, `-`, `@` at its beginning) gets an apostrophe in front; JSON has every value as it is.

/** @returns lines of CSV; on a terminal without what could steer it, in a file or pipe every character */
export function asCsv({ screen }: Terminal, rows: readonly (readonly Cell[])[]): string {
  const cells = screen.output ? rows.map((row) => row.map(harmless)) : rows;
  return stringify(
    cells.map((row) => [...row]),
    { record_delimiter: 'windows', escape_formulas: true, cast: { boolean: String } },
  );
}

/** @throws CommandFailure with exit code 2 */
export function requireOneFormat({ csv, json }: { readonly csv?: boolean; readonly json?: boolean }): void {
  if (csv !== true || json !== true) return;
  throw new CommandFailure('Either --csv or --json: one output cannot be both.', EXIT.misused);
}

const harmless = (cell: Cell): Cell => (typeof cell === 'string' ? printable(cell, false) : cell);
