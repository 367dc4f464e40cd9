/**
 * The backend's PostgreSQL as requests see it. Nothing is true for longer than the request that asked for it: each waits for a
 * check that begins after it has come, and all that come while one is under way share the next one. Where a check is not
 * answered in time, the last good state serves.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import { Unreadable } from '../database.ts';
import type { Warn } from '../file-thread.ts';
import type { Organization } from '../initialize.ts';
import type { PointCall, PointRead, Source } from '../queries.ts';
import { NotLoaded } from '../store-view.ts';
import { Checks, KnownVersions, PLANS_ONCE, PROBE } from './check.ts';
import { createEnrolment } from './enrolment.ts';
import { PostgresFailure } from './failure.ts';
import { Initializer } from './initializer.ts';
import { RenewedLane } from './renewed-lane.ts';
import { type Layout, readLayout } from './layout.ts';
import { type Asked, type Reading, SharedCheck, YoungChecks, addTo } from './shared-check.ts';

interface PostgresSourceOptions {
  readonly address: PostgresAddress;
  readonly organization?: Organization | undefined;
  readonly autoEnroll: boolean;
  readonly warn: Warn;
  readonly now: () => number;
  /** What a request waits for a check. */
  readonly deadlineMs: number;
  /** How old the check may be by which a question is answered: 0 for none that is older than the question. */
  readonly maxAgeMs: number;
  /** Hears how long each check took, in milliseconds. */
  readonly checked?: ((ms: number) => void) | undefined;
  readonly put: (call: PointCall, value: unknown) => void;
  readonly confirm: (call: PointCall) => boolean;
}

export const CHECK_DEADLINE_MS = 250;
/** A connection is given up a little later than its requests. */
const ABANDON_MS = 50;
const SLOW_DEADLINE_MS = 3_000;
const PROBE_EVERY_MS = 50;
/** Tables and columns that come, or go, without an error. */
const LAYOUT_EVERY_MS = 1_000;

export class PostgresSource implements Source {
  readonly readings = new AsyncLocalStorage<Reading>();
  /** The number of the last check; the rest is for caches that know an older state too. */
  readonly status = { generation: 0, epochs: { members: 0, models: 0 } };
  failures = 0;
  readonly errors = new Map<string, number>();
  writeErrors: Readonly<Record<string, number>> = {};
  problem: string | undefined = 'the database has not been read yet';
  readonly #options: PostgresSourceOptions;
  readonly #lane: RenewedLane<{ readonly layout: Layout; readonly checks: Checks }>;
  readonly slow: RenewedLane<Layout>;
  readonly #shared: SharedCheck;
  readonly #initializer: Initializer;
  readonly #enrolment: ReturnType<typeof createEnrolment>;
  #goodAt = Number.NEGATIVE_INFINITY;
  readonly #young: YoungChecks;
  #isProbing = false;
  #isClosed = false;
  #isReported = false;
  #code = '';
  #layout: Layout | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(options: PostgresSourceOptions) {
    this.#options = options;
    const { address, now, deadlineMs } = options;
    this.#young = new YoungChecks(options.maxAgeMs);
    const [schema, way] = [address.schema ?? 'public', { address, connectTimeoutMs: 2 * deadlineMs }];
    this.#lane = new RenewedLane({
      ...{ ...way, queryTimeoutMs: deadlineMs + ABANDON_MS, applicationName: 'modelgate' },
      prepare: async (connection) => {
        const layout = (this.#layout = await readLayout(connection, schema));
        const { problem, isAbsent, missing } = layout;
        if (problem !== undefined) throw new Unreadable(problem, isAbsent ? missing : undefined);
        if (!connection.isPooled) await connection.query(PLANS_ONCE);
        return { layout, checks: new Checks(layout, new KnownVersions(now)) };
      },
    });
    this.slow = new RenewedLane({
      ...{ ...way, queryTimeoutMs: SLOW_DEADLINE_MS, applicationName: 'modelgate, what may take longer' },
      prepare: (connection) => readLayout(connection, schema),
    });
    this.#shared = new SharedCheck({
      ...{ deadlineMs, now, perform: (asked) => this.#checkOnce(asked), failed: (error) => this.#fail(error) },
      renew: () => this.#lane.renew(),
    });
    const failed = (key: string) => {
      this.writeErrors = { ...this.writeErrors, [key]: (this.writeErrors[key] ?? 0) + 1 };
    };
    const parts = { ...options, slow: this.slow, failed };
    this.#initializer = new Initializer(parts);
    this.#enrolment = createEnrolment(parts);
  }

  /** What was reached last: checks are asked of a primary alone. */
  get role(): 'primary' | 'standby' | 'none' {
    if (this.problem === undefined) return 'primary';
    return this.#code === 'STANDBY' ? 'standby' : 'none';
  }

  /** While it can be read: now. */
  get goodAt(): number {
    return this.problem === undefined ? this.#options.now() : this.#goodAt;
  }

  /** A check is not tried again: it has waited long enough. */
  get isFailingLong(): boolean {
    return this.problem !== undefined;
  }

  /** @returns what nothing has been asked for yet; a check that is young enough answers it, too */
  newReading = (): Reading => ({ calls: [], asOf: this.#young.first(this.#options.now()) });

  /** Was it true for this question? Outside of one, the last known state will do. */
  isCurrent(check: number): boolean {
    const reading = this.readings.getStore();
    return reading === undefined || check >= reading.asOf;
  }

  /** @returns nothing, where it cannot be read now, or outside of a question @throws NotLoaded where it can */
  read(name: PointRead, key: string): undefined {
    if (this.readings.getStore() === undefined) return;
    if (this.problem === undefined) throw new NotLoaded({ name, key });
    this.failures++;
  }

  /** Connects, makes what is missing, and reads once. A database that is not there yet is not an error. */
  async start(): Promise<void> {
    try {
      await this.#probe();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Reads all that the question has asked, in one check that begins from now on; and enrols whom it finds without membership. */
  check(reading: Reading): Promise<void> {
    if (this.problem !== undefined) {
      this.failures++;
      return Promise.resolve();
    }
    return this.#shared.join(reading.calls).then((number) => {
      if (number !== undefined) reading.asOf = number;
    });
  }

  /** Are users without any membership enrolled, as far as the database can be read now? */
  get enrols(): boolean {
    const { autoEnroll, organization } = this.#options;
    return autoEnroll && organization !== undefined && this.problem === undefined;
  }

  /** @returns whether memberships are to be read again */
  enrol(user: string): Promise<boolean> {
    return this.#enrolment.enrol(user);
  }

  /** For operators; reads as requests do. */
  async health() {
    if (!this.#isClosed && this.problem === undefined) await this.check({ ...this.newReading(), calls: [...PROBE] });
    const { problem } = this;
    const { notMade, obstacle } = this.#initializer;
    const missing = (this.#layout?.missing ?? []).map(
      (name) => notMade.find((failed) => failed.startsWith(name)) ?? name,
    );
    const whole = [problem, obstacle].filter((part) => part !== undefined).join('; ');
    return {
      readable: problem === undefined,
      ageMs: this.#options.now() - this.goodAt,
      missing,
      problem: whole === '' ? undefined : whole,
      writeProblem: this.#enrolment.problem(),
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.problem = 'closed';
    this.#goodAt = Number.NEGATIVE_INFINITY;
    await Promise.all([this.#lane.renew(), this.slow.renew()]);
  }

  async #checkOnce(asked: Asked): Promise<number> {
    const { put, confirm, now } = this.#options;
    const { connection, prepared } = await this.#lane.connected();
    const { name, text, values, take } = prepared.checks.compose(asked);
    const startedAt = now();
    const { rows } = await connection.table(text, values, name);
    this.#options.checked?.(now() - startedAt);
    this.status.generation++;
    this.#goodAt = startedAt;
    this.#young.add(this.status.generation, startedAt);
    take(rows[0] ?? [], { put, confirm });
    if (startedAt - this.#lookedAt >= LAYOUT_EVERY_MS) void this.#lookAtLayout(startedAt);
    return this.status.generation;
  }

  async #lookAtLayout(now: number): Promise<void> {
    this.#lookedAt = now;
    const schema = this.#options.address.schema ?? 'public';
    // what fails here is met by a check, too
    const found = await this.slow.alone((connection) => readLayout(connection, schema)).catch(() => undefined);
    if (found === undefined || found.fingerprint === this.#layout?.fingerprint || this.#isClosed) return;
    await Promise.all([this.#lane.renew(), this.slow.renew()]);
  }

  #fail(error: unknown): void {
    if (this.#isClosed) return;
    if (!(error instanceof PostgresFailure) && !(error instanceof Unreadable)) throw error;
    this.failures++;
    this.#blame(error);
    this.errors.set(this.#code, (this.errors.get(this.#code) ?? 0) + 1);
    if (!this.#isReported) this.#options.warn('the policy database cannot be read', { problem: this.problem });
    this.#isReported = true;
    if (!this.#isProbing) void this.#probeUntilGood();
  }

  #blame(error: PostgresFailure | Unreadable): void {
    this.#code = error instanceof PostgresFailure ? error.code : error.name;
    this.problem = `${this.#code}: ${error.message}`;
  }

  /** In the background, until it can be read again. */
  async #probeUntilGood(): Promise<void> {
    this.#isProbing = true;
    const isBad = () => !this.#isClosed && this.problem !== undefined;
    while (isBad()) {
      await sleep(PROBE_EVERY_MS, undefined, { ref: false });
      await this.#probe().catch((error: unknown) => {
        if (!(error instanceof PostgresFailure) && !(error instanceof Unreadable)) throw error;
        if (!this.#isClosed) this.#blame(error);
      });
    }
    this.#isProbing = false;
  }

  async #probe(): Promise<void> {
    await this.#initializer.run(() => this.#lane.renew());
    await this.#checkOnce(addTo(new Map(), PROBE));
    if (this.#isClosed) return;
    this.problem = undefined;
    if (this.#isReported) this.#options.warn('the policy database is readable again', {});
    this.#isReported = false;
  }
}
