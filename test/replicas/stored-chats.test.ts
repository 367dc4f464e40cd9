/** Runs of stored chats on PostgreSQL: what one of them asks of the database, runs of others do not wait for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createStore } from '../../src/store/store.ts';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import type { ServingProcess } from '../support/gate/gate-process.ts';
import { mintSession } from '../support/gate/session.ts';
import { startPostgres } from '../support/postgres.ts';
import { gateOnPolicy } from './gate-on-policy.ts';
import { TIMED } from './timed.ts';

/** Of one statement beside the checks. */
const DEADLINE_MS = 3_000;
const SLACK_MS = 1_500;

const gateOfTest = () => gateOnPolicy(undefined, { MODELGATE_LIMIT_CONCURRENT_CHATS: 'off' });

const addChat = ({ run }: ReturnType<typeof policyOf>, id: string, user: string, chat: unknown) =>
  run(
    `INSERT INTO chat (id, user_id, title, chat, archived, created_at, updated_at) VALUES ($1, $2, 'Chat', $3, false, 1, 1)`,
    ...[id, user, JSON.stringify(chat)],
  );

async function runChat({ url }: ServingProcess, chat: string, user: string) {
  const startedAt = performance.now();
  const answer = await fetch(`${url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await mintSession(user)}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model: 'gpt', messages: [], chat_id: chat, id: 'm', parent_id: 'p' },
      background_tasks: { title_generation: true },
    }),
  });
  await answer.arrayBuffer();
  return { status: answer.status, ms: performance.now() - startedAt };
}

test('long chats that one user runs at once delay no other user', TIMED, async () => {
  const { gate, policy } = await gateOfTest();
  const content = 'long '.repeat(8_000_000);
  await addChat(policy, 'long', 'eve', { history: { messages: { m: { model: 'gpt', content } } } });
  await addChat(policy, 'long of ada', 'ada', { history: { messages: { m: { model: 'gpt', content } } } });
  await addChat(policy, 'short', 'ada', { models: ['gpt'] });
  expect(await runChat(gate, 'short', 'ada')).toMatchObject({ status: 200 });
  const crowd = [...Array.from({ length: 3 }, () => runChat(gate, 'long', 'eve')), runChat(gate, 'long of ada', 'ada')];
  const long = Promise.all(crowd);
  await sleep(50);
  const short = await runChat(gate, 'short', 'ada');
  const slowest = Math.max(...(await long).map(({ ms }) => ms));
  expect(short.status).toBe(200);
  expect(short.ms).toBeLessThan(slowest / 3);
  expect((await long).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
});

test('while chats are locked, none waits for all who have come before', { ...TIMED, timeout: 60_000 }, async () => {
  const { gate, policy } = await gateOfTest();
  await addChat(policy, 'short', 'ada', { models: ['gpt'] });
  await policy.run('BEGIN');
  await policy.run('LOCK TABLE chat IN ACCESS EXCLUSIVE MODE');
  const found = await Promise.all(Array.from({ length: 6 }, () => runChat(gate, 'short', 'ada')));
  await policy.run('ROLLBACK');
  expect(found.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 503));
  expect(Math.max(...found.map(({ ms }) => ms))).toBeLessThan(2 * DEADLINE_MS + SLACK_MS);
  expect(await runChat(gate, 'short', 'ada')).toMatchObject({ status: 200 });
});

test('a chat whose id no text of PostgreSQL can be is none, and no failure', async () => {
  const { gate } = await gateOfTest();
  for (const id of ['a\0b', '\ud800']) expect(await runChat(gate, id, 'ada')).toMatchObject({ status: 200 });
});

/** @returns the most time of this thread that passed between two of its turns, in ms: what others on the machine take is not in it */
async function longestTurn(work: Promise<unknown>): Promise<number> {
  const state = { isUnderWay: true };
  const ended = work.finally(() => (state.isUnderWay = false));
  let longest = 0;
  while (state.isUnderWay) {
    const begin = process.threadCpuUsage();
    await sleep(1);
    const { user, system } = process.threadCpuUsage(begin);
    longest = Math.max(longest, (user + system) / 1_000);
  }
  await ended;
  return longest;
}

test(
  'long documents pass neither the event loop nor the connection that others wait for',
  { ...TIMED, timeout: 60_000 },
  async () => {
    await using server = await startPostgres();
    await using database = await server.createDatabase();
    const policy = policyOf(database);
    await policy.initialize();
    const content = 'länger '.repeat(7_000_000);
    await addChat(policy, 'long', 'eve', { history: { messages: { m: { model: 'gpt', content } } } });
    await policy.run(`UPDATE chat SET meta = $1`, JSON.stringify({ run: { model_id: 'gpt', content } }));
    const address = addressOf(database.url);
    const store = await createStore({
      ...{ database: { engine: 'postgresql', address }, autoEnroll: false },
      warn: () => undefined,
    });
    const { stored } = store;
    const chat = stored.chat('long', undefined, 'eve');
    expect(await longestTurn(chat)).toBeLessThan(50);
    expect([...((await chat)?.names.places.keys() ?? [])]).toEqual(['gpt']);
    const long = stored.ofTimers(['long']);
    expect(await Promise.race([long, stored.ofAutomation('none')])).toEqual([]);
    expect(await longestTurn(long)).toBeLessThan(50);
    expect(await long).toEqual(['\0']);
    await store.close();
  },
);
