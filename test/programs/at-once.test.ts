/** Many calls at once against budgets with room for few of them, through gates in processes of their own. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { readUsage } from '../support/database/usage.ts';
import { chatAs, serveDoor } from '../support/gate/door-process.ts';
import {
  BODY,
  COST_NANO,
  INPUT_NANO,
  type MeteredProvider,
  OUTPUT_NANO,
  TOKENS,
  startMeteredProvider,
} from '../support/upstream/metered-provider.ts';

const USERS = ['ann', 'bob', 'cat', 'eve'];

let database: TestDatabase;
let provider: MeteredProvider;
let cleanup: AsyncDisposableStack;
afterEach(() => cleanup.disposeAsync());

/** @returns where the provider is, behind each gate */
async function serve(gates: number, reserve: 'maximum' | 'typical'): Promise<string[]> {
  cleanup = new AsyncDisposableStack();
  database = createDatabase({ era: '0.12.4' });
  cleanup.defer(() => database.close());
  for (const id of USERS) {
    database.addUser({ id });
    database.addMember('acme', id);
  }
  for (const model of ['A', 'F']) database.grant('acme', model);
  provider = await startMeteredProvider({ tokens: TOKENS, thinkMs: 50 });
  cleanup.defer(() => provider.close());
  const settings = { MODELGATE_BUDGET_RESERVE: reserve };
  const serving = await Promise.all(Array.from({ length: gates }, () => serveDoor(database, provider, settings)));
  for (const gate of serving) cleanup.use(gate);
  const file = new Database(join(database.directory, 'usage.db'), { timeout: 5_000 });
  const price =
    'INSERT INTO usage_price (provider, model, valid_from, source, input, output) VALUES (?, ?, 0, ?, ?, ?)';
  for (const model of ['A', 'F'])
    file.prepare(price).run(new URL(provider.url).host, model, 'operator', INPUT_NANO / 1e9, OUTPUT_NANO / 1e9);
  file.close();
  return serving.map(({ base }) => base);
}

function addBudget(calls: number, scope = 'organization'): void {
  database.run(
    "INSERT INTO organization_budgets (id, organization_id, measure, amount, period, scope) VALUES (?, 'acme', 'usd', ?, 'month', ?)",
    scope,
    (calls * COST_NANO) / 1e9,
    scope,
  );
}

async function call(base: string, user = 'ann', body = BODY): Promise<number> {
  const answer = await chatAs(base, user, body);
  await answer.text();
  return answer.status;
}

const admitted = (statuses: readonly number[]): number => {
  expect(statuses.filter((status) => status !== 200 && status !== 402)).toEqual([]);
  return statuses.filter((status) => status === 200).length;
};

const atOnce = (count: number, ask: (at: number) => Promise<number>): Promise<number[]> =>
  Promise.all(Array.from({ length: count }, (_, at) => ask(at)));

const spent = () =>
  readUsage<{ spent: number; reserved: number }>(
    join(database.directory, 'usage.db'),
    'SELECT spent, reserved FROM usage_budget_state ORDER BY spent',
  );

describe('400 calls at once, of which a budget has room for 50', () => {
  test.each([1, 2])(
    'through %i gates with MODELGATE_BUDGET_RESERVE=maximum are 50',
    { timeout: 60_000 },
    async (gates) => {
      const bases = await serve(gates, 'maximum');
      addBudget(50);
      const statuses = await atOnce(400, (at) => call(bases[at % gates] ?? ''));
      expect(admitted(statuses)).toBe(50);
      expect(provider.charged).toHaveLength(50);
      expect(spent()).toEqual([{ spent: 50 * COST_NANO, reserved: 0 }]);
    },
  );

  test('with `typical`, after 20 others, never go beyond it by more than two', { timeout: 60_000 }, async () => {
    const [base = ''] = await serve(1, 'typical');
    addBudget(70);
    for (let turn = 0; turn < 20; turn++) expect(await call(base)).toBe(200);
    // what is reserved twice is free again when a call has ended: who comes then finds room
    let count = admitted(await atOnce(400, () => call(base)));
    expect(count).toBeGreaterThanOrEqual(25);
    while ((await call(base)) === 200) count++;
    expect(count).toBeGreaterThanOrEqual(50);
    expect(count).toBeLessThanOrEqual(52);
    expect(provider.charged).toHaveLength(20 + count);
    expect(spent()).toEqual([{ spent: (20 + count) * COST_NANO, reserved: 0 }]);
  });
});

test('80 calls at once of four users are five of each, and of one model six', { timeout: 60_000 }, async () => {
  const bases = await serve(2, 'maximum');
  addBudget(5, 'user');
  const ofUsers = await atOnce(80, (at) => call(bases[at % 2] ?? '', USERS[at % 4]));
  expect(admitted(ofUsers)).toBe(20);
  expect(spent()).toEqual(Array(4).fill({ spent: 5 * COST_NANO, reserved: 0 }));
  database.run('DELETE FROM organization_budgets');
  addBudget(6, 'model:F');
  const ofModel = await atOnce(80, (at) => call(bases[at % 2] ?? '', USERS[at % 4], BODY.replace('"A"', '"F"')));
  expect(admitted(ofModel)).toBe(6);
  expect(await call(bases[0] ?? '')).toBe(200);
});
