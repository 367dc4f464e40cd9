/**
 * How a question to the view is asked again until nothing is missing, where each answer is of one check. What an attempt lacks is
 * asked for together with all that it has asked before: what it decides by is of one moment.
 */
import type { PointCall } from '../queries.ts';
import { type Attempt, type Questions, ROUNDS, begin, completing } from '../questions.ts';
import type { Need } from '../foresight.ts';
import type { CachedView } from '../store-view.ts';
import type { PostgresSource, Reading } from './source.ts';

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

  /** Within a question, it becomes a part of that: one check answers both. */
  ask<T>(attempt: Attempt<T>, need: Need = {}): T | Promise<T> {
    const reading = this.#source.readings.getStore() ?? this.#source.newReading();
    this.#view.foresee(need, reading.calls);
    // what asks nothing of the database costs nothing
    if (reading.calls.size === 0 || this.#isAnswered(reading, need)) return this.#attempt(reading, attempt, need);
    return this.#bring(reading, need).then(() => this.#attempt(reading, attempt, need));
  }

  askOn<T>(attempt: Attempt<T>): T | Promise<T> {
    return this.ask(attempt);
  }

  /** By a check that is young enough (`MODELGATE_POLICY_MAX_AGE`), or by that of the question of which it is a part. */
  #isAnswered(reading: Reading, need: Need): boolean {
    return Number.isFinite(reading.asOf) && this.#within(reading, () => this.#view.missing(need)).length === 0;
  }

  #within<T>(reading: Reading, act: () => T): T {
    return this.#source.readings.run(reading, act);
  }

  #attempt<T>(reading: Reading, attempt: Attempt<T>, need: Need): T | Promise<T> {
    const within = () => this.#within(reading, attempt);
    const first = begin(within);
    if (!(first instanceof Promise)) return first;
    return completing(first, within, async (lacking) => {
      this.#view.follow(lacking, reading.calls);
      await this.#bring(reading, need);
    });
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

  /** @returns whether a user may have become a member, whose grants are to be read then */
  async #enrolled(reading: Reading): Promise<boolean> {
    if (!this.#source.enrols) return false;
    const asked: PointCall[] = [...reading.calls.values()].filter(({ name }) => name === 'membershipsOf');
    const mayJoin = asked.filter(({ key }) => this.#within(reading, () => this.#view.mayJoin(key)));
    const enrolled = await Promise.all(mayJoin.map(({ key }) => this.#source.enrol(key)));
    return enrolled.includes(true);
  }
}
