/**
 * CSV as RFC 4180 has it: UTF-8, lines end in CRLF, quotes where they are needed. A cell that a spreadsheet would run
 * as a formula (`=`, `+`, `-`, `@` at its beginning) gets an apostrophe in front; JSON has every value as it is.
 */
import { stringify } from 'csv-stringify/sync';
import type { Cell } from '../output.ts';
import { printable } from '../output.ts';
import type { Terminal } from '../terminal.ts';
import { CommandFailure, EXIT } from '../terminal.ts';

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
