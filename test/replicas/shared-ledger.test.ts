/** Gates that share the ledger in PostgreSQL: what the provider has charged is what they have counted, whichever is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { serveDoor } from '../support/gate/door-process.ts';
import { PASSWORD, execute } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';
import { until } from '../support/process/with-timeout.ts';
import { COST_NANO, INPUT_NANO, OUTPUT_NANO, TOKENS } from '../support/upstream/metered-provider.ts';
import { STREAMED, USERS, callsIn, chat, countedAsCharged, gatesOnLedger } from './gates-on-ledger.ts';

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
    const { database, policy, provider, serve } = await gatesOnLedger({ tokens: TOKENS, thinkMs: 50 }, { isPooled });
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
    const states = async () =>
      (await policy.run('SELECT spent::float8, reserved::float8 FROM usage_budget_state')).rows as {
        reserved: number;
      }[];
    const isFree = async () => (await states()).every(({ reserved }) => reserved === 0);
    let admitted = answers.filter((status) => status === 200).length - 1;
    do {
      admitted++;
      // what a gate on a busy machine gave up is reserved for a moment
      await until(isFree, 30_000, 'nothing to be reserved');
    } while ((await insistently(gates[0].base)) === 200);
    expect(admitted).toBe(50);
    expect(provider.charged).toHaveLength(50);
    expect(await states()).toEqual([{ spent: 50 * COST_NANO, reserved: 0 }]);
  });
});

const [CHATS, AT_ONCE, GATES, KILLS] = [1_000, 48, 4, 6];

test(`${CHATS} streamed chats through ${GATES} gates, of which one after the other is killed, are in the ledger exactly as charged`, async () => {
  // an id that the provider has said is in the ledger before the provider charges anything, on a busy machine too: what was
  // charged under an id that no one has written down could only be estimated
  const { database, provider, serve } = await gatesOnLedger({ thinkMs: 1_500, gapMs: 5 });
  const gates = await Promise.all(Array.from({ length: GATES }, () => serve()));
  let [begun, whole, kills] = [0, 0, 0];
  const client = async (): Promise<void> => {
    while (begun < CHATS) {
      const at = begun++;
      const isWhole = (turn: number) =>
        chat(gates[(at + turn) % GATES]?.base ?? '', USERS[at % USERS.length], STREAMED).then(
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
  const rows = await countedAsCharged(database, provider);
  const cut = rows.filter(({ measured }) => measured === 'reconciled' || measured === 'interrupted');
  expect(cut.length).toBeLessThanOrEqual(AT_ONCE * KILLS);
  expect(whole).toBe(CHATS);
}, 300_000);

describe('with refuse, and with pass, no call is uncounted while the server', () => {
  // both wait most of the time
  test.each(['is frozen', 'is locked', 'crashes'])('%s', { timeout: 120_000 }, async (fault) => {
    await Promise.all(['refuse', 'pass'].map((whenDown) => countsAll(fault, whenDown)));
  });

  async function countsAll(fault: string, whenDown: string): Promise<void> {
    const { server, database, provider, serve } = await gatesOnLedger({});
    const gates = await Promise.all([serve, serve].map((one) => one({ MODELGATE_USAGE_WHEN_DOWN: whenDown })));
    const answers: { status: number }[] = [];
    const ask = async () => {
      const found = await Promise.all(gates.map(({ base }) => chat(base)));
      answers.push(...found);
      return found;
    };
    await until(async () => (await ask()).every(({ status }) => status === 200), 20_000, 'calls to be taken');
    const before = answers.length;
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
    const down = answers.slice(before).map(({ status }) => status);
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
    const rows = await countedAsCharged(database, provider);
    expect(provider.charged).toHaveLength(answers.filter(({ status }) => status === 200).length);
    expect(rows.filter(({ state }) => state === 'closed')).toHaveLength(provider.charged.length);
  }
});

test('a role without rights gets the lines that give them', { timeout: 60_000 }, async () => {
  const { server, database, provider } = await gatesOnLedger({});
  await execute(
    server.url(database.name, 'postgres'),
    `CREATE ROLE gate LOGIN PASSWORD '${PASSWORD}'; GRANT USAGE ON SCHEMA public TO gate; GRANT SELECT ON ALL TABLES IN SCHEMA public TO gate`,
  );
  const url = server.url(database.name, 'gate');
  const door = await serveDoor({ url }, provider);
  onTestFinished(() => door[Symbol.asyncDispose]());
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
