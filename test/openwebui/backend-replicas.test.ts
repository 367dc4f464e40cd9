/** Two backends of one fleet, on PostgreSQL and Redis, each with a gate before it: they behave as one, and so do their gates. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { type RedisProcess, startRedis } from '../support/redis/redis-process.ts';
import { type Account, call, listModelIds, signIn, signUp, through } from './backend-client.ts';
import { REFUSED, answered, ask, startPostgresWorld } from './postgres-world.ts';
import { chatByEvents, connectSocket } from './socket-chat.ts';

describe('two replicas of Open WebUI 0.12.4', () => {
  let server: PostgresServer;
  let redis: RedisProcess;
  let world: Awaited<ReturnType<typeof startPostgresWorld>>;
  beforeAll(async () => {
    [server, redis] = await Promise.all([startPostgres(), startRedis()]);
    const settings = {
      REDIS_URL: redis.url,
      REDIS_KEY_PREFIX: 'fleet',
      WEBSOCKET_MANAGER: 'redis',
      WEBSOCKET_REDIS_URL: redis.url,
    };
    world = await startPostgresWorld(server, { version: '0.12.4', settings, replicas: 2 });
    await world.command('model', 'allow', 'alpha');
  });
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
    await Promise.all([server[Symbol.asyncDispose](), redis[Symbol.asyncDispose]()]);
  });
  beforeEach(() => world.provider.reset());

  const everywhere = (account: Account, of: readonly { readonly url: string }[]) =>
    of.map(({ url }) => through(account, url));

  it('answer by a socket of one gate what is asked at the other', async () => {
    const [near, far] = everywhere(world.ann, world.gates);
    if (near === undefined || far === undefined) throw new Error('there are two gates');
    const socket = await connectSocket(near, 'websocket');
    try {
      const texts = await chatByEvents(far, socket, 'alpha');
      expect(texts.at(-1)).toBe('I am alpha and this is my answer.');
      expect(new Set(texts).size).toBeGreaterThan(5);
      await expect(chatByEvents(far, socket, 'gamma')).rejects.toMatchObject({ status: 403 });
      expect(world.provider.asked()).toEqual(['alpha']);
    } finally {
      socket.close();
    }
  });

  it('are refused the same, and list the same', async () => {
    for (const account of everywhere(world.ann, world.gates)) {
      expect(await listModelIds(account)).toContain('alpha');
      expect(await listModelIds(account)).not.toContain('gamma');
      expect(await ask(account, 'alpha')).toEqual(answered('alpha'));
      expect(await ask(account, 'gamma')).toEqual(REFUSED);
    }
    expect(world.provider.asked()).toEqual(['alpha']);
    const [first] = world.gates;
    const state = async () => ((await (await fetch(`${first?.adminUrl}/readyz`)).json()) as { redis: object }).redis;
    // each says every five seconds that it lives
    await expect.poll(state, { timeout: 15_000 }).toMatchObject({ reachable: true, gates: 2 });
  });

  it('know on the next request what was taken away at the other', async () => {
    const each = everywhere(world.ann, world.gates);
    for (let round = 0; round < 3; round += 1) {
      await world.command('model', 'deny', 'alpha');
      expect(await Promise.all(each.map((account) => ask(account, 'alpha')))).toEqual([REFUSED, REFUSED]);
      await world.command('model', 'allow', 'alpha');
      expect(await Promise.all(each.map((account) => ask(account, 'alpha')))).toEqual(
        each.map(() => answered('alpha')),
      );
    }
  });

  it('end all sessions of a user with the password, at once and everywhere', async () => {
    const bob = await signUp(world.gate.url, { name: 'Bob', email: 'bob@acme.example' });
    const change = { password: bob.password, new_password: 'Another-horse-8' };
    const [here, there] = everywhere(bob, world.gates);
    if (here === undefined || there === undefined) throw new Error('there are two gates');
    expect(await ask(there, 'alpha')).toEqual(answered('alpha'));
    await call(here, 'POST', '/api/v1/auths/update/password', change);
    expect([await ask(there, 'alpha'), await ask(there, 'gamma')]).toMatchObject([{ status: 401 }, { status: 401 }]);
  });

  it('know no session any more that was signed out at one of them, and no other one', async () => {
    const [out, stays] = await Promise.all([signIn(world.gate.url, world.ann), signIn(world.gate.url, world.ann)]);
    const all = [...world.gates, ...world.backends];
    const statuses = (account: Account) =>
      Promise.all(everywhere(account, all).map(async (one) => (await ask(one, 'alpha')).status));
    expect(await statuses(out)).toEqual([200, 200, 200, 200]);
    await call(out, 'POST', '/api/v1/auths/signout');
    expect(await redis.ask('KEYS', 'fleet:auth:token:*:revoked')).toHaveLength(1);
    expect(await statuses(out)).toEqual([401, 401, 401, 401]);
    expect(await statuses(stays)).toEqual([200, 200, 200, 200]);
    // the gates themselves: who is known is told 403
    for (const account of everywhere(out, world.gates))
      // where Redis does not answer within 50 ms, the backend alone refuses the session
      await expect.poll(() => ask(account, 'gamma')).toMatchObject({ status: 401 });
  });
});
