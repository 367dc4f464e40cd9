/** What the gate has to write into the backend's file, and whether it could. */
import type { WriteFailure } from './file-questions.ts';

/** `initialization`: tables and views. `enrolment`: the membership of a user who is seen for the first time. */
export type Write = 'initialization' | 'enrolment';

/** Nobody may have come since who could be enrolled. */
const TOLD_MS = 15 * 60_000;

export class WriteFailures {
  /** How often each write failed, by what was to be written and SQLite's code. */
  readonly counts = new Map<string, { readonly write: Write; readonly code: string; count: number }>();
  readonly #now: () => number;
  #enrolment: { readonly failedAt: number; readonly problem: string } | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** @param failure what the write has run into, or undefined */
  note(write: Write, failure: WriteFailure | undefined): void {
    // a lock is over when the user comes again
    const problem = failure === undefined || failure.isLocked ? undefined : failure.problem;
    if (write === 'enrolment') {
      this.#enrolment = problem === undefined ? undefined : { failedAt: this.#now(), problem };
    }
    if (failure === undefined) return;
    const { code } = failure;
    const known = this.counts.get(`${write} ${code}`) ?? { write, code, count: 0 };
    known.count += 1;
    this.counts.set(`${write} ${code}`, known);
  }

  /** @returns why nobody can be enrolled now, as far as it is known. What is missing in the schema is told elsewhere. */
  problem(isDiskFull: boolean): string | undefined {
    const sinceMs = this.#now() - (this.#enrolment?.failedAt ?? Number.NEGATIVE_INFINITY);
    if (this.#enrolment !== undefined && sinceMs < TOLD_MS) {
      return `a new user could not be enrolled ${Math.round(sinceMs / 1_000)} s ago: ${this.#enrolment.problem}`;
    }
    return isDiskFull ? 'the disk is full: nothing can be written into the database' : undefined;
  }
}
