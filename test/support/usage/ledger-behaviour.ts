/** What a ledger promises on every engine. */
import { randomUUIDv7 } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Admission, Call, Charge } from '../../../src/usage/call.ts';
import { type Ledger, createLedger } from '../../../src/usage/ledger.ts';
import type { Connection } from '../../../src/store/database.ts';
import type { CallRow } from '../database/usage.ts';
import { DAY_MS, NO_BUDGET, OPENED, chargeOf, endingOf, sampleCall } from './sample-calls.ts';

export interface LedgerWorld {
  readonly place: Pick<Parameters<typeof createLedger>[0], 'path' | 'postgres'>;
  /** Another connection, once the tables are there. */
  connect(): Promise<Connection> | Connection;
  close(): PromiseLike<void> | void;
}

/** @param open a new place for each test, with nothing in it */
export function describeLedger(open: () => Promise<LedgerWorld> | LedgerWorld): void {
  let world: LedgerWorld;
  let connection: Connection;
  let warnings: string[];
  let ledger: Ledger;

  /** As long as a busy machine may take; short at the end of a test, where a ledger waits for calls without an end. */
  let patienceMs: number;
  const openLedger = (options: Partial<Parameters<typeof createLedger>[0]> = {}): Ledger =>
    createLedger({
      ...{ keepMs: 400 * DAY_MS, whenDown: 'refuse', ...world.place, ...options },
      warn: (message) => warnings.push(message),
      get patienceMs() {
        return patienceMs;
      },
    });

  const callOf = (more: Partial<Call> = {}): Call => sampleCall({ instance: ledger.instance, ...more });

  const sql = (statement: string, ...values: unknown[]): void => void connection.prepare(statement).run(...values);
  const read = <Row>(statement: string): Row[] => connection.prepare<[], Row>(statement).all();
  const calls = (): CallRow[] => read('SELECT * FROM usage_request ORDER BY id');

  beforeEach(async () => {
    world = await open();
    warnings = [];
    patienceMs = 10_000;
    ledger = openLedger();
    await ledger.beat();
    connection = await world.connect();
  });

  afterEach(async () => {
    patienceMs = 300;
    await ledger.close();
    connection.close();
    await world.close();
  });

  describe('a call', () => {
    test('is written before it may leave, and with what it used when it has ended', async () => {
      const call = callOf({ chat: 'c1' });
      expect(await ledger.open(call, NO_BUDGET)).toEqual(OPENED);
      expect(calls()).toMatchObject([
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
      expect(calls()).toMatchObject([
        {
          ...{ state: 'closed', measured: 'reported', status: 200, answered_model: 'A-2026', bytes_out: 1_800 },
          ...{
            input: 100,
            input_cached: 40,
            input_cache_write: null,
            output: 10,
            output_reasoning: 4,
            cost_nano: 5_000,
          },
        },
      ]);
    });

    test('is counted once, however often its end comes', async () => {
      const call = callOf();
      await ledger.open(call, NO_BUDGET);
      await Promise.all([1, 2, 3].map(() => ledger.settle(call, endingOf(), [])));
      await ledger.open(call, NO_BUDGET);
      expect(read('SELECT requests, input, cost_nano FROM usage_slot')).toEqual([
        { requests: 1, input: 100, cost_nano: 5_000 },
      ]);
    });

    test('without a price costs an unknown amount, and not nothing', async () => {
      const call = callOf();
      await ledger.open(call, NO_BUDGET);
      await ledger.settle(call, endingOf({ usage: { input: 0, output: 0 } }), []);
      expect(calls()).toMatchObject([{ measured: 'reported', input: 0, output: 0, cost_nano: null }]);
      expect(read('SELECT unpriced FROM usage_slot')).toEqual([{ unpriced: 1 }]);
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
      expect(read('SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 100_000, reserved: 0 }]);
    });

    test.each([
      [
        'of the fallback that has answered',
        { ranInstead: { model: 'or.B', wireModel: 'B' }, answeredModel: 'B-2026' },
        200,
      ],
      ['of what was asked for, where that answers by a name of its own', { answeredModel: 'B' }, 100],
      [
        'of what was asked for, where no other is known',
        { ranInstead: { model: 'or.C', wireModel: 'C' }, answeredModel: 'C' },
        100,
      ],
    ])('costs the price %s', async (_, more, costNano) => {
      const price = `INSERT INTO usage_price (provider, model, valid_from, source, input) VALUES ('openrouter.ai', ?, 0, 'operator', ?)`;
      sql(price, 'A', 1e-9);
      sql(price, 'B', 2e-9);
      const call = callOf();
      await ledger.open(call, NO_BUDGET);
      const ending = endingOf({ usage: { input: 100, output: 0 }, ...more });
      expect(await ledger.settle(call, ending, [])).toMatchObject({ costNano });
    });

    test('is counted for the model that has run, also by its budgets', async () => {
      const charges = ['or.A', 'or.B'].map((pattern) =>
        chargeOf({ budget: pattern, measure: 'tokens', amount: 1_000, pattern }),
      );
      for (const ranInstead of [undefined, { model: 'or.B', wireModel: 'B' }]) {
        const call = callOf();
        await ledger.open(call, { ...NO_BUDGET, charges, otherModels: ['B'] });
        await ledger.settle(call, endingOf({ ranInstead }), charges);
      }
      expect(read('SELECT model, requests FROM usage_slot ORDER BY model')).toEqual([
        { model: 'or.A', requests: 1 },
        { model: 'or.B', requests: 1 },
      ]);
      expect(read('SELECT pattern, spent, reserved FROM usage_budget_state ORDER BY pattern')).toEqual([
        { pattern: 'or.A', spent: 110, reserved: 0 },
        { pattern: 'or.B', spent: 110, reserved: 0 },
      ]);
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
      expect(calls()).toMatchObject([{ state: 'failed', measured: 'none', status: 429, input: null }]);
      expect(read('SELECT * FROM usage_slot')).toEqual([]);
    });

    test('whose answer says nothing is estimated by what others of its model have used', async () => {
      const [known, silent] = [callOf(), callOf({ bytesIn: 800 })];
      for (const call of [known, silent]) await ledger.open(call, NO_BUDGET);
      await ledger.settle(known, endingOf(), []);
      const settled = await ledger.settle(silent, endingOf({ usage: undefined, bytesOut: 3_600 }), []);
      expect(settled).toMatchObject({ measured: 'estimated', usage: { input: 200, output: 20 } });
    });

    test('that was cut has not fewer tokens because others have asked for much beside their words', async () => {
      const [long, cut] = [callOf(), callOf()];
      for (const call of [long, cut]) await ledger.open(call, NO_BUDGET);
      await ledger.settle(long, endingOf({ bytesOut: 30_000 }), []);
      const settled = await ledger.settle(
        cut,
        endingOf({ state: 'interrupted', usage: undefined, bytesOut: 18_000 }),
        [],
      );
      expect(settled?.usage.output).toBe(35);
    });

    test('that was cut waits for its generation, and keeps what it has reserved until then', async () => {
      const call = callOf();
      const charges = [chargeOf({ measure: 'requests', amount: 10 })];
      await ledger.open(call, { ...NO_BUDGET, charges });
      ledger.note(call.id, 'gen-1');
      const cut = endingOf({ state: 'interrupted', usage: undefined });
      expect(await ledger.settle(call, cut, charges)).toMatchObject({ measured: undefined });
      expect(await ledger.unresolved(10)).toMatchObject([{ id: call.id, generationId: 'gen-1' }]);
      expect(read('SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 0, reserved: 1 }]);
      await ledger.resolve(call.id, { input: 7, output: 3, costNano: 99 });
      await ledger.resolve(call.id, { input: 7, output: 3, costNano: 99 });
      expect(calls()).toMatchObject([{ state: 'closed', measured: 'reconciled', input: 7, cost_nano: 99 }]);
      expect(read('SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 1, reserved: 0 }]);
    });

    test('of a process that is gone becomes interrupted, and that of a living one does not', async () => {
      const [mine, lost] = [callOf(), callOf({ instance: 'an instance that is gone' })];
      for (const call of [mine, lost]) await ledger.open(call, NO_BUDGET);
      await ledger.beat();
      const rowOf = ({ id }: Call) => calls().find((row) => row.id === id);
      expect([rowOf(mine)?.state, rowOf(lost)?.state]).toEqual(['open', 'interrupted']);
      await ledger.resolve(lost.id, undefined);
      expect(rowOf(lost)).toMatchObject({ state: 'closed', measured: 'interrupted', input: 100 });
    });

    test('of a gate that could not write for as long as this one is its own, until it gives no sign of life either', async () => {
      const call = callOf({ instance: 'of another gate' });
      await ledger.open(call, NO_BUDGET);
      const last = Date.now() - 16_000;
      sql("INSERT INTO usage_instance VALUES ('of another gate', ?), ('of one that was gone before', ?)", last, 0);
      sql('UPDATE usage_instance SET heartbeat = ? WHERE id = ?', last, ledger.instance);
      for (let turn = 0; turn < 3; turn++) await ledger.beat();
      expect(calls()).toMatchObject([{ state: 'open' }]);
      sql("UPDATE usage_instance SET heartbeat = ? WHERE id = 'of another gate'", last);
      await ledger.beat();
      expect(calls()).toMatchObject([{ state: 'interrupted' }]);
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
      expect(calls().map(({ id }) => id)).not.toContain(old.id);
      expect(calls()).toHaveLength(1);
      expect(read('SELECT count(*) AS n FROM usage_slot')).toEqual([{ n: 2 }]);
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
      expect(calls()).toMatchObject([{ state: 'closed', measured: 'reported', input: 100 }]);
      expect(warnings).toEqual([]);
    });

    test('leaves what has no end interrupted, with what it has reserved, and what another gate runs open', async () => {
      await using other = Object.assign(openLedger(), { [Symbol.asyncDispose]: () => other.close() });
      await other.beat();
      const [cut, foreign] = [callOf(), callOf({ instance: other.instance })];
      await ledger.open(cut, { ...NO_BUDGET, charges: [chargeOf({ measure: 'requests', amount: 5 })] });
      await other.open(foreign, NO_BUDGET);
      patienceMs = 2_000;
      await ledger.close();
      const states = calls().map(({ id, state }) => [id === cut.id ? 'cut' : 'foreign', state]);
      expect(Object.fromEntries(states)).toEqual({ cut: 'interrupted', foreign: 'open' });
      expect(read('SELECT spent, reserved FROM usage_budget_state')).toMatchObject([{ spent: 0, reserved: 2 }]);
      await other.settle(foreign, endingOf(), []);
    });
  });

  describe('a budget', () => {
    test('admits as many of 400 calls at once as have room, with two gates on one file', async () => {
      await using second = Object.assign(openLedger(), { [Symbol.asyncDispose]: () => second.close() });
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
      expect(read('SELECT spent, reserved FROM usage_budget_state')).toEqual([{ spent: 0, reserved: 50_000_000 }]);
      patienceMs = 300;
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
      expect(await admit({ reads: 'unbounded' }, 1e9)).toBe('unbounded_model');
      expect(await admit({ reads: 'context', maxOutput: 5 }, 1e9)).toBe('opened');
      expect(await admit({ maxOutput: 1e9, choices: 1e9 }, 1e12)).toBe('budget_exceeded');
      sql(price, 'of input alone', 1e-6, null, 0);
      for (const reserve of ['typical', 'maximum'] as const) {
        const more = { reserve, maxOutput: 5 };
        expect(await admit(more, 1e9, 'of input alone')).toBe('unpriced_model');
        expect(await admit({ ...more, maxOutput: 0 }, 1e9, 'of input alone')).toBe('opened');
      }
    });

    test('of a model that may run in the place of another keeps nothing of the call, which `maximum` refuses', async () => {
      sql(
        "INSERT INTO usage_price (provider, model, valid_from, source, input, output) VALUES ('openrouter.ai', '*', 0, 'operator', 1e-6, 1e-6)",
      );
      const ofOther = chargeOf({ budget: 'other', amount: 1e9, pattern: 'or.dear' });
      const because = async (more: Partial<Admission>) => {
        const admission: Admission = {
          ...NO_BUDGET,
          charges: [chargeOf({ amount: 1e9 }), ofOther],
          maxOutput: 5,
          ...more,
        };
        const opening = await ledger.open(callOf({ model: 'or.A' }), { ...admission, otherModels: ['dear'] });
        return opening.kind === 'refused' ? `${opening.budget}: ${opening.because}` : opening.kind;
      };
      expect(await because({ reserve: 'maximum' })).toBe('other: unbounded_model');
      expect(await because({ reserve: 'typical' })).toBe('opened');
      expect(await because({ reserve: 'maximum', charges: [chargeOf({ amount: 1e9, pattern: 'or.*' })] })).toBe(
        'opened',
      );
      expect(await because({ reserve: 'maximum', charges: [{ ...ofOther, isHard: false }] })).toBe('opened');
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
}
