/** What a request asks of PostgreSQL and of Redis: who asks and what may run are one check, and a limit is asked beside it. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { policyOf } from '../support/database/postgres-policy.ts';
import { type ServingProcess, chatStatus, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisProcess, startRedis } from '../support/redis/redis-process.ts';
import { type Upstream, sendJson, startUpstream } from '../support/upstream/upstreams.ts';

const KEY = 'sk-0123456789abcdef0123456789abcdef';
const CHATS = 20;

let server: PostgresServer;
let redis: RedisProcess;
let upstream: Upstream;
beforeAll(async () => {
  server = await startPostgres();
  redis = await startRedis();
  upstream = await startUpstream((_incoming, outgoing) => sendJson(outgoing, { choices: [] }));
});
afterAll(async () => {
  await upstream[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function gatesOfTest(count: number, settings: Readonly<Record<string, string>> = {}) {
  const database = await server.createDatabase();
  onTestFinished(() => database[Symbol.asyncDispose]());
  const policy = policyOf(database);
  await policy.initialize();
  await policy.addUser('ada');
  await policy.addMember('acme', 'ada');
  await policy.addClientOrganization('acme', 1);
  for (const model of ['gpt', 'preset']) await policy.grant('acme', model);
  await policy.addModel('preset', 'gpt');
  await policy.addApiKey('ada', KEY);
  const gates: ServingProcess[] = [];
  onTestFinished(() => Promise.all(gates.map((gate) => gate[Symbol.asyncDispose]())).then(() => undefined));
  for (let number = 0; number < count; number += 1) {
    gates.push(
      await serveModelgate({
        MODELGATE_UPSTREAM_URL: upstream.origin,
        DATABASE_URL: database.url,
        WEBUI_SECRET_KEY: TEST_SECRET,
        MODELGATE_REDIS_URL: redis.url,
        MODELGATE_REDIS_KEY_PREFIX: database.name,
        ...settings,
      }),
    );
  }
  return { policy, gates };
}

/** Each look at the figures makes as many checks itself. */
async function checksOf({ adminUrl }: ServingProcess): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return Number(/^modelgate_policy_check_seconds_count (\d+)$/m.exec(text)?.[1]);
}

async function scriptsOf(): Promise<number> {
  const text = String(await redis.ask('INFO', 'commandstats'));
  return Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(text)?.[1]);
}

describe('a chat of a user who was seen before', () => {
  test.each([
    ['a session', 'gpt', () => mintSession('ada')],
    ['an API key', 'gpt', () => Promise.resolve(KEY)],
    ['a preset', 'preset', () => mintSession('ada')],
  ])('with %s: one check, and two scripts', async (_with, model, credentialOf) => {
    const [gate] = (await gatesOfTest(1)).gates;
    if (gate === undefined) throw new Error('there is a gate');
    const credential = await credentialOf();
    expect(await chatStatus(gate, model, credential)).toBe(200);
    const looks = [await checksOf(gate), await checksOf(gate)] as const;
    const before = await scriptsOf();
    for (let number = 0; number < CHATS; number += 1) expect(await chatStatus(gate, model, credential)).toBe(200);
    const scripts = (await scriptsOf()) - before;
    const ofLook = looks[1] - looks[0];
    expect((await checksOf(gate)) - looks[1] - ofLook).toBe(CHATS);
    // one of its user, one of its place, its run and its organization; the gate itself reports every five seconds
    expect(scripts).toBeGreaterThanOrEqual(2 * CHATS);
    expect(scripts).toBeLessThan(2 * CHATS + 5);
  });
});

test('what a limit refuses is no denial, also where the limit is asked beside the database', async () => {
  const { gates } = await gatesOfTest(2, { MODELGATE_LIMIT_USER: '1/1h:0' });
  const [first, second] = gates;
  if (first === undefined || second === undefined) throw new Error('there are two gates');
  const credential = await mintSession('ada');
  expect(await chatStatus(first, 'secret', credential)).toBe(403);
  // this one has not heard of the refusal, and asks
  expect(await chatStatus(second, 'secret', credential)).toBe(429);
  expect(await chatStatus(second, 'gpt', credential)).toBe(429);
});

test('who was withdrawn is not known by what the gate remembers, and pays by address', async () => {
  const { gates, policy } = await gatesOfTest(1);
  const [gate] = gates;
  if (gate === undefined) throw new Error('there is a gate');
  const credential = await mintSession('ada');
  expect([await chatStatus(gate, 'gpt', credential), await chatStatus(gate, 'gpt', KEY)]).toEqual([200, 200]);
  await policy.run('DELETE FROM api_key');
  expect([await chatStatus(gate, 'gpt', credential), await chatStatus(gate, 'gpt', KEY)]).toEqual([200, 401]);
  await policy.addApiKey('ada', KEY);
  expect(await chatStatus(gate, 'gpt', KEY)).toBe(200);
  await policy.run(`DELETE FROM "user" WHERE id = 'ada'`);
  expect([await chatStatus(gate, 'gpt', credential), await chatStatus(gate, 'gpt', KEY)]).toEqual([401, 401]);
  await policy.addUser('ada');
  expect(await chatStatus(gate, 'gpt', credential)).toBe(200);
});
