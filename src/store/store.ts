/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a file that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import type { Warn } from './file-thread.ts';
import type { Organization } from './initialize.ts';
import { type Need, type StoreView, CachedView, NotLoaded } from './store-view.ts';
import { type StoredReading, createStoredReading } from './stored-reading.ts';
import { DEADLINE_MS, LONG_LOCK_MS, ThreadedFile } from './threaded-file.ts';

interface StoreOptions {
  /** Need not exist yet. */
  readonly databasePath: string;
  /** How long the last good state serves while the file cannot be read. */
  readonly maxStaleMs?: number;
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: Warn;
  /** How long a request waits for SQLite before the last good state has to do. */
  readonly deadlineMs?: number;
  readonly now?: () => number;
}

/** How often and how many times a request that met trouble tries again. */
const RETRY_MS = 10;
const RETRIES = LONG_LOCK_MS / RETRY_MS;
/** How often an attempt may turn out to lack something: each time is one question to the thread. */
const ROUNDS = 100;

export type Store = Pick<SqliteStore, keyof SqliteStore>;
export type StoreHealth = Awaited<ReturnType<Store['health']>>;
export type StoreFigures = ReturnType<Store['figures']>;

class SqliteStore {
  readonly #isTooOld: () => boolean;
  readonly #file: ThreadedFile;
  readonly #view: CachedView;
  readonly stored: StoredReading;

  constructor(options: StoreOptions) {
    const { databasePath: path, organization, autoEnroll, warn, deadlineMs = DEADLINE_MS } = options;
    const { now = () => performance.now(), maxStaleMs = 30_000 } = options;
    this.#file = new ThreadedFile({
      ...{ path, organization, autoEnroll, now, deadlineMs, warn },
      loaded: (...read) => this.#view.put(...read),
    });
    const enrols = autoEnroll && organization !== undefined;
    this.#view = new CachedView(this.#file, { maxStaleMs, now, enrols, organization });
    this.#isTooOld = () => now() - this.#file.goodAt > maxStaleMs;
    this.stored = createStoredReading(path);
  }

  static async open(options: StoreOptions): Promise<Store> {
    const store = new SqliteStore(options);
    await store.#file.start();
    return store;
  }

  /** Looks at the file, at most once a millisecond, and reads what the view lacks of `need`, within the file's deadline. */
  load(need: Need = {}): void | Promise<void> {
    const looking = this.#file.look();
    if (looking !== undefined) return looking.then(() => this.#bring(need));
    if (this.#view.missing(need).length > 0) return this.#bring(need);
  }

  /** @throws GatewayError `policy_unavailable` when the file cannot be read and the last good state is older than allowed */
  current(): StoreView {
    if (this.#isTooOld()) throw new GatewayError('policy_unavailable', { cause: this.#file.problem });
    return this.#view;
  }

  /** Runs `attempt` after a look, and again after each load of what it lacked. Synchronous where nothing is waited for. */
  ask<T>(attempt: () => T | Promise<T>, need: Need = {}): T | Promise<T> {
    const looking = this.#file.look();
    // who is seen for the first time is enrolled, whatever is asked
    const isReady = looking === undefined && this.#isKnown(need);
    const first = isReady ? begin(attempt) : this.#prepare(looking, need).then(attempt);
    return first instanceof Promise ? this.#complete(first, attempt, need) : first;
  }

  /** As `ask`, but without a look of its own: for what follows a decision on the same request. */
  askOn<T>(attempt: () => T | Promise<T>): T | Promise<T> {
    const first = begin(attempt);
    return first instanceof Promise ? this.#complete(first, attempt, {}) : first;
  }

  /**
   * Runs `attempt`, and runs it again, for about a second, while the file could not be read meanwhile: outside WAL mode
   * every commit of the backend holds a lock for a moment. @throws what the last attempt threw, or rejects with it
   */
  patiently<T>(attempt: () => T | Promise<T>): T | Promise<T> {
    const { failures } = this.#file;
    const first = begin(attempt);
    const isDone = !(first instanceof Promise) && !this.#isWorthRetrying(failures);
    return isDone ? first : this.#retry(Promise.resolve(first), attempt, failures);
  }

  /** Grows with each failed read: what was answered meanwhile may be older than the last commit. */
  failures(): number {
    return this.#file.failures;
  }

  /** After a look and, once a second, a read as requests read. */
  async health() {
    await this.#file.look();
    return this.#file.health();
  }

  /** Counted since the store was made: failed reads by SQLite's code, waits for a lock among them. */
  figures() {
    const writeErrors = Object.entries(this.#file.status.writeErrors).map(([failed, count]) => {
      const [write = '', code = ''] = failed.split(' ');
      return { write, code, count };
    });
    return { caches: this.#view.lookups(), errors: this.#file.errors, writeErrors };
  }

  async close(): Promise<void> {
    await Promise.all([this.#file.close(), this.stored.close()]);
  }

  async #retry<T>(first: Promise<T>, attempt: () => T | Promise<T>, failures: number): Promise<T> {
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
      pending = Promise.resolve(begin(attempt));
    }
  }

  /** Has the last good state answered since? By a count and not by what is the matter now: a look may have succeeded meanwhile. */
  #isWorthRetrying(failures: number): boolean {
    return this.#file.failures !== failures && !this.#file.isFailingLong;
  }

  #isKnown({ user }: Need): boolean {
    return user === undefined || this.#view.isKnown(user.id);
  }

  async #prepare(looking: void | Promise<void>, need: Need): Promise<void> {
    await looking;
    if (!this.#isKnown(need)) await this.#bring(need);
  }

  /** Loads what the attempts lack, until one lacks nothing. */
  async #complete<T>(first: Promise<T>, attempt: () => T | Promise<T>, need: Need): Promise<T> {
    let pending: T | Promise<T> = first;
    for (let round = 0; ; round++) {
      try {
        return await pending;
      } catch (error) {
        if (!(error instanceof NotLoaded)) throw error;
        if (round === ROUNDS) throw new GatewayError('policy_unavailable', { cause: error });
        if (round === 0) await this.#bring(need);
        await this.#file.load([error.call]);
      }
      pending = begin(attempt);
    }
  }

  /** Until nothing is missing: what is found may name more, organizations their grants and presets their bases. */
  async #bring(need: Need): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      const missing = this.#view.missing(need);
      if (missing.length === 0) return;
      await this.#file.load(missing);
    }
  }
}

/** @returns a store that has tried to read the file once; a file that is not there yet is not an error */
export const createStore = (options: StoreOptions): Promise<Store> => SqliteStore.open(options);

/** @returns what `attempt` does; what it throws rejects */
function begin<T>(attempt: () => T | Promise<T>): T | Promise<T> {
  try {
    return attempt();
  } catch (error) {
    const reason = error as Error;
    return Promise.reject(reason);
  }
}
