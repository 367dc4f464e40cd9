/** What an operator does about a ledger that cannot be used, by the code of the failure: SQLite's, the system's, or PostgreSQL's. */
import type { PostgresAddress } from '../config/postgres-url.ts';
import { ledgerGrant } from './schema.ts';

/** Does no waiting help, since what the file holds is no ledger any more? */
export const isLost = (code: string): boolean => /^SQLITE_(?:NOTADB|CORRUPT)/.test(code);

/** @param postgres undefined for a file of SQLite */
export function remedyFor(code: string, postgres?: PostgresAddress): string {
  if (postgres === undefined) return isLost(code) ? MAKE_ANEW : MAKE_WRITABLE;
  return code === '42501' ? `As the owner of its tables, run: ${ledgerGrant(postgres)}` : BRING_BACK;
}

const BRING_BACK = 'The gate goes on by itself when PostgreSQL answers and takes what it writes.';
const MAKE_WRITABLE =
  'Make room on the disk of usage.db, or let this user write the file and its folder: the gate goes on by itself.';
const MAKE_ANEW =
  'Bring a copy of usage.db back, or move the file away and keep it: the gate makes a new one, in which budgets begin anew.';
