/** Who shares a check: all that come while one is under way share the next one. To join one that has begun would be stale. */
import { setTimeout as sleep } from 'node:timers/promises';
import { keyOf } from '../foresight.ts';
import type { PointCall, PointRead } from '../queries.ts';
import { PostgresFailure } from './failure.ts';

/** What one question has asked so far, and the check by which all of it was true. */
export interface Reading {
  readonly calls: PointCall[];
  asOf: number;
}

/** What a check asks, each key once. */
export type Asked = ReadonlyMap<PointRead, ReadonlySet<string>>;

interface SharedCheckOptions {
  /** What each waits at the most. */
  readonly deadlineMs: number;
  readonly now: () => number;
  /** @returns the number of the check @throws PostgresFailure */
  readonly perform: (asked: Asked) => Promise<number>;
  /** The tables have changed: all that was learnt of them is to be learnt again. */
  readonly renew: () => Promise<void>;
  readonly failed: (error: unknown) => void;
}

interface Batch {
  readonly asked: Map<PointRead, Set<string>>;
  readonly done: Promise<number | undefined>;
  /** @param number of the check that answered, or nothing where none did */
  readonly end: (number: number | undefined) => void;
  readonly until: number;
}

/** Another attempt within the deadline. */
const RETRY_MS = 20;
/** A server that goes or comes, a connection that is cut, or tables that have changed. */
const PASSING = /^(?:E[A-Z]+|57P0[123]|08\w{3}|STANDBY|25006|42P01|42703|42883|42804)$/;
const CHANGED = /^42/;
/** Keys that one question brings into one check, some 10 ms: what the others ask is answered with it. */
const MOST_AT_ONCE = 500;

export class SharedCheck {
  readonly #options: SharedCheckOptions;
  #next: Batch | undefined;
  #isRunning = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SharedCheckOptions) {
    this.#options = options;
  }

  /**
   * @returns the number of a check that begins from now on, which reads all of this, or the first part of it, as those that follow
   *   read the others; nothing where one was not answered in time
   */
  join(calls: readonly PointCall[]): Promise<number | undefined> {
    return calls.length <= MOST_AT_ONCE ? this.#joinNext(calls) : this.#inParts(calls);
  }

  /** By turns, a part of one question in a check: a request that names thousands of models holds up no other. */
  async #inParts(calls: readonly PointCall[]): Promise<number | undefined> {
    const distinct = [...new Map(calls.map((call) => [keyOf(call), call])).values()];
    let first: number | undefined;
    for (let from = 0; from < distinct.length; from += MOST_AT_ONCE) {
      const turn = this.#turn.then(() => this.#joinNext(distinct.slice(from, from + MOST_AT_ONCE)));
      this.#turn = turn;
      const number = await turn;
      if (number === undefined) return undefined;
      first ??= number;
    }
    return first;
  }

  #joinNext(calls: readonly PointCall[]): Promise<number | undefined> {
    const batch = (this.#next ??= this.#begin());
    addTo(batch.asked, calls);
    return batch.done;
  }

  #begin(): Batch {
    const { promise: done, resolve } = Promise.withResolvers<number | undefined>();
    const { deadlineMs, now, failed } = this.#options;
    let hasEnded = false;
    const giveUp = (): void => {
      if (hasEnded) return;
      failed(new PostgresFailure(`PostgreSQL has not answered for ${deadlineMs} ms.`, 'NO_ANSWER'));
      resolve(undefined);
    };
    // where this process was busy, the answer may have come meanwhile
    const timer = setTimeout(() => setImmediate(giveUp), deadlineMs);
    const end = (number: number | undefined): void => {
      hasEnded = true;
      clearTimeout(timer);
      resolve(number);
    };
    const batch: Batch = { asked: new Map(), done, end, until: now() + deadlineMs };
    if (!this.#isRunning) setImmediate(() => void this.#run(batch));
    return batch;
  }

  /** One at a time. */
  async #run(batch: Batch): Promise<void> {
    this.#isRunning = true;
    this.#next = undefined;
    try {
      batch.end(await this.#attempt(batch));
    } catch (error) {
      this.#options.failed(error);
      batch.end(undefined);
    }
    this.#isRunning = false;
    this.#goOn();
  }

  /** One turn later: those whom this check answered may have more to ask. */
  #goOn(): void {
    const next = this.#next;
    if (next !== undefined) setImmediate(() => void this.#run(next));
  }

  async #attempt({ asked, until }: Batch): Promise<number> {
    const { now, perform, renew } = this.#options;
    for (;;) {
      try {
        return await perform(asked);
      } catch (error) {
        const isPassing = error instanceof PostgresFailure && PASSING.test(error.code) && now() + RETRY_MS < until;
        if (!isPassing) throw error;
        if (CHANGED.test(error.code)) await renew();
        await sleep(RETRY_MS);
      }
    }
  }
}

export function addTo(asked: Map<PointRead, Set<string>>, calls: readonly PointCall[]): Asked {
  for (const { name, key } of calls) {
    const keys = asked.get(name);
    if (keys === undefined) asked.set(name, new Set([key]));
    else keys.add(key);
  }
  return asked;
}

/** Checks that answer a question although it came later (`MODELGATE_POLICY_MAX_AGE`). */
export class YoungChecks {
  readonly #maxAgeMs: number;
  #checks: { readonly check: number; readonly startedAt: number }[] = [];

  constructor(maxAgeMs: number) {
    this.#maxAgeMs = maxAgeMs;
  }

  add(check: number, startedAt: number): void {
    if (this.#maxAgeMs > 0) this.#checks.push({ check, startedAt });
  }

  /** @returns the number of the oldest of them; one that no check has, where there is none */
  first(now: number): number {
    if (this.#maxAgeMs === 0) return Number.POSITIVE_INFINITY;
    this.#checks = this.#checks.filter(({ startedAt }) => now - startedAt < this.#maxAgeMs);
    return this.#checks[0]?.check ?? Number.POSITIVE_INFINITY;
  }
}
