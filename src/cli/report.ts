/** What commands print. What comes out of the database is made harmless first: it must neither steer the terminal nor break a line. */
import { setImmediate } from 'node:timers/promises';
import { stringify } from 'csv-stringify/sync';
import { UNPRINTABLE, escapedJson, quoted } from '../backend-file/text.ts';
import {
  type Given,
  type Terminal,
  CommandFailure,
  EXIT,
  PLAIN,
  emphasize,
  givenOf,
  inPlace,
  laidOut,
  say,
  widthOf,
} from './terminal.ts';

export interface Report {
  readonly record?: unknown;
  /** What a person reads, with an empty line between two parts: sentences without their last line end, facts, tables. */
  readonly parts: readonly (string | readonly Fact[] | Table)[];
  readonly notes?: Notes | undefined;
  /** Ends with exit code 1. */
  readonly failed?: boolean;
}

/** `false` stands for a note that is not needed. */
export type Notes = readonly (string | false | undefined)[];

/** Left out where its value is undefined; of a list the first stand below each other. */
export type Fact = readonly [name: string, value: Cell | readonly string[]];

interface Table {
  readonly title?: string | undefined;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export type Cell = string | number | boolean | null | undefined;

/** @param columns by their titles: the field of a row that stands there, or what makes the cell */
export const tableOf = <Row extends object>(
  rows: readonly Row[],
  columns: Readonly<Record<string, keyof Row | ((row: Row) => Cell)>>,
  title?: string,
): Table => ({
  title,
  columns: Object.keys(columns),
  rows: rows.map((row) =>
    Object.values(columns).map((cell) => (typeof cell === 'function' ? cell(row) : (row[cell] as Cell))),
  ),
});

/** Prints JSON, the tables as CSV, or every part that is not empty; then the notes. @returns the exit code */
export async function print(
  terminal: Terminal,
  { json, csv }: { readonly json?: boolean; readonly csv?: boolean },
  { record, parts, notes = [], failed = false }: Report,
): Promise<number> {
  if (json === true) await writeInPieces(terminal, jsonOf(record), '\n');
  else if (csv === true) await writeInPieces(terminal, csvOf(parts.filter(isTable), terminal.screen.output));
  else {
    const texts = parts.filter((part) => part !== '').map((part) => textOf(terminal, part));
    if (texts.length > 0) terminal.write(texts.join('\n'));
  }
  for (const note of notes) if (typeof note === 'string') say(terminal, note);
  return failed ? EXIT.failed : EXIT.done;
}

const PIECE = 65_536;

/** Nothing is made that will not be read. @throws CommandFailure after Ctrl-C */
async function writeInPieces(terminal: Terminal, texts: Iterable<string>, end = ''): Promise<void> {
  let piece = '';
  for (const text of texts) {
    piece += text;
    if (piece.length < PIECE) continue;
    terminal.write(piece);
    piece = '';
    // `| head` has left, or Ctrl-C was pressed: both are heard of only between two pieces
    await setImmediate();
    if (terminal.stop.aborted) throw new CommandFailure('Stopped before the end of the output.');
  }
  terminal.write(piece + end);
}

const isTable = (part: Report['parts'][number]): part is Table => typeof part === 'object' && 'columns' in part;

function textOf(terminal: Terminal, part: Report['parts'][number]): string {
  if (isTable(part)) {
    const heading = part.title === undefined ? '' : `${emphasize(terminal, 'bold', part.title)}\n`;
    return heading + asTable(terminal, part);
  }
  return laidOut(`${typeof part === 'string' ? part : asRows(part)}\n`, givenOf(terminal));
}

/** A model id of 10 kB is a legal id, and unreadable in a table; JSON and CSV hold all of it. */
const LONGEST_CELL = 120;

/** @returns the text in one line that cannot steer a terminal, cut where it is longer */
export function printable(text: string, longest = LONGEST_CELL): string {
  const plain = PLAIN.test(text) ? text : text.replace(UNPRINTABLE, '\ufffd');
  return plain.length > longest ? `${plain.slice(0, longest - 1)}…` : plain;
}

/** As `printable`, for what must be seen whole: sentences, paths. */
export const whole = (text: string): string => printable(text, Number.POSITIVE_INFINITY);

function shown(cell: Cell, longest?: number): string {
  if (cell === null || cell === undefined) return '-';
  if (typeof cell !== 'string') return typeof cell === 'number' ? String(cell) : cell ? 'yes' : 'no';
  // two ids that differ in invisible characters must not look the same
  const isSeenWhole = cell.trim() === cell && (PLAIN.test(cell) || cell.search(UNPRINTABLE) < 0);
  return isSeenWhole ? printable(cell, longest) : quoted(cell);
}

/** Such as `1,200`. */
export const grouped = (count: number): string => count.toLocaleString('en');

export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${grouped(count)} ${count === 1 ? one : many}`;

/** @returns such as `3 off`, for each that is not zero */
export const amounts = (counts: Readonly<Record<string, number>>, say = withWord): string[] =>
  Object.entries(counts).flatMap(([what, count]) => (count > 0 ? [say(count, what)] : []));

/** Such as `12 (3 off, 1 not counted)`. */
export function withRest(count: number, rest: Readonly<Record<string, number>>): string {
  const said = amounts(rest).join(', ');
  return said === '' ? grouped(count) : `${grouped(count)} (${said})`;
}

const withWord = (count: number, what: string): string => `${grouped(count)} ${what}`;

/** @returns the value as JSON, one document that ends with a newline; each element of a list is a line */
export const asJson = (value: unknown): string => `${[...jsonOf(value)].join('')}\n`;

/** @param indent of the line in which the value begins */
function* jsonOf(value: unknown, indent = ''): Generator<string> {
  if (typeof value !== 'object' || value === null) {
    yield asJsonLine(value);
    return;
  }
  const isList = Array.isArray(value);
  const parts = Object.entries(value).filter(([, part]) => part !== undefined);
  const [open, close] = isList ? '[]' : '{}';
  yield open ?? '';
  for (const [at, [name, part]] of parts.entries()) {
    yield `${at === 0 ? '' : ','}\n${indent}  ${isList ? asJsonLine(part) : `${asJsonLine(name)}: `}`;
    if (!isList) yield* jsonOf(part, `${indent}  `);
  }
  yield `${parts.length === 0 ? '' : `\n${indent}`}${close}`;
}

export const toErrorJson = ({ code, message }: Record<'code' | 'message', string>, given: Given) => ({
  code,
  message: inPlace(message, given),
});

/** @returns the value as JSON in one line */
export const asJsonLine = (value: unknown): string => escapedJson(JSON.stringify(value));

/**
 * Columns of figures stand at the right, and those without any value are left out. On a terminal that is too narrow each
 * row is a paragraph. Libraries for tables need 13 s for 10,000 rows, this 0.3 s.
 */
function asTable(terminal: Terminal, { columns, rows }: Table): string {
  const kept = columns.flatMap((_, at) => (rows.length === 0 || rows.some((row) => !isEmpty(row[at])) ? [at] : []));
  const titles = kept.map((at) => (columns[at] ?? '').toUpperCase());
  const lines = rows.map((row) => kept.map((at) => shown(row[at])));
  const widths = titles.map(widthOf);
  for (const line of lines) line.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, widthOf(cell))));
  if (terminal.screen.output && leastWidth(widths, lines) > terminal.screen.columns && lines.length > 0) {
    const paragraphs = lines.map((line) => line.map((cell, at) => [titles[at] ?? '', cell] as const));
    return `${paragraphs.map((pairs) => inRows(pairs.filter(([, cell]) => cell !== ''))).join('\n\n')}\n`;
  }
  const isFigures = kept.map((_, at) => lines.every((line) => FIGURE.test(line[at] ?? '')));
  const align = (cells: readonly string[], style = (text: string): string => text): string => {
    const padded = cells.map((cell, at) => {
      const gap = ' '.repeat((widths[at] ?? 0) - widthOf(cell));
      return isFigures[at] === true ? gap + style(cell) : style(cell) + gap;
    });
    return `${padded.join('  ').trimEnd()}\n`;
  };
  return align(titles, (title) => emphasize(terminal, 'bold', title)) + lines.map((line) => align(line)).join('');
}

const isEmpty = (cell: Cell): boolean => (cell ?? '') === '';

/** Such as `1,200`, `0.123`, `12.5 MB`, and what stands in the place of none. */
const FIGURE = /^(?:[\d,.]+(?: [KM]B)?|-)$/;

function leastWidth(widths: readonly number[], lines: readonly (readonly string[])[]): number {
  const last = lines.flatMap((line) => (line.at(-1) ?? '').split(' '));
  return widths.slice(0, -1).reduce((sum, width) => sum + width + 2, Math.max(0, ...last.map(widthOf)));
}

const MOST_LISTED = 20;

const asRows = (facts: readonly Fact[]): string =>
  inRows(facts.flatMap(([name, value]) => linesOf(value).map((line, at) => [at === 0 ? name : '', line] as const)));

function linesOf(value: Fact[1]): readonly string[] {
  if (typeof value !== 'object' || value === null) return value === undefined ? [] : [inFact(value)];
  const rest = value.length - MOST_LISTED;
  const lines = value.slice(0, MOST_LISTED).map(inFact);
  return value.length === 0
    ? ['none']
    : [...lines, ...(rest > 0 ? [`and ${grouped(rest)} more; --json shows all`] : [])];
}

/** A path must be seen whole (PATH_MAX). */
const inFact = (cell: Cell): string => shown(cell, String(cell).startsWith('/') ? 4_096 : LONGEST_CELL);

function inRows(rows: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`.trimEnd()).join('\n');
}

/** CSV as RFC 4180 has it; an apostrophe before what a spreadsheet would run as a formula, and nothing that steers a terminal. */
function* csvOf(tables: readonly Table[], isScreen: boolean): Generator<string> {
  const toCsv = (rows: readonly (readonly Cell[])[]): string =>
    stringify(
      rows.map((row) => row.map((cell) => (isScreen && typeof cell === 'string' ? whole(cell) : cell))),
      { record_delimiter: 'windows', escape_formulas: true, cast: { boolean: String, string: asNumberOrText } },
    );
  for (const [index, { columns, rows }] of tables.entries()) {
    yield `${index === 0 ? '' : '\r\n'}${toCsv([columns])}`;
    for (let at = 0; at < rows.length; at += ROWS) yield toCsv(rows.slice(at, at + ROWS));
  }
}

const ROWS = 1_000;

/** An amount below zero is no formula. */
const asNumberOrText = (text: string) =>
  text.startsWith('-') && /^-\d+(?:\.\d+)?$/.test(text) ? { value: text, escape_formulas: false } : text;

/** @returns what `--csv` prints of the table into a file */
export const asCsv = (table: Table): string => [...csvOf([table], false)].join('');
