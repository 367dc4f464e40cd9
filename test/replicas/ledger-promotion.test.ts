/** The ledger's server dies and its synchronous standby takes its place: what the provider has charged is what gates have counted. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { execute, startPostgres } from '../support/postgres.ts';
import { run } from '../support/postgres-programs.ts';
import { until } from '../support/process/with-timeout.ts';
import { STREAMED, USERS, callsIn, chat, countedAsCharged, gatesOnLedger, rowsIn } from './gates-on-ledger.ts';

const AT_ONCE = 16;
/** Longer than a call waits for its ledger. */
const AWAY_MS = 3_000;
/** A second, and what a busy machine takes. */
const BACK_MS = 1_500;

async function replicated() {
  // some streams are under way whenever the server dies
  const world = await gatesOnLedger({ thinkMs: 200, gapMs: 25 });
  const { server, database, running } = world;
  const standby = running.use(await startPostgres({ standbyOf: server }));
  const admin = server.url('postgres', 'postgres');
  await execute(admin, `ALTER SYSTEM SET synchronous_standby_names = '*'`, 'SELECT pg_reload_conf()');
  const synchronous = `SELECT 1 FROM pg_catalog.pg_stat_replication WHERE sync_state = 'sync'`;
  await until(async () => (await rowsIn(admin, synchronous)).length === 1, 20_000, 'the standby is synchronous');
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
    const client = async (_: unknown, number: number): Promise<void> => {
      for (let turn = number; !are.over; turn++) {
        const begunAt = performance.now();
        const { status, text } = await chat(gates[turn % 2]?.base ?? '', USERS[turn % USERS.length], STREAMED);
        answers.push({ begunAt, endedAt: performance.now(), status });
        expect(text.includes('[DONE]')).toBe(status === 200);
        if (status !== 200) await sleep(50);
      }
    };
    const clients = Promise.all(Array.from({ length: AT_ONCE }, client));
    await until(() => answers.length > 2 * AT_ONCE, 30_000, 'chats to be answered');
    const diedAt = performance.now();
    await server.stop('immediate');
    await sleep(AWAY_MS);
    run('pg_ctl', ['promote', '-w', '-D', `${standby.directory}/data`]);
    const promotedAt = performance.now();
    const isBack = () => withStatus(200).filter(({ begunAt }) => begunAt > promotedAt).length > 2 * AT_ONCE;
    await until(isBack, 30_000, 'chats to be answered again');
    are.over = true;
    await clients;
    const closed = async () => (await callsIn(promoted)).filter(({ state }) => state === 'closed').length;
    await until(async () => (await closed()) >= provider.charged.length, 30_000, 'all to be written');
    const rows = await countedAsCharged(promoted, provider);
    expect(rows.filter(({ state }) => state !== 'closed' && state !== 'failed')).toEqual([]);
    expect(provider.charged).toHaveLength(withStatus(200).length);
    expect(withStatus(200).some(({ begunAt, endedAt }) => begunAt < diedAt && endedAt > diedAt)).toBe(true);
    expect(withStatus(503).length > 0).toBe(whenDown === 'refuse');
    const late = withStatus(503).map(({ endedAt }) => Math.round(endedAt - promotedAt));
    expect(Math.max(0, ...late)).toBeLessThan(BACK_MS);
  },
);
