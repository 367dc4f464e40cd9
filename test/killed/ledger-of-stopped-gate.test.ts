/** What an operator sees of the ledger of a gate in a process of its own, and what is in it when that process has ended. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { type CallRow, callsIn, readUsage, makeBudgetTable } from '../support/database/usage.ts';
import { type ServingDoor, chatAs, serveDoor } from '../support/gate/door-process.ts';
import type { ServingProcess } from '../support/gate/gate-process.ts';
import { until } from '../support/process/with-timeout.ts';
import { startRecordingUpstream } from '../support/upstream/upstreams.ts';
import { type MeteredProvider, startMeteredProvider } from '../support/upstream/metered-provider.ts';

const WAIT_MS = 30_000;

let database: TestDatabase;
let provider: MeteredProvider;
let ledger: string;
let cleanup: AsyncDisposableStack;

beforeEach(async () => {
  cleanup = new AsyncDisposableStack();
  database = createDatabase({ era: '0.12.4' });
  cleanup.defer(() => database.close());
  database.addUser({ id: 'ann' });
  database.addMember('acme', 'ann');
  database.grant('acme', 'A');
  ledger = join(database.directory, 'usage.db');
  provider = await startMeteredProvider({ tokens: 3_000, gapMs: 20 });
  cleanup.defer(() => provider.close());
});

afterEach(() => cleanup.disposeAsync());

const serve = async (settings: Record<string, string> = {}): Promise<ServingDoor> =>
  cleanup.use(await serveDoor(database, provider, { MODELGATE_BUDGET_UNPRICED: 'allow', ...settings }));

const chat = (base: string, fields: object = { stream: true }): Promise<Response> =>
  chatAs(base, 'ann', { model: 'A', messages: [{ role: 'user', content: 'words' }], ...fields });

/** A chat whose answer has begun. @returns what comes of the rest of it */
async function beginStream(base: string): Promise<{ readonly rest: Promise<string> }> {
  const { status, body } = await chat(base);
  expect(status).toBe(200);
  const reader = body?.getReader() ?? expect.fail();
  await reader.read();
  const readOn = async (): Promise<string> => {
    try {
      while (!(await reader.read()).done);
      return 'whole';
    } catch {
      return 'cut';
    }
  };
  return { rest: readOn() };
}

async function figures({ adminUrl }: ServingProcess): Promise<string[]> {
  const exposition = await (await fetch(`${adminUrl}/metrics`)).text();
  return exposition.split('\n').filter((line) => /^modelgate_(?:budget|ledger)/.test(line));
}

const readiness = async ({ adminUrl }: ServingProcess): Promise<{ ready: boolean; ledger: Record<string, unknown> }> =>
  (await (await fetch(`${adminUrl}/readyz`)).json()) as { ready: boolean; ledger: Record<string, unknown> };

const addBudget = (id: string, measure: string, amount: number, fields: object = {}): void => {
  const row = { id, organization_id: 'acme', measure, amount, period: 'month', ...fields };
  const names = Object.keys(row);
  const values: unknown[] = Object.values(row);
  database.run(
    `INSERT INTO organization_budgets (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
    ...values,
  );
};

const slots = () =>
  readUsage<Record<'requests' | 'input' | 'output' | 'cost', number>>(
    ledger,
    'SELECT sum(requests) AS requests, sum(input) AS input, sum(output) AS output, sum(cost_nano) AS cost FROM usage_slot',
  )[0];

describe('the figures', () => {
  test('show what budgets in force allow, what is spent, and what running calls reserve', async () => {
    makeBudgetTable(database);
    addBudget('r', 'requests', 10, { raised: 5 });
    addBudget('u', 'usd', 0.5, { period: 'day' });
    addBudget('each', 'requests', 7, { scope: 'user' });
    addBudget('some', 'requests', 8, { scope: 'model:A' });
    addBudget('off', 'tokens', 9, { is_active: 0 });
    addBudget('over', 'tokens', 9, { period: 'day', valid_to: 1 });
    const gate = await serve();
    // on a busy machine the first look at the ledger may end without an answer
    await expect
      .poll(() => figures(gate), { timeout: 10_000 })
      .toEqual(
        expect.arrayContaining([
          'modelgate_budget_limit{organization="acme",measure="requests",period="month"} 15',
          'modelgate_budget_limit{organization="acme",measure="usd",period="day"} 0.5',
          'modelgate_budget_spent{organization="acme",measure="requests",period="month"} 0',
          'modelgate_budget_reserved{organization="acme",measure="requests",period="month"} 0',
        ]),
      );
    const { rest } = await beginStream(gate.base);
    const line = (name: string, value: number) =>
      `modelgate_budget_${name}{organization="acme",measure="requests",period="month"} ${value}`;
    await expect.poll(() => figures(gate), { timeout: 10_000 }).toContain(line('reserved', 1));
    const shown = await figures(gate);
    expect(shown.filter((text) => text.startsWith('modelgate_budget_limit'))).toHaveLength(2);
    gate.kill('SIGKILL');
    expect(await rest).toBe('cut');
  });

  test('and /readyz say that nothing can be written, and the gate stays ready', async () => {
    const gate = await serve();
    expect(await readiness(gate)).toMatchObject({ ledger: { writable: true, problem: null } });
    const holder = new Database(ledger);
    try {
      holder.exec('BEGIN EXCLUSIVE');
      await until(async () => (await figures(gate)).includes('modelgate_ledger_problem 1'), WAIT_MS, 'the problem');
      const { ledger: said } = await readiness(gate);
      expect(said).toMatchObject({ writable: false, problem: expect.stringContaining('SQLITE_BUSY') as string });
      expect(
        await fetch(`${gate.adminUrl}/`, { headers: { accept: 'text/html' } }).then((page) => page.text()),
      ).toContain('SQLITE_BUSY');
    } finally {
      holder.close();
    }
    // what has waited is written, and a beat may wait at any moment
    const end = expect.arrayContaining(['modelgate_ledger_problem 0', 'modelgate_ledger_backlog 0']) as string[];
    await expect.poll(() => figures(gate), { timeout: WAIT_MS }).toEqual(end);
  });
});

/** @returns the one call of the ledger */
function onlyCall(): CallRow {
  const [row, ...more] = callsIn(ledger);
  expect(more).toEqual([]);
  return row ?? expect.fail();
}

describe('SIGTERM', () => {
  test.each(['abort', 'drain'])(
    'leaves no call open: a stream that is cut is interrupted, and the next start finds out once what it used (%s)',
    async (disconnect) => {
      const settings = { MODELGATE_DRAIN_TIMEOUT: '300ms', MODELGATE_PROVIDER_DISCONNECT: disconnect };
      const gate = await serve(settings);
      const { rest } = await beginStream(gate.base);
      gate.kill('SIGTERM');
      expect(await rest).toBe('cut');
      const { code, stdout } = await gate.ended();
      expect(code, stdout).toBe(0);
      // before this process reads the file, and makes one
      expect(existsSync(`${ledger}-wal`), 'a write-ahead log').toBe(false);
      expect(onlyCall()).toMatchObject({
        ...{ state: 'interrupted', generation_id: provider.charged[0]?.generation, input: null, cost_nano: null },
        bytes_out: expect.any(Number) as number,
      });
      expect(slots()).toMatchObject({ requests: null });

      await serve(settings);
      await until(() => onlyCall().state === 'closed', WAIT_MS, 'what the provider says');
      const [charged] = provider.charged;
      expect(onlyCall()).toMatchObject({
        measured: 'reconciled',
        output: charged?.output,
        cost_nano: charged?.costNano,
      });
      expect(slots()).toEqual({
        ...{ requests: 1, input: charged?.input, output: charged?.output, cost: charged?.costNano },
      });
    },
    60_000,
  );

  test('does not wait for a provider that does not say what a cut call has used', async () => {
    await provider.close();
    let isAsked = false;
    const silent = await startRecordingUpstream((incoming, outgoing) => {
      if (incoming.method === 'GET') return void (isAsked = true);
      outgoing
        .writeHead(200, { 'content-type': 'text/event-stream', 'x-generation-id': 'gen-1' })
        .write('data: {}\n\n');
    });
    provider = { ...silent, url: `${silent.origin}/v1`, charged: [] };
    const gate = await serve({ MODELGATE_DRAIN_TIMEOUT: '0ms' });
    const { body } = await chat(gate.base);
    const reader = body?.getReader() ?? expect.fail();
    await reader.read();
    await reader.cancel();
    await until(() => isAsked, WAIT_MS, 'the question');
    const stoppedAt = performance.now();
    gate.kill('SIGTERM');
    expect((await gate.ended()).code).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(8_000);
    expect(onlyCall()).toMatchObject({ state: 'interrupted', tries: 0 });
  }, 60_000);

  test('ends a gate as it should, whose ledger cannot be written', async () => {
    const gate = await serve();
    await until(() => existsSync(ledger), WAIT_MS, 'usage.db is made');
    const holder = new Database(ledger);
    cleanup.defer(() => void holder.close());
    holder.exec('BEGIN IMMEDIATE');
    gate.kill('SIGTERM');
    const { code, stderr } = await gate.ended();
    expect([code, stderr]).toEqual([0, '']);
  });

  test('lets a stream that ends in time be counted as what it was', async () => {
    await provider.close();
    provider = await startMeteredProvider({ tokens: 20, gapMs: 20 });
    const gate = await serve();
    const { rest } = await beginStream(gate.base);
    gate.kill('SIGTERM');
    expect(await rest).toBe('whole');
    expect((await gate.ended()).code).toBe(0);
    expect(onlyCall()).toMatchObject({ state: 'closed', measured: 'reported', output: 20 });
  });
});
