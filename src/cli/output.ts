/**
 * What commands print: JSON as it is, and for eyes a table or rows of names and values. Whatever comes out of the
 * database is made harmless first: it must neither steer the terminal nor break a line.
 */
import { styleText } from 'node:util';
import type { HorizontalAlignment } from 'cli-table3';
import Table from 'cli-table3';
import type { Terminal } from './terminal.ts';

export type Cell = string | number | boolean | null | undefined;

export interface Column {
  readonly title: string;
  readonly align?: 'right';
}

/** A model id of 10 kB is a legal id, and nobody reads it in a table; JSON and CSV hold all of it. */
const LONGEST_CELL = 120;

/** C0 and C1 controls (escape sequences begin with one), and what turns or hides the text around it. */
const UNPRINTABLE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e0fff}]/gu;

/** @returns the text in one line that cannot steer a terminal; at most 120 characters where it is `shortened` */
export function printable(text: string, shortened = true): string {
  const plain = text.replace(UNPRINTABLE, '\ufffd');
  return shortened && plain.length > LONGEST_CELL ? `${plain.slice(0, LONGEST_CELL - 1)}…` : plain;
}

function shown(cell: Cell): string {
  if (cell === null || cell === undefined) return '-';
  if (typeof cell === 'boolean') return cell ? 'yes' : 'no';
  return typeof cell === 'number' ? String(cell) : printable(cell);
}

/** @returns the value as JSON, one document that ends with a newline */
export const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** @returns titles and rows in columns, without frames, so that `awk` and eyes read them alike */
export function asTable(terminal: Terminal, columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const table = new Table({
    chars: NO_FRAME,
    style: { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 },
    colAligns: columns.map(({ align }): HorizontalAlignment => align ?? 'left'),
    head: columns.map(({ title }) => emphasize(terminal, 'bold', title.toUpperCase())),
  });
  table.push(...rows.map((row) => row.map(shown)));
  return `${trimEnds(table.toString())}\n`;
}

/** @returns one `name  value` a line */
export function asRows(rows: readonly (readonly [name: string, value: Cell])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${shown(value)}`.trimEnd() + '\n').join('');
}

export type Emphasis = 'bold' | 'red' | 'green' | 'yellow' | 'dim';

/** Coloured on a terminal that wants it (https://no-color.org), plain elsewhere. */
export function emphasize({ screen, environment }: Terminal, emphasis: Emphasis, text: string): string {
  const unwanted = (environment['NO_COLOR'] ?? '') !== '' || environment['TERM'] === 'dumb';
  return screen.output && !unwanted ? styleText(emphasis, text, { validateStream: false }) : text;
}

/** `1 user`, `2 users` */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? one : many}`;

const trimEnds = (text: string): string => text.replace(/[ \t]+$/gm, '');

const NO_FRAME = Object.fromEntries(
  [
    ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
    ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
  ].map((part) => [part, '']),
);
