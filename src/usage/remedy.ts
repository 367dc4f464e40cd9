/** What an operator does about a `usage.db` that cannot be used, by the code of the failure: SQLite's, or the system's. */

/** Does no waiting help, since what the file holds is no ledger any more? */
export const isLost = (code: string): boolean => /^SQLITE_(?:NOTADB|CORRUPT)/.test(code);

export const remedyFor = (code: string): string => (isLost(code) ? MAKE_ANEW : MAKE_WRITABLE);

const MAKE_WRITABLE =
  'Make room on the disk of usage.db, or let this user write the file and its folder: the gate goes on by itself.';
const MAKE_ANEW =
  'Bring a copy of usage.db back, or move the file away and keep it: the gate makes a new one, in which budgets begin anew.';
