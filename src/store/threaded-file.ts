/**
 * The backend's file as requests see it. SQLite runs in a thread of its own (`file-thread.ts`). Whatever it or the file
 * system waits for, the event loop goes on: a request waits for an answer up to a deadline, then the last good state
 * serves. Requests that come while the thread looks share the next look.
 */
import { setImmediate } from 'node:timers/promises';
import { BoundedCaller } from './bounded-call.ts';
import type { FileAnswer, FileQuestion, FileSettings, FileTask, Warn } from './file-thread.ts';
import { type FileStatus, type PointCall, type PointRead, type Source, unread } from './queries.ts';
import { FileReads } from './file-reads.ts';
import { NotLoaded } from './store-view.ts';

interface ThreadedFileOptions extends Omit<FileSettings, 'busyTimeoutMs'> {
  readonly now: () => number;
  /** What a request waits for SQLite. */
  readonly deadlineMs: number;
  readonly warn: Warn;
  /** Takes what was read, in time or late. */
  readonly loaded: (call: PointCall, value: unknown) => void;
}

/** Longest time that SQLite waits for the lock of another process, and what a request waits for SQLite; a little more. */
const READ_BUSY_MS = 10;
export const DEADLINE_MS = 20;
const START_DEADLINE_MS = 10_000;
const INITIALIZE_DEADLINE_MS = 30_000;
/** A look that began so short a time before a request serves it too. */
const LOOK_EVERY_MS = 1;

/** A lock that lasts this long is more than a commit, and so is any other trouble. */
export const LONG_LOCK_MS = 1_000;
/** A page that only some requests have met, and a failed enrolment, are reported for as long. */
const DAMAGE_TOLD_MS = 60_000;
const ENROLMENT_TOLD_MS = 15 * 60_000;

/** One thread for all files of a process: the gate has one, and tests have many. */
const thread = new BoundedCaller<FileQuestion, FileAnswer>(new URL('./file-thread.ts', import.meta.url));
let files = 0;

interface Asking {
  readonly deadlineMs?: number;
  /** Called with the value that came, in time or late. */
  readonly answered?: (value: unknown) => void;
  /** Though the thread has not answered others in time: those of another file, whose end this one would take for its own. */
  readonly queues?: boolean;
}

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
  #failingSince: number | undefined;
  /** What was reported of it. */
  #isReported = false;
  #damage: FileStatus['damage'];
  readonly #reads: FileReads;

  constructor(options: ThreadedFileOptions) {
    this.#options = options;
    this.#reads = new FileReads({
      loaded: options.loaded,
      ask: async (calls, take) => {
        const answered = (values: unknown) => take((values ?? []) as Parameters<typeof take>[0]);
        const found = await this.ask({ kind: 'read', calls }, { answered });
        return (found as readonly unknown[] | undefined)?.length;
      },
    });
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

  get writeErrors(): FileStatus['writeErrors'] {
    return this.status.writeErrors;
  }

  /** Has every look failed for so long that it is no commit of another program? */
  get isFailingLong(): boolean {
    return this.#failingSince !== undefined && this.#options.now() - this.#failingSince >= LONG_LOCK_MS;
  }

  /** Waits for the thread to start, and for what the first look makes of the file. */
  async start(): Promise<void> {
    await this.ask({ kind: 'probe' }, { deadlineMs: START_DEADLINE_MS, queues: true });
    await this.#begin('start', { deadlineMs: INITIALIZE_DEADLINE_MS, queues: true });
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
    await this.#begin('look');
  }

  /** Has the thread read, and what was read taken over by `loaded` of the options. */
  load(calls: readonly PointCall[]): Promise<void> {
    return this.#reads.load(calls);
  }

  /** @returns nothing, where what was not loaded cannot be read @throws NotLoaded where it can */
  read(name: PointRead, key: string): undefined {
    const call = { name, key };
    const isHopeless = this.problem !== undefined && (this.#silentSince !== undefined || !this.status.isLocked);
    if (!isHopeless && !this.#reads.hasFailed(call)) throw new NotLoaded(call);
    // for a request that waits for short trouble: it may have come after the failure
    this.#skipped++;
  }

  async close(): Promise<void> {
    const closed = this.ask({ kind: 'close' }, { queues: true });
    this.#isClosed = true;
    this.#lookedAt = Number.POSITIVE_INFINITY;
    await closed;
    this.status = { ...this.status, problem: 'closed', isLocked: false };
    this.goodAt = Number.NEGATIVE_INFINITY;
  }

  /** For operators; reads as requests do, once a second. */
  async health() {
    const isDiskFull = (await this.ask({ kind: 'probe' })) === true;
    this.#report();
    const { problem = this.status.unsound } = this;
    const { missing = [], notMade, obstacle, enrolment } = this.status;
    const whole = [problem, obstacle].filter((part) => part !== undefined).join('; ');
    const sinceMs = this.#ageMs(enrolment?.metAt);
    const isEnrolmentTold = enrolment !== undefined && sinceMs < ENROLMENT_TOLD_MS;
    const enrolmentProblem = `a new user could not be enrolled ${Math.round(sinceMs / 1_000)} s ago: ${enrolment?.problem}`;
    const spaceProblem = isDiskFull ? 'the disk is full: nothing can be written into the database' : undefined;
    return {
      readable: problem === undefined || (this.#isShortLock() && this.status.unsound === undefined),
      /** Since the last successful comparison with the file. */
      ageMs: this.#ageMs(this.status.unsound === undefined ? this.goodAt : this.status.soundAt),
      /** Tables, indexes, views and triggers, in words. */
      missing: missing.map((name) => notMade.find((failed) => failed.startsWith(name)) ?? name),
      /** Why it is not readable, or not whole. */
      problem: problem === undefined ? this.#partialProblem() : whole,
      /** Why no user can be enrolled. A lock is over when the user comes again. */
      writeProblem: isEnrolmentTold && !enrolment.isLocked ? enrolmentProblem : spaceProblem,
    };
  }

  #ageMs(moment = Number.NEGATIVE_INFINITY): number {
    return this.#options.now() - moment;
  }

  /** Another program is committing, as happens all the time, or SQLite has not answered yet. */
  #isShortLock(): boolean {
    const isLocked = this.#silentSince !== undefined || this.status.isLocked;
    return isLocked && this.#ageMs(this.goodAt) < LONG_LOCK_MS;
  }

  /** A failure and its end are each said once; a lock, only where it lasts. */
  #report(): void {
    const { warn } = this.#options;
    const { problem = this.status.unsound } = this;
    const { damage } = this.status;
    if (problem === undefined && this.status.met === undefined && this.#isReported) {
      this.#isReported = false;
      warn('the policy database is readable again', {});
    } else if (problem !== undefined && !this.#isReported && !this.#isShortLock()) {
      this.#isReported = true;
      warn('the policy database cannot be read', { problem });
    }
    if (problem !== undefined) return;
    if (damage !== undefined && damage.metAt !== this.#damage?.metAt && this.#partialProblem() === undefined) {
      warn('a part of the policy database cannot be read', { problem: damage.problem });
    }
    this.#damage = damage;
  }

  /** A page that only some requests have met. */
  #partialProblem(): string | undefined {
    const isTold = this.#ageMs(this.#damage?.metAt) <= DAMAGE_TOLD_MS;
    return isTold ? `a part of the database cannot be read: ${this.#damage?.problem}` : undefined;
  }

  #begin(kind: 'start' | 'look', how: Asking = {}): Promise<void> {
    this.#lookedAt = this.#options.now();
    this.#reads.forget();
    const looking = this.ask({ kind }, how).then(() => {
      this.#failingSince = this.problem === undefined ? undefined : (this.#failingSince ?? this.#options.now());
      this.#report();
    });
    this.#looking = looking.finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  /** Asks the thread. @returns the value that came in time @throws Error for a mistake of ours in the thread */
  async ask(task: FileTask, { deadlineMs = this.#options.deadlineMs, answered, queues = false }: Asking = {}) {
    if (this.#isClosed) return undefined;
    const { path, organization, autoEnroll = false, now: clock, warn } = this.#options;
    const { initialized } = this.status;
    const settings = { path, organization, autoEnroll, initialized, busyTimeoutMs: READ_BUSY_MS };
    const now = clock();
    let found: FileAnswer | undefined;
    const take = (answer: FileAnswer): void => {
      found = answer;
      this.#silentSince = undefined;
      this.goodAt = answer.goodAt;
      this.status = answer.status ?? this.status;
      for (const line of answer.warnings) warn(...line);
      answered?.(answer.value);
    };
    const isInTime = await thread.ask({ file: this.#id, settings, now, task }, deadlineMs, take, queues);
    if (!isInTime) {
      this.#unanswered++;
      this.#silentSince ??= now;
      return undefined;
    }
    if (found?.mistake !== undefined) throw new Error(found.mistake);
    return found?.value;
  }
}
