/** Makes what is missing in the database, as on a file: when the gate starts, and when a later look finds it gone. */
import { Unreadable } from '../database.ts';
import type { Warn } from '../file-thread.ts';
import type { Organization } from '../initialize.ts';
import { reportMade } from '../made.ts';
import { PostgresFailure } from './failure.ts';
import { initializePostgres } from './initialize.ts';
import type { RenewedLane } from './renewed-lane.ts';
import type { Layout } from './layout.ts';

interface InitializerOptions {
  readonly slow: RenewedLane<Layout>;
  readonly organization?: Organization | undefined;
  readonly warn: Warn;
  readonly now: () => number;
  readonly failed: (write: string) => void;
}

const AGAIN_MS = 5_000;

export class Initializer {
  /** Why tables, indexes, views and triggers could not be made, and which of them. */
  obstacle: string | undefined;
  notMade: readonly string[] = [];
  readonly #options: InitializerOptions;
  #isDone = false;
  #nextAt = Number.NEGATIVE_INFINITY;

  constructor(options: InitializerOptions) {
    this.#options = options;
  }

  /** Once: what an operator removes later is theirs to remove. @param changed called where something was made */
  async run(changed: () => Promise<void>): Promise<void> {
    const { slow, organization, warn, now, failed } = this.#options;
    if (this.#isDone || now() < this.#nextAt) return;
    try {
      const made = await slow.alone(({ query }, { schema }) => initializePostgres(query, schema, organization));
      this.#isDone = true;
      this.obstacle = undefined;
      if (made === undefined) return;
      this.notMade = reportMade(made, warn);
      await Promise.all([slow.renew(), changed()]);
    } catch (error) {
      if (!(error instanceof PostgresFailure) && !(error instanceof Unreadable)) throw error;
      const isEarly = error instanceof Unreadable;
      // a server that is away is no obstacle, and is tried again with the next probe
      if (isEarly || !(error instanceof PostgresFailure) || !/^(?:42|25|55|57014)/.test(error.code)) return;
      this.#nextAt = now() + AGAIN_MS;
      failed(`initialization ${error.code}`);
      this.obstacle = `the policy tables could not be made: ${error.message}`;
      warn('the policy tables could not be initialized', { problem: error.message });
    }
  }
}
