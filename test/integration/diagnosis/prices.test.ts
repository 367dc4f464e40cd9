/** What `doctor` finds about prices, in a healthy file and a ledger beside it. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { ProviderDoor } from '../../../src/diagnosis/providers.ts';
import { createPriceBook } from '../../../src/usage/price-book.ts';
import { setPrice } from '../../../src/usage/price-changes.ts';
import { firstIdOf } from '../../../src/usage/statements.ts';
import type { TestDatabase } from '../../support/database/database.ts';
import { createHealthyDatabase, findingsOf, withName } from '../../support/database/diagnosis.ts';
import { ledgerOfTest } from '../../support/database/ledger.ts';

const HOST = 'openrouter.ai';
const DOOR: ProviderDoor = {
  listen: { port: 8081 },
  providers: [
    { url: new URL('https://openrouter.ai/api/v1') },
    { url: new URL('http://ollama:11434'), prefix: 'local' },
  ],
  user: { tokenSecret: undefined },
  accessKeys: [],
  serviceModels: 'auto',
  unattributed: 'refuse',
};
const DAY_MS = 86_400_000;
const PRICE = { input: 1e-6, output: 2e-6, free: false };

type Ledger = ReturnType<typeof ledgerOfTest>;

async function look(
  { path }: Pick<Ledger, 'path'>,
  change: (database: TestDatabase) => void = () => undefined,
  unpriced: 'refuse' | 'allow' = 'refuse',
): Promise<string[]> {
  using database = createHealthyDatabase();
  change(database);
  const found = await findingsOf(database, { quick: true, providerDoor: DOOR, ledger: { path, unpriced } });
  return withName(found, 'prices').map(({ status, finding }) => `${status}: ${finding}`);
}

const price = ({ connection }: Ledger, model: string, provider = HOST) =>
  setPrice(connection, { provider, model, price: PRICE, validFrom: 1 });

interface Ran {
  readonly provider?: string;
  readonly cost?: number | null;
  readonly daysAgo?: number;
  readonly measured?: string;
}

let calls = 0;
function ran({ connection }: Ledger, model: string, call: Ran = {}): void {
  const { provider = HOST, cost = null, daysAgo = 1, measured = 'reported' } = call;
  const at = Date.now() - daysAgo * DAY_MS;
  connection
    .prepare(
      `INSERT INTO usage_request (id, instance, state, started_at, organization_id, user_id, provider, endpoint, kind, model, wire_model, is_streamed, bytes_in, cost_nano, measured)
       VALUES (?, 'i', 'closed', ?, 'acme', 'alice', ?, 'chat/completions', 'chat', ?, ?, 0, 9, ?, ?)`,
    )
    .run(`${firstIdOf(at)}-7000-8000-${String(calls++).padStart(12, '0')}`, at, provider, model, model, cost, measured);
}

const ALL = 'ok: Every model that is granted by its id, or has run lately, has a cost.';

describe('granted models', () => {
  test('without a price are named, with what becomes of their calls', async () => {
    const ledger = ledgerOfTest();
    expect(await look(ledger)).toEqual([
      'warning: Granted, and without a known price: "gpt-4o". They are in no cost, and refused where a budget in money is.',
    ]);
    expect(await look(ledger, undefined, 'allow')).toEqual([
      'warning: Granted, and without a known price: "gpt-4o". They are in no cost and in no budget in money.',
    ]);
  });

  test('have one of the operator, of the list or of a file', async () => {
    const [own, listed] = [ledgerOfTest(), ledgerOfTest()];
    price(own, 'gpt-*');
    createPriceBook(listed.connection).learn(HOST, [{ model: 'gpt-4o', price: PRICE }], 1);
    expect([await look(own), await look(listed)]).toEqual([[ALL], [ALL]]);
  });

  test('have one at a provider of the door, and no other', async () => {
    const ledger = ledgerOfTest();
    price(ledger, 'gpt-4o', 'api.openai.com');
    expect(await look(ledger)).toEqual([expect.stringContaining('"gpt-4o"')]);
  });

  test('need none where the provider reports the cost', async () => {
    const ledger = ledgerOfTest();
    ran(ledger, 'gpt-4o', { cost: 5 });
    expect(await look(ledger)).toEqual([ALL]);
  });

  test('are looked for behind the prefix of their connection', async () => {
    const ledger = ledgerOfTest();
    for (const model of ['gpt-4o', 'small', 'big']) price(ledger, model);
    const prefixed = (database: TestDatabase): void => {
      database.grant('acme', 'local.small');
      database.grant('acme', 'or.big');
      const configs = JSON.stringify({ 0: { prefix_id: 'or' } });
      database.run('INSERT INTO config ("key", value, updated_at) VALUES (?, ?, 1)', 'openai.api_configs', configs);
    };
    expect(await look(ledger, prefixed)).toEqual([ALL]);
  });

  test('that are presets have the price of their base; arenas, patterns and what is switched off have none', async () => {
    const ledger = ledgerOfTest();
    price(ledger, 'gpt-4o');
    const others = (database: TestDatabase): void => {
      database.addModel({ id: 'mine', base: 'gpt-4o' });
      for (const id of ['mine', 'arena-model', 'vendor/*', 'gone']) database.grant('acme', id);
      database.run("UPDATE organization_models SET is_active = 0 WHERE model_id = 'gone'");
    };
    expect(await look(ledger, others)).toEqual([ALL]);
    const unpriced = (database: TestDatabase): void => {
      database.addModel({ id: 'mine', base: 'dear' });
      database.grant('acme', 'mine');
    };
    expect(await look(ledger, unpriced)).toEqual([expect.stringContaining('without a known price: "dear".')]);
  });
});

describe('models that have run', () => {
  test('without a price are named with their provider, the most calls first', async () => {
    const ledger = ledgerOfTest();
    price(ledger, 'gpt-4o');
    for (const model of ['mistral/a', 'mistral/b', 'mistral/b']) ran(ledger, model);
    ran(ledger, 'llama3', { provider: 'ollama:11434' });
    expect(await look(ledger)).toEqual([
      'warning: Without a known price ran in the last 7 days: "mistral/b" of openrouter.ai (2), "llama3" of ollama:11434 (1), "mistral/a" of openrouter.ai (1). They are in no cost, and refused where a budget in money is.',
    ]);
  });

  test.each<[what: string, call: Ran, later: string]>([
    ['long ago', { daysAgo: 8 }, 'x'],
    ['for nothing, as it was refused', { measured: 'none' }, 'x'],
    ['before its price was set', {}, 'mistral/*'],
  ])('%s are not', async (_, call, later) => {
    const ledger = ledgerOfTest();
    for (const model of ['gpt-4o', later]) price(ledger, model);
    ran(ledger, 'mistral/a', call);
    expect(await look(ledger)).toEqual([ALL]);
  });
});

describe('a ledger', () => {
  test('that is not there yet is no fault, and is not made', async () => {
    const path = join(ledgerOfTest().directory, 'absent.db');
    expect(await look({ path })).toEqual([
      `unknown: Not checked: there is no ledger at ${path} yet; the gate makes it.`,
    ]);
    expect(existsSync(path)).toBe(false);
  });

  test('that cannot be read is said, by its own path', async () => {
    const path = join(ledgerOfTest().directory, 'no.db');
    writeFileSync(path, 'no database at all, but long enough to be looked at'.repeat(40));
    expect(await look({ path })).toEqual([
      expect.stringMatching(`^problem: No call is counted: the ledger ${path} cannot be read, SQLITE_NOTADB`) as string,
    ]);
  });

  test('is not looked at without a provider door', async () => {
    using database = createHealthyDatabase();
    const ledger = { path: ledgerOfTest().path, unpriced: 'refuse' } as const;
    expect(withName(await findingsOf(database, { quick: true, ledger }), 'prices')).toEqual([]);
  });
});
