/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a file that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import { FileHealth, LONG_LOCK_MS } from './health.ts';
import { type Organization, ROLES_NOT_ENROLLED } from './initialize.ts';
import { type Need, type StoreView, CachedView, NotLoaded } from './store-view.ts';
import { type StoredReading, createStoredReading } from './stored-reading.ts';
import { DEADLINE_MS, ThreadedFile } from './threaded-file.ts';

interface StoreOptions {
  /** Need not exist yet. */
  readonly databasePath: string;
  /** How long the last good state serves while the file cannot be read. */
  readonly maxStaleMs?: number;
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: (message: string, fields: Record<string, unknown>) => void;
  /** How long a request waits for SQLite before the last good state has to do. */
  readonly deadlineMs?: number;
  readonly now?: () => number;
}

/** How often and how many times a request that met trouble tries again. */
const RETRY_MS = 10;
const RETRIES = LONG_LOCK_MS / RETRY_MS;
/** How often an attempt may turn out to lack something: each time is one question to the thread. */
const ROUNDS = 100;
const ENROL_BUSY_MS = 25;
/** After a failed write: a read-only file would cost every request an attempt. */
const ENROL_AGAIN_MS = 5_000;

/** @returns a store that has tried to read the file once; a file that is not there yet is not an error */
export async function createStore(options: StoreOptions): Promise<Store> {
  const store = new SqliteStore(options);
  await store.start();
  return store;
}

export type Store = Pick<SqliteStore, keyof SqliteStore>;
export type StoreFigures = ReturnType<Store['figures']>;

class SqliteStore {
  readonly #options: StoreOptions;
  readonly #now: () => number;
  readonly #maxStaleMs: number;
  readonly #file: ThreadedFile;
  readonly #view: CachedView;
  readonly #health: FileHealth;
  #enrolAt = Number.NEGATIVE_INFINITY;
  readonly stored: StoredReading;

  constructor(options: StoreOptions) {
    const { databasePath: path, organization, warn, deadlineMs = DEADLINE_MS } = options;
    const { now = () => performance.now(), maxStaleMs = 30_000 } = options;
    this.#options = options;
    this.#now = now;
    this.#maxStaleMs = maxStaleMs;
    const looked = () => this.#health.follow();
    this.#file = new ThreadedFile({ path, now, deadlineMs, looked, loaded: (...read) => this.#view.put(...read) });
    this.#view = new CachedView(this.#file, { maxStaleMs, now });
    this.#health = new FileHealth({ file: this.#file, organization, now, warn });
    this.stored = createStoredReading(path);
  }

  async start(): Promise<void> {
    await this.#file.start();
    this.#health.isStarting = false;
  }

  /** Looks at the file, at most once a millisecond, and reads what the view lacks of `need`, within the file's deadline. */
  load(need: Need = {}): void | Promise<void> {
    const looking = this.#file.look();
    if (looking !== undefined) return looking.then(() => this.#bring(need));
    if (this.#view.missing(need).length > 0 || this.#isNew(need.user)) return this.#bring(need);
  }

  /** @throws GatewayError `policy_unavailable` when the file cannot be read and the last good state is older than allowed */
  current(): StoreView {
    const { goodAt, problem } = this.#file;
    if (this.#now() - goodAt > this.#maxStaleMs) throw new GatewayError('policy_unavailable', { cause: problem });
    return this.#view;
  }

  /** Runs `attempt` after a look, and again after each load of what it lacked. Synchronous where nothing is waited for. */
  ask<T>(attempt: () => T | Promise<T>, need: Need = {}): T | Promise<T> {
    const begin = () => this.#attempt(attempt, need);
    const bringFirst = () => (this.#isNew(need.user) ? this.#bring(need).then(begin) : begin());
    const looking = this.#file.look();
    return looking === undefined ? bringFirst() : looking.then(bringFirst);
  }

  /**
   * Runs `attempt`, and runs it again, for about a second, while the file could not be read meanwhile: outside WAL mode
   * every commit of the backend holds a lock for a moment. @throws what the last attempt threw, or rejects with it
   */
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

  /** Grows with each failed read: what was answered meanwhile may be older than the last commit. */
  failures(): number {
    return this.#file.failures;
  }

  /** After a look and, once a second, a read as requests read. */
  async health() {
    await this.#file.look();
    return this.#health.describe();
  }

  /** Counted since the store was made: failed reads by SQLite's code, waits for a lock among them. */
  figures() {
    return { caches: this.#view.lookups(), errors: this.#file.errors, writeErrors: this.#health.writeErrors() };
  }

  async close(): Promise<void> {
    await Promise.all([this.#file.close(), this.stored.close()]);
  }

  async #retry<T>(attempt: () => T | Promise<T>, first: Promise<T>, failures: number): Promise<T> {
    let [pending, known] = [first, failures];
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

  /** Has the last good state answered since? By a count and not by what is the matter now: a look may have succeeded meanwhile. */
  #isWorthRetrying(failures: number): boolean {
    return this.#file.failures !== failures && !this.#health.isFailingLong();
  }

  #attempt<T>(attempt: () => T | Promise<T>, need: Need): T | Promise<T> {
    try {
      const value = attempt();
      return value instanceof Promise ? value.catch((error: unknown) => this.#again(error, attempt, need)) : value;
    } catch (error) {
      return this.#again(error, attempt, need);
    }
  }

  async #again<T>(first: unknown, attempt: () => T | Promise<T>, need: Need): Promise<T> {
    let error = first;
    for (let round = 0; error instanceof NotLoaded && round < ROUNDS; round++) {
      if (round === 0) await this.#bring(need);
      await this.#file.load([error.call]);
      try {
        return await attempt();
      } catch (next) {
        error = next;
      }
    }
    throw error instanceof NotLoaded ? new GatewayError('policy_unavailable', { cause: error }) : error;
  }

  /** Until nothing is missing: what is found may name more, organizations their grants and presets their bases. */
  async #bring(need: Need): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const missing = this.#view.missing(need);
      if (missing.length > 0) await this.#file.load(missing);
      else if (need.user === undefined || !(await this.#enrol(need.user))) return;
    }
  }

  #isNew(user: UserPrincipal | undefined): boolean {
    if (user === undefined) return false;
    const isMember = this.#view.hasMembership(user.id);
    return isMember === undefined || (!isMember && this.#enrolling(user) !== undefined);
  }

  /** @returns the organization that the user would be enrolled in now */
  #enrolling({ role }: UserPrincipal): string | undefined {
    const { autoEnroll, organization } = this.#options;
    const may = autoEnroll && !ROLES_NOT_ENROLLED.has(role) && this.#now() >= this.#enrolAt;
    return may ? organization?.id : undefined;
  }

  /** A file that cannot be written costs the membership, never the request. @returns whether there is a membership now */
  async #enrol(user: UserPrincipal): Promise<boolean> {
    const organization = this.#enrolling(user);
    if (organization === undefined || this.#view.hasMembership(user.id) !== false) return false;
    const outcome = await this.#file.ask({ kind: 'enrol', organization, user: user.id, busyTimeoutMs: ENROL_BUSY_MS });
    const failure = outcome?.failure;
    this.#health.noteWrite('enrolment', failure);
    // several users may have come at once
    if (failure !== undefined && this.#now() >= this.#enrolAt) {
      this.#enrolAt = this.#now() + ENROL_AGAIN_MS;
      const { problem } = failure;
      this.#options.warn('a new user could not be enrolled', { user: user.id, organization, problem });
    }
    if (outcome?.value !== true) return false;
    this.#view.forgetMemberships(user.id);
    return true;
  }
}
