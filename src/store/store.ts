/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a file that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import { CachedView } from './cached-view.ts';
import type { Organization } from './initialize.ts';
import { Initializer, Soundness, WriteFailures } from './health.ts';
import { Loader } from './loader.ts';
import type { Need, Store, StoreFigures, StoreHealth, StoreView } from './store-view.ts';
import { type StoredReading, createStoredReading } from './stored-reading.ts';
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

/** Longest time that the initialization waits for another process's lock while requests are served, and before any is. */
const WRITE_BUSY_MS = 25;
const START_BUSY_MS = 2_000;
/** So long the start waits for the first initialization, which links all users and models of a large file. */
const START_DEADLINE_MS = 30_000;
/** A lock that lasts this long is more than a commit, and so is any other trouble. */
const LONG_LOCK_MS = 1_000;
/** How often and how many times a request that met trouble tries again. */
const RETRY_MS = 10;
const RETRIES = LONG_LOCK_MS / RETRY_MS;

/** @returns a store that has tried to read the file once; a file that is not there yet is not an error */
export async function createStore(options: StoreOptions): Promise<Store> {
  const store = new SqliteStore(options);
  await store.start();
  return store;
}

class SqliteStore implements Store {
  readonly #options: StoreOptions;
  readonly #now: () => number;
  readonly #maxStaleMs: number;
  readonly #file: ThreadedFile;
  readonly #view: CachedView;
  readonly stored: StoredReading;
  /** Since when every look has failed. */
  #failingSince: number | undefined;
  #warned = false;
  readonly #initializer: Initializer;
  readonly #writes: WriteFailures;
  readonly #soundness: Soundness;
  readonly #loader: Loader;
  #isStarting = true;

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
    this.#maxStaleMs = maxStaleMs;
    this.#file = new ThreadedFile({ path, now, deadlineMs, looked: () => this.#follow() });
    this.#writes = new WriteFailures(now);
    this.#soundness = new Soundness({ file: this.#file, now, warn });
    this.#initializer = new Initializer({ file: this.#file, writes: this.#writes, organization, now, warn });
    this.#view = new CachedView(this.#file, { maxStaleMs, now });
    this.#loader = new Loader({
      ...{ file: this.#file, view: this.#view, writes: this.#writes, now, warn },
      enrolling: autoEnroll ? organization?.id : undefined,
    });
    this.stored = createStoredReading(path);
  }

  async start(): Promise<void> {
    await this.#file.start();
    this.#isStarting = false;
  }

  load(need?: Need): void | Promise<void> {
    return this.#loader.load(need);
  }

  current(): StoreView {
    const { goodAt, problem } = this.#file;
    if (this.#now() - goodAt > this.#maxStaleMs) throw new GatewayError('policy_unavailable', { cause: problem });
    return this.#view;
  }

  ask<T>(attempt: () => T | Promise<T>, need?: Need): T | Promise<T> {
    return this.#loader.ask(attempt, need);
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

  async health(): Promise<StoreHealth> {
    await this.#file.look();
    await this.#soundness.probe();
    this.#report();
    const isDiskFull = (await this.#file.ask({ kind: 'space' }))?.value === true;
    const { problem = this.#soundness.problem } = this.#file;
    const { obstacle } = this.#initializer;
    const readable = problem === undefined || (this.#isShortLock() && this.#soundness.problem === undefined);
    const whole = problem === undefined || obstacle === undefined ? problem : `${problem}; ${obstacle}`;
    return {
      readable,
      ageMs: this.#ageMs(),
      missing: this.#initializer.missing(),
      problem: whole ?? this.#soundness.partialProblem(),
      writeProblem: this.#writes.problem(isDiskFull),
    };
  }

  figures(): StoreFigures {
    const { errors } = this.#file;
    return { caches: this.#view.lookups(), errors, writeErrors: [...this.#writes.counts.values()] };
  }

  async close(): Promise<void> {
    await Promise.all([this.#file.close(), this.stored.close()]);
  }

  async #retry<T>(attempt: () => T | Promise<T>, first: Promise<T>, failures: number): Promise<T> {
    let known = failures;
    let pending = first;
    for (let left = RETRIES; ; left--) {
      try {
        const value = await pending;
        if (left === 0 || !this.#isWorthRetrying(known)) return value;
      } catch (error) {
        if (!isPolicyUnavailable(error) || left === 0 || !this.#isWorthRetrying(known)) throw error;
      }
      await sleep(RETRY_MS);
      known = this.#file.failures;
      pending = (async () => attempt())();
    }
  }

  /**
   * Has the last good state answered since, in which what was just withdrawn is still there? By a count and not by
   * what is the matter now: another look may have succeeded meanwhile. Requests stop waiting once it is clear that it lasts.
   */
  #isWorthRetrying(failures: number): boolean {
    const since = this.#failingSince ?? this.#now();
    return this.#file.failures !== failures && this.#now() - since < LONG_LOCK_MS;
  }

  /** What a look has found is acted upon. */
  #follow(): void | Promise<void> {
    const { problem, damage } = this.#file;
    this.#failingSince = problem === undefined ? undefined : (this.#failingSince ?? this.#now());
    if (damage === undefined && this.#soundness.problem === undefined && !this.#initializer.isDue()) this.#report();
    else return this.#repair();
  }

  async #repair(): Promise<void> {
    await (this.#isStarting
      ? this.#initializer.follow(START_BUSY_MS, START_DEADLINE_MS)
      : this.#initializer.follow(WRITE_BUSY_MS));
    if (this.#file.damage !== undefined || this.#soundness.problem !== undefined) await this.#soundness.probe();
    this.#report();
  }

  #ageMs(): number {
    const { problem, soundAt } = this.#soundness;
    return this.#now() - (problem === undefined ? this.#file.goodAt : soundAt);
  }

  /** Another program is committing, as happens all the time. */
  #isShortLock(): boolean {
    return this.#file.isLocked && this.#ageMs() < LONG_LOCK_MS;
  }

  /** A failure and its end are each said once; a lock, only where it lasts. */
  #report(): void {
    const { problem = this.#soundness.problem, damage } = this.#file;
    const { warn } = this.#options;
    // what was met a moment ago has still to be looked into
    if (problem === undefined && damage === undefined && this.#warned) {
      this.#warned = false;
      warn('the policy database is readable again', {});
    } else if (problem !== undefined && !this.#warned && !this.#isShortLock()) {
      this.#warned = true;
      warn('the policy database cannot be read', { problem });
    }
  }
}
