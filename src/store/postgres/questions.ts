/**
 * How a question to the view is asked again until nothing is missing, where each answer is of one check. What an attempt lacks is
 * asked for together with all that it has asked before: what it decides by is of one moment.
 */
import { GatewayError } from '../../errors.ts';
import type { PointCall } from '../queries.ts';
import { type Attempt, type Questions, begin } from '../questions.ts';
import type { Need } from '../foresight.ts';
import { type CachedView, NotLoaded } from '../store-view.ts';
import type { PostgresSource, Reading } from './source.ts';

/** More than a chain of presets is long: each time is a check. */
const ROUNDS = 100;

export class CheckedQuestions implements Questions {
  readonly #source: PostgresSource;
  readonly #view: CachedView;

  constructor(source: PostgresSource, view: CachedView) {
    this.#source = source;
    this.#view = view;
  }

  /** Within a question, it becomes a part of that. */
  load(need: Need = {}): Promise<void> {
    const reading = this.#source.readings.getStore() ?? this.#source.newReading();
    this.#view.foresee(need, reading.calls);
    return this.#bring(reading, need);
  }

  ask<T>(attempt: Attempt<T>, need: Need = {}): T | Promise<T> {
    const reading = this.#source.newReading();
    this.#view.foresee(need, reading.calls);
    // what asks nothing of the database costs nothing
    if (reading.calls.size === 0 || this.#isAnswered(reading, need)) return this.#attempt(reading, attempt, need);
    return this.#bring(reading, need).then(() => this.#attempt(reading, attempt, need));
  }

  askOn<T>(attempt: Attempt<T>): T | Promise<T> {
    return this.ask(attempt);
  }

  /** By a check that is young enough (`MODELGATE_POLICY_MAX_AGE`). */
  #isAnswered(reading: Reading, need: Need): boolean {
    return Number.isFinite(reading.asOf) && this.#within(reading, () => this.#view.missing(need)).length === 0;
  }

  #within<T>(reading: Reading, act: () => T): T {
    return this.#source.readings.run(reading, act);
  }

  #attempt<T>(reading: Reading, attempt: Attempt<T>, need: Need): T | Promise<T> {
    const first = this.#within(reading, () => begin(attempt));
    return first instanceof Promise ? this.#complete(reading, first, attempt, need) : first;
  }

  async #complete<T>(reading: Reading, first: Promise<T>, attempt: Attempt<T>, need: Need): Promise<T> {
    let pending: T | Promise<T> = first;
    for (let round = 0; ; round++) {
      try {
        return await pending;
      } catch (error) {
        if (!(error instanceof NotLoaded)) throw error;
        if (round === ROUNDS) throw new GatewayError('policy_unavailable', { cause: error });
        this.#view.follow(error.call, reading.calls);
        await this.#bring(reading, need);
      }
      pending = this.#within(reading, () => begin(attempt));
    }
  }

  /** Until nothing that can be foreseen is missing: what is found may name more, organizations their grants and presets their bases. */
  async #bring(reading: Reading, need: Need): Promise<void> {
    if (reading.calls.size === 0) return;
    for (let round = 0; round < ROUNDS; round++) {
      await this.#source.check(reading);
      const missing = this.#within(reading, () => this.#view.missing(need));
      if (missing.length === 0 && !(await this.#enrolled(reading))) return;
      for (const call of missing) this.#view.follow(call, reading.calls);
    }
  }

  /** @returns whether somebody became a member, whose grants are to be read */
  async #enrolled(reading: Reading): Promise<boolean> {
    if (!this.#source.enrols) return false;
    const asked: PointCall[] = [...reading.calls.values()].filter(({ name }) => name === 'membershipsOf');
    const mayJoin = asked.filter(({ key }) => this.#within(reading, () => this.#view.mayJoin(key)));
    const enrolled = await Promise.all(mayJoin.map(({ key }) => this.#source.enrol(key)));
    return enrolled.includes(true);
  }
}
