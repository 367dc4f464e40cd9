/** What a request asks of PostgreSQL and of Redis: who asks and what may run are one check, and a limit is asked beside it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { policyOf } from '../support/database/postgres-policy.ts';
import { type ServingProcess, chatStatus, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { inTurn } from '../support/process/with-timeout.ts';
import { type RedisProcess, startRedis } from '../support/redis/redis-process.ts';
import { type Upstream, sendJson, startUpstream } from '../support/upstream/upstreams.ts';
import { TOGETHER, USERS, countedTogether } from './gates-on-redis.ts';
import { whenReadable } from './readable.ts';

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
  for (const user of ['ada', ...USERS]) await policy.addUser(user);
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
        // what a gate on a busy machine was not told in time is a 503, and no guess
        MODELGATE_POLICY_MAX_STALE: '0s',
        ...TOGETHER,
        ...settings,
      }).then(whenReadable),
    );
  }
  return { policy, gates };
}

/** Each look at the figures makes as many checks itself. */
async function checksOf({ adminUrl }: ServingProcess): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return Number(/^modelgate_policy_check_seconds_count (\d+)$/m.exec(text)?.[1]);
}

/** As a client that does what `Retry-After` asks for. */
async function insistently(gate: ServingProcess, model: string, credential: string): Promise<number> {
  for (;;) {
    const status = await chatStatus(gate, model, credential);
    if (status !== 503) return status;
    await sleep(300);
  }
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
    const asked = async () => {
      expect(await insistently(gate, model, credential)).toBe(200);
      const looks = [await checksOf(gate), await checksOf(gate)] as const;
      const before = await scriptsOf();
      const statuses = new Set<number>();
      for (let number = 0; number < CHATS; number += 1) statuses.add(await chatStatus(gate, model, credential));
      const scripts = (await scriptsOf()) - before;
      const ofLook = looks[1] - looks[0];
      return { statuses: [...statuses], scripts, checks: (await checksOf(gate)) - looks[1] - ofLook };
    };
    let found = await asked();
    while (found.statuses.includes(503)) found = await asked();
    const { scripts, ...rest } = found;
    expect(rest).toEqual({ statuses: [200], checks: CHATS });
    // one of its user, one of its place, its run and its organization; the gate itself reports every five seconds
    expect(scripts).toBeGreaterThanOrEqual(2 * CHATS);
    expect(scripts).toBeLessThan(2 * CHATS + 5);
  });
});

test('what a limit refuses is no denial, also where the limit is asked beside the database', async () => {
  const { gates } = await gatesOfTest(2, { MODELGATE_LIMIT_USER: '1/1h:0' });
  const [first, second] = gates;
  if (first === undefined || second === undefined) throw new Error('there are two gates');
  const statuses = await countedTogether(gates, async (user) => {
    const credential = await mintSession(user);
    // the second one has not heard of the refusal, and asks
    return inTurn(
      [
        [first, 'secret'],
        [second, 'secret'],
        [second, 'gpt'],
      ] as const,
      ([gate, model]) => chatStatus(gate, model, credential),
    );
  });
  expect(statuses).toEqual([403, 429, 429]);
});

test('who was withdrawn is not known by what the gate remembers, and pays by address', async () => {
  const { gates, policy } = await gatesOfTest(1);
  const [gate] = gates;
  if (gate === undefined) throw new Error('there is a gate');
  const credential = await mintSession('ada');
  expect([await insistently(gate, 'gpt', credential), await insistently(gate, 'gpt', KEY)]).toEqual([200, 200]);
  await policy.run('DELETE FROM api_key');
  expect([await insistently(gate, 'gpt', credential), await insistently(gate, 'gpt', KEY)]).toEqual([200, 401]);
  await policy.addApiKey('ada', KEY);
  expect(await insistently(gate, 'gpt', KEY)).toBe(200);
  await policy.run(`DELETE FROM "user" WHERE id = 'ada'`);
  expect([await insistently(gate, 'gpt', credential), await insistently(gate, 'gpt', KEY)]).toEqual([401, 401]);
  await policy.addUser('ada');
  expect(await insistently(gate, 'gpt', credential)).toBe(200);
});
