/** The ledger's server dies and its synchronous standby takes its place: what the provider has charged is what gates have counted. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { CallRow } from '../support/database/usage.ts';
import { run } from '../support/postgres-programs.ts';
import { until } from '../support/process/with-timeout.ts';
import { startSynchronousStandby, FOLLOWED } from '../support/synchronous-standby.ts';
import { STREAMED, USERS, callsIn, chat, countedAsCharged, gatesOnLedger } from './gates-on-ledger.ts';

const AT_ONCE = 16;
/** Longer than a call waits for its ledger. */
const AWAY_MS = 3_000;
/** A second, and what a busy machine takes. */
const BACK_MS = 1_500;

async function replicated() {
  // some streams are under way whenever the server dies
  const world = await gatesOnLedger({ thinkMs: 200, gapMs: 25 }, { settings: FOLLOWED });
  const { server, database, running } = world;
  const standby = running.use(await startSynchronousStandby(server));
  const both = database.url.replace(`:${server.port}/`, `:${server.port},${standby.host}:${standby.port}/`);
  return { ...world, promoted: { url: standby.url(database.name) }, standby, both };
}

interface Answer {
  readonly begunAt: number;
  readonly endedAt: number;
  readonly status: number;
}

test.each(['refuse', 'pass'])(
  'with %s, no call is uncounted, wrong or double',
  { timeout: 120_000 },
  async (whenDown) => {
    const { server, standby, both, promoted, provider, serve } = await replicated();
    const settings = { DATABASE_URL: both, MODELGATE_USAGE_WHEN_DOWN: whenDown };
    const gates = await Promise.all([serve(settings), serve(settings)]);
    const answers: Answer[] = [];
    const withStatus = (status: number) => answers.filter((answer) => answer.status === status);
    const are = { over: false };
    const ask = async (turn: number): Promise<Answer> => {
      const begunAt = performance.now();
      const { status, text } = await chat(gates[turn % 2]?.base ?? '', USERS[turn % USERS.length], STREAMED);
      expect(text.includes('[DONE]')).toBe(status === 200);
      return { begunAt, endedAt: performance.now(), status };
    };
    // whom a gate has seen it serves, also where a check is late on a busy machine
    for (let turn = 0; turn < 2 * USERS.length; turn++) {
      const isServed = async () => answers.push(...[await ask(turn)].filter(({ status }) => status === 200)) > turn;
      await until(isServed, 20_000, 'the user to be known');
    }
    const client = async (_: unknown, number: number): Promise<void> => {
      for (let turn = number; !are.over; turn++) {
        const answer = await ask(turn);
        answers.push(answer);
        if (answer.status !== 200) await sleep(50);
      }
    };
    const clients = Promise.all(Array.from({ length: AT_ONCE }, client));
    await until(() => answers.length > 3 * AT_ONCE, 30_000, 'chats to be answered');
    const diedAt = performance.now();
    await server.stop('immediate');
    await sleep(AWAY_MS);
    run('pg_ctl', ['promote', '-w', '-D', `${standby.directory}/data`]);
    const promotedAt = performance.now();
    const isBack = () => withStatus(200).filter(({ begunAt }) => begunAt > promotedAt).length > 2 * AT_ONCE;
    await until(isBack, 30_000, 'chats to be answered again');
    are.over = true;
    await clients;
    const openOf = (rows: readonly CallRow[]) => rows.filter(({ state }) => state !== 'closed' && state !== 'failed');
    const isWritten = async () => {
      const rows = await callsIn(promoted);
      const closed = rows.filter(({ state }) => state === 'closed').length;
      return closed >= provider.charged.length && openOf(rows).length === 0;
    };
    // which are not, is said by what follows
    await until(isWritten, 30_000, 'all to be written').catch(() => undefined);
    expect(openOf(await countedAsCharged(promoted, provider))).toEqual([]);
    expect(provider.charged).toHaveLength(withStatus(200).length);
    expect(withStatus(200).some(({ begunAt, endedAt }) => begunAt < diedAt && endedAt > diedAt)).toBe(true);
    expect(withStatus(503).length > 0).toBe(whenDown === 'refuse');
    const late = withStatus(503).map(({ endedAt }) => Math.round(endedAt - promotedAt));
    expect(Math.max(0, ...late)).toBeLessThan(BACK_MS);
  },
);
