/** Rows that break a rule of their table: no damage of the disk, and worth a word. */
import { counted, printable } from './output.ts';
import type { Terminal } from './terminal.ts';

export function warnOfComplaints(terminal: Terminal, complaints: readonly string[]): void {
  const [first] = complaints;
  if (first === undefined) return;
  terminal.writeError(
    `modelgate: integrity_check finds no damage, but ${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}. The row was copied as it is.\n`,
  );
}
