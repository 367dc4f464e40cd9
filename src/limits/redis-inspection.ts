/** What `doctor` asks a Redis: whether limits can be counted there, and how well; or whether ended sessions are seen there. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { RedisConfig } from '../config/redis.ts';
import { connectRedis, describeRedis, redisProblem } from './redis-client.ts';
import { type RedisClient, CHARGE, run } from './redis-scripts.ts';

const CONNECT_MS = 3_000;
const ANSWER_MS = 2_000;
const PINGS = 20;

export type RedisInspection = Awaited<ReturnType<typeof inspectRedis>>;

/** @returns what was found, or a clause that says why nothing was; never rejects */
export const inspectRedis = (config: RedisConfig, stop: AbortSignal) =>
  ask(config, stop, (client) => inspect(client, config));

/** Whether it lets the gate read which sessions the backend has ended. @param keyPrefix the backend's @returns as `inspectRedis` */
export const inspectRevocations = (config: RedisConfig, keyPrefix: string, stop: AbortSignal) =>
  ask(config, stop, (client) => client.get(`${keyPrefix}:auth:token:doctor:revoked`));

async function ask<Facts>(config: RedisConfig, stop: AbortSignal, look: (client: RedisClient) => Promise<Facts>) {
  const address = describeRedis(config);
  let unconnected: string | undefined;
  const client = connectRedis(config, (error) => (unconnected = redisProblem(error)));
  try {
    if (client.status !== 'ready') {
      await once(client, 'ready', { signal: AbortSignal.any([stop, AbortSignal.timeout(CONNECT_MS)]) });
    }
    return { address, problem: undefined, facts: await within(ANSWER_MS, look(client)) };
  } catch (error) {
    const isReply = error instanceof Error && error.name === 'ReplyError';
    const problem = isReply ? redisProblem(error) : (unconnected ?? 'it does not answer');
    return { address, problem, facts: undefined };
  } finally {
    client.disconnect();
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = once(AbortSignal.timeout(ms), 'abort').then(() => {
    throw new Error('it does not answer');
  });
  return Promise.race([work, late]);
}

async function inspect(client: RedisClient, { keyPrefix }: RedisConfig) {
  const times: number[] = [];
  for (let ping = 0; ping < PINGS; ping += 1) {
    const sentAt = performance.now();
    await client.ping();
    times.push(performance.now() - sentAt);
  }
  const askedAt = Date.now();
  const [seconds, microseconds] = await client.time();
  const here = (askedAt + Date.now()) / 2;
  // the very script that counts, on a key that is gone at once
  await run(client, CHARGE, [`{${keyPrefix}}:doctor:${randomUUID()}`], [1, 1]);
  // a user of few rights may not ask for it
  const info = new Map(
    (await client.info().catch(() => '')).split('\r\n').map((line) => {
      const [name = '', ...value] = line.split(':');
      return [name, value.join(':')];
    }),
  );
  return {
    latencyMs: times.toSorted((left, right) => left - right)[PINGS / 2] ?? 0,
    /** How far its clock is ahead of this machine's. */
    aheadMs: Number(seconds) * 1000 + Number(microseconds) / 1000 - here,
    version: info.get('redis_version'),
    role: info.get('role'),
    memoryPolicy: info.get('maxmemory_policy'),
    /** 0: it takes all that there is. */
    memoryBytes: Number(info.get('maxmemory') ?? 0),
  };
}
