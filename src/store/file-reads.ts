/**
 * Reads of the backend's file: a request that asks for much holds up no other. The thread answers as much of a question as it can in some
 * milliseconds; the rest is asked one question at a time, and others are answered in between.
 */
import { keyOf } from './foresight.ts';
import type { PointCall } from './queries.ts';

/** Takes what the thread has answered of the first calls, in time or late. */
type Take = (values: readonly ({ readonly value: unknown } | undefined)[]) => void;

interface FileReadsOptions {
  /** @returns how many calls were answered in time; nothing where there was no answer */
  readonly ask: (calls: readonly PointCall[], take: Take) => Promise<number | undefined>;
  /** Takes what was read. */
  readonly loaded: (call: PointCall, value: unknown) => void;
}

/** Calls in one question, which go from thread to thread. */
const MAX_CALLS = 500;

export class FileReads {
  readonly #options: FileReadsOptions;
  #last: Promise<unknown> = Promise.resolve();
  readonly #failed = new Set<string>();

  constructor(options: FileReadsOptions) {
    this.#options = options;
  }

  /** Could it not be read since the last look? */
  hasFailed(call: PointCall): boolean {
    return this.#failed.has(keyOf(call));
  }

  /** What could not be read may be tried again. */
  forget(): void {
    this.#failed.clear();
  }

  async load(calls: readonly PointCall[]): Promise<void> {
    for (let from = 0; from < calls.length;) {
      const some = calls.slice(from, from + MAX_CALLS);
      from += await (from === 0 ? this.#load(some) : this.#inTurn(some));
    }
  }

  #inTurn(calls: readonly PointCall[]): Promise<number> {
    const turn = this.#last.then(() => this.#load(calls));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** @returns how many were answered, or have failed */
  async #load(calls: readonly PointCall[]): Promise<number> {
    const { ask, loaded } = this.#options;
    const count = await ask(calls, (values) => {
      for (const [at, call] of calls.slice(0, values.length).entries()) {
        const read = values[at];
        if (read === undefined) this.#failed.add(keyOf(call));
        else loaded(call, read.value);
      }
    });
    if (count !== undefined) return count;
    for (const call of calls) this.#failed.add(keyOf(call));
    return calls.length;
  }
}
