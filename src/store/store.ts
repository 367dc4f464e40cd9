/**
 * The backend's database as the rest of the gate sees it: one view, never older than the last commit, over a database that
 * may be locked, replaced, missing or in the middle of a migration at any moment.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatabaseConfig } from '../config/database.ts';
import type { PostgresAddress } from '../config/postgres-url.ts';
import { GatewayError, isPolicyUnavailable } from '../errors.ts';
import type { Warn } from './file-thread.ts';
import type { Organization } from './initialize.ts';
import { CheckedQuestions } from './postgres/questions.ts';
import { CHECK_DEADLINE_MS, PostgresSource } from './postgres/source.ts';
import { type SharedSaves, createSharedSaves } from './postgres/chat-saves.ts';
import { createPostgresStoredReading } from './postgres/stored-reading.ts';
import { type Attempt, type Questions, FileQuestions, begin } from './questions.ts';
import { type StoreView, CachedView } from './store-view.ts';
import { type StoredReading, createStoredReading } from './stored-reading.ts';
import { DEADLINE_MS, LONG_LOCK_MS, ThreadedFile } from './threaded-file.ts';

interface StoreOptions {
  /** The backend's; it need not be there yet. */
  readonly database: DatabaseConfig;
  /** How long the last good state serves while the database cannot be read. */
  readonly maxStaleMs?: number;
  /** On PostgreSQL: how old the answers may be that a request takes without asking. */
  readonly maxAgeMs?: number;
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: Warn;
  /** On PostgreSQL: hears how long each check took, in milliseconds. */
  readonly checked?: ((ms: number) => void) | undefined;
  /** How long a request waits for the database before the last good state has to do. */
  readonly deadlineMs?: number;
  readonly now?: () => number;
}

/** How often and how many times a request that met trouble tries again. */
const RETRY_MS = 10;
const RETRIES = LONG_LOCK_MS / RETRY_MS;

export type Store = Pick<PolicyStore, keyof PolicyStore>;
export type StoreHealth = Awaited<ReturnType<Store['health']>>;
export type StoreFigures = ReturnType<Store['figures']>;

/** What the store needs of a database beside its answers. */
type PolicySource = Pick<
  ThreadedFile,
  'goodAt' | 'problem' | 'failures' | 'errors' | 'writeErrors' | 'isFailingLong' | 'health' | 'close'
> & { readonly role?: PostgresSource['role'] };

interface StoreParts {
  readonly isRemote: boolean;
  readonly source: PolicySource;
  readonly view: CachedView;
  readonly questions: Questions;
  readonly stored: StoredReading;
  readonly saves?: SharedSaves;
  readonly isTooOld: () => boolean;
}

class PolicyStore implements Questions {
  readonly #source: PolicySource;
  readonly #view: CachedView;
  readonly #isTooOld: () => boolean;
  /** Each question costs a way through the network: ask none that nothing depends on. */
  readonly isRemote: boolean;
  readonly load: Questions['load'];
  readonly ask: Questions['ask'];
  readonly askOn: Questions['askOn'];
  readonly stored: StoredReading;
  /** Where other gates can see them. */
  readonly saves: SharedSaves | undefined;

  constructor({ source, view, questions, stored, saves, isTooOld, isRemote }: StoreParts) {
    this.isRemote = isRemote;
    this.#source = source;
    this.#view = view;
    this.#isTooOld = isTooOld;
    this.stored = stored;
    this.saves = saves;
    this.load = (need) => questions.load(need);
    this.ask = (attempt, need) => questions.ask(attempt, need);
    this.askOn = (attempt) => questions.askOn(attempt);
  }

  /** @throws GatewayError `policy_unavailable` when the database cannot be read and the last good state is older than allowed */
  current(): StoreView {
    if (this.#isTooOld()) throw new GatewayError('policy_unavailable', { cause: this.#source.problem });
    return this.#view;
  }

  /**
   * Runs `attempt`, and runs it again, for about a second, while the database could not be read meanwhile: outside WAL mode
   * every commit of the backend holds a lock for a moment. @throws what the last attempt threw, or rejects with it
   */
  patiently<T>(attempt: Attempt<T>): T | Promise<T> {
    const { failures } = this.#source;
    const first = begin(attempt);
    const isDone = !(first instanceof Promise) && !this.#isWorthRetrying(failures);
    return isDone ? first : this.#retry(Promise.resolve(first), attempt, failures);
  }

  /** Grows with each failed read: what was answered meanwhile may be older than the last commit. */
  failures(): number {
    return this.#source.failures;
  }

  /** After a look and, once a second, a read as requests read. */
  async health() {
    await this.load();
    return this.#source.health();
  }

  /** Counted since the store was made: failed reads by the database's code, waits for a lock among them. And what was reached. */
  figures() {
    const writeErrors = Object.entries(this.#source.writeErrors).map(([failed, count]) => {
      const [write = '', code = ''] = failed.split(' ');
      return { write, code, count };
    });
    const { role = 'file', errors } = this.#source;
    return { caches: this.#view.lookups(), errors, writeErrors, role };
  }

  async close(): Promise<void> {
    await Promise.all([this.#source.close(), this.stored.close()]);
  }

  async #retry<T>(first: Promise<T>, attempt: Attempt<T>, failures: number): Promise<T> {
    let [pending, known] = [first, failures];
    for (let left = RETRIES; ; left--) {
      try {
        const value = await pending;
        if (left === 0 || !this.#isWorthRetrying(known)) return value;
      } catch (error) {
        if (!isPolicyUnavailable(error) || left === 0 || !this.#isWorthRetrying(known)) throw error;
      }
      await sleep(RETRY_MS);
      known = this.#source.failures;
      pending = Promise.resolve(begin(attempt));
    }
  }

  /** Has the last good state answered since? By a count and not by what is the matter now: a look may have succeeded meanwhile. */
  #isWorthRetrying(failures: number): boolean {
    return this.#source.failures !== failures && !this.#source.isFailingLong;
  }
}

/** @returns a store that has tried to read the database once; one that is not there yet is not an error */
export function createStore({ database, ...options }: StoreOptions): Promise<Store> {
  return database.engine === 'sqlite' ? onFile(database.path, options) : onPostgres(database.address, options);
}

type Options = Omit<StoreOptions, 'database'>;

const clock = () => performance.now();
const MAX_STALE_MS = 30_000;

async function onFile(path: string, options: Options): Promise<Store> {
  const { organization, autoEnroll, warn, deadlineMs = DEADLINE_MS, now = clock, maxStaleMs = MAX_STALE_MS } = options;
  const source = new ThreadedFile({
    ...{ path, organization, autoEnroll, now, deadlineMs, warn },
    loaded: (...read) => view.put(...read),
  });
  const view = new CachedView(source, {
    maxStaleMs,
    now,
    organization,
    enrols: autoEnroll && organization !== undefined,
  });
  await source.start();
  const parts = { source, view, questions: new FileQuestions(source, view), stored: createStoredReading(path) };
  return new PolicyStore({ ...parts, isRemote: false, isTooOld: () => now() - source.goodAt > maxStaleMs });
}

async function onPostgres(address: PostgresAddress, options: Options): Promise<Store> {
  const { deadlineMs = CHECK_DEADLINE_MS, now = clock, maxStaleMs = MAX_STALE_MS, maxAgeMs = 0 } = options;
  const source: PostgresSource = new PostgresSource({
    ...{ ...options, address, now, deadlineMs, maxAgeMs },
    put: (call, value) => view.put(call, value),
    confirm: (call) => view.confirm(call),
  });
  const view: CachedView = new CachedView(source, { maxStaleMs, now, organization: options.organization });
  await source.start();
  const parts = { source, view, questions: new CheckedQuestions(source, view) };
  const [stored, saves] = [createPostgresStoredReading(source.slow, address), createSharedSaves(source.slow)];
  return new PolicyStore({
    ...parts,
    stored,
    saves,
    isRemote: true,
    isTooOld: () => now() - source.goodAt > maxStaleMs,
  });
}
