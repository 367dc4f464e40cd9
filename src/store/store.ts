/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a file that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../errors.ts';
import { CachedView } from './cached-view.ts';
import { createEnrolment } from './enrolment.ts';
import type { Initialization, Linked, Organization } from './initialize.ts';
import type { Store, StoreFigures, StoreHealth, StoreView } from './store-view.ts';
import type { StoredReading } from './stored-reading.ts';
import { createStoredReading } from './stored-reading.ts';
import type { WriteFailure } from './threaded-file.ts';
import { DEADLINE_MS, ThreadedFile } from './threaded-file.ts';

export interface StoreOptions {
  /** The backend's SQLite file; need not exist yet. */
  readonly databasePath: string;
  /** How long the last good state serves while the file cannot be read; default 30 s. */
  readonly maxStaleMs?: number;
  /** `OPENROUTER_EXTERNAL_USER` and `ORGANIZATION_NAME`: whom existing and new users and models are linked to. */
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
  /** How long a request waits for SQLite before the last good state has to do; default 20 ms. */
  readonly deadlineMs?: number;
  /** Monotonic milliseconds; `performance.now` unless a test has its own clock. */
  readonly now?: () => number;
}

/** Longest time a write waits for somebody else's lock while requests are served, and before any is. */
const WRITE_BUSY_MS = 25;
const START_BUSY_MS = 2_000;
/** So long the start waits for the first initialization, which links all users and models of a large file. */
const START_DEADLINE_MS = 30_000;
/** A lock that lasts this long is more than somebody's commit, and so is any other trouble. */
const LONG_LOCK_MS = 1_000;
/** How often and how many times a request that met trouble tries again. */
const RETRY_MS = 10;
const RETRIES = LONG_LOCK_MS / RETRY_MS;
/** An incomplete file is tried again this often. */
const INITIALIZE_EVERY_MS = 5_000;
/** Ids in one line of the log. */
const NAMED = 10;

/** @returns a store that has tried to read the file once; a file that is not there yet is not an error */
export function createStore(options: StoreOptions): Store {
  return new SqliteStore(options);
}

class SqliteStore implements Store {
  readonly #options: StoreOptions;
  readonly #now: () => number;
  readonly #file: ThreadedFile;
  readonly #view: CachedView;
  readonly stored: StoredReading;
  #initializedFile = 0;
  /** Since when every look has failed. */
  #failingSince: number | undefined;
  #warned = false;
  #initializeAt = Number.NEGATIVE_INFINITY;
  #failed: readonly string[] = [];
  /** Why nothing could be made, where that is so. */
  #obstacle: string | undefined;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    const {
      databasePath: path,
      maxStaleMs = 30_000,
      deadlineMs = DEADLINE_MS,
      organization,
      autoEnroll,
      warn,
    } = options;
    const now = this.#now;
    this.#file = new ThreadedFile({ path, maxStaleMs, now, deadlineMs });
    this.#view = new CachedView(this.#file, {
      maxStaleMs,
      now,
      enrolment: autoEnroll && organization !== undefined ? this.#enrolmentIn(organization.id, warn) : undefined,
    });
    this.stored = createStoredReading(path);
    this.#file.start();
    this.#follow(START_BUSY_MS, START_DEADLINE_MS);
  }

  current(): StoreView {
    this.#look();
    if (!this.#file.isUsable) throw new GatewayError('policy_unavailable', { cause: this.#file.problem });
    return this.#view;
  }

  patiently<T>(attempt: () => T | Promise<T>): T | Promise<T> {
    const { failures } = this.#file;
    try {
      const value = attempt();
      if (!(value instanceof Promise) && !this.#isWorthRetrying(failures)) return value;
      return this.#retry(attempt, Promise.resolve(value), failures);
    } catch (error) {
      return this.#retry(attempt, Promise.reject(error as Error), failures);
    }
  }

  failures(): number {
    return this.#file.failures;
  }

  health(): StoreHealth {
    this.#look();
    const { problem, status } = this.#file;
    const { missing } = status;
    const absent = (missing ?? []).map((name) => this.#failed.find((failure) => failure.startsWith(name)) ?? name);
    const readable = problem === undefined || this.#isShortLock();
    const whole = problem === undefined || this.#obstacle === undefined ? problem : `${problem}; ${this.#obstacle}`;
    return { readable, ageMs: this.#ageMs(), missing: absent, problem: whole };
  }

  figures(): StoreFigures {
    return { caches: this.#view.lookups(), errors: this.#file.errors };
  }

  close(): void {
    this.#file.close();
    void this.stored.close();
  }

  async #retry<T>(attempt: () => T | Promise<T>, first: Promise<T>, failures: number): Promise<T> {
    let known = failures;
    let pending = first;
    for (let left = RETRIES; ; left--) {
      try {
        const value = await pending;
        if (left === 0 || !this.#isWorthRetrying(known)) return value;
      } catch (error) {
        const isUnavailable = error instanceof GatewayError && error.code === 'policy_unavailable';
        if (!isUnavailable || left === 0 || !this.#isWorthRetrying(known)) throw error;
      }
      await sleep(RETRY_MS);
      known = this.#file.failures;
      pending = (async () => attempt())();
    }
  }

  /**
   * Has the last good state answered since, in which what was just withdrawn is still there? By a count and not by
   * what is the matter now: another look may have succeeded meanwhile. Nobody waits once it is clear that it lasts.
   */
  #isWorthRetrying(failures: number): boolean {
    const since = this.#failingSince ?? this.#now();
    return this.#file.failures !== failures && this.#now() - since < LONG_LOCK_MS;
  }

  #enrolmentIn(organization: string, warn: StoreOptions['warn']): (user: string) => boolean {
    const enrol = (user: string) => this.#file.enrol({ organization, user, busyTimeoutMs: WRITE_BUSY_MS });
    return createEnrolment({ enrol, organization, now: this.#now, warn });
  }

  #look(): void {
    this.#file.look();
    this.#follow(WRITE_BUSY_MS, 0);
  }

  /** What a look has found is acted upon. */
  #follow(writeBusyMs: number, deadlineMs: number): void {
    this.#failingSince = this.#file.problem === undefined ? undefined : (this.#failingSince ?? this.#now());
    const { file, missing } = this.#file.status;
    if (missing !== undefined && file !== this.#initializedFile) {
      this.#initialize(file, missing, writeBusyMs, deadlineMs);
    }
    this.#report();
  }

  /** Once for each file: what somebody removes from it later is theirs to remove. */
  #initialize(file: number, missing: readonly string[], busyTimeoutMs: number, deadlineMs: number): void {
    const now = this.#now();
    if (now < this.#initializeAt || !this.#file.isFree()) return;
    this.#initializeAt = now + INITIALIZE_EVERY_MS;
    const { organization } = this.#options;
    this.#file.initialize({ organization, busyTimeoutMs }, deadlineMs, (made, failure) => {
      if (failure === undefined) this.#reportInitialized(file, made);
      // the backend's own tables are not there yet: `report` says so
      else if (!failure.isBackendMissing) this.#reportObstacle(failure, missing);
    });
    if (this.#initializedFile === file) this.#file.look();
  }

  #reportInitialized(file: number, initialization: Initialization | undefined): void {
    const { warn } = this.#options;
    this.#initializedFile = file;
    this.#obstacle = undefined;
    this.#file.expire();
    if (initialization === undefined) return;
    const { made, failed, linked } = initialization;
    this.#failed = failed;
    const { users, models } = linked;
    if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
    this.#reportLeftOut(linked);
    for (const failure of failed) warn('the policy schema stays incomplete', { failure });
  }

  #reportObstacle({ code, problem }: WriteFailure, missing: readonly string[]): void {
    this.#failed = missing.map((name) => `${name} (not made: ${code})`);
    this.#obstacle = `the policy tables could not be made: ${problem}`;
    this.#options.warn('the policy tables could not be initialized', { problem, missing });
  }

  /** What the deployment guide's migration would have linked, too. */
  #reportLeftOut({ usersElsewhere, modelsLeftOut: { unusable, ofUsers } }: Linked): void {
    const { warn } = this.#options;
    const some = (ids: readonly string[]) => ({ count: ids.length, some: ids.slice(0, NAMED) });
    if (unusable.length > 0) warn('models were not linked: their ids would be read as patterns', some(unusable));
    if (ofUsers.length > 0) warn('models were not linked: users who are no admins have made them', some(ofUsers));
    if (usersElsewhere > 0) {
      warn('users were not linked: they belong to another organization', { count: usersElsewhere });
    }
  }

  #ageMs(): number {
    return this.#now() - this.#file.goodAt;
  }

  /** Somebody is committing: the everyday life of such a file. */
  #isShortLock(): boolean {
    return this.#file.isLocked && this.#ageMs() < LONG_LOCK_MS;
  }

  /** A failure and its end are each said once; a lock, only where it lasts. */
  #report(): void {
    const { problem } = this.#file;
    const { warn } = this.#options;
    if (problem === undefined && this.#warned) {
      this.#warned = false;
      warn('the policy database is readable again', {});
    } else if (problem !== undefined && !this.#warned && !this.#isShortLock()) {
      this.#warned = true;
      warn('the policy database cannot be read', { problem });
    }
  }
}
