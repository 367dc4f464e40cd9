/** PostgreSQL that is frozen, locked, restarted or replaced by its standby: what a request waits, and by what it is answered. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { CHECK_DEADLINE_MS } from '../../src/store/postgres/source.ts';
import { type OpenedStore, openStore } from '../support/database/opened-store.ts';
import { addressOf, policyOfAcme } from '../support/database/postgres-policy.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { run } from '../support/postgres-programs.ts';
import { FOLLOWED, startSynchronousStandby } from '../support/synchronous-standby.ts';
import { until } from '../support/process/with-timeout.ts';
import { TIMED } from './timed.ts';

/** Longer than a busy machine stands still. A gate has 250 ms. */
const DEADLINE_MS = 1_000;
/** What is asked on a busy machine comes later than the deadline itself, but not by another one. */
const SLACK_MS = 0.9 * DEADLINE_MS;
const cleanups: (() => PromiseLike<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function world(options: Partial<Parameters<typeof openStore>[1]> = {}, more: readonly PostgresServer[] = []) {
  const server = await startPostgres();
  cleanups.push(() => server[Symbol.asyncDispose]());
  const database = await server.createDatabase();
  cleanups.push(() => database[Symbol.asyncDispose]());
  const address = addressOf(database.url);
  const policy = await policyOfAcme(database, ['ada'], 'gpt');
  const hosts = [...address.hosts, ...more.map(({ host, port }) => ({ host, port }))];
  const settings = { now: () => performance.now(), deadlineMs: DEADLINE_MS, ...options };
  const opened = await openStore({ ...address, hosts }, settings);
  cleanups.push(() => opened.store.close());
  expect(await patientEffect(opened)).toBe('permit');
  return { server, database, policy, address, opened };
}

/** As a request asks. @returns the code of an error in the place of a decision */
const patientEffect = async ({ store, effect }: OpenedStore): Promise<string> =>
  Promise.resolve(store.patiently(() => effect('ada', 'gpt'))).catch((error: unknown) =>
    error instanceof Error && 'code' in error ? String(error.code) : String(error),
  );

async function timed<T>(act: () => Promise<T>): Promise<{ readonly value: T; readonly ms: number }> {
  const startedAt = performance.now();
  const value = await act();
  return { value, ms: performance.now() - startedAt };
}

const isBack = async (opened: OpenedStore): Promise<boolean> => (await opened.store.health()).readable;

test('a frozen server costs one deadline, then the last good state serves at once, for as long as it may', async () => {
  const { server, opened, policy } = await world({ maxStaleMs: 4 * DEADLINE_MS });
  server.signal('SIGSTOP');
  const first = await timed(() => patientEffect(opened));
  expect(first).toMatchObject({ value: 'permit' });
  // two questions of one request: who it is, and what is decided
  expect(first.ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
  const next = await timed(() => patientEffect(opened));
  expect(next.value).toBe('permit');
  expect(next.ms).toBeLessThan(DEADLINE_MS / 2);
  await until(
    async () => (await patientEffect(opened)) === 'policy_unavailable',
    20_000,
    'the last good state is too old',
  );
  expect(await opened.store.health()).toMatchObject({
    readable: false,
    problem: expect.stringContaining('PostgreSQL') as string,
  });
  server.signal('SIGCONT');
  await until(() => isBack(opened), 5_000, 'the database can be read again');
  await policy.withdraw('acme', 'gpt');
  expect(await patientEffect(opened)).toBe('deny');
  expect(opened.warnings.filter((line) => line.startsWith('the policy database'))).toHaveLength(2);
});

test('a gate waits a quarter of a second for a frozen server', TIMED, async () => {
  expect(CHECK_DEADLINE_MS).toBe(250);
  const { server, opened } = await world({ deadlineMs: CHECK_DEADLINE_MS });
  server.signal('SIGSTOP');
  cleanups.push(() => Promise.resolve(server.signal('SIGCONT')));
  const { value, ms } = await timed(() => patientEffect(opened));
  expect(value).toBe('permit');
  expect(ms).toBeLessThan(2 * CHECK_DEADLINE_MS);
});

test('where nothing stale is allowed, a restart answers nothing but 503, and is over within a second', async () => {
  const { server, opened } = await world({ maxStaleMs: 0 });
  const seen = new Set<string>();
  const restart = { isOver: false };
  const restarted = server.restart('fast').then(() => (restart.isOver = true));
  while (!restart.isOver) {
    seen.add(await patientEffect(opened));
    await sleep(2);
  }
  await restarted;
  const back = await timed(() =>
    until(async () => (await patientEffect(opened)) === 'permit', 5_000, 'permitted again'),
  );
  expect([...seen].filter((answer) => answer !== 'permit' && answer !== 'policy_unavailable')).toEqual([]);
  expect(back.ms).toBeLessThan(1_000);
});

test('while stale answers are allowed, a restart is not noticed', async () => {
  const { server, opened } = await world();
  const restart = { isOver: false };
  const restarted = server.restart('fast').then(() => (restart.isOver = true));
  const seen = new Set<string>();
  while (!restart.isOver) {
    seen.add(await patientEffect(opened));
    await sleep(2);
  }
  await restarted;
  expect([...seen]).toEqual(['permit']);
});

test('a lock of a migration on "user" is not waited for', async () => {
  const { database, opened } = await world();
  await database.sql.query('BEGIN; LOCK TABLE "user" IN ACCESS EXCLUSIVE MODE');
  const locked = await timed(() => patientEffect(opened));
  expect(locked.value).toBe('permit');
  expect(locked.ms).toBeLessThan(DEADLINE_MS + SLACK_MS);
  await database.sql.query(`UPDATE "user" SET role = 'pending'; COMMIT`);
  await until(() => isBack(opened), 5_000, 'the database can be read again');
  expect(await patientEffect(opened)).toBe('deny');
});

test('a promoted standby is found within a second, and a standby is never asked', async () => {
  const primary = await startPostgres({ settings: FOLLOWED });
  cleanups.push(() => primary[Symbol.asyncDispose]());
  const standby = await startSynchronousStandby(primary);
  cleanups.push(() => standby[Symbol.asyncDispose]());
  const database = await primary.createDatabase();
  cleanups.push(() => database[Symbol.asyncDispose]());
  const policy = await policyOfAcme(database, ['ada'], 'gpt');
  const address = addressOf(database.url);
  const hosts = [{ host: standby.host, port: standby.port }, ...address.hosts];
  const opened = await openStore({ ...address, hosts }, { now: () => performance.now(), deadlineMs: DEADLINE_MS });
  cleanups.push(() => opened.store.close());
  expect(await patientEffect(opened)).toBe('permit');
  await policy.withdraw('acme', 'gpt');
  expect(await patientEffect(opened)).toBe('deny');
  await policy.run('UPDATE organization_models SET is_active = 1');
  expect(await patientEffect(opened)).toBe('permit');
  await primary.stop('immediate');
  expect(await patientEffect(opened)).toBe('permit');
  run('pg_ctl', ['promote', '-w', '-D', `${standby.directory}/data`]);
  const back = await timed(() => until(() => isBack(opened), 5_000, 'the new primary answers'));
  expect(back.ms).toBeLessThan(1_000);
  expect(await patientEffect(opened)).toBe('permit');
});
