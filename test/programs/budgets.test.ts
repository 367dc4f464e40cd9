/** A gate in a process of its own, and `modelgate budget` in others: what they write is what its next call follows. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { readUsage } from '../support/database/usage.ts';
import { type ServingDoor, chatAs, serveDoor } from '../support/gate/door-process.ts';
import { runModelgate } from '../support/gate/gate-process.ts';
import { mintSession } from '../support/gate/session.ts';
import { until } from '../support/process/with-timeout.ts';
import { type MeteredProvider, startMeteredProvider } from '../support/upstream/metered-provider.ts';

let database: TestDatabase;
let provider: MeteredProvider;
let gate: ServingDoor;

beforeAll(async () => {
  database = createDatabase({ era: '0.12.4' });
  for (const user of ['ann', 'bob']) {
    database.addUser({ id: user });
    database.addMember('acme', user);
  }
  for (const model of ['A', 'F']) database.grant('acme', model);
  provider = await startMeteredProvider();
  const settings = { MODELGATE_BUDGET_RESERVE: 'none', MODELGATE_BUDGET_UNPRICED: 'allow' };
  gate = await serveDoor(database, provider, settings);
});

afterAll(async () => {
  await gate[Symbol.asyncDispose]();
  await provider.close();
  database.close();
});

beforeEach(() => database.run('DELETE FROM organization_budgets'));

/** By a process of its own. */
async function budget(...words: string[]): Promise<void> {
  const { code, stderr } = await runModelgate(['budget', ...words, '--database', database.path]);
  expect(code, stderr).toBe(0);
}

async function call(user = 'ann', model = 'A'): Promise<{ status: number; message: string; headers: Headers }> {
  const body = { model, messages: [{ role: 'user', content: 'words' }] };
  const answer = await chatAs(gate.base, user, body);
  const { error } = (await answer.json()) as { error?: { message: string } };
  return { status: answer.status, message: error?.message ?? '', headers: answer.headers };
}

/** Has the call run? */
async function runs(user?: string, model?: string): Promise<boolean> {
  const before = provider.charged.length;
  const { status } = await call(user, model);
  expect(provider.charged.length - before).toBe(status === 200 ? 1 : 0);
  expect([200, 402]).toContain(status);
  return status === 200;
}

/** At the front door, whose backend is not there: what passes is answered with 502. */
const chat = async () =>
  fetch(`${gate.url}/api/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await mintSession('ann')}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'A', messages: [{ role: 'user', content: 'words' }] }),
  });

const requests = (): number =>
  readUsage<{ n: number }>(
    join(database.directory, 'usage.db'),
    'SELECT coalesce(sum(requests), 0) AS n FROM usage_slot',
  )[0]?.n ?? 0;

describe('the call after', () => {
  test('a budget is set is refused where it is used up already, with a sentence and no wish to repeat it', async () => {
    expect(await runs()).toBe(true);
    await budget('set', 'acme', '--requests', String(requests()), '--time-zone', 'Europe/Warsaw');
    const { status, message, headers } = await call();
    expect(status).toBe(402);
    expect(message).toMatch(
      /^acme has used its budget for \w+ \([\d,]+ requests?\)\. It begins again on 1 \w+, 00:00 Europe\/Warsaw\. \(request [\w-]+\)$/,
    );
    expect(headers.get('x-modelgate-budget')).toMatch(/^month;requests=\d+;used=\d+$/);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(headers.get('retry-after')).toBeNull();
  });

  test('a budget is set higher runs, and so many more', async () => {
    await budget('set', 'acme', '--requests', '0');
    expect(await runs()).toBe(false);
    await budget('set', 'acme', '--requests', String(requests() + 2));
    expect([await runs(), await runs(), await runs()]).toEqual([true, true, false]);
  });

  test('a budget is lowered is refused', async () => {
    await budget('set', 'acme', '--requests', '1000');
    expect(await runs()).toBe(true);
    await budget('set', 'acme', '--requests', '1');
    expect(await runs()).toBe(false);
  });

  test('a budget is raised runs, and a raise of nothing takes that back', async () => {
    await budget('set', 'acme', '--requests', '0');
    expect(await runs()).toBe(false);
    await budget('raise', 'acme', '--requests', String(requests() + 1), '--until', '2999-12-31');
    expect(await runs()).toBe(true);
    await budget('raise', 'acme', '--requests', '0', '--until', '2999-12-31');
    expect(await runs()).toBe(false);
  });

  test('a budget is cleared runs, and one that is set again is refused', async () => {
    await budget('set', 'acme', '--usd', '0');
    expect(await runs()).toBe(false);
    await budget('clear', 'acme');
    expect(await runs()).toBe(true);
    await budget('set', 'acme', '--usd', '0');
    expect(await runs()).toBe(false);
  });

  test('a budget becomes soft runs', async () => {
    await budget('set', 'acme', '--usd', '0');
    expect(await runs()).toBe(false);
    await budget('set', 'acme', '--usd', '0', '--soft-only');
    expect(await runs()).toBe(true);
  });

  test('a budget of some models, or of each user, is set follows it for these alone', async () => {
    await budget('set', 'acme', '--requests', '0', '--model', 'F');
    expect([await runs('ann', 'A'), await runs('ann', 'F')]).toEqual([true, false]);
    await budget('clear', 'acme');
    // bob has not called before
    await budget('set', 'acme', '--user-usd', '0.000001');
    expect([await runs('ann'), await runs('bob'), await runs('bob')]).toEqual([false, true, false]);
  });

  test('a budget is set is refused at the front door too, with the same sentence, and runs when it is cleared', async () => {
    await budget('set', 'acme', '--requests', '0', '--period', 'total');
    const refused = await chat();
    expect(refused.status).toBe(402);
    expect(await refused.text()).toContain('acme has used its budget (0 requests). It does not begin again.');
    await budget('clear', 'acme');
    expect((await chat()).status).toBe(502);
  });
});

test('a soft limit that is reached is said once a period, in the log and in a metric', async () => {
  await budget('set', 'acme', '--requests', String(requests() + 2), '--soft', '50');
  const said = async () => {
    const exposition = await (await fetch(`${gate.adminUrl}/metrics`)).text();
    return {
      warnings: Number(/^modelgate_budget_warnings_total\{organization="acme"\} (\d+)$/m.exec(exposition)?.[1] ?? 0),
      lines: gate.lines().filter(({ msg }) => msg === 'a budget has reached its soft limit'),
    };
  };
  const before = await said();
  expect([await runs(), await runs(), await runs()]).toEqual([true, true, false]);
  await until(async () => (await said()).lines.length > before.lines.length, 15_000, 'the line');
  const { warnings, lines } = await said();
  expect(warnings - before.warnings).toBe(1);
  expect(lines.slice(before.lines.length)).toMatchObject([
    { level: 'warn', organization: 'acme', of: 'organization', measure: 'requests', period: 'month', soft_percent: 50 },
  ]);
});

test('answers say at both doors what is used of a budget that is at its soft limit', async () => {
  const used = requests();
  await budget('set', 'acme', '--requests', String(used + 10), '--soft', '100');
  expect((await call()).headers.get('x-modelgate-budget')).toBeNull();
  await budget('set', 'acme', '--requests', String(used + 10), '--soft', '1');
  expect((await call()).headers.get('x-modelgate-budget')).toBe(`month;requests=${used + 10};used=${used + 2}`);
  expect((await chat()).headers.get('x-modelgate-budget')).toBe(`month;requests=${used + 10};used=${used + 2}`);
});

test('what budget list says is spent is what the provider has charged', async () => {
  await budget('set', 'acme', '--usd', '1');
  expect(await runs()).toBe(true);
  const words = ['budget', 'list', 'acme', '--json', '--database', database.path];
  const { stdout } = await runModelgate([...words, '--usage-database', join(database.directory, 'usage.db')]);
  const { budgets } = JSON.parse(stdout) as { budgets: { spent: number; reserved: number }[] };
  const charged = provider.charged.reduce((all, { costNano }) => all + costNano, 0);
  expect(budgets.map(({ spent, reserved }) => [Math.round(spent * 1e9), reserved])).toEqual([[charged, 0]]);
});
