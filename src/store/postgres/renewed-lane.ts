/** A connection that is made anew when it has ended, and what was learnt through it. */
import type { PostgresAddress } from '../../config/postgres-url.ts';
import { type PostgresConnection, connectPostgres } from './connect.ts';
import { PostgresFailure } from './failure.ts';

interface LaneOptions<T> {
  readonly address: PostgresAddress;
  readonly queryTimeoutMs: number;
  /** For each host; half a second where it is left out. Who waits longer for answers does so here, too. */
  readonly connectTimeoutMs?: number;
  readonly applicationName: string;
  /** Runs on each new connection before anything else does. */
  readonly prepare: (connection: PostgresConnection) => Promise<T>;
}

const CONNECT_TIMEOUT_MS = 500;

export class RenewedLane<T> {
  readonly #options: LaneOptions<T>;
  #current: Promise<{ readonly connection: PostgresConnection; readonly prepared: T }> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: LaneOptions<T>) {
    this.#options = options;
  }

  /** @throws PostgresFailure; the next call tries again */
  connected() {
    this.#current ??= this.#connect();
    return this.#current;
  }

  /**
   * Runs `work` when all that was begun before has ended. @throws what it throws
   * @throws PostgresFailure also where that took longer than a statement may: otherwise each would wait for all before it
   */
  alone<R>(work: (connection: PostgresConnection, prepared: T) => Promise<R>): Promise<R> {
    const { address, queryTimeoutMs } = this.#options;
    const until = performance.now() + queryTimeoutMs;
    const turn = this.#last.then(async () => {
      if (performance.now() > until) {
        throw new PostgresFailure(`${address.shown} has been busy for more than ${queryTimeoutMs} ms.`, 'ETIMEDOUT');
      }
      const { connection, prepared } = await this.connected();
      return work(connection, prepared);
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** What was learnt is no longer so. */
  async renew(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.then(({ connection }) => connection.close()).catch(() => undefined);
  }

  #connect() {
    const { address, queryTimeoutMs, connectTimeoutMs = CONNECT_TIMEOUT_MS, applicationName, prepare } = this.#options;
    const forget = (): void => {
      if (this.#current === made) this.#current = undefined;
    };
    const made = connectPostgres(address, {
      connectTimeoutMs,
      queryTimeoutMs,
      applicationName,
    }).then(async (connection) => {
      connection.onEnd(forget);
      try {
        return { connection, prepared: await prepare(connection) };
      } catch (error) {
        // the next attempt has another one: of those that stay open the server has soon no more, for the backend neither
        void connection.close();
        throw error;
      }
    });
    made.catch(forget);
    return made;
  }
}
