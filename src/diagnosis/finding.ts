export type Status = 'ok' | 'warning' | 'problem' | 'unknown';

/** What one check of `doctor` says of what it has looked at. */
export interface Verdict {
  readonly status: Status;
  readonly finding: string;
  /** Null where there is nothing to do. */
  readonly remedy: string | null;
  /** Of the backend's last migration, for programs. */
  readonly revision?: string;
}

/** A verdict with the name of its check; several may have one name. */
export interface Finding extends Verdict {
  readonly name: string;
}

export type Verdicts = Verdict | readonly Verdict[];

const says =
  (status: Status) =>
  (finding: string, remedy: string | null = null): Verdict => ({ status, finding, remedy });

export const ok: (finding: string) => Verdict = says('ok');
/** It works, and the operator should look at it. */
export const warning: (finding: string, remedy: string) => Verdict = says('warning');
/** Something is wrong now. */
export const problem: (finding: string, remedy: string) => Verdict = says('problem');
/** It could not be checked. */
export const unknown = says('unknown');

/** @param checks what each check says, by its name @returns all of it in their order */
export const findingsOf = (checks: Readonly<Record<string, Verdicts>>): readonly Finding[] =>
  Object.entries(checks).flatMap(([name, verdicts]) => [verdicts].flat().map((verdict) => ({ name, ...verdict })));

/** @returns the words of what it throws, empty where it is done */
export function complaintOf(act: () => unknown): string {
  try {
    act();
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : 'unknown';
  }
}
