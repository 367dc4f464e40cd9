/** What a copy of the database was found to hold, in words. */
import type { DatabaseFacts } from '../../upkeep/verified-copy.ts';
import { counted, printable } from '../format.ts';
import type { Terminal } from '../terminal.ts';
import { say } from '../terminal.ts';

/** @returns such as `integrity ok, 14 users, 9 models, 12 memberships, 8 grants` */
export function describeFacts({ users, models, members, grants }: Omit<DatabaseFacts, 'objects'>): string {
  return `integrity ok, ${counted(users, 'user')}, ${counted(models, 'model')}, ${counted(members, 'membership')}, ${counted(grants, 'grant')}`;
}

/** Of rows that break a rule of their table: no damage of the disk, and worth a word. */
export function warnOfComplaints(terminal: Terminal, complaints: readonly string[]): void {
  const [first] = complaints;
  if (first === undefined) return;
  say(
    terminal,
    `integrity_check finds no damage, but ${counted(complaints.length, 'rule')} of a table broken by a row, such as: ${printable(first)}. The row was copied as it is.`,
  );
}
