/** The script in Redis and the counter in memory are one rule: the same sequence, the same answers. */
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RedisConfig } from '../../src/config/redis.ts';
import type { LimitsConfig } from '../../src/config/schema.ts';
import type { RateName, Standing } from '../../src/limits/headers.ts';
import type { Charge } from '../../src/limits/limits.ts';
import type { RedisClient } from '../../src/limits/redis-scripts.ts';
import { createMemoryAllowances } from '../../src/limits/memory.ts';
import { createRedisLimits } from '../../src/limits/redis.ts';
import { freePort } from '../support/process/ports.ts';
import { until } from '../support/process/with-timeout.ts';
import { redisConfigOf } from '../support/redis/redis-config.ts';
import { type RedisProcess, startRedis } from '../support/redis/redis-process.ts';

const OFF: LimitsConfig = { address: 'off', user: 'off', chat: 'off', organization: 'off', concurrentChats: 'off' };

let server: RedisProcess;
let reader: Redis;
const opened = new AsyncDisposableStack();

beforeAll(async () => {
  server = opened.use(await startRedis());
  reader = opened.adopt(new Redis(server.url), (one) => one.disconnect());
});
afterAll(() => opened.disposeAsync());

/** @param now of this process: where it stands still, Redis is asked each time */
const open = (more: Partial<RedisConfig> = {}, now?: () => number) =>
  createRedisLimits({
    config: redisConfigOf(server.port, more),
    // a busy machine may stand still for longer than a gate waits for Redis
    answerMs: 10_000,
    log: { info: () => undefined, warn: () => undefined },
    metrics: { redis: { answered: () => undefined, without: () => undefined } },
    ...(now !== undefined && { now }),
  });

interface Kept {
  readonly debt: number;
  /** Milliseconds of Redis's clock. */
  readonly at: number;
}

async function kept(prefix: string, { limit, key }: Charge, by: RedisClient = reader): Promise<Kept | undefined> {
  const text = await by.get(`{${prefix}}:${limit}:${key}`);
  const [debt = '', at = ''] = text?.split(' ') ?? [];
  return text === null ? undefined : { debt: Number(debt), at: Number(at) / 1000 };
}

const rate = fc
  .record({ interval: fc.integer({ min: 40, max: 90 }), count: fc.integer({ min: 1, max: 9 }), burst: fc.nat(6) })
  .map(({ interval, count, burst }) => ({ count: 1_000 * count, windowSeconds: interval * count, burst }));
const names: readonly RateName[] = ['user', 'chat', 'organization'];
const charge = fc.record({
  limit: fc.constantFrom(...names),
  key: fc.constantFrom('ann', 'bob'),
  cost: fc.integer({ min: 1, max: 8 }),
});
const steps = fc.array(
  fc.record({
    pause: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 })),
    charges: fc.uniqueArray(charge, { minLength: 1, maxLength: 3, selector: ({ limit }) => limit }),
  }),
  { minLength: 1, maxLength: 25 },
);

/** Two of three are refused, however slow the machine is; of the others many are where it is not. */
const HOURLY = { count: 1, windowSeconds: 3_600, burst: 0 };
const AT_ONCE = { pause: 0, charges: [{ limit: 'user', key: 'ann', cost: 1 } as const] };

test('whatever is charged, and whenever, Redis and memory say the same of it', async () => {
  let runs = 0;
  let refused = 0;
  await loadScript();
  await fc.assert(
    fc.asyncProperty(rate, rate, rate, steps, async (user, chat, organization, sequence) => {
      const prefix = `property-${(runs += 1)}`;
      const limits = { ...OFF, user, chat, organization };
      const redis = await open({ keyPrefix: prefix });
      let now = 0;
      const memory = createMemoryAllowances(limits, () => now);
      for (const { pause, charges } of sequence) {
        if (pause > 0) await sleep(pause);
        const before = await Promise.all(charges.map((one) => kept(prefix, one)));
        // a new one each time has no memory of refusals
        const taking = redis.allowancesFor(limits).take(charges);
        const [first] = charges;
        // asked at once, right after the script: what is owed may be earned before Redis is asked again, and then nothing is kept
        const keeping = first && redis.link.ask((client) => kept(prefix, first, client));
        const [said, after] = await Promise.all([taking, keeping]);
        const place = charges.findIndex(({ limit }) => limit === said?.limit);
        const known = before[place];
        // when the script ran: it wrote so where it admitted; else what was owed tells it
        const ran = said?.admitted === true ? after?.at : known && known.at + known.debt - (said?.fullInMs ?? 0);
        if (ran === undefined) throw new Error('the script has left no time');
        now = ran;
        const expected = memory.take(charges) as Standing;
        if (!expected.admitted) refused += 1;
        expect(said).toMatchObject({
          limit: expected.limit,
          admitted: expected.admitted,
          remaining: expected.remaining,
        });
        expect(said?.moreInMs).toBeCloseTo(expected.moreInMs, 2);
        expect(said?.fullInMs).toBeCloseTo(expected.fullInMs, 2);
      }
      await redis.close();
    }),
    { numRuns: 25, examples: [[HOURLY, HOURLY, HOURLY, [1, 2, 3].map(() => AT_ONCE)]] },
  );
  expect(refused).toBeGreaterThan(1);
});

/** One that Redis does not know is sent a second time. */
async function loadScript(): Promise<void> {
  const redis = await open({ keyPrefix: 'first' });
  const charges = [{ limit: 'user', key: 'ann', cost: 1 } as const];
  await redis.allowancesFor({ ...OFF, user: { count: 1, windowSeconds: 60, burst: 0 } }).take(charges);
  await redis.close();
}

describe('a payer that was refused', () => {
  test('is refused without asking until it has earned it, at any cost', async () => {
    const redis = await open({ keyPrefix: 'refused' });
    // not earned by the next request, however late that comes on a busy machine
    const allowances = redis.allowancesFor({ ...OFF, user: { count: 1, windowSeconds: 3, burst: 0 } });
    const take = (cost = 1) => allowances.take([{ limit: 'user', key: 'ann', cost }]);
    expect(await take()).toMatchObject({ admitted: true });
    const refusal = await take();
    expect(refusal).toMatchObject({ admitted: false });
    const again = take(3);
    expect(again).not.toBeInstanceOf(Promise);
    expect(again).toMatchObject({ admitted: false });
    await sleep((refusal?.moreInMs ?? 0) + 2);
    expect(await take()).toMatchObject({ admitted: true });
    await redis.close();
  });
});

describe('the ids of users and organizations', () => {
  const hostile = [
    'a b',
    'a}b',
    '{modelgate}',
    'a\nb',
    'a\r\nDEL x',
    '',
    ':',
    'a:b',
    '*',
    '\0',
    'ä',
    '😀',
    'x'.repeat(3000),
  ];

  test('are each a payer of its own, whatever is in them', async () => {
    const redis = await open({ keyPrefix: 'hostile' });
    const limits: LimitsConfig = { ...OFF, user: { count: 1, windowSeconds: 3600, burst: 0 }, concurrentChats: 1 };
    const allowances = redis.allowancesFor(limits);
    for (const key of hostile) {
      expect(await allowances.take([{ limit: 'user', key, cost: 1 }]), key).toMatchObject({ admitted: true });
      expect((await allowances.start(key, 1, [])).release, key).toBeTypeOf('function');
    }
    for (const key of hostile) {
      expect(await redis.allowancesFor(limits).take([{ limit: 'user', key, cost: 1 }]), key).toMatchObject({
        admitted: false,
      });
      expect((await allowances.start(key, 1, [])).release, key).toBeUndefined();
    }
    const stored = await reader.keys('{hostile}:*');
    expect(stored.length).toBe(2 * hostile.length + 1);
    for (const key of stored) expect(await reader.pttl(key), key).toBeGreaterThan(0);
    await redis.close();
  });
});

test('a clock of Redis that was set back costs a payer no more than it owed', async () => {
  const redis = await open({ keyPrefix: 'clock' });
  const allowances = redis.allowancesFor({ ...OFF, user: { count: 10, windowSeconds: 1, burst: 0 } });
  // as if written by a server whose clock is an hour ahead
  await reader.set('{clock}:user:ann', `100 ${(Date.now() + 3_600_000) * 1000}`, 'PX', 3_700_000);
  const refusal = await allowances.take([{ limit: 'user', key: 'ann', cost: 1 }]);
  expect(refusal).toMatchObject({ admitted: false, moreInMs: 100 });
  await sleep(110);
  expect(await allowances.take([{ limit: 'user', key: 'ann', cost: 1 }])).toMatchObject({ admitted: true });
  await redis.close();
});

test('a cluster counts the same, several limits in one slot', async () => {
  await using node = await startRedis([
    'cluster-enabled yes',
    'cluster-announce-ip 127.0.0.1',
    // its own choice is among those of outgoing connections
    `cluster-port ${await freePort()}`,
  ]);
  await node.ask('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
  await until(
    async () => String(await node.ask('CLUSTER', 'INFO')).includes('cluster_state:ok'),
    10_000,
    'the cluster',
  );
  const redis = await open({ port: node.port, kind: 'cluster' });
  const limits: LimitsConfig = { ...OFF, user: { count: 1, windowSeconds: 60, burst: 1 }, concurrentChats: 1 };
  const allowances = redis.allowancesFor({ ...limits, organization: { count: 1, windowSeconds: 60, burst: 2 } });
  const charges: Charge[] = [
    { limit: 'user', key: 'ann', cost: 1 },
    { limit: 'organization', key: 'acme}', cost: 1 },
  ];
  await until(() => redis.state().problem === undefined, 10_000, 'the cluster is reached');
  expect(await allowances.take(charges)).toMatchObject({ admitted: true, limit: 'user', remaining: 1 });
  expect(await allowances.take(charges)).toMatchObject({ admitted: true, limit: 'user', remaining: 0 });
  expect(await allowances.take(charges)).toMatchObject({ admitted: false, limit: 'user' });
  expect((await allowances.start('ann', 1, [])).release).toBeTypeOf('function');
  expect((await allowances.start('ann', 1, [])).release).toBeUndefined();
  expect(redis.state()).toMatchObject({ gates: 1, problem: undefined });
  await redis.close();
});
