import { randomUUIDv7 } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Admission, Call, Charge, Ending } from '../../../src/usage/call.ts';
import { type Ledger, createLedger } from '../../../src/usage/ledger.ts';
import { callsIn, readUsage } from '../../support/database/usage.ts';

const DAY_MS = 86_400_000;
const OPENED = { kind: 'opened', nearing: [], sealedKey: null };
const NO_BUDGET: Admission = {
  ...{ charges: [], reserve: 'typical', allowsUnpriced: false },
  ...{ maxOutput: undefined, choices: 1, otherModels: [] },
};

let directory: string;
let path: string;
let warnings: string[];
let ledger: Ledger;

const openLedger = (options: Partial<Parameters<typeof createLedger>[0]> = {}): Ledger =>
  createLedger({
    ...{ path, keepMs: 400 * DAY_MS, whenDown: 'refuse', patienceMs: 300, ...options },
    warn: (message) => warnings.push(message),
  });

const callOf = (more: Partial<Call> = {}): Call => ({
  id: randomUUIDv7(),
  instance: ledger.instance,
  startedAt: Date.now(),
  organization: 'acme',
  user: 'ann',
  chat: undefined,
  provider: 'openrouter.ai',
  endpoint: 'chat/completions',
  kind: 'chat',
  model: 'or.A',
  wireModel: 'A',
  isStreamed: true,
  bytesIn: 400,
  isFree: false,
  ...more,
});

const endingOf = (more: Partial<Ending> = {}): Ending => ({
  state: 'closed',
  endedAt: Date.now(),
  status: 200,
  usage: { input: 100, output: 10, costNano: 5_000 },
  answeredModel: 'A-2026',
  generationId: undefined,
  bytesOut: 1_800,
  ...more,
});

const chargeOf = (more: Partial<Charge> = {}): Charge => ({
  ...{ budget: 'month', measure: 'usd', amount: 50_000, isHard: true, softAt: undefined },
  ...{ periodStart: 0, periodEnd: Date.now() + DAY_MS, user: '', pattern: '*', ...more },
});

const sql = (statement: string, ...values: unknown[]): void => {
  const sqlite = new Database(path, { timeout: 5_000 });
  sqlite.prepare(statement).run(...values);
  sqlite.close();
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'modelgate-ledger-'));
  path = join(directory, 'usage.db');
  warnings = [];
  ledger = openLedger();
  await ledger.beat();
});

afterEach(async () => {
  await ledger.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('a call', () => {
  test('is written before it may leave, and with what it used when it has ended', async () => {
    const call = callOf({ chat: 'c1' });
    expect(await ledger.open(call, NO_BUDGET)).toEqual(OPENED);
    expect(callsIn(path)).toMatchObject([
      {
        id: call.id,
        state: 'open',
        organization_id: 'acme',
        user_id: 'ann',
        chat_id: 'c1',
        input: null,
        cost_nano: null,
      },
    ]);
    const usage = { input: 100, inputCached: 40, output: 10, outputReasoning: 4, costNano: 5_000 };
    const settled = await ledger.settle(call, endingOf({ usage }), []);
    expect(settled).toMatchObject({ measured: 'reported', usage, costNano: 5_000 });
    expect(callsIn(path)).toMatchObject([
      {
        ...{ state: 'closed', measured: 'reported', status: 200, answered_model: 'A-2026', bytes_out: 1_800 },
        ...{ input: 100, input_cached: 40, input_cache_write: null, output: 10, output_reasoning: 4, cost_nano: 5_000 },
      },
    ]);
  });

  test('is counted once, however often its end comes', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    await Promise.all([1, 2, 3].map(() => ledger.settle(call, endingOf(), [])));
    await ledger.open(call, NO_BUDGET);
    expect(readUsage(path, 'SELECT requests, input, cost_nano FROM usage_slot')).toEqual([
      { requests: 1, input: 100, cost_nano: 5_000 },
    ]);
  });

  test('without a price costs an unknown amount, and not nothing', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    await ledger.settle(call, endingOf({ usage: { input: 0, output: 0 } }), []);
    expect(callsIn(path)).toMatchObject([{ measured: 'reported', input: 0, output: 0, cost_nano: null }]);
    expect(readUsage(path, 'SELECT unpriced FROM usage_slot')).toEqual([{ unpriced: 1 }]);
  });

  test('costs what its model did when it began, in the period of its beginning, whatever the clock says then', async () => {
    const price =
      "INSERT INTO usage_price (provider, model, valid_from, source, input, output) VALUES ('openrouter.ai', 'A', ?, 'operator', ?, 0)";
    const startedAt = Date.now();
    sql(price, 0, 1e-6);
    const charges = [chargeOf({ periodStart: startedAt - 1, periodEnd: startedAt + 1 })];
    const call = callOf({ startedAt });
    await ledger.open(call, { ...NO_BUDGET, charges });
    sql(price, startedAt + 1, 1e-3);
    const usage = { input: 100, output: 10 };
    const settled = await ledger.settle(call, endingOf({ usage, endedAt: startedAt - 3_600_000 }), charges);
    expect(settled).toMatchObject({ costNano: 100_000 });
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([
      { spent: 100_000, reserved: 0 },
    ]);
  });

  test.each([
    ['of the fallback that has answered', { ranInstead: 'B', answeredModel: 'B-2026' }, 200],
    ['of what was asked for, where that answers by a name of its own', { answeredModel: 'B' }, 100],
    ['of what was asked for, where no other is known', { ranInstead: 'C', answeredModel: 'C' }, 100],
  ])('costs the price %s', async (_, more, costNano) => {
    const price = `INSERT INTO usage_price (provider, model, valid_from, source, input) VALUES ('openrouter.ai', ?, 0, 'operator', ?)`;
    sql(price, 'A', 1e-9);
    sql(price, 'B', 2e-9);
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    const ending = endingOf({ usage: { input: 100, output: 0 }, ...more });
    expect(await ledger.settle(call, ending, [])).toMatchObject({ costNano });
  });

  test('of a model that has no price costs that of the model that has answered', async () => {
    sql(
      `INSERT INTO usage_price (provider, model, valid_from, source, input) VALUES ('openrouter.ai', 'B', 0, 'import', 2e-9)`,
    );
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    const ending = endingOf({ usage: { input: 100, output: 0 }, answeredModel: 'B' });
    expect(await ledger.settle(call, ending, [])).toMatchObject({ costNano: 200 });
  });

  test('that fails has used nothing, and is in no sum', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    await ledger.settle(call, endingOf({ state: 'failed', status: 429, usage: undefined }), []);
    expect(callsIn(path)).toMatchObject([{ state: 'failed', measured: 'none', status: 429, input: null }]);
    expect(readUsage(path, 'SELECT * FROM usage_slot')).toEqual([]);
  });

  test('whose answer says nothing is estimated by what others of its model have used', async () => {
    const [known, silent] = [callOf(), callOf({ bytesIn: 800 })];
    for (const call of [known, silent]) await ledger.open(call, NO_BUDGET);
    await ledger.settle(known, endingOf(), []);
    const settled = await ledger.settle(silent, endingOf({ usage: undefined, bytesOut: 3_600 }), []);
    expect(settled).toMatchObject({ measured: 'estimated', usage: { input: 200, output: 20 } });
  });

  test('that was cut waits for its generation, and keeps what it has reserved until then', async () => {
    const call = callOf();
    const charges = [chargeOf({ measure: 'requests', amount: 10 })];
    await ledger.open(call, { ...NO_BUDGET, charges });
    ledger.note(call.id, 'gen-1');
    const cut = endingOf({ state: 'interrupted', usage: undefined });
    expect(await ledger.settle(call, cut, charges)).toMatchObject({ measured: undefined });
    expect(await ledger.unresolved(10)).toMatchObject([{ id: call.id, generationId: 'gen-1' }]);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 0, reserved: 1 }]);
    await ledger.resolve(call.id, { input: 7, output: 3, costNano: 99 });
    await ledger.resolve(call.id, { input: 7, output: 3, costNano: 99 });
    expect(callsIn(path)).toMatchObject([{ state: 'closed', measured: 'reconciled', input: 7, cost_nano: 99 }]);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 1, reserved: 0 }]);
  });

  test('of a process that is gone becomes interrupted, and that of a living one does not', async () => {
    const [mine, lost] = [callOf(), callOf({ instance: 'an instance that is gone' })];
    for (const call of [mine, lost]) await ledger.open(call, NO_BUDGET);
    await ledger.beat();
    const rowOf = ({ id }: Call) => callsIn(path).find((row) => row.id === id);
    expect([rowOf(mine)?.state, rowOf(lost)?.state]).toEqual(['open', 'interrupted']);
    await ledger.resolve(lost.id, undefined);
    expect(rowOf(lost)).toMatchObject({ state: 'closed', measured: 'interrupted', input: 100 });
  });

  test('is dropped after its time, and its sums stay', async () => {
    await ledger.close();
    ledger = openLedger({ keepMs: DAY_MS });
    const old = callOf({
      id: randomUUIDv7().replace(/^.{8}-.{4}/, '01900000-0000'),
      startedAt: Date.now() - 3 * DAY_MS,
    });
    for (const call of [old, callOf()]) {
      await ledger.open(call, NO_BUDGET);
      await ledger.settle(call, endingOf(), []);
    }
    await ledger.beat();
    expect(callsIn(path).map(({ id }) => id)).not.toContain(old.id);
    expect(callsIn(path)).toHaveLength(1);
    expect(readUsage(path, 'SELECT sum(requests) AS n FROM usage_slot')).toEqual([{ n: 2 }]);
  });
});

describe('a ledger that is closed', () => {
  test('takes the ends of calls that come a moment later', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    const closing = ledger.close();
    await sleep(50);
    await ledger.settle(call, endingOf(), []);
    await closing;
    expect(callsIn(path)).toMatchObject([{ state: 'closed', measured: 'reported', input: 100 }]);
    expect(warnings).toEqual([]);
  });

  test('leaves what has no end interrupted, with what it has reserved, and what another gate runs open', async () => {
    await using other = Object.assign(openLedger(), { [Symbol.asyncDispose]: () => other.close() });
    await other.beat();
    const [cut, foreign] = [callOf(), callOf({ instance: other.instance })];
    await ledger.open(cut, { ...NO_BUDGET, charges: [chargeOf({ measure: 'requests', amount: 5 })] });
    await other.open(foreign, NO_BUDGET);
    await ledger.close();
    const states = callsIn(path).map(({ id, state }) => [id === cut.id ? 'cut' : 'foreign', state]);
    expect(Object.fromEntries(states)).toEqual({ cut: 'interrupted', foreign: 'open' });
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toMatchObject([
      { spent: 0, reserved: 2 },
    ]);
    await other.settle(foreign, endingOf(), []);
  });
});

describe('a budget', () => {
  test('admits as many of 400 calls at once as have room, with two gates on one file', async () => {
    await ledger.close();
    ledger = openLedger({ patienceMs: 2_000 });
    await using second = Object.assign(openLedger({ patienceMs: 2_000 }), {
      [Symbol.asyncDispose]: () => second.close(),
    });
    sql(
      "INSERT INTO usage_price (provider, model, valid_from, source, input, output) VALUES ('openrouter.ai', 'A', 0, 'operator', 1e-6, 1e-6)",
    );
    // 400 bytes are at most 400 tokens, and 600 may be written: 1,000 µUSD
    const charges = [chargeOf({ amount: 50 * 1_000_000 })];
    const admission: Admission = { ...NO_BUDGET, charges, reserve: 'maximum', maxOutput: 600 };
    const openings = await Promise.all(
      Array.from({ length: 400 }, (_, at) => (at % 2 === 0 ? ledger : second).open(callOf(), admission)),
    );
    expect(openings.filter(({ kind }) => kind === 'opened')).toHaveLength(50);
    expect(openings).toContainEqual({ kind: 'refused', because: 'budget_exceeded', budget: 'month', nearing: [] });
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([
      { spent: 0, reserved: 50_000_000 },
    ]);
  });

  test('that is set in the middle of a month counts the whole month', async () => {
    const [before, running, refused] = [callOf(), callOf(), callOf()];
    for (const call of [before, running]) await ledger.open(call, NO_BUDGET);
    await ledger.settle(before, endingOf(), []);
    const charges = [chargeOf({ measure: 'requests', amount: 3 })];
    expect(await ledger.open(refused, { ...NO_BUDGET, charges })).toMatchObject({ kind: 'opened' });
    expect(await ledger.open(callOf(), { ...NO_BUDGET, charges })).toMatchObject({ kind: 'refused' });
  });

  test('of a user, or of some models, counts no other', async () => {
    const ofUser = chargeOf({ budget: 'user', measure: 'requests', amount: 1, user: 'ann' });
    const ofModels = chargeOf({ budget: 'models', measure: 'requests', amount: 1, pattern: 'or.*' });
    const admit = async (more: Partial<Call>, charges: readonly Charge[]) =>
      (await ledger.open(callOf(more), { ...NO_BUDGET, charges })).kind;
    expect(await admit({}, [ofUser, ofModels])).toBe('opened');
    expect(await admit({}, [ofUser])).toBe('refused');
    expect(await admit({ user: 'bob', model: 'local' }, [{ ...ofUser, user: 'bob' }])).toBe('opened');
    expect(await admit({ user: 'bob' }, [ofModels])).toBe('refused');
  });

  test('of money refuses a model without a price, and admits a free one though it is spent', async () => {
    const spent = [chargeOf({ amount: 0 })];
    const refused = await ledger.open(callOf(), { ...NO_BUDGET, charges: [chargeOf()] });
    expect(refused).toMatchObject({ kind: 'refused', because: 'unpriced_model', budget: 'month' });
    sql(
      "INSERT INTO usage_price (provider, model, valid_from, source, free) VALUES ('ollama:11434', '*', 0, 'operator', 1)",
    );
    expect(await ledger.open(callOf({ provider: 'ollama:11434' }), { ...NO_BUDGET, charges: spent })).toEqual(OPENED);
  });

  test('of money has room for every choice of a call, and for the dearest model that may run', async () => {
    const price =
      "INSERT INTO usage_price (provider, model, valid_from, source, input, output, free) VALUES ('openrouter.ai', ?, 0, 'operator', ?, ?, ?)";
    sql(price, 'A', 0, 1e-6, 0);
    sql(price, 'dear', 0, 1e-3, 0);
    sql(price, 'free', null, null, 1);
    sql("INSERT INTO usage_model VALUES ('openrouter.ai', 'A', 8000, 100), ('openrouter.ai', 'dear', 8000, 100)");
    const admit = (more: Partial<Admission>, amount: number, wireModel = 'A') =>
      ledger
        .open(callOf({ wireModel }), { ...NO_BUDGET, reserve: 'maximum', charges: [chargeOf({ amount })], ...more })
        .then((opening) => (opening.kind === 'refused' ? opening.because : opening.kind));
    expect(await admit({ choices: 5 }, 500_000 - 1)).toBe('budget_exceeded');
    expect(await admit({ choices: undefined }, 1e9)).toBe('unbounded_model');
    expect(await admit({ otherModels: ['dear'] }, 100_000_000 - 1)).toBe('budget_exceeded');
    expect(await admit({ otherModels: ['unknown'], maxOutput: 5 }, 1e9)).toBe('unpriced_model');
    expect(await admit({ reserve: 'typical' }, 0, 'free')).toBe('opened');
    expect(await admit({ reserve: 'typical', otherModels: ['dear'] }, 0, 'free')).toBe('budget_exceeded');
    expect(await admit({ choices: 5 }, 500_000)).toBe('opened');
  });

  test('says once that its soft share is reached', async () => {
    const charges = [chargeOf({ amount: 100_000, softAt: 9_000 })];
    const reached: string[][] = [];
    for (let turn = 0; turn < 4; turn++) {
      const call = callOf();
      await ledger.open(call, { ...NO_BUDGET, charges, allowsUnpriced: true });
      reached.push([...((await ledger.settle(call, endingOf(), charges))?.softReached ?? [])]);
    }
    expect(reached).toEqual([[], ['month'], [], []]);
  });
});

describe('a file that cannot be written', () => {
  test('refuses calls after what they wait, and takes them again when the lock is gone; what runs is counted late', async () => {
    const running = callOf();
    await ledger.open(running, NO_BUDGET);
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const refused = callOf();
    await expect(ledger.open(refused, NO_BUDGET)).rejects.toMatchObject({ code: 'ledger_unavailable', status: 503 });
    const late = ledger.settle(running, endingOf(), []);
    expect(await late).toBeUndefined();
    await expect.poll(() => ledger.problem, { timeout: 5_000 }).toBeDefined();
    holder.exec('ROLLBACK');
    holder.close();
    await expect
      .poll(() => callsIn(path).find(({ id }) => id === running.id)?.state, { timeout: 5_000 })
      .toBe('closed');
    await expect
      .poll(() => callsIn(path).find(({ id }) => id === refused.id)?.state, { timeout: 5_000 })
      .toBe('failed');
    expect(await ledger.open(callOf(), NO_BUDGET)).toEqual(OPENED);
    const notYet = 'usage that usage.db does not have yet';
    // what the file answers and how long a call waits end at about the same time
    expect(warnings.slice(0, 2).toSorted()).toEqual([notYet, 'usage.db cannot be written']);
    expect(warnings.slice(2)).toEqual(['usage.db can be written again']);
  });

  test('holds up nothing that is found out later: a gate that stops waits for that', async () => {
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    expect(await Promise.all([ledger.unresolved(1), ledger.tried('a'), ledger.resolve('a', {})])).toEqual([
      [],
      undefined,
      undefined,
    ]);
    expect(await ledger.unresolved(1)).toEqual([]);
    holder.close();
  });

  test('lets calls pass where it may, and writes them when it can', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const call = callOf();
    expect(await ledger.open(call, NO_BUDGET)).toEqual({ kind: 'unwritten' });
    await ledger.settle(call, endingOf(), []);
    holder.exec('ROLLBACK');
    holder.close();
    await expect.poll(() => callsIn(path)[0]?.state, { timeout: 5_000 }).toBe('closed');
  });

  test('lets calls pass that a budget would have refused, and counts them all the same', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const charges = [chargeOf({ measure: 'requests', amount: 0 })];
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const [ran, gone] = [callOf(), callOf()];
    for (const call of [ran, gone])
      expect(await ledger.open(call, { ...NO_BUDGET, charges })).toEqual({ kind: 'unwritten' });
    await ledger.settle(ran, endingOf(), charges);
    await ledger.settle(gone, endingOf({ state: 'failed', usage: undefined }), charges);
    expect(warnings).toContain('usage that usage.db does not have yet');
    holder.exec('ROLLBACK');
    holder.close();
    const stateOf = ({ id }: Call) => callsIn(path).find((row) => row.id === id)?.state;
    await expect.poll(() => stateOf(ran), { timeout: 5_000 }).toBe('closed');
    expect(stateOf(gone)).toBe('refused');
    expect(readUsage(path, 'SELECT sum(requests) AS n, sum(cost_nano) AS cost FROM usage_slot')).toEqual([
      { n: 1, cost: 5_000 },
    ]);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 1, reserved: 0 }]);
  });

  test('lets calls pass when more wait than it keeps, and the log has what they use', async () => {
    await ledger.close();
    ledger = openLedger({ whenDown: 'pass' });
    await ledger.beat();
    const holder = new Database(path);
    holder.exec('BEGIN IMMEDIATE');
    const fill = () => {
      for (let at = ledger.counts.backlog; at < 20_000; at++) ledger.note('none', 'none');
    };
    fill();
    // what was being written before is done then
    await expect.poll(() => ledger.problem, { timeout: 5_000 }).toBeDefined();
    fill();
    const call = callOf();
    expect(await ledger.open(call, NO_BUDGET)).toEqual({ kind: 'unwritten' });
    expect(await ledger.settle(call, endingOf(), [])).toBeUndefined();
    expect(warnings).toContain('usage that is in no ledger');
    holder.exec('ROLLBACK');
    holder.close();
  });

  test('that another gate could not write either takes no call from it', async () => {
    const call = callOf({ instance: 'of another gate' });
    await ledger.open(call, NO_BUDGET);
    sql("INSERT INTO usage_instance VALUES ('of another gate', ?)", Date.now() - 16_000);
    sql('UPDATE usage_instance SET heartbeat = ? WHERE id = ?', Date.now() - 16_000, ledger.instance);
    await ledger.beat();
    expect(callsIn(path)).toMatchObject([{ state: 'open' }]);
    await ledger.beat();
    expect(callsIn(path)).toMatchObject([{ state: 'interrupted' }]);
  });

  test('whose log of commits is deleted loses no call', async () => {
    const [before, after] = [callOf(), callOf()];
    await ledger.open(before, NO_BUDGET);
    for (const companion of ['-wal', '-shm']) rmSync(`${path}${companion}`);
    await ledger.open(after, NO_BUDGET);
    for (const call of [before, after]) await ledger.settle(call, endingOf(), []);
    expect(callsIn(path)).toMatchObject([{ state: 'closed' }, { state: 'closed' }]);
  });

  test('that is deleted while a call runs reserves no less than nothing for it', async () => {
    const charges = [chargeOf({ measure: 'requests', amount: 9 })];
    const [running, next] = [callOf(), callOf()];
    await ledger.open(running, { ...NO_BUDGET, charges });
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    await ledger.open(next, { ...NO_BUDGET, charges });
    for (const call of [running, next]) await ledger.settle(call, endingOf(), charges);
    expect(readUsage(path, 'SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 2, reserved: 0 }]);
  });

  test('that is deleted is made again, and no call that runs is lost', async () => {
    const call = callOf();
    await ledger.open(call, NO_BUDGET);
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    await ledger.settle(call, endingOf(), []);
    expect(callsIn(path)).toMatchObject([{ id: call.id, state: 'closed', cost_nano: 5_000 }]);
    expect(warnings).toEqual(['usage.db was deleted or replaced: a new one goes on']);
  });

  test('whose volume is not there refuses, and says why', async () => {
    await ledger.close();
    path = join(directory, 'missing', 'state', 'usage.db');
    ledger = openLedger();
    await expect(ledger.open(callOf(), NO_BUDGET)).rejects.toMatchObject({ code: 'ledger_unavailable' });
    expect(ledger.problem?.problem).toMatch(/ENOENT|SQLITE_CANTOPEN/);
  });

  test.each([
    ['is no database', (): void => writeFileSync(path, 'no database '.repeat(100)), /^Bring a copy of usage\.db back/],
    ['is a folder', (): void => mkdirSync(path), /^Make room .*, or let this user write/],
  ])('that %s has its own remedy', async (_is, replace, remedy) => {
    await ledger.close();
    for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
    replace();
    ledger = openLedger();
    await expect.poll(() => ledger.problem?.remedy, { timeout: 5_000 }).toMatch(remedy);
  });
});
