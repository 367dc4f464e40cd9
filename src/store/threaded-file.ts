/**
 * The backend's file as requests see it. SQLite runs in a thread of its own (`file-thread.ts`). Whatever it or the file
 * system waits for, the event loop goes on: a request waits for an answer up to a deadline, then the last good state
 * serves. Requests that come while the thread looks share the next look.
 */
import { setImmediate } from 'node:timers/promises';
import { BoundedCaller } from './bounded-call.ts';
import type { FileAnswer, FileQuestion, FileTask, Outcome } from './file-thread.ts';
import type { PointCall, PointRead } from './queries.ts';
import { type FileStatus, type Source, unread } from './source.ts';
import { NotLoaded, keyOf } from './store-view.ts';

interface ThreadedFileOptions {
  readonly path: string;
  readonly now: () => number;
  /** What a request waits for SQLite. */
  readonly deadlineMs: number;
  /** The organization that users without any membership join when they are first seen. */
  readonly enrolling?: string | undefined;
  /** What follows a look, before those who wait for it go on. */
  readonly looked: () => void | Promise<void>;
  /** Takes what was read, in time or late. */
  readonly loaded: (call: PointCall, value: unknown) => void;
}

/** Longest time that SQLite waits for the lock of another process, and what a request waits for SQLite; a little more. */
const READ_BUSY_MS = 10;
export const DEADLINE_MS = 20;
const START_DEADLINE_MS = 10_000;
/** A look that began so short a time before a request serves it too. */
const LOOK_EVERY_MS = 1;
/** Reads in one question: some milliseconds of the thread's time. */
const MAX_CALLS = 500;

/** One thread for all files of a process: the gate has one, and tests have many. */
const thread = new BoundedCaller<FileQuestion, FileAnswer>(new URL('./file-thread.ts', import.meta.url));
let files = 0;

export class ThreadedFile implements Source {
  goodAt = Number.NEGATIVE_INFINITY;
  status: Readonly<FileStatus> = unread();
  readonly #options: ThreadedFileOptions;
  readonly #id = ++files;
  /** Questions without an answer in time, and since when. */
  #unanswered = 0;
  #silentSince: number | undefined;
  #skipped = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #isClosed = false;
  /** What could not be read since the last look. */
  readonly #failed = new Set<string>();

  constructor(options: ThreadedFileOptions) {
    this.#options = options;
  }

  get problem(): string | undefined {
    if (this.#silentSince === undefined) return this.status.problem;
    const ms = Math.round(this.#options.now() - this.#silentSince);
    return `NO_ANSWER: SQLite, or the file system below it, has not answered for ${ms} ms`;
  }

  get failures(): number {
    return this.status.failures + this.#unanswered + this.#skipped;
  }

  get errors(): ReadonlyMap<string, number> {
    const { errors } = this.status;
    return this.#unanswered === 0 ? errors : new Map([...errors, ['NO_ANSWER', this.#unanswered]]);
  }

  /** Is the trouble one that ends by itself: a lock, or SQLite that has not answered yet? */
  get isLocked(): boolean {
    return this.#silentSince !== undefined || this.status.isLocked;
  }

  /** The first look, which waits for the thread to start. */
  start(): Promise<void> {
    return this.#begin(this.#options.now(), START_DEADLINE_MS);
  }

  /**
   * Compares with the file, at most once a millisecond.
   * @returns nothing where the last look is young enough; otherwise the look that all requests of this moment share
   */
  look(): void | Promise<void> {
    if (this.#next !== undefined) return this.#next;
    if (this.#options.now() - this.#lookedAt < LOOK_EVERY_MS) {
      if (this.#looking === undefined && this.problem !== undefined) this.#skipped++;
      return this.#looking;
    }
    this.#next = this.#lookNext();
    return this.#next;
  }

  /** Begins once all requests have been read that have come together: they share it. */
  async #lookNext(): Promise<void> {
    await setImmediate();
    await this.#looking?.catch(() => undefined);
    this.#next = undefined;
    await this.#begin(this.#options.now(), this.#options.deadlineMs);
  }

  /** Has the thread read, and what was read taken over by `loaded` of the options. */
  async load(calls: readonly PointCall[]): Promise<void> {
    for (let from = 0; from < calls.length; from += MAX_CALLS) await this.#load(calls.slice(from, from + MAX_CALLS));
  }

  async #load(calls: readonly PointCall[]): Promise<void> {
    const { enrolling } = this.#options;
    const outcome = await this.ask({ kind: 'read', calls, enrolling }, undefined, ({ value }) => {
      const values = value as readonly ({ readonly value: unknown } | undefined)[] | undefined;
      calls.forEach((call, at) => {
        const found = values?.[at];
        if (found === undefined) this.#failed.add(keyOf(call));
        else this.#options.loaded(call, found.value);
      });
    });
    if (outcome === undefined) for (const call of calls) this.#failed.add(keyOf(call));
  }

  /** @returns nothing, where what was not loaded cannot be read @throws NotLoaded where it can */
  read(name: PointRead, key: string): undefined {
    const call = { name, key };
    const isHopeless = this.problem !== undefined && (this.#silentSince !== undefined || !this.status.isLocked);
    if (!isHopeless && !this.#failed.has(keyOf(call))) throw new NotLoaded(call);
    // for a request that waits for short trouble: it may have come after the failure
    this.#skipped++;
  }

  async close(): Promise<void> {
    const closed = this.ask({ kind: 'close' });
    this.#isClosed = true;
    this.#lookedAt = Number.POSITIVE_INFINITY;
    await closed;
    this.status = { ...this.status, problem: 'closed', isLocked: false };
    this.goodAt = Number.NEGATIVE_INFINITY;
  }

  #begin(now: number, deadlineMs: number): Promise<void> {
    this.#lookedAt = now;
    this.#looking = this.#compare(deadlineMs).finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  async #compare(deadlineMs: number): Promise<void> {
    this.#failed.clear();
    await this.ask({ kind: 'look' }, deadlineMs);
    await this.#options.looked();
  }

  /**
   * Asks the thread.
   * @param answered called with what came, in time or late
   * @returns what came in time
   * @throws Error for a mistake of ours in the thread
   */
  async ask(
    task: FileTask,
    deadlineMs = this.#options.deadlineMs,
    answered?: (outcome: Outcome) => void,
  ): Promise<Outcome | undefined> {
    if (this.#isClosed) return undefined;
    const { path, now: clock } = this.#options;
    const now = clock();
    const question = { file: this.#id, path, busyTimeoutMs: READ_BUSY_MS, now, task };
    let found: Outcome | undefined;
    const isInTime = await thread.ask(question, deadlineMs, ({ outcome, goodAt, status }) => {
      this.#silentSince = undefined;
      this.goodAt = goodAt;
      this.status = status ?? this.status;
      found = outcome;
      answered?.(outcome);
    });
    if (!isInTime) {
      this.#unanswered++;
      this.#silentSince ??= now;
      return undefined;
    }
    if (found?.mistake !== undefined) throw new Error(found.mistake);
    return found;
  }
}
