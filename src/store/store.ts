/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a file that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError } from '../errors.ts';
import { CachedView } from './cached-view.ts';
import { describeFailure, failureCode, openForReading } from './database.ts';
import { createEnrolment } from './enrolment.ts';
import { Freshness } from './freshness.ts';
import type { Linked, Organization } from './initialize.ts';
import { initializeFile, isComplete } from './initialize.ts';
import { UnreadableSchema } from './reader.ts';
import type { Store, StoreFigures, StoreHealth, StoreView } from './store-view.ts';

export interface StoreOptions {
  /** The backend's SQLite file; need not exist yet. */
  readonly databasePath: string;
  /** How long the last good state serves while the file cannot be read; default 30 s. */
  readonly maxStaleMs?: number;
  /** `OPENROUTER_EXTERNAL_USER` and `ORGANIZATION_NAME`: whom existing and new users and models are linked to. */
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
  /** Monotonic milliseconds; `performance.now` unless a test has its own clock. */
  readonly now?: () => number;
}

/** Longest time a read may hold up the event loop for somebody else's lock. */
const READ_BUSY_MS = 10;
/** The same for a write while requests are served, and for the first initialization, before any is. */
const WRITE_BUSY_MS = 25;
const START_BUSY_MS = 2_000;
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
  readonly #freshness: Freshness;
  readonly #view: CachedView;
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
    const { databasePath: path, maxStaleMs = 30_000, organization, autoEnroll, warn } = options;
    const now = this.#now;
    this.#freshness = new Freshness({
      path,
      busyTimeoutMs: READ_BUSY_MS,
      maxStaleMs,
      now,
      onChange: (change) => this.#view.forget(change),
    });
    const enrolment =
      autoEnroll && organization !== undefined
        ? createEnrolment({ path, organization, busyTimeoutMs: WRITE_BUSY_MS, now, warn })
        : undefined;
    this.#view = new CachedView(this.#freshness, { maxStaleMs, now, enrolment });
    this.#look(START_BUSY_MS);
  }

  current(): StoreView {
    this.#look(WRITE_BUSY_MS);
    if (!this.#freshness.isUsable) throw new GatewayError('policy_unavailable', { cause: this.#freshness.problem });
    return this.#view;
  }

  patiently<T>(attempt: () => T | Promise<T>): T | Promise<T> {
    const { failures } = this.#freshness;
    try {
      const value = attempt();
      if (!(value instanceof Promise) && !this.#isWorthRetrying(failures)) return value;
      return this.#retry(attempt, Promise.resolve(value), failures);
    } catch (error) {
      return this.#retry(attempt, Promise.reject(error as Error), failures);
    }
  }

  failures(): number {
    return this.#freshness.failures;
  }

  health(): StoreHealth {
    this.#look(WRITE_BUSY_MS);
    const { problem, missing } = this.#freshness;
    const absent = (missing ?? []).map((name) => this.#failed.find((failure) => failure.startsWith(name)) ?? name);
    const readable = problem === undefined || this.#isShortLock();
    const whole = problem === undefined || this.#obstacle === undefined ? problem : `${problem}; ${this.#obstacle}`;
    return { readable, ageMs: this.#ageMs(), missing: absent, problem: whole };
  }

  figures(): StoreFigures {
    return { caches: this.#view.lookups(), errors: this.#freshness.errors };
  }

  close(): void {
    this.#freshness.close();
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
      known = this.#freshness.failures;
      pending = (async () => attempt())();
    }
  }

  /**
   * Has the last good state answered since, in which what was just withdrawn is still there? By a count and not by
   * what is the matter now: another look may have succeeded meanwhile. Nobody waits once it is clear that it lasts.
   */
  #isWorthRetrying(failures: number): boolean {
    const since = this.#failingSince ?? this.#now();
    return this.#freshness.failures !== failures && this.#now() - since < LONG_LOCK_MS;
  }

  #look(writeBusyMs: number): void {
    this.#freshness.look();
    this.#failingSince = this.#freshness.problem === undefined ? undefined : (this.#failingSince ?? this.#now());
    const { file, missing } = this.#freshness;
    if (missing !== undefined && file !== this.#initializedFile) this.#initialize(file, missing, writeBusyMs);
    this.#report();
  }

  /** Once for each file: what somebody removes from it later is theirs to remove. */
  #initialize(file: number, missing: readonly string[], busyTimeoutMs: number): void {
    const now = this.#now();
    if (now < this.#initializeAt) return;
    this.#initializeAt = now + INITIALIZE_EVERY_MS;
    const { databasePath, organization, warn } = this.#options;
    try {
      if (!isFileComplete(databasePath, organization)) {
        const { made, failed, linked } = initializeFile(databasePath, { organization, busyTimeoutMs });
        this.#failed = failed;
        const { users, models } = linked;
        if (made.length > 0 || users + models > 0) warn('the policy tables were initialized', { made, users, models });
        this.#reportLeftOut(linked);
        for (const failure of failed) warn('the policy schema stays incomplete', { failure });
      }
      this.#initializedFile = file;
      this.#obstacle = undefined;
      this.#freshness.expire();
      this.#freshness.look();
    } catch (error) {
      // the backend's own tables are not there yet: `report` says so
      if (error instanceof UnreadableSchema) return;
      const problem = describeFailure(error, databasePath);
      this.#failed = missing.map((name) => `${name} (not made: ${failureCode(error)})`);
      this.#obstacle = `the policy tables could not be made: ${problem}`;
      warn('the policy tables could not be initialized', { problem, missing });
    }
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
    return this.#now() - this.#freshness.goodAt;
  }

  /** Somebody is committing: the everyday life of such a file. */
  #isShortLock(): boolean {
    return this.#freshness.isLocked && this.#ageMs() < LONG_LOCK_MS;
  }

  /** A failure and its end are each said once; a lock, only where it lasts. */
  #report(): void {
    const { problem } = this.#freshness;
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

function isFileComplete(path: string, organization: Organization | undefined): boolean {
  const connection = openForReading(path, READ_BUSY_MS);
  try {
    return isComplete(connection, organization);
  } finally {
    connection.close();
  }
}
