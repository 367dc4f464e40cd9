/**
 * What Redis adds to requests while it is frozen, dead, empty or failing over: 60 ms at the most, to 4 requests a second at the
 * most, and no error. Counted is what the loop of this process was free for: where something else takes the processor, that is
 * no wait for Redis.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { RedisConfig } from '../../src/config/redis.ts';
import type { LimitsConfig } from '../../src/config/schema.ts';
import { createRedisLimits } from '../../src/limits/redis.ts';
import { until } from '../support/process/with-timeout.ts';
import { redisConfigOf } from '../support/redis/redis-config.ts';
import { redisOfTest, sentinelsOfTest } from '../support/redis/redis-process.ts';

const EVERY_MS = 20;
const MOST_ADDED_MS = 60;
/** Who waits so long pays for the absence of Redis. */
const PAYS_MS = 25;
const MOST_PAYING = 4;

const RATE = { count: 1, windowSeconds: 60, burst: 10 };
const LIMITS: LimitsConfig = {
  ...{ address: 'off', user: RATE, chat: 'off', organization: 'off' },
  concurrentChats: 'off',
};

/** How long this process was not free to see an answer, in milliseconds. */
function watchLoop() {
  let lostMs = 0;
  let last = performance.now();
  const tick = (): void => {
    const now = performance.now();
    // a timer of 1 ms may be as late as that by itself
    lostMs += Math.max(0, now - last - 2);
    last = now;
  };
  const timer = setInterval(tick, 1);
  return {
    lost(): number {
      tick();
      return lostMs;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

interface Asked {
  readonly at: number;
  readonly ms: number;
  readonly error?: unknown;
}

/** Each so many milliseconds, whether the last one was answered or not. */
async function askedDuring(config: RedisConfig, act: (isThere: () => boolean) => Promise<void>): Promise<Asked[]> {
  const limits = await createRedisLimits({
    config,
    log: { info: () => undefined, warn: () => undefined },
    metrics: { redis: { answered: () => undefined, without: () => undefined } },
  });
  using loop = watchLoop();
  const allowances = limits.allowancesFor(LIMITS);
  const asked: Promise<Asked>[] = [];
  const timed = async (ask: () => unknown): Promise<Asked> => {
    const [at, before] = [performance.now(), loop.lost()];
    try {
      await ask();
    } catch (error) {
      return { at, ms: 0, error };
    }
    return { at, ms: performance.now() - at - (loop.lost() - before) };
  };
  const timer = setInterval(() => {
    const key = `user-${asked.length}`;
    asked.push(timed(() => allowances.take([{ limit: 'user', key, cost: 1 }])));
  }, EVERY_MS);
  try {
    await sleep(1_000);
    await act(() => limits.state().problem === undefined);
    await sleep(1_000);
  } finally {
    clearInterval(timer);
  }
  const all = await Promise.all(asked);
  await limits.close();
  return all;
}

function expectLittle(asked: readonly Asked[]): void {
  expect(asked.length).toBeGreaterThan(50);
  expect(asked.filter(({ error }) => error !== undefined)).toEqual([]);
  const paying = asked.filter(({ ms }) => ms > PAYS_MS);
  console.log(`${asked.length} asked, those that waited: ${paying.map(({ ms }) => `${ms.toFixed(1)} ms`).join(', ')}`);
  expect(Math.max(...asked.map(({ ms }) => ms))).toBeLessThanOrEqual(MOST_ADDED_MS);
  for (const { at } of paying) {
    const inSecond = paying.filter((one) => one.at >= at && one.at < at + 1_000);
    expect(inSecond.length).toBeLessThanOrEqual(MOST_PAYING);
  }
}

/** An operator's look at a Redis that is to be away takes as long as it takes. */
const RETRIED = { retry: 2, timeout: 60_000 };

test('frozen, and back', RETRIED, async () => {
  const redis = await redisOfTest();
  const asked = await askedDuring(redisConfigOf(redis.port), async (isThere) => {
    redis.freeze();
    await sleep(1_500);
    expect(isThere()).toBe(false);
    redis.thaw();
    await until(isThere, 20_000, 'Redis is back');
  });
  expectLittle(asked);
  // the test would see it: the first that asked has waited for the deadline
  expect(asked.some(({ ms }) => ms > 40)).toBe(true);
});

test('killed, and back with nothing in it', RETRIED, async () => {
  const redis = await redisOfTest();
  const asked = await askedDuring(redisConfigOf(redis.port), async (isThere) => {
    await redis.kill();
    await until(() => !isThere(), 20_000, 'Redis is missed');
    await sleep(1_000);
    await redis.restart();
    await until(isThere, 20_000, 'Redis is back');
  });
  expectLittle(asked);
});

test('a master that is frozen, and its replica that a Sentinel promotes', RETRIED, async () => {
  const { master, replica, sentinel } = await sentinelsOfTest('MyMaster');
  const config = redisConfigOf(6379, {
    kind: 'sentinel',
    host: 'MyMaster',
    sentinels: [{ host: '127.0.0.1', port: sentinel.port }],
  });
  const asked = await askedDuring(config, async (isThere) => {
    master.freeze();
    const isPromoted = async (): Promise<boolean> => String(await replica.ask('ROLE')).startsWith('master');
    await until(isPromoted, 20_000, 'the Sentinel promotes the replica');
    await until(isThere, 20_000, 'Redis is back');
    await until(async () => Number(await replica.ask('DBSIZE')) > 10, 10_000, 'the new master counts');
  });
  expectLittle(asked);
});
