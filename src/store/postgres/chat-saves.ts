/** Questions beside the checks, one after the other; and by them the saves of chats that are under way at any gate. */
import { randomUUID } from 'node:crypto';
import { GatewayError } from '../../errors.ts';
import type { PostgresConnection } from './connect.ts';
import { PostgresFailure } from './failure.ts';
import type { Layout } from './layout.ts';
import { isUnaskable } from './parts.ts';
import type { RenewedLane } from './renewed-lane.ts';
import { SAVES } from './tables.ts';

export type Query = PostgresConnection['query'];

/** @returns what runs a question when all before it have ended; it rejects with GatewayError `policy_unavailable` */
export const askingOn =
  (slow: RenewedLane<Layout>) =>
  async <T>(ask: (query: Query, layout: Layout) => Promise<T>): Promise<T> => {
    try {
      return await slow.alone(({ query }, layout) => ask(query, layout));
    } catch (error) {
      if (error instanceof PostgresFailure) throw new GatewayError('policy_unavailable', { cause: error.message });
      throw error;
    }
  };

/** Of a gate that is killed: how long runs of the chat take its save for one that goes on. */
const LONGEST_MS = 600_000;
const LONGEST = `interval '${LONGEST_MS} milliseconds'`;
const AGAIN_MS = 1_000;

/** Saves of chats that are under way at any gate, so that a run at another one waits. Times are the database's. Rejects with GatewayError `policy_unavailable` where it does not answer. */
export interface SharedSaves {
  /** Notes a save. @returns what ends it, after so many milliseconds; does not wait */
  begin(chat: string): Promise<(lingerMs: number) => void>;
  /** @param since a moment of before @returns this moment, and whether a save is under way, or was since then */
  look(chat: string, since?: string): Promise<{ readonly moment: string; readonly isBusy: boolean }>;
}

/** Without its table, which a role may lack the right to make, each gate knows its own saves alone. */
export function createSharedSaves(slow: RenewedLane<Layout>): SharedSaves {
  const asked = askingOn(slow);
  const ask = <T>(text: (table: string) => string, values: readonly unknown[], without: T): Promise<T> =>
    asked(async (query, { at, has }) => {
      const isAskable = values.every((value) => typeof value !== 'string' || !isUnaskable(value));
      if (!has(SAVES, 'id', 'chat_id', 'ends_at') || !isAskable) return without;
      const [row] = await query<Record<string, unknown>>(text(at(SAVES)), [...values]);
      return (row ?? without) as T;
    });
  return {
    async begin(chat) {
      const id = randomUUID();
      const noted = (
        table: string,
      ) => `WITH gone AS (DELETE FROM ${table} WHERE ends_at < clock_timestamp() - ${LONGEST})
        INSERT INTO ${table} (id, chat_id, ends_at) VALUES ($1, $2, clock_timestamp() + ${LONGEST})`;
      await ask(noted, [id, chat], undefined);
      const ended = (table: string) =>
        `UPDATE ${table} SET ends_at = clock_timestamp() + $2 * interval '1 millisecond' WHERE id = $1`;
      const until = performance.now() + LONGEST_MS;
      // an end that is not written keeps all runs of the chat waiting
      const end = (lingerMs: number): void =>
        void ask(ended, [id, lingerMs], undefined).catch(() => {
          if (performance.now() < until) setTimeout(end, AGAIN_MS, lingerMs).unref();
        });
      return end;
    },
    look(chat, since) {
      const looked = (table: string) => `SELECT clock_timestamp()::text AS moment, EXISTS (SELECT FROM ${table}
        WHERE chat_id = $1 AND ends_at > coalesce($2::timestamptz, clock_timestamp())) AS "isBusy"`;
      return ask(looked, [chat, since ?? null], { moment: '', isBusy: false });
    },
  };
}
