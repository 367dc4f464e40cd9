/** Gates that share the ledger in PostgreSQL: what the provider has charged is what they have counted, whichever is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import type { CallRow } from '../support/database/usage.ts';
import { type ServingDoor, chatAs, serveDoor } from '../support/gate/door-process.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { type PostgresDatabase, PASSWORD, execute, startPostgres } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';
import { until } from '../support/process/with-timeout.ts';
import {
  BODY,
  COST_NANO,
  INPUT_NANO,
  type MeteredProvider,
  OUTPUT_NANO,
  TOKENS,
  startMeteredProvider,
} from '../support/upstream/metered-provider.ts';

const USERS = ['ann', 'bob', 'cat'];

const cleanups: (() => PromiseLike<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function world(options: Parameters<typeof startMeteredProvider>[0], isPooled = false) {
  const server = await startPostgres();
  cleanups.push(() => server[Symbol.asyncDispose]());
  const pooler = isPooled ? await startPgBouncer(server, { poolSize: 6 }) : undefined;
  if (pooler !== undefined) cleanups.push(() => pooler[Symbol.asyncDispose]());
  const database = await server.createDatabase();
  cleanups.push(() => database[Symbol.asyncDispose]());
  const policy = policyOf(database);
  await policy.initialize();
  for (const user of USERS) {
    await policy.addUser(user);
    await policy.addMember('acme', user);
  }
  await policy.grant('acme', 'A');
  const provider = await startMeteredProvider(options);
  cleanups.push(() => provider.close());
  const serve = async (settings: Record<string, string> = {}): Promise<ServingDoor> => {
    const url = pooler?.url(database.name) ?? database.url;
    const door = await serveDoor({ url }, provider, settings);
    cleanups.push(() => door[Symbol.asyncDispose]());
    return door;
  };
  return { server, database, policy, provider, serve };
}

async function callsIn({ url, name }: Pick<PostgresDatabase, 'url' | 'name'>): Promise<readonly CallRow[]> {
  // what commands see of it: 64-bit integers as numbers
  const { openBlocking } = await import('../../src/store/postgres/blocking.ts');
  const connection = await openBlocking(addressOf(url));
  try {
    return connection.prepare<[], CallRow>('SELECT * FROM usage_request ORDER BY id').all();
  } catch (error) {
    throw new Error(`the ledger in ${name} cannot be read`, { cause: error });
  } finally {
    connection.close();
  }
}

const same = (database: PostgresDatabase, { charged }: MeteredProvider) =>
  callsIn(database).then((rows) => {
    const byId = new Map(rows.map((row) => [row.id, row]));
    const wrong = charged.filter(({ request, input, output, costNano }) => {
      const row = byId.get(request);
      return row?.input !== input || row.output !== output || row.cost_nano !== costNano;
    });
    expect(wrong.map((one) => ({ one, row: byId.get(one.request) }))).toEqual([]);
    expect(byId.size).toBe(rows.length);
    return rows;
  });

const chat = async (base: string, user = 'ann', body: string = BODY): Promise<{ status: number; text: string }> => {
  const answer = await chatAs(base, user, body);
  return { status: answer.status, text: await answer.text() };
};

/** As a client that does what `Retry-After` asks for: on a busy machine policy or ledger may not be asked in time. */
async function insistently(base: string): Promise<number> {
  for (;;) {
    const { status } = await chat(base);
    if (status !== 503) return status;
    await sleep(500);
  }
}

describe('400 calls at once through two gates, of which a budget has room for 50, are 50', () => {
  test.each([
    ['directly', false],
    ['through PgBouncer in transaction mode', true],
  ])('%s', { timeout: 120_000 }, async (_way, isPooled) => {
    const { database, policy, provider, serve } = await world({ tokens: TOKENS, thinkMs: 50 }, isPooled);
    const settings = { MODELGATE_BUDGET_RESERVE: 'maximum' };
    const gates = await Promise.all([serve(settings), serve(settings)]);
    const host = new URL(provider.url).host;
    const price = `price set ${host} A --input ${INPUT_NANO / 1e3} --output ${OUTPUT_NANO / 1e3}`;
    expect(await runCommand(price.split(' '), { environment: { DATABASE_URL: database.url } })).toMatchObject({
      code: 0,
    });
    await policy.run(
      "INSERT INTO organization_budgets (id, organization_id, measure, amount, period) VALUES ('b', 'acme', 'usd', $1, 'month')",
      (50 * COST_NANO) / 1e9,
    );
    const answers = await Promise.all(Array.from({ length: 400 }, (_, at) => insistently(gates[at % 2]?.base ?? '')));
    let admitted = answers.filter((status) => status === 200).length;
    // what a gate on a busy machine gave up was reserved for a moment, and then free again
    while ((await insistently(gates[0].base)) === 200) admitted++;
    expect(admitted).toBe(50);
    expect(provider.charged).toHaveLength(50);
    const { rows } = await policy.run('SELECT spent::float8, reserved::float8 FROM usage_budget_state');
    expect(rows).toEqual([{ spent: 50 * COST_NANO, reserved: 0 }]);
  });
});

const [CHATS, AT_ONCE, GATES, KILLS] = [1_000, 48, 4, 6];

test(`${CHATS} streamed chats through ${GATES} gates, of which one after the other is killed, are in the ledger exactly as charged`, async () => {
  // an id that the provider has said is in the ledger before the provider charges anything, on a busy machine too: what was
  // charged under an id that no one has written down could only be estimated
  const { database, provider, serve } = await world({ thinkMs: 1_500, gapMs: 5 });
  const gates = await Promise.all(Array.from({ length: GATES }, () => serve()));
  let [begun, whole, kills] = [0, 0, 0];
  const body = JSON.stringify({ model: 'A', stream: true, messages: [{ role: 'user', content: 'words' }] });
  const client = async (): Promise<void> => {
    while (begun < CHATS) {
      const at = begun++;
      const isWhole = (turn: number) =>
        chat(gates[(at + turn) % GATES]?.base ?? '', USERS[at % USERS.length], body).then(
          ({ text }) => text.includes('[DONE]'),
          () => false,
        );
      for (let turn = 0; !(await isWhole(turn)); turn++) await sleep(50);
      whole++;
    }
  };
  const killer = async (): Promise<void> => {
    for (; kills < KILLS; kills++) {
      const next = Math.round(((kills + 1) * CHATS) / (KILLS + 1)) + Math.round(Math.random() * 50);
      await until(() => whole >= next, 120_000, 'chats to end');
      const at = Math.floor(Math.random() * GATES);
      gates[at]?.kill('SIGKILL');
      gates[at] = await serve();
    }
  };
  await Promise.all([killer(), ...Array.from({ length: AT_ONCE }, client)]);
  const isSettled = async () =>
    (await callsIn(database)).every(({ state }) => state !== 'open' && state !== 'interrupted');
  await until(isSettled, 90_000, 'every call to be resolved');
  const rows = await same(database, provider);
  const cut = rows.filter(({ measured }) => measured === 'reconciled' || measured === 'interrupted');
  expect(cut.length).toBeLessThanOrEqual(AT_ONCE * KILLS);
  expect(whole).toBe(CHATS);
  const { rows: slots } = await database.sql.query(
    'SELECT sum(requests)::float8 AS n, sum(cost_nano)::float8 AS cost FROM usage_slot',
  );
  expect(slots).toEqual([
    {
      n: rows.filter(({ state }) => state === 'closed').length,
      cost: provider.charged.reduce((sum, { costNano }) => sum + costNano, 0),
    },
  ]);
}, 300_000);

describe('with refuse, and with pass, no call is uncounted while the server', () => {
  // both wait most of the time
  test.each(['is frozen', 'is locked', 'crashes'])('%s', { timeout: 120_000 }, async (fault) => {
    await Promise.all(['refuse', 'pass'].map((whenDown) => countsAll(fault, whenDown)));
  });

  async function countsAll(fault: string, whenDown: string): Promise<void> {
    const { server, database, provider, serve } = await world({});
    const gates = await Promise.all([serve, serve].map((one) => one({ MODELGATE_USAGE_WHEN_DOWN: whenDown })));
    const answers: { status: number }[] = [];
    const ask = async () => {
      const found = await Promise.all(gates.map(({ base }) => chat(base)));
      answers.push(...found);
      return found;
    };
    expect((await ask()).map(({ status }) => status)).toEqual([200, 200]);
    const mends: Record<string, () => Promise<unknown>> = {
      'is frozen': async () => Promise.resolve(server.signal('SIGCONT')),
      'is locked': () => database.sql.query('COMMIT'),
      crashes: () => server.restart('immediate'),
    };
    if (fault === 'is frozen') server.signal('SIGSTOP');
    if (fault === 'is locked') await database.sql.query('BEGIN; LOCK TABLE usage_request');
    if (fault === 'crashes') await server.stop('immediate');
    const startedAt = performance.now();
    while (performance.now() - startedAt < 9_000) await ask();
    const down = answers.slice(2).map(({ status }) => status);
    expect(new Set(down)).toEqual(new Set([whenDown === 'pass' ? 200 : 503]));
    const ready = await fetch(`${gates[0]?.adminUrl}/readyz`).then(
      (answer) => answer.json() as Promise<{ ledger: object }>,
    );
    expect(ready.ledger).toMatchObject({
      writable: false,
      problem: expect.stringMatching(/PostgreSQL|postgresql/) as string,
    });
    expect(JSON.stringify(ready.ledger)).not.toContain('usage.db');
    await mends[fault]?.();
    await until(async () => (await ask()).every(({ status }) => status === 200), 30_000, 'calls to be taken again');
    // with `pass` a call is answered before it is written
    const isWhole = async () =>
      (await callsIn(database)).filter(({ state }) => state === 'closed').length >= provider.charged.length;
    await until(isWhole, 30_000, 'all to be written');
    const rows = await same(database, provider);
    expect(provider.charged).toHaveLength(answers.filter(({ status }) => status === 200).length);
    expect(rows.filter(({ state }) => state === 'closed')).toHaveLength(provider.charged.length);
  }
});

test('a role without rights gets the lines that give them', { timeout: 60_000 }, async () => {
  const { server, database, provider } = await world({});
  await execute(
    server.url(database.name, 'postgres'),
    `CREATE ROLE gate LOGIN PASSWORD '${PASSWORD}'; GRANT USAGE ON SCHEMA public TO gate; GRANT SELECT ON ALL TABLES IN SCHEMA public TO gate`,
  );
  const url = server.url(database.name, 'gate');
  const door = await serveDoor({ url }, provider);
  cleanups.push(() => door[Symbol.asyncDispose]());
  const remedy = async () => {
    const { ledger } = await fetch(`${door.adminUrl}/readyz`).then(
      (answer) => answer.json() as Promise<{ ledger: { problem: string | null; remedy: string } }>,
    );
    return ledger;
  };
  await until(async () => (await remedy()).problem !== null, 20_000, 'the ledger to fail');
  expect((await remedy()).problem).toContain('GRANT USAGE, CREATE ON SCHEMA "public" TO "gate";');
  expect((await chat(door.base)).status).toBe(503);
  // as the role of the backend
  expect(await runCommand(['init'], { environment: { DATABASE_URL: database.url } })).toMatchObject({ code: 0 });
  await until(async () => /GRANT SELECT, INSERT/.test((await remedy()).remedy), 20_000, 'the other line');
  const [, line = ''] = /run: (GRANT .*;)$/.exec((await remedy()).remedy) ?? [];
  await database.sql.query(line);
  await until(async () => (await chat(door.base)).status === 200, 20_000, 'calls to be taken');
  const { stdout } = await runCommand(['usage', '--json'], { environment: { DATABASE_URL: url } });
  expect(JSON.parse(stdout)).toMatchObject({ total: { requests: 1 } });
});
