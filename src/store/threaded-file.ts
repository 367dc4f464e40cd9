/**
 * The backend's file as requests see it. SQLite runs in a thread of its own (`file-thread.ts`): whatever it or the file
 * system waits for, a request waits for it no longer than a deadline, and the last good state answers meanwhile.
 */
import { BoundedCaller } from './bounded-call.ts';
import type { Damage, Source } from './freshness.ts';
import type { EnrolmentWrite } from './enrolment.ts';
import type { FileAnswer, FileQuestion, FileStatus, FileTask, Outcome, WriteFailure } from './file-questions.ts';
import type { InitializeOptions, Initialization } from './initialize.ts';
import type { PointRead, PointReads } from './reader.ts';

export interface ThreadedFileOptions {
  readonly path: string;
  readonly maxStaleMs: number;
  readonly now: () => number;
  /** What a request waits for SQLite. */
  readonly deadlineMs: number;
}

/** Longest time that SQLite waits for somebody else's lock, and what a request waits for SQLite; a little more. */
const READ_BUSY_MS = 10;
export const DEADLINE_MS = 20;
const START_DEADLINE_MS = 10_000;
/** Two looks within this time are one: some 30 µs of work, a thousand times a second at most. */
const LOOK_EVERY_MS = 1;

/** One thread for all files of a process: the gate has one, and tests have many. */
const thread = new BoundedCaller<FileQuestion, FileAnswer>(new URL('./file-thread.ts', import.meta.url));
let files = 0;

export class ThreadedFile implements Source {
  goodAt = Number.NEGATIVE_INFINITY;
  /** What was met since it was last set to undefined. */
  damage: Damage | undefined;
  readonly #options: ThreadedFileOptions;
  readonly #id = ++files;
  #status: FileStatus = {
    generation: 0,
    epochs: { members: 0, models: 0 },
    problem: 'the database has not been read yet',
    isLocked: false,
    missing: undefined,
    damage: undefined,
    failures: 0,
    errors: new Map(),
    file: 0,
  };
  /** Questions without an answer in time, and since when there are no others. */
  #unanswered = 0;
  #silentSince: number | undefined;
  #skipped = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #anew = false;
  /** A glance was not answered in time: what it found is not known. */
  #mustAsk = true;

  constructor(options: ThreadedFileOptions) {
    this.#options = options;
  }

  get generation(): number {
    return this.#status.generation;
  }

  get epochs(): Source['epochs'] {
    return this.#status.epochs;
  }

  get problem(): string | undefined {
    if (this.#silentSince === undefined) return this.#status.problem;
    const ms = Math.round(this.#options.now() - this.#silentSince);
    return `NO_ANSWER: SQLite, or the file system below it, has not answered for ${ms} ms`;
  }

  get status(): Pick<FileStatus, 'file' | 'missing'> {
    return this.#status;
  }

  /** How often the file could not be read, or was not tried again yet. */
  get failures(): number {
    return this.#status.failures + this.#unanswered + this.#skipped;
  }

  /** By SQLite's code, or `NO_ANSWER`. */
  get errors(): ReadonlyMap<string, number> {
    const { errors } = this.#status;
    return this.#unanswered === 0 ? errors : new Map([...errors, ['NO_ANSWER', this.#unanswered]]);
  }

  /** Is the trouble one that ends by itself: a lock, or SQLite that has not answered yet? */
  get isLocked(): boolean {
    return this.#silentSince !== undefined || this.#status.isLocked;
  }

  /** May the last good state be served? */
  get isUsable(): boolean {
    return this.#options.now() - this.goodAt <= this.#options.maxStaleMs;
  }

  /** The first look, which waits for the thread to start. */
  start(): void {
    this.#look(this.#options.now(), START_DEADLINE_MS);
  }

  /** Compares with the file, at most once a millisecond. */
  look(): void {
    const now = this.#options.now();
    if (now - this.#lookedAt >= LOOK_EVERY_MS) this.#look(now, this.#options.deadlineMs);
    else if (this.problem !== undefined) this.#skipped++;
  }

  /** Lets the next look compare, however short the time since the last one; after a write of our own. */
  expire(): void {
    this.#lookedAt = Number.NEGATIVE_INFINITY;
    this.#anew = true;
  }

  read<N extends PointRead>(
    name: N,
    ...args: Parameters<PointReads[N]>
  ): { readonly value: ReturnType<PointReads[N]> } | undefined {
    const outcome = this.#ask({ kind: 'read', name, args }, this.#options.deadlineMs);
    // what came back is what this read gives: the thread runs the same function
    return outcome !== undefined && 'value' in outcome
      ? { value: outcome.value as ReturnType<PointReads[N]> }
      : undefined;
  }

  /** Would a question be asked at once? */
  isFree(): boolean {
    return thread.isFree();
  }

  /**
   * Makes what the file lacks.
   * @param deadlineMs for the writing; after it the thread goes on alone, and reads wait for it
   * @param done called with what was made, undefined where nothing was missing; now or later
   */
  initialize(
    options: InitializeOptions,
    deadlineMs: number,
    done: (made: Initialization | undefined, failure: WriteFailure | undefined) => void,
  ): void {
    this.#ask({ kind: 'initialize', ...options }, deadlineMs + this.#options.deadlineMs, ({ value, failure }) =>
      done(value as Initialization | undefined, failure),
    );
  }

  /** @returns whether the user has a membership now; false too where that is not known in time */
  enrol(write: EnrolmentWrite): { readonly isMember: boolean; readonly failure: WriteFailure | undefined } {
    const outcome = this.#ask({ kind: 'enrol', ...write }, this.#options.deadlineMs);
    return { isMember: outcome?.value === true, failure: outcome?.failure };
  }

  /** @returns false too where that cannot be seen */
  isDiskFull(): boolean {
    return this.#ask({ kind: 'space' }, this.#options.deadlineMs)?.value === true;
  }

  close(): void {
    this.#ask({ kind: 'close' }, this.#options.deadlineMs);
    this.#status = { ...this.#status, problem: 'closed', isLocked: false };
    this.#lookedAt = Number.POSITIVE_INFINITY;
    this.goodAt = Number.NEGATIVE_INFINITY;
  }

  #look(now: number, deadlineMs: number): void {
    this.#lookedAt = now;
    if (!this.#anew && !this.#mustAsk) {
      const found = thread.glance(this.#id, now, deadlineMs);
      if (found === undefined) this.#goUnanswered(now);
      else this.#silentSince = undefined;
      if (found === 'same' && this.problem === undefined) this.goodAt = now;
      this.#mustAsk = found === undefined;
      if (found !== 'news') return;
    }
    const anew = this.#anew;
    this.#anew = false;
    this.#mustAsk = this.#ask({ kind: 'look', anew }, deadlineMs) === undefined;
  }

  #goUnanswered(now: number): void {
    this.#unanswered++;
    this.#silentSince ??= now;
  }

  #ask(task: FileTask, deadlineMs: number, answered?: (outcome: Outcome) => void): Outcome | undefined {
    const { path, now: clock } = this.#options;
    const now = clock();
    const { generation, epochs } = this.#status;
    const known = { generation, epochs };
    let outcome: Outcome | undefined;
    const question = { file: this.#id, path, busyTimeoutMs: READ_BUSY_MS, now, known, task };
    const isAnswered = thread.call(question, deadlineMs, (answer) => {
      this.goodAt = answer.goodAt;
      const { damage } = answer.status ?? this.#status;
      if (damage?.metAt !== this.#status.damage?.metAt) this.damage = damage;
      this.#status = answer.status ?? this.#status;
      outcome = answer.outcome;
      answered?.(outcome);
    });
    if (!isAnswered) {
      this.#goUnanswered(now);
      return undefined;
    }
    this.#silentSince = undefined;
    if (outcome?.mistake !== undefined) throw new Error(outcome.mistake);
    return outcome;
  }
}
