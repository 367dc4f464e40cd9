/** What one check of `doctor` has found, and what to do about it. */
import { OperationFailure, explainFailure } from '../backend-file/failure.ts';
import { describeFailure, failureCode, isBusy } from '../store/database.ts';

export type Status = 'ok' | 'warning' | 'problem' | 'unknown';

export interface Finding {
  /** The check: several findings may have one name. */
  readonly name: string;
  readonly status: Status;
  /** One sentence: what was found. */
  readonly finding: string;
  /** What to do; null where there is nothing to do. */
  readonly remedy: string | null;
  /** Of the backend's last migration, for programs. */
  readonly revision?: string;
}

/** There is nothing to do. */
export const ok = (name: string, finding: string): Finding => ({ name, status: 'ok', finding, remedy: null });

/** It works, and the operator should look at it. */
export const warning = (name: string, finding: string, remedy: string): Finding => ({
  ...ok(name, finding),
  status: 'warning',
  remedy,
});

/** Something is wrong now. */
export const problem = (name: string, finding: string, remedy: string): Finding => ({
  ...ok(name, finding),
  status: 'problem',
  remedy,
});

/** It could not be checked. */
export const unknown = (name: string, finding: string, remedy: string | null = null): Finding => ({
  ...ok(name, finding),
  status: 'unknown',
  remedy,
});

/** @returns the error of a check as a finding @throws any error that is no failure of the file */
export function failed(name: string, error: unknown, path: string): Finding {
  if (error instanceof OperationFailure) return problem(name, error.message, 'See above.');
  const failure = explainFailure(error, path);
  if (failure !== undefined) {
    return isBusy(error)
      ? unknown(name, `Not checked: ${failure.finding}`, failure.remedy)
      : problem(name, failure.finding, failure.remedy);
  }
  // the backend migrates in this moment: what was prepared has another shape now
  if (failureCode(error).startsWith('SQLITE_')) {
    return unknown(name, `Not checked: ${describeFailure(error)}.`, 'Try again; the backend may be migrating.');
  }
  throw error;
}
