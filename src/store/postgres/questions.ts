/**
 * How a question to the view is asked again until nothing is missing, where each answer is of one check. What an attempt lacks is
 * asked for together with all that it has asked before: what it decides by is of one moment.
 */
import type { PointCall } from '../queries.ts';
import { type Attempt, type Questions, ROUNDS, begin, completing } from '../questions.ts';
import type { Need } from '../foresight.ts';
import type { CachedView } from '../store-view.ts';
import type { Reading } from './shared-check.ts';
import type { PostgresSource } from './source.ts';

export class CheckedQuestions implements Questions {
  readonly #source: PostgresSource;
  readonly #view: CachedView;

  constructor(source: PostgresSource, view: CachedView) {
    this.#source = source;
    this.#view = view;
  }

  /** Within a question, it becomes a part of that. */
  async load(need: Need = {}): Promise<void> {
    const reading = this.#source.readings.getStore() ?? this.#source.newReading();
    this.#view.foresee(need, reading.calls);
    for (let round = 0; round < ROUNDS && reading.calls.length > 0; round++) {
      await this.#check(reading);
      const missing = this.#within(reading, () => this.#view.missing(need));
      if (missing.length === 0) return;
      for (const call of missing) this.#view.follow(call, reading.calls);
    }
  }

  /** Within a question, it becomes a part of that: one check answers both. */
  ask<T>(attempt: Attempt<T>, need: Need = {}): T | Promise<T> {
    const reading = this.#source.readings.getStore() ?? this.#source.newReading();
    // by the check of that question, or by one that is young enough (`MODELGATE_POLICY_MAX_AGE`)
    if (Number.isFinite(reading.asOf)) return this.#attempt(reading, attempt, need);
    this.#view.foresee(need, reading.calls);
    // what asks nothing of the database costs nothing
    if (reading.calls.length === 0) return this.#attempt(reading, attempt, need);
    return this.#check(reading).then(() => this.#attempt(reading, attempt, need));
  }

  askOn<T>(attempt: Attempt<T>): T | Promise<T> {
    return this.ask(attempt);
  }

  #within<T>(reading: Reading, act: () => T): T {
    return this.#source.readings.run(reading, act);
  }

  #attempt<T>(reading: Reading, attempt: Attempt<T>, need: Need): T | Promise<T> {
    const within = () => this.#within(reading, attempt);
    const first = begin(within);
    if (!(first instanceof Promise)) return first;
    return completing(first, within, (lacking) => {
      // what was found meanwhile names more: organizations their grants, presets their bases
      this.#view.follow(lacking, reading.calls);
      this.#view.foresee(need, reading.calls);
      return this.#check(reading);
    });
  }

  #check(reading: Reading): Promise<void> {
    return this.#source.enrols ? this.#checkAndEnrol(reading) : this.#source.check(reading);
  }

  async #checkAndEnrol(reading: Reading): Promise<void> {
    for (let round = 0; round < ROUNDS; round++) {
      await this.#source.check(reading);
      const asked: PointCall[] = reading.calls.filter(({ name }) => name === 'membershipsOf');
      const mayJoin = asked.filter(({ key }) => this.#within(reading, () => this.#view.mayJoin(key)));
      const enrolled = await Promise.all(mayJoin.map(({ key }) => this.#source.enrol(key)));
      // the grants of those who have become members are to be read then
      if (!enrolled.includes(true)) return;
    }
  }
}
