/** What `doctor` finds in a Redis, by what is the matter with it. */
import { describe, expect, test } from 'vitest';
import type { RedisConfig } from '../../src/config/redis.ts';
import { createHealthyDatabase, findingsOf, withName } from '../support/database/diagnosis.ts';
import { redisConfigOf } from '../support/redis/redis-config.ts';
import { redisOfTest } from '../support/redis/redis-process.ts';

type Asked = Pick<NonNullable<Parameters<typeof findingsOf>[1]>, 'redis' | 'revocations'>;

async function verdictsOn(name: string, asked: Asked): Promise<string[]> {
  for (;;) {
    using database = createHealthyDatabase();
    const found = await findingsOf(database, { quick: true, ...asked });
    const verdicts = withName(found, name).map(({ status, finding }) => `${status}: ${finding}`);
    // a busy machine answers late, and that is said, too
    if (!verdicts.some((line) => / takes \d+\.\d ms for an answer/.test(line))) return verdicts;
  }
}

const look = (port: number, more: Partial<RedisConfig> = {}) =>
  verdictsOn('redis', { redis: redisConfigOf(port, more) });

describe('doctor says of Redis', () => {
  test('that it is well', async () => {
    const redis = await redisOfTest();
    expect(await look(redis.port)).toEqual([
      expect.stringMatching(/^ok: redis:\/\/127\.0\.0\.1:\d+\/0 is Redis \d.*, a master .* runs the script/),
    ]);
    expect(await redis.ask('PING')).toBe('PONG');
  });

  test('that it evicts counters', async () => {
    const redis = await redisOfTest(['maxmemory 64mb', 'maxmemory-policy allkeys-lru']);
    expect(await look(redis.port)).toEqual([expect.stringMatching(/^problem: .*allkeys-lru\) when its 64/)]);
    await redis.ask('CONFIG', 'SET', 'maxmemory-policy', 'volatile-ttl');
    expect(await look(redis.port)).toEqual([expect.stringMatching(/^warning: .*volatile-ttl/)]);
  });

  test('that it is a replica', async () => {
    const master = await redisOfTest();
    const replica = await redisOfTest([`replicaof 127.0.0.1 ${master.port}`]);
    expect(await look(replica.port)).toEqual([expect.stringMatching(/^problem: .*replica/)]);
  });

  test('that nothing listens, and that the password is wrong, which it does not show', async () => {
    const redis = await redisOfTest(['requirepass the-right-one']);
    expect(await look(redis.port, { password: 'the-right-one' })).toEqual([expect.stringMatching(/^ok/)]);
    const refused = await look(redis.port, { password: 'the-wrong-one' });
    expect(refused).toEqual([expect.stringMatching(/^problem: .*\(WRONGPASS\)/)]);
    expect(refused.join()).not.toContain('the-wrong-one');
    expect(await look(redis.port)).toEqual([expect.stringMatching(/^problem: .*\(NOAUTH\)/)]);
    await redis.kill();
    expect(await look(redis.port)).toEqual([expect.stringMatching(/^problem: .*nothing listens there/)]);
  });

  test('that it is frozen', async () => {
    const redis = await redisOfTest();
    redis.freeze();
    expect(await look(redis.port)).toEqual([expect.stringMatching(/^problem: .*it does not answer/)]);
  });

  test('what a user of few rights can count with, and that it cannot see the rest', async () => {
    const redis = await redisOfTest();
    const rights = [
      '+eval',
      '+evalsha',
      '+zrem',
      '+get',
      '+set',
      '+time',
      '+pexpire',
      '+zadd',
      '+zcard',
      '+zremrangebyscore',
    ];
    await redis.ask('ACL', 'SETUSER', 'gate', 'on', '>secret', '~{modelgate}:*', ...rights, '+ping');
    const found = await look(redis.port, { username: 'gate', password: 'secret' });
    expect(found).toEqual([expect.stringMatching(/^unknown: .*does not say its version/)]);
  });
});

test("doctor says of the backend's Redis whether ended sessions are seen there, be it that of the limits or another", async () => {
  const [redis, limits] = [await redisOfTest(['user gate on >few-rights ~{modelgate}:* +@all']), await redisOfTest()];
  const keyPrefix = 'open-webui';
  const sessions = (asked: Asked) => verdictsOn('sessions', { redis: redisConfigOf(limits.port), ...asked });
  const elsewhere = redisConfigOf(redis.port);
  const fewRights = { ...elsewhere, username: 'gate', password: 'few-rights' };
  const seen = /^ok: redis:\/\/127\.0\.0\.1:(\d+)\/0 says which sessions the backend has ended one by one\.$/;
  expect(await sessions({})).toEqual([]);
  const shared = await sessions({ revocations: { keyPrefix, elsewhere: undefined } });
  expect(shared.map((line) => seen.exec(line)?.[1])).toEqual([String(limits.port)]);
  const other = await sessions({ revocations: { keyPrefix, elsewhere } });
  expect(other.map((line) => seen.exec(line)?.[1])).toEqual([String(redis.port)]);
  expect(await sessions({ revocations: { keyPrefix, elsewhere: fewRights } })).toEqual([
    expect.stringMatching(/^warning: .*one by one: .*\(NOPERM\)\. Meanwhile the gate takes them\.$/),
  ]);
  await redis.kill();
  expect(await sessions({ revocations: { keyPrefix, elsewhere } })).toEqual([
    expect.stringMatching(/^warning: .*one by one: nothing listens there\./),
  ]);
});
