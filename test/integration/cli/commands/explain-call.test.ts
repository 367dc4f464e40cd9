import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Connection } from '../../../../src/store/database.ts';
import { setPrice } from '../../../../src/usage/price-changes.ts';
import { SLOT_MS, openUsageFile } from '../../../../src/usage/schema.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { makeBudgetTable } from '../../../support/database/usage.ts';
import { askCommand, runCommand } from '../../../support/process/command.ts';

const HOST = 'openrouter.ai';
const SETTINGS = {
  MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
  WEBUI_SECRET_KEY: 'a-secret-for-tests-only',
  MODELGATE_PROVIDER_PORT: '8081',
  MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-more-than-32-letters',
  MODELGATE_PROVIDERS: `https://${HOST}/api/v1`,
  OPENROUTER_API_KEY: 'sk-or-of-the-provider',
};

/** Ann is of acme, which grants the prefix `openai/*` and the preset P on `local/x`; bob is of no organization. */
function organizations(): TestDatabase {
  const database = databaseOfTest({ era: '0.12.4' });
  makeBudgetTable(database);
  for (const id of ['ann', 'bob']) database.addUser({ id });
  database.addMember('acme', 'ann');
  database.grant('acme', 'openai/*');
  database.grant('acme', 'P');
  database.addModel({ id: 'P', base: 'local/x' });
  return database;
}

function addBudget({ run }: TestDatabase, id: string, measure: string, amount: number, scope = 'organization'): void {
  run(
    "INSERT INTO organization_budgets (id, organization_id, measure, amount, period, scope) VALUES (?, 'acme', ?, ?, 'month', ?)",
    ...[id, measure, amount, scope],
  );
}

/** A ledger beside the database, in which each user has made one call of 10 US cents, and with a price for gpt-4o. */
function spend(database: TestDatabase, ...users: readonly string[]): void {
  onLedger(database, (ledger) => spendIn(ledger, users));
}

function onLedger({ directory }: TestDatabase, change: (ledger: Connection) => void): void {
  mkdirSync(join(directory, 'modelgate'), { recursive: true });
  const ledger = openUsageFile(join(directory, 'modelgate', 'usage.db'), 1_000);
  change(ledger);
  ledger.close();
}

function spendIn(ledger: Connection, users: readonly string[]): void {
  const price = { input: 1e-6, output: 2e-6, free: false };
  setPrice(ledger, { provider: HOST, model: 'openai/gpt-4o', price, validFrom: 1 });
  const add = ledger.prepare(`INSERT INTO usage_slot (organization_id, slot, user_id, provider, model, kind, measured,
      requests, input, input_cached, input_cache_write, output, output_reasoning, cost_nano, unpriced)
    VALUES ('acme', ?, ?, '${HOST}', 'openai/gpt-4o', 'chat', 'reported', 1, 100, 0, 0, 10, 0, 100000000, 0)`);
  const now = Date.now();
  for (const user of users) add.run(now - (now % SLOT_MS), user);
}

interface Explained {
  readonly [key: string]: unknown;
  readonly budgets: readonly Readonly<Record<string, unknown>>[];
}

const words = (database: TestDatabase, user: string, model: string, ...more: string[]) => [
  ...['explain', '--user', user, '--model', model, '--door', 'provider', '--database', database.path, ...more],
];
const asked = (database: TestDatabase, user: string, model: string, environment: Record<string, string> = SETTINGS) =>
  askCommand<Explained>(words(database, user, model), { environment });

describe('explain --door provider', () => {
  test('says which grant decides, who pays, what is left of each budget that counts the call, and that its price is known', async () => {
    const database = organizations();
    addBudget(database, 'a', 'usd', 1);
    addBudget(database, 'b', 'requests', 5, 'user');
    addBudget(database, 'c', 'requests', 9, 'model:local/*');
    spend(database, 'ann', 'bob');
    const found = await asked(database, 'ann', 'openai/gpt-4o');
    expect(found).toMatchObject({
      ...{ door: 'provider', decision: 'permit', reason: 'prefix_grant', provider: HOST, organization: 'acme' },
      ...{ grant: { organization: 'acme', pattern: 'openai/*' }, listed: 'openai/gpt-4o', price: 'known' },
    });
    expect(found.budgets).toEqual([
      { measure: 'requests', period: 'month', scope: 'user', amount: 5, spent: 1, reserved: 0, left: 4, hard: true },
      {
        measure: 'usd',
        period: 'month',
        scope: 'organization',
        amount: 1,
        spent: 0.2,
        reserved: 0,
        left: 0.8,
        hard: true,
      },
    ]);
    const { stdout } = await runCommand(words(database, 'ann', 'openai/gpt-4o'), { environment: SETTINGS });
    expect(stdout).toMatch(/pays +acme\n/);
    expect(stdout).toContain('1.00 USD a month; 0.80 USD left');
    expect(stdout).toContain('5 requests a month for each user; 4 requests left');
    expect(stdout).toMatch(/price +known\n/);
  });

  test('says that a budget is used up, and that a model without a price is refused where a hard budget is in money', async () => {
    const database = organizations();
    addBudget(database, 'a', 'usd', 0.1);
    spend(database, 'ann');
    const { stdout } = await runCommand(words(database, 'ann', 'openai/o3'), { environment: SETTINGS });
    expect(stdout).toContain('0.10 USD a month; used up, so that the call is refused');
    expect(stdout).toContain('not known: a hard budget in money refuses the call');
    expect(await asked(database, 'ann', 'openai/o3')).toMatchObject({ price: 'unknown', budgets: [{ left: 0 }] });
  });

  test('a model without a price that the provider has charged before is refused only where its most must be known', async () => {
    const database = organizations();
    addBudget(database, 'a', 'usd', 1);
    spend(database, 'ann');
    onLedger(database, (ledger) =>
      ledger.exec(`INSERT INTO usage_mean VALUES ('${HOST}', 'openai/o3', 'acme', 0, 1, 99, 9, 99, 9, 1, 5000)`),
    );
    expect(await asked(database, 'ann', 'openai/o3')).toMatchObject({ price: 'reported' });
    const priceWith = async (reserve: string) => {
      const environment = { ...SETTINGS, MODELGATE_BUDGET_RESERVE: reserve };
      const { stdout } = await runCommand(words(database, 'ann', 'openai/o3'), { environment });
      return /^price +(.*)$/m.exec(stdout)?.[1];
    };
    expect(await priceWith('typical')).toBe('that which the provider reports of each call');
    expect(await priceWith('maximum')).toBe('not known: a hard budget in money refuses the call');
    expect(await priceWith('none')).toBe('that which the provider reports of each call');
  });

  test('a model that is free passes a budget in money that is used up', async () => {
    const database = organizations();
    addBudget(database, 'a', 'usd', 0.1);
    spend(database, 'ann');
    onLedger(database, (ledger) =>
      setPrice(ledger, { provider: HOST, model: 'openai/o3', price: { free: true }, validFrom: 1 }),
    );
    const { stdout } = await runCommand(words(database, 'ann', 'openai/o3'), { environment: SETTINGS });
    expect(stdout).toContain('used up, and it refuses nothing');
    expect(stdout).toMatch(/^price +free$/m);
  });

  test('judges the model as the wire has it: the prefix of the connection before it, or a preset on it', async () => {
    const database = organizations();
    expect(await asked(database, 'ann', 'local/x')).toMatchObject({
      ...{ decision: 'permit', reason: 'preset_base_on_wire', chain: ['P', 'local/x'], organization: 'acme' },
    });
    const prefixed = { ...SETTINGS, MODELGATE_PROVIDER_PREFIX: `${HOST}=or` };
    expect(await asked(database, 'ann', 'openai/gpt-4o', prefixed)).toMatchObject({
      decision: 'deny',
      listed: 'or.openai/gpt-4o',
    });
    database.grant('acme', 'or.openai/gpt-4o');
    expect(await asked(database, 'ann', 'openai/gpt-4o', prefixed)).toMatchObject({
      decision: 'permit',
      reason: 'grant',
    });
  });

  test('of a denial names the reason, and what is left is not known without a ledger', async () => {
    const database = organizations();
    addBudget(database, 'a', 'usd', 1);
    const strict = await runCommand(words(database, 'bob', 'openai/gpt-4o', '--exit-code', '--json'), {
      environment: SETTINGS,
    });
    expect(strict.code).toBe(1);
    expect(JSON.parse(strict.stdout)).toMatchObject({
      decision: 'deny',
      reason: 'no_organization',
      organization: null,
    });
    const found = await asked(database, 'ann', 'mistral/large');
    expect(found).toMatchObject({ decision: 'deny', reason: 'not_granted', organization: 'acme', price: null });
    expect(found).toMatchObject({
      budgets: [{ spent: null, left: null }],
      ledger_problem: expect.stringContaining('There is no ledger') as string,
    });
  });

  test.each<[string, Record<string, string>, string[], RegExp]>([
    ['no door', { MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9' }, [], /There is no provider door/],
    [
      'several',
      { MODELGATE_PROVIDERS: `https://${HOST}/api/v1 http://ollama:11434` },
      [],
      /Which provider\? .*ollama:11434/,
    ],
    ['another host', {}, ['--provider', 'api.openai.com'], /"api\.openai\.com" is no host of MODELGATE_PROVIDERS/],
  ])('with %s ends with 2 and says what is missing', async (name, settings, more, sentence) => {
    const { MODELGATE_UPSTREAM_URL, WEBUI_SECRET_KEY } = SETTINGS;
    const environment =
      name === 'no door' ? { MODELGATE_UPSTREAM_URL, WEBUI_SECRET_KEY } : { ...SETTINGS, ...settings };
    const { code, stderr } = await runCommand(words(organizations(), 'ann', 'A', ...more), { environment });
    expect(stderr).toMatch(sentence);
    expect(code).toBe(2);
  });
});
