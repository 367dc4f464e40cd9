/** Sessions that the backend has ended, as its Redis says, are refused by the gate; and while Redis says nothing, none is. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { type ServingProcess, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { until, withTimeout } from '../support/process/with-timeout.ts';
import { type RedisProcess, startRedis } from '../support/redis/redis-process.ts';
import { startSampleBackend } from '../support/upstream/sample-backend/backend.ts';

const PREFIX = 'acme-chat';
const ISSUED_AT = Math.floor(Date.now() / 1000) - 60;

let redis: RedisProcess;
let limits: RedisProcess;
let database: TestDatabase;
let backend: Awaited<ReturnType<typeof startSampleBackend>>;
beforeAll(async () => {
  // who may read the counters of limits alone
  const acl = 'user gate on >few-rights ~{modelgate}:* +@all';
  [redis, limits] = await Promise.all([startRedis([acl]), startRedis()]);
  database = createDatabase({ era: '0.6.18' });
  database.addUser({ id: 'ann' });
  database.addMember('acme', 'ann');
  database.grant('acme', 'A');
  // it knows nothing of Redis: whoever is refused, is refused by the gate
  backend = await startSampleBackend({
    database: database.path,
    secretKey: TEST_SECRET,
    provider: [{ id: 'A', name: 'A', owner: 'openai' as const }],
  });
  const sockets = new WebSocketServer({ server: backend.server, perMessageDeflate: false });
  sockets.on('connection', (socket) => socket.on('message', () => socket.send('heard')));
});
afterAll(async () => {
  await backend.close();
  database.close();
  await Promise.all([redis[Symbol.asyncDispose](), limits[Symbol.asyncDispose]()]);
});
beforeEach(() => redis.ask('FLUSHALL'));

const serve = (settings: Record<string, string>): Promise<ServingProcess> =>
  serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.url,
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: TEST_SECRET,
    REDIS_KEY_PREFIX: PREFIX,
    MODELGATE_LIMIT_USER: 'off',
    ...settings,
  });

async function ask(gate: ServingProcess, token: string, path = '/api/chat/completions'): Promise<number> {
  const init = path.endsWith('completions')
    ? {
        method: 'POST',
        body: JSON.stringify({ model: 'A', stream: false, messages: [{ role: 'user', content: 'hi' }] }),
      }
    : {};
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${gate.url}${path}`, { ...init, headers });
  await answer.arrayBuffer();
  return answer.status;
}

/** @returns what the gate closes the call with, where it does not put it through */
async function call(gate: ServingProcess, token: string): Promise<'heard' | number> {
  const socket = new WebSocket(`${gate.url.replace('http', 'ws')}/api/v1/audio/realtime`);
  await withTimeout(once(socket, 'open'), 5_000, 'the call to open');
  const closed = once(socket, 'close').then(([code]: number[]) => code ?? 0);
  const heard = once(socket, 'message').then(() => 'heard' as const);
  socket.send(JSON.stringify({ type: 'auth', token, model_id: 'A' }));
  const outcome = await withTimeout(Promise.race([heard, closed]), 5_000, 'an outcome');
  socket.terminate();
  return outcome;
}

/** As `invalidate_token` of the backend writes it. */
const revoke = (jti: string) => redis.ask('SET', `${PREFIX}:auth:token:${jti}:revoked`, '1', 'EX', 60);
const revokeBefore = (text: string | number) => redis.ask('SET', `${PREFIX}:auth:user:ann:revoked_at`, text);

const isBlind = async (gate: ServingProcess): Promise<boolean> =>
  (await (await fetch(`${gate.adminUrl}/metrics`)).text()).includes('\nmodelgate_revocations_problem 1\n');

/** The outcome of a question for which Redis was in time: where it is late, the gate takes ended sessions for a moment. */
async function inTime<T>(gate: ServingProcess, question: () => Promise<T>): Promise<T> {
  for (;;) {
    const outcome = await question();
    if (!(await isBlind(gate))) return outcome;
  }
}

async function sessionOfAnn(claims: Record<string, unknown> = {}) {
  const jti = randomUUID();
  return { jti, token: await mintSession('ann', { claims: { jti, iat: ISSUED_AT, ...claims } }) };
}

describe.each([
  ['that counts the limits too', () => ({ REDIS_URL: redis.url })],
  ['beside one that counts the limits', () => ({ REDIS_URL: redis.url, MODELGATE_REDIS_URL: limits.url })],
])("the backend's Redis, %s", (_which, settings) => {
  let gate: ServingProcess;
  beforeAll(async () => {
    gate = await serve(settings());
  });
  afterAll(() => gate[Symbol.asyncDispose]());

  test('ends one session, on the next request, and no other one', async () => {
    const [out, stays] = [await sessionOfAnn(), await sessionOfAnn()];
    expect([await ask(gate, out.token), await ask(gate, stays.token)]).toEqual([200, 200]);
    await revoke(out.jti);
    for (const path of [undefined, '/api/models'])
      expect(await inTime(gate, () => ask(gate, out.token, path))).toBe(401);
    expect([await ask(gate, stays.token), await ask(gate, stays.token, '/api/models')]).toEqual([200, 200]);
  });

  test('ends a voice call before it begins', async () => {
    const [out, stays] = [await sessionOfAnn(), await sessionOfAnn()];
    await revoke(out.jti);
    expect([await inTime(gate, () => call(gate, out.token)), await call(gate, stays.token)]).toEqual([1008, 'heard']);
  });

  test.each([
    ['all that were issued until then', ISSUED_AT, {}, 401],
    ['one that does not say when it was issued', ISSUED_AT, { iat: undefined }, 401],
    ['one of an old release, which has no name either', ISSUED_AT, { jti: undefined, iat: undefined }, 401],
    ['none that was issued later', ISSUED_AT - 1, {}, 200],
    ['none by a text that is no time', 'yesterday', {}, 200],
    ['none by another user', '', {}, 200],
  ])('ends %s', async (_which, before, claims, status) => {
    const { token } = await sessionOfAnn(claims);
    await revokeBefore(before);
    expect(await inTime(gate, () => ask(gate, token))).toBe(status);
  });

  test('is not asked where nothing is decided', async () => {
    const { token } = await sessionOfAnn();
    const reads = async () => /cmdstat_get:calls=(\d+)/.exec(String(await redis.ask('INFO', 'commandstats')))?.[1];
    expect(await ask(gate, token)).toBe(200);
    const before = await reads();
    expect(await ask(gate, token, '/api/version')).toBe(200);
    expect(await reads()).toBe(before);
  });

  test('ends none while it is away, and those it names when it is back', async () => {
    const { jti, token } = await sessionOfAnn();
    await revoke(jti);
    expect(await inTime(gate, () => ask(gate, token))).toBe(401);
    redis.freeze();
    expect(await ask(gate, token)).toBe(200);
    expect(await isBlind(gate)).toBe(true);
    redis.thaw();
    await until(async () => (await ask(gate, token)) === 401, 10_000, 'a frozen Redis is asked again');
    await redis.kill();
    expect(await ask(gate, token)).toBe(200);
    await redis.restart();
    await revoke(jti);
    await until(async () => (await ask(gate, token)) === 401, 10_000, 'a new Redis is asked');
  });
});

test('a user who may read the keys of the gate alone counts limits together, and the log says what is missing', async () => {
  await using gate = await serve({ REDIS_URL: redis.url.replace('//', '//gate:few-rights@') });
  const { jti, token } = await sessionOfAnn();
  await revoke(jti);
  expect(await ask(gate, token)).toBe(200);
  expect(await gate.line(/may not read acme-chat:auth:\* in Redis/)).toMatchObject({ level: 'warn' });
  const { redis: state } = (await (await fetch(`${gate.adminUrl}/readyz`)).json()) as { redis: { reachable: boolean } };
  expect(state.reachable).toBe(true);
  expect(await isBlind(gate)).toBe(true);
  await redis.ask('ACL', 'SETUSER', 'gate', `~${PREFIX}:auth:*`);
  expect(await ask(gate, token)).toBe(401);
  expect(await isBlind(gate)).toBe(false);
});

test('a gate that is to use no Redis asks none', async () => {
  await using gate = await serve({ REDIS_URL: redis.url, MODELGATE_REDIS_URL: 'off' });
  const { jti, token } = await sessionOfAnn();
  await revoke(jti);
  expect(await ask(gate, token)).toBe(200);
});
