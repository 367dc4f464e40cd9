/** What one check of `doctor` has found, and what to do about it. */
export type Status = 'ok' | 'warning' | 'problem' | 'unknown';

/** What a check says of what it has looked at. */
export interface Verdict {
  readonly status: Status;
  /** One sentence: what was found. */
  readonly finding: string;
  /** What to do; null where there is nothing to do. */
  readonly remedy: string | null;
  /** Of the backend's last migration, for programs. */
  readonly revision?: string;
}

/** A verdict with the name of its check; several may have one name. */
export interface Finding extends Verdict {
  readonly name: string;
}

export type Verdicts = Verdict | readonly Verdict[];

/** There is nothing to do. */
export const ok = (finding: string): Verdict => ({ status: 'ok', finding, remedy: null });

const says =
  (status: Status) =>
  (finding: string, remedy: string): Verdict => ({ status, finding, remedy });

/** It works, and the operator should look at it. */
export const warning = says('warning');
/** Something is wrong now. */
export const problem = says('problem');
/** It could not be checked. */
export const unknown = (finding: string, remedy: string | null = null): Verdict => ({
  ...problem(finding, ''),
  status: 'unknown',
  remedy,
});

/** @param checks what each check says, by its name @returns all of it in their order */
export const findingsOf = (checks: Readonly<Record<string, Verdicts>>): readonly Finding[] =>
  Object.entries(checks).flatMap(([name, verdicts]) => [verdicts].flat().map((verdict) => ({ name, ...verdict })));
