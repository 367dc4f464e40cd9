/** How a question to the view is asked again until nothing is missing, where the view reads a file by a thread. */
import { GatewayError } from '../errors.ts';
import type { Need } from './foresight.ts';
import type { PointCall } from './queries.ts';
import { type CachedView, NotLoaded } from './store-view.ts';
import type { ThreadedFile } from './threaded-file.ts';

/** What may be computed at once, or later. */
export type Attempt<T> = () => T | Promise<T>;

/** How often an attempt may turn out to lack something: each time is one question to the database. */
export const ROUNDS = 100;

/** Asks the view of one source. */
export interface Questions {
  /** Brings the view up to this moment, with all of `need`. */
  load(need?: Need): void | Promise<void>;
  /** Runs `attempt` on what is true now, and again after each load of what it lacked. Synchronous where nothing is waited for. */
  ask<T>(attempt: Attempt<T>, need?: Need): T | Promise<T>;
  /** As `ask`, for what follows a decision on the same request: what was true then will do. */
  askOn<T>(attempt: Attempt<T>): T | Promise<T>;
}

export class FileQuestions implements Questions {
  readonly #file: Pick<ThreadedFile, 'look' | 'load'>;
  readonly #view: CachedView;

  constructor(file: Pick<ThreadedFile, 'look' | 'load'>, view: CachedView) {
    this.#file = file;
    this.#view = view;
  }

  /** Looks at the file, at most once a millisecond, and reads what the view lacks of `need`, within the file's deadline. */
  load(need: Need = {}): void | Promise<void> {
    const looking = this.#file.look();
    if (looking !== undefined) return looking.then(() => this.#bring(need));
    if (this.#view.missing(need).length > 0) return this.#bring(need);
  }

  ask<T>(attempt: Attempt<T>, need: Need = {}): T | Promise<T> {
    const looking = this.#file.look();
    // who is seen for the first time is enrolled, whatever is asked
    const isReady = looking === undefined && this.#isKnown(need);
    const first = isReady ? begin(attempt) : this.#prepare(looking, need).then(attempt);
    return first instanceof Promise ? this.#complete(first, attempt, need) : first;
  }

  /** Without a look of its own. */
  askOn<T>(attempt: Attempt<T>): T | Promise<T> {
    const first = begin(attempt);
    return first instanceof Promise ? this.#complete(first, attempt, {}) : first;
  }

  #isKnown({ user }: Need): boolean {
    return user === undefined || this.#view.isKnown(user.id);
  }

  async #prepare(looking: void | Promise<void>, need: Need): Promise<void> {
    await looking;
    if (!this.#isKnown(need)) await this.#bring(need);
  }

  #complete<T>(first: Promise<T>, attempt: Attempt<T>, need: Need): Promise<T> {
    let isBrought = false;
    return completing(first, attempt, async (lacking) => {
      if (!isBrought) await this.#bring(need);
      isBrought = true;
      await this.#file.load([lacking]);
    });
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

/** @returns what `attempt` does; what it throws rejects */
export function begin<T>(attempt: Attempt<T>): T | Promise<T> {
  try {
    return attempt();
  } catch (error) {
    const reason = error as Error;
    return Promise.reject(reason);
  }
}

/** @param load brings what the last attempt lacked @returns what the first attempt does that lacks nothing; what it throws rejects */
export async function completing<T>(
  first: Promise<T>,
  attempt: Attempt<T>,
  load: (lacking: PointCall) => Promise<void>,
): Promise<T> {
  let pending: T | Promise<T> = first;
  for (let round = 0; ; round++) {
    try {
      return await pending;
    } catch (error) {
      if (!(error instanceof NotLoaded)) throw error;
      if (round === ROUNDS) throw new GatewayError('policy_unavailable', { cause: error });
      await load(error.call);
    }
    pending = begin(attempt);
  }
}
