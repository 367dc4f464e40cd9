/** What is wrong with the file besides what a look finds: pages that cannot be read, and what could not be written. */
import type { WriteFailure } from './file-thread.ts';
import type { Damage } from './freshness.ts';
import type { Initialization, Organization } from './initialize.ts';
import type { ThreadedFile } from './threaded-file.ts';

interface SoundnessOptions {
  readonly file: ThreadedFile;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

const PROBE_EVERY_MS = 1_000;
/** A page that only some requests have met is reported for as long. */
const DAMAGE_TOLD_MS = 60_000;

/**
 * Whether the file can be read where requests read it. A look sees its header and the counters alone: a damaged page
 * behind them would be met by every request and reported by none.
 */
export class Soundness {
  /** Why no request could read what it needs, whatever the looks say; undefined while one can. */
  problem: string | undefined;
  /** When a request could last read what it needs, in milliseconds of `now`. */
  soundAt: number;
  readonly #options: SoundnessOptions;
  #probedAt = Number.NEGATIVE_INFINITY;
  #part: Damage | undefined;

  constructor(options: SoundnessOptions) {
    this.#options = options;
    this.soundAt = options.now();
  }

  /** Reads as a request does, at most once a second. To be called after a look, and needs none where that has failed. */
  async probe(): Promise<void> {
    const { file, now, warn } = this.#options;
    const moment = now();
    if (file.problem !== undefined || moment - this.#probedAt < PROBE_EVERY_MS) return;
    this.#probedAt = moment;
    const met = file.damage;
    if (await file.probe()) {
      this.problem = undefined;
      this.soundAt = moment;
      if (met !== undefined) {
        const { problem } = met;
        if (this.partialProblem() === undefined) warn('a part of the policy database cannot be read', { problem });
        this.#part = met;
      }
    } else if (!file.isLocked) this.problem = file.problem;
    file.damage = undefined;
  }

  /** What some requests have met lately. */
  partialProblem(): string | undefined {
    if (this.#part === undefined || this.#options.now() - this.#part.metAt > DAMAGE_TOLD_MS) return undefined;
    return `a part of the database cannot be read: ${this.#part.problem}`;
  }
}

/** `initialization`: tables and views. `enrolment`: the membership of a user who is seen for the first time. */
type Write = 'initialization' | 'enrolment';

/** No user may have come since who could be enrolled. */
const ENROLMENT_TOLD_MS = 15 * 60_000;

/** What the gate has to write into the backend's file, and whether it could. */
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

  /** @returns why no user can be enrolled now, as far as it is known. What the schema lacks is reported elsewhere. */
  problem(isDiskFull: boolean): string | undefined {
    const sinceMs = this.#now() - (this.#enrolment?.failedAt ?? Number.NEGATIVE_INFINITY);
    if (this.#enrolment !== undefined && sinceMs < ENROLMENT_TOLD_MS) {
      return `a new user could not be enrolled ${Math.round(sinceMs / 1_000)} s ago: ${this.#enrolment.problem}`;
    }
    return isDiskFull ? 'the disk is full: nothing can be written into the database' : undefined;
  }
}

interface InitializerOptions {
  readonly file: ThreadedFile;
  readonly writes: WriteFailures;
  readonly organization: Organization | undefined;
  readonly now: () => number;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
}

/** An incomplete file is tried again this often. */
const INITIALIZE_EVERY_MS = 5_000;
/** Ids in one line of the log. */
const NAMED = 10;

/** Has the thread make what the file lacks, once for each file, and logs the result. */
export class Initializer {
  /** Why nothing could be made, where that is so. */
  obstacle: string | undefined;
  readonly #options: InitializerOptions;
  #initializedFile = 0;
  #initializeAt = Number.NEGATIVE_INFINITY;
  #failed: readonly string[] = [];

  constructor(options: InitializerOptions) {
    this.#options = options;
  }

  /** @returns what the file lacks, each with why it could not be made where that is known */
  missing(): readonly string[] {
    const missing = this.#options.file.status.missing ?? [];
    return missing.map((name) => this.#failed.find((failure) => failure.startsWith(name)) ?? name);
  }

  /** Is there a file that has not been initialized, and is it time to try? */
  isDue(): boolean {
    const { file, now } = this.#options;
    if (file.status.missing === undefined || file.status.file === this.#initializedFile) return false;
    return now() >= this.#initializeAt;
  }

  /** After a look. Once for each file: what an operator removes from it later is theirs to remove. */
  async follow(busyTimeoutMs: number, deadlineMs?: number): Promise<void> {
    const { file, organization, now } = this.#options;
    const { file: number, missing } = file.status;
    if (missing === undefined || !this.isDue()) return;
    this.#initializeAt = now() + INITIALIZE_EVERY_MS;
    await file.ask({ kind: 'initialize', organization, busyTimeoutMs }, deadlineMs, ({ value, failure }) => {
      // what the thread has made, undefined where nothing was missing
      if (failure === undefined) this.#reportInitialized(number, value as Initialization | undefined);
      // the backend's own tables are not there yet: the store says so
      else if (!failure.isBackendMissing) this.#reportObstacle(failure, missing);
    });
  }

  #reportInitialized(number: number, initialization: Initialization | undefined): void {
    const { file, warn } = this.#options;
    this.#initializedFile = number;
    this.obstacle = undefined;
    file.expire();
    if (initialization === undefined) return;
    const { made, failed, linked } = initialization;
    this.#failed = failed;
    const { users, models } = linked;
    if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
    this.#reportLeftOut(linked);
    for (const failure of failed) warn('the policy schema stays incomplete', { failure });
  }

  #reportObstacle(failure: WriteFailure, missing: readonly string[]): void {
    const { code, problem } = failure;
    this.#options.writes.note('initialization', failure);
    this.#failed = missing.map((name) => `${name} (not made: ${code})`);
    this.obstacle = `the policy tables could not be made: ${problem}`;
    this.#options.warn('the policy tables could not be initialized', { problem, missing });
  }

  /** What the deployment guide's migration would have linked, too. */
  #reportLeftOut({ usersElsewhere, modelsLeftOut: { unusable, ofUsers } }: Initialization['linked']): void {
    const { warn } = this.#options;
    const some = (ids: readonly string[]) => ({ count: ids.length, some: ids.slice(0, NAMED) });
    if (unusable.length > 0) warn('models were not linked: their ids would be read as patterns', some(unusable));
    if (ofUsers.length > 0) warn('models were not linked: users who are no admins have made them', some(ofUsers));
    if (usersElsewhere > 0) {
      warn('users were not linked: they belong to another organization', { count: usersElsewhere });
    }
  }
}
