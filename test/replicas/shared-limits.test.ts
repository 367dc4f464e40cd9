/** Several gates, each a process of its own, count as one; and what each does while Redis is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { ServingProcess } from '../support/gate/gate-process.ts';
import { until } from '../support/process/with-timeout.ts';
import { redisOfTest, sentinelsOfTest } from '../support/redis/redis-process.ts';
import { TOGETHER, allKnow, as, figuresOf, gatesOfTest, readiness, untilEach } from './gates-on-redis.ts';
import { TIMED } from './timed.ts';

/** One request after the other, until the signal. @returns what each was answered, and how long it took */
async function askOften(gate: ServingProcess, headers: Record<string, string>, stop: AbortSignal, pauseMs = 0) {
  const asked: { readonly status: number; readonly at: number; readonly ms: number }[] = [];
  while (!stop.aborted) {
    const at = performance.now();
    const answer = await fetch(`${gate.url}/api/v1/chats/`, { headers });
    await answer.arrayBuffer();
    asked.push({ status: answer.status, at, ms: performance.now() - at });
    if (pauseMs > 0) await sleep(pauseMs);
  }
  return asked;
}

const admitted = (asked: readonly { readonly status: number }[]) => asked.filter(({ status }) => status < 400).length;

test('four gates admit as many requests of one user as one gate would, within one in a hundred', TIMED, async () => {
  const redis = await redisOfTest();
  const settings = { MODELGATE_REDIS_URL: redis.url, MODELGATE_LIMIT_USER: '6000/1m:99', ...TOGETHER };
  const gates = await gatesOfTest(4, settings);
  await allKnow(gates);
  const headers = await as('ann');
  const startedAt = performance.now();
  const stop = AbortSignal.timeout(8_000);
  const asked = (await Promise.all([...gates, ...gates].map((gate) => askOften(gate, headers, stop)))).flat();
  const seconds = (Math.max(...asked.map(({ at, ms }) => at + ms)) - startedAt) / 1000;
  const exact = 100 + 100 * seconds;
  expect(admitted(asked) / exact).toBeLessThan(1.01);
  // Redis may have admitted what it was late to say
  const late = asked.filter(({ status }) => status === 503).length;
  expect(asked.length - late).toBeGreaterThan(exact);
  expect((admitted(asked) + late) / exact).toBeGreaterThan(0.99);
});

test('gates with other limits are told', async () => {
  const redis = await redisOfTest();
  const settings = { MODELGATE_REDIS_URL: redis.url, MODELGATE_LIMIT_USER: '1/1h:19' };
  const all = [
    ...(await gatesOfTest(1, settings)),
    ...(await gatesOfTest(1, { ...settings, MODELGATE_LIMIT_USER: '100/1s' })),
  ];
  await untilEach(all, ({ warning }) => warning?.includes('have other limits') === true, 'each gate warns', 60_000);
  for (const gate of all) expect(await gate.line(/have other limits/)).toMatchObject({ level: 'warn' });
});

/** Asks again where Redis was late for the gate: a chat that is answered 503 has no place. */
async function chat(gate: ServingProcess, headers: Record<string, string>): Promise<Response> {
  for (;;) {
    const answer = await fetch(`${gate.url}/api/chat/completions`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'A', stream: true, messages: [{ role: 'user', content: 'hello' }] }),
    });
    if (answer.status !== 503) return answer;
    await answer.body?.cancel();
    await sleep(100);
  }
}

/** An answer to which nothing refers is cancelled at any time, and gives its place back: to be called at the end. */
async function cancel(answers: readonly Response[]): Promise<void> {
  for (const { body } of answers) await body?.cancel().catch(() => undefined);
}

describe('places of chats', () => {
  test('are never more than the limit in all gates, and those of a killed gate are back after their lease', async () => {
    const redis = await redisOfTest();
    const settings = { MODELGATE_REDIS_URL: redis.url, MODELGATE_LIMIT_CONCURRENT_CHATS: '4', ...TOGETHER };
    const gates = await gatesOfTest(3, settings, 20_000);
    const [first, second, third] = gates as [ServingProcess, ServingProcess, ServingProcess];
    const crowd = [first, second, third, first, second, third, first];
    const bob = await as('bob');
    const atOnce = await Promise.all(crowd.map((one) => chat(one, bob)));
    expect(atOnce.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 429, 429, 429]);
    const headers = await as('ann');
    const running: Response[] = [];
    for (const gate of [first, first, second, third]) running.push(await chat(gate, headers));
    expect(running.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const killedAt = Date.now();
    first.kill('SIGKILL');
    await first.ended();
    expect((await chat(second, headers)).status).toBe(429);
    const free = async (): Promise<boolean> => {
      const answer = await chat(second, headers);
      if (answer.status === 200) return true;
      await sleep(500);
      return false;
    };
    await until(free, 70_000, 'a place of the killed gate is free again');
    expect(Date.now() - killedAt).toBeGreaterThan(38_000);
    expect(await redis.ask('ZCARD', '{modelgate}:places:ann')).toBeLessThanOrEqual(4);
    // of the same limits
    expect((await readiness(second)).warning).toBeNull();
    await cancel([...atOnce, ...running]);
  }, 120_000);
});

test('a gate that is stopped gives the places of the chats that it cuts back at once', async () => {
  const redis = await redisOfTest();
  const settings = {
    MODELGATE_REDIS_URL: redis.url,
    MODELGATE_LIMIT_CONCURRENT_CHATS: '2',
    MODELGATE_DRAIN_TIMEOUT: '0ms',
    ...TOGETHER,
  };
  const [first, second] = await gatesOfTest(2, settings, 20_000);
  if (first === undefined || second === undefined) throw new Error('there are two gates');
  const headers = await as('ann');
  const running = await Promise.all([chat(first, headers), chat(first, headers)]);
  expect(running.map(({ status }) => status)).toEqual([200, 200]);
  expect((await chat(second, headers)).status).toBe(429);
  first.kill('SIGTERM');
  await first.ended();
  expect((await chat(second, headers)).status).toBe(200);
  expect(await redis.ask('ZCARD', '{modelgate}:gates')).toBe(1);
  await cancel(running);
});

test('a Redis that evicts is told in the log and in /readyz', async () => {
  const redis = await redisOfTest(['maxmemory 64mb', 'maxmemory-policy allkeys-lru']);
  const [gate] = await gatesOfTest(1, { MODELGATE_REDIS_URL: redis.url, MODELGATE_LIMIT_USER: '1/1h' });
  if (gate === undefined) throw new Error('there is a gate');
  expect(await gate.line(/^Redis is no safe place/)).toMatchObject({ level: 'warn', policy: 'allkeys-lru' });
  expect(await readiness(gate)).toMatchObject({
    reachable: true,
    warning: expect.stringContaining('noeviction') as string,
  });
});

/** Again where Redis was late for a gate, which then counted by itself. */
async function withoutBeingAlone<T>(gates: readonly ServingProcess[], ask: () => Promise<T>): Promise<T> {
  const counted = /^modelgate_limits_without_redis_total\{.*$/m;
  const alone = async () => (await Promise.all(gates.map(figuresOf))).map((text) => counted.exec(text)?.[0]).join();
  for (;;) {
    const before = await alone();
    const outcome = await ask();
    if ((await alone()) === before) return outcome;
  }
}

describe('while Redis is away', () => {
  const LIMIT = { MODELGATE_LIMIT_USER: '6000/1m:99' };

  test(
    'frozen: no request fails, and hardly one waits; the state is told, once, and again when it is back',
    TIMED,
    async () => {
      const redis = await redisOfTest();
      const [gate] = await gatesOfTest(1, { MODELGATE_REDIS_URL: redis.url, MODELGATE_LIMIT_USER: '100000/1s' });
      if (gate === undefined) throw new Error('there is a gate');
      const stop = new AbortController();
      const asking = askOften(gate, await as('ann'), stop.signal, 5);
      asking.catch(() => undefined);
      await sleep(1_000);
      const frozenAt = performance.now();
      redis.freeze();
      await sleep(1_500);
      expect(await readiness(gate)).toMatchObject({ status: 200, reachable: false, without_redis: 'local' });
      expect(await figuresOf(gate)).toMatch(/^modelgate_redis_problem 1$/m);
      redis.thaw();
      await untilEach([gate], ({ reachable }) => reachable, 'Redis is back');
      await sleep(500);
      stop.abort();
      const asked = await asking;
      expect(asked.filter(({ status }) => status >= 400)).toEqual([]);
      // how much each waits for Redis alone is counted in redis-latency.test.ts
      const meanwhile = asked.filter(({ at }) => at > frozenAt - 100 && at < frozenAt + 1_500);
      expect(meanwhile.filter(({ ms }) => ms > 45).length).toBeLessThan(meanwhile.length / 4);
      expect(Math.max(...meanwhile.map(({ ms }) => ms))).toBeLessThan(1_000);
      // it has answered for a while, as it does on a busy machine where hardly anything is asked
      const isBack = () => gate.lines().some(({ msg }) => String(msg).startsWith('Redis is back'));
      await until(isBack, 40_000, 'that Redis is back is told');
      expect(gate.lines().filter(({ msg }) => String(msg).startsWith('Redis is away'))).toHaveLength(1);
      expect(await figuresOf(gate)).toMatch(/^modelgate_limits_without_redis_total\{how="local"\} [1-9]/m);
    },
  );

  test(
    'killed: two gates admit half of the limit each, and both of them the whole; back and empty: together again',
    TIMED,
    async () => {
      const redis = await redisOfTest();
      const gates = await gatesOfTest(2, { MODELGATE_REDIS_URL: redis.url, ...LIMIT });
      await allKnow(gates);
      await redis.kill();
      await untilEach(gates, ({ reachable }) => !reachable, 'both gates miss Redis');
      const headers = await as('ann');
      const startedAt = performance.now();
      const stop = AbortSignal.timeout(3_000);
      const [one = [], other = []] = await Promise.all(gates.map((gate) => askOften(gate, headers, stop)));
      const seconds = (performance.now() - startedAt) / 1000;
      const half = 50 + 50 * seconds;
      for (const asked of [one, other]) {
        expect(asked.filter(({ status }) => status >= 500)).toEqual([]);
        expect(admitted(asked)).toBeGreaterThan(half * 0.95);
        expect(admitted(asked)).toBeLessThan(half * 1.03);
      }
      await redis.restart();
      await untilEach(gates, ({ reachable }) => reachable, 'both gates have Redis again');
      const answered = await withoutBeingAlone(gates, async () => {
        await sleep(1_200);
        const again = AbortSignal.timeout(2_000);
        return (await Promise.all(gates.map((gate) => askOften(gate, headers, again)))).flat();
      });
      expect(answered.filter(({ status }) => status >= 500)).toEqual([]);
      expect(admitted(answered)).toBeLessThan(100 + 100 * 2.2);
    },
  );

  test.each([
    ['refuse', 503],
    ['open', 200],
  ])('%s: what a limit counts is answered so, all else is served', async (without, status) => {
    const redis = await redisOfTest();
    const settings = {
      MODELGATE_REDIS_URL: redis.url,
      MODELGATE_LIMITS_WITHOUT_REDIS: without,
      MODELGATE_LIMIT_USER: '1/1h',
    };
    const [gate] = await gatesOfTest(1, settings);
    if (gate === undefined) throw new Error('there is a gate');
    await redis.kill();
    const headers = await as('ann');
    await fetch(`${gate.url}/api/v1/chats/`, { headers });
    const answers = await Promise.all([1, 2].map(() => fetch(`${gate.url}/api/v1/chats/`, { headers })));
    expect(answers.map((answer) => answer.status)).toEqual([status, status]);
    if (status === 503) expect(answers[0]?.headers.get('retry-after')).toBe('2');
    expect((await fetch(`${gate.url}/static/x.js`)).status).not.toBe(503);
    expect((await readiness(gate)).status).toBe(200);
  });

  test('a master that fails over behind Sentinel costs no request, and admits little more', TIMED, async () => {
    const { master, replica, sentinel } = await sentinelsOfTest('MyMaster');
    const [gate] = await gatesOfTest(1, {
      REDIS_URL: 'redis://MyMaster:6379/0',
      REDIS_SENTINEL_HOSTS: '127.0.0.1',
      REDIS_SENTINEL_PORT: String(sentinel.port),
      ...LIMIT,
    });
    if (gate === undefined) throw new Error('there is a gate');
    await untilEach([gate], ({ reachable }) => reachable, 'the gate reaches the master');
    const stop = new AbortController();
    const startedAt = performance.now();
    const asking = askOften(gate, await as('ann'), stop.signal, 2);
    asking.catch(() => undefined);
    await sleep(1_000);
    master.freeze();
    await until(
      async () => String(await replica.ask('ROLE')).startsWith('master'),
      20_000,
      'the Sentinel promotes the replica',
    );
    await untilEach([gate], ({ reachable }) => reachable, 'Redis is back');
    const isCounted = async (): Promise<boolean> => Number(await replica.ask('EXISTS', '{modelgate}:user:ann')) === 1;
    await until(isCounted, 5_000, 'the gate counts on the new master');
    await sleep(500);
    stop.abort();
    const asked = await asking;
    const seconds = (performance.now() - startedAt) / 1000;
    expect(asked.filter(({ status }) => status >= 500)).toEqual([]);
    // one burst more each time that another counter takes over
    expect(admitted(asked)).toBeLessThan(100 * 3 + 100 * seconds * 1.01);
    expect(await readiness(gate)).toMatchObject({ reachable: true, problem: null });
  });
});

test('a wrong password is told without it, in the log and in /readyz', async () => {
  const redis = await redisOfTest(['requirepass the-right-one']);
  const [gate] = await gatesOfTest(1, {
    MODELGATE_REDIS_URL: `redis://:the-wrong-one@127.0.0.1:${redis.port}/0`,
    MODELGATE_LIMIT_USER: '1/1h',
  });
  if (gate === undefined) throw new Error('there is a gate');
  const isRefused = ({ problem }: { readonly problem: string | null }) =>
    problem === 'it refuses the user or the password (WRONGPASS)';
  await untilEach([gate], isRefused, 'the password is refused');
  const state = await readiness(gate);
  expect(state).toMatchObject({ status: 200, reachable: false, address: `redis://127.0.0.1:${redis.port}/0` });
  await gate.line(/^Redis is away/);
  expect(`${gate.stdout()}${gate.stderr()}${JSON.stringify(state)}`).not.toContain('the-wrong-one');
});
