/** Whether SQLite finds a file whole. */
import { OperationFailure } from '../failure.ts';
import { quoted } from '../quoted.ts';
import { runWhereItFits } from './statement-process.ts';

const BUSY_MS = 5_000;

/**
 * Rows that break a rule of their table: the backend has written them, they say nothing about the disk, and a backup
 * that refused them would be no backup.
 */
const BROKEN_RULE = /^(?:NULL value in |CHECK constraint failed in |(?:TEXT|NUMERIC|INT|REAL|BLOB|non-\w+) value in )/;

export interface Integrity {
  /** What is wrong about the file itself. */
  readonly damage: readonly string[];
  /** Rows that break a rule of their table. */
  readonly complaints: readonly string[];
}

/** Reads the whole file. @throws OperationFailure after Ctrl-C, errors with SQLite's code where it cannot be read at all */
export async function readIntegrity(path: string, signal: AbortSignal): Promise<Integrity> {
  const rows = await runWhereItFits({ path, statement: 'integrity', busyMs: BUSY_MS }, signal);
  const findings = rows.flatMap((row) => row.split('\n')).filter((line) => line !== 'ok');
  return {
    damage: findings.filter((line) => !BROKEN_RULE.test(line)),
    complaints: findings.filter((line) => BROKEN_RULE.test(line)),
  };
}

/**
 * @param shown how the file is called in sentences
 * @param remedy what to do where it is damaged
 * @returns what SQLite says about rows that break a rule of their table
 * @throws OperationFailure where the file is damaged, errors with SQLite's code where it cannot be read at all
 */
export async function requireIntegrity(
  path: string,
  { shown, remedy }: { readonly shown: string; readonly remedy: string },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { damage, complaints } = await readIntegrity(path, signal);
  if (damage.length === 0) return complaints;
  throw new OperationFailure(
    `${shown} is damaged: ${quoted(damage[0] ?? '')}${damage.length > 1 ? `, and ${damage.length - 1} more findings` : ''} (integrity_check). Nothing was changed. ${remedy}`,
    { code: 'damaged' },
  );
}
