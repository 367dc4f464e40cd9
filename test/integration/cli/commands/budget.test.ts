import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SLOT_MS, openUsageFile } from '../../../../src/usage/schema.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { makeBudgetTable } from '../../../support/database/usage.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';
import { commandOn } from '../../../support/process/command.ts';

const { run: budget, ask } = commandOn('budget');

/** Organizations acme and globex, as `modelgate init` leaves the file; globex has 30 USD a month in mAI's own table. */
function organizations(): TestDatabase {
  const database = databaseOfTest();
  makeBudgetTable(database);
  database.addUser({ id: 'ada' });
  for (const id of ['acme', 'globex']) database.addClientOrganization(id, 1);
  database.run("UPDATE client_organizations SET monthly_limit = 30, timezone = 'Europe/Warsaw' WHERE id = 'globex'");
  return database;
}

type Listed = Readonly<Record<string, unknown>>;
const listed = async (database: TestDatabase, ...words: string[]): Promise<readonly Listed[]> =>
  (await ask<{ budgets: readonly Listed[] }>(database, ['list', ...words])).budgets;

/** Beside the database, where a gate has it by default. */
function openLedger({ directory }: TestDatabase) {
  mkdirSync(join(directory, 'modelgate'), { recursive: true });
  const ledger = openUsageFile(join(directory, 'modelgate', 'usage.db'), 1_000);
  return Object.assign(ledger, { [Symbol.dispose]: () => void ledger.close() });
}

const rowsOf = ({ sql }: TestDatabase, columns = 'amount, period, scope, is_active'): unknown[] =>
  sql.prepare(`SELECT measure, ${columns} FROM organization_budgets ORDER BY measure, period, scope`).raw().all();

interface Spent {
  readonly user?: string;
  readonly model?: string;
  readonly nano?: number;
  /** Before now. */
  readonly daysAgo?: number;
}

/** A ledger in which acme has made one call for each. */
function spend(database: TestDatabase, ...calls: readonly Spent[]): void {
  using ledger = openLedger(database);
  const add = ledger.prepare(`INSERT INTO usage_slot (organization_id, slot, user_id, provider, model, kind, measured,
      requests, input, input_cached, input_cache_write, output, output_reasoning, cost_nano, unpriced)
    VALUES ('acme', ?, ?, 'openrouter.ai', ?, 'chat', 'reported', 1, 100, 0, 0, 10, 0, ?, 0)`);
  for (const { user = 'ada', model = 'openai/gpt-4o', nano = 0, daysAgo = 0 } of calls) {
    const at = Date.now() - daysAgo * 86_400_000;
    add.run(at - (at % SLOT_MS), user, model, nano);
  }
}

describe('budget set', () => {
  test('says of each what has become of it, and what was there before', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '40']);
    expect(await budget(database, ['set', 'acme', '--usd', '50', '--user-usd', '0.25'])).toEqual({
      code: 0,
      stdout: [
        'BUDGET             FOR           BEFORE     RESULT',
        '50.00 USD a month  all together  40.00 USD  set',
        '0.25 USD a month   each user     -          added',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(rowsOf(database)).toEqual([
      ['usd', 50, 'month', 'organization', 1],
      ['usd', 0.25, 'month', 'user', 1],
    ]);
  });

  test('keeps budgets of several measures, periods and models beside each other', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--tokens', '1000000', '--requests', '20']);
    await budget(database, ['set', 'acme', '--requests', '5', '--period', 'day', '--model', 'openai/*']);
    await budget(database, ['set', 'acme', '--requests', '7', '--period', 'day']);
    expect(rowsOf(database)).toEqual([
      ['requests', 5, 'day', 'model:openai/*', 1],
      ['requests', 7, 'day', 'organization', 1],
      ['requests', 20, 'month', 'organization', 1],
      ['tokens', 1_000_000, 'month', 'organization', 1],
    ]);
  });

  test('gives what is not named its default again, and keeps the id, by which the ledger knows what is spent', async () => {
    const database = organizations();
    const stored = 'id, amount, soft_percent, is_hard, time_zone';
    const first = ['set', 'acme', '--usd', '5', '--soft', '50', '--soft-only', '--time-zone', 'asia/kathmandu'];
    await budget(database, first);
    const [[, id, ...before]] = rowsOf(database, stored) as [[string, string, ...unknown[]]];
    await budget(database, ['set', 'acme', '--usd', '6']);
    expect(before).toEqual([5, 50, 0, expect.stringMatching(/^Asia\/Kath?mandu$/)]);
    expect(rowsOf(database, stored)).toEqual([['usd', id, 6, 80, 1, null]]);
  });

  test('takes an explicit zero for a budget of nothing', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '0']);
    expect(await listed(database, 'acme')).toMatchObject([{ amount: 0, amount_now: 0, counts: true }]);
  });

  test("takes the place of mAI's monthly limit, and says so once", async () => {
    const database = organizations();
    const said = "modelgate: mAI's monthly_limit of 30.00 USD no longer counts: this is in its place.\n";
    expect((await budget(database, ['set', 'globex', '--usd', '20'])).stderr).toBe(said);
    expect((await budget(database, ['set', 'globex', '--usd', '21'])).stderr).toBe('');
    expect((await budget(database, ['set', 'globex', '--tokens', '21'])).stderr).toBe('');
    expect(await listed(database, 'globex')).toMatchObject([{ measure: 'tokens' }, { measure: 'usd', amount: 21 }]);
  });

  test.each<[words: string[], said: RegExp]>([
    [[], /^modelgate: How much\? Name --usd, --user-usd, --tokens or --requests/],
    [['--usd', '-5'], /--usd "-5": expected US dollars as a number, 0 or more/],
    [['--usd=-0.01'], /expected US dollars as a number, 0 or more/],
    [['--usd', '50,00'], /with a decimal point, as in 50\.00\./],
    [['--usd', '1234567890'], /at most nine digits before it and nine behind\./],
    [['--usd', '50,000'], /with a decimal point, such as 50 or 0\.25\./],
    ...['', ' ', '50 USD', '$50', '50€', '1e3', '0x10', 'NaN', 'Infinity', '.5', '0.1234567891', '1234567890'].map(
      (amount): [string[], RegExp] => [['--usd', amount], /expected US dollars as a number/],
    ),
    [['--eur', '50'], /There is no option "--eur"/],
    [['--tokens', '1.5'], /--tokens "1\.5": expected a whole number/],
    [['--requests', '-1'], /--requests "-1": expected a whole number/],
    [['--usd', '5', '--period', 'year'], /--period "year": expected one of day, week, month, total/],
    [['--usd', '5', '--soft', '0'], /--soft "0": expected a whole number from 1 to 100/],
    [['--usd', '5', '--time-zone', 'Europe/Warsow'], /expected a time zone .* Did you mean Europe\/Warsaw\?/],
    [['--usd', '5', '--time-zone', '+01:00'], /expected a time zone of IANA's list/],
    [['--usd', '5', '--model', 'open*/x'], /--model "open\*\/x": only a \* at the very end stands for anything/],
    [['--user-usd', '5', '--model', 'x'], /Either --model.* or --user-usd.*, not both/],
  ])('of %j is refused, and nothing is written', async (words, said) => {
    const database = organizations();
    const { code, stdout, stderr } = await budget(database, ['set', 'acme', ...words]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(said);
    expect(rowsOf(database)).toEqual([]);
  });

  test('for an organization that is not there is refused with the one that was meant', async () => {
    const database = organizations();
    const { code, stderr } = await budget(database, ['set', 'acm', '--usd', '5']);
    expect(code).toBe(1);
    expect(stderr).toContain('There is no organization "acm". Nothing was changed. Did you mean "acme"?');
    expect(rowsOf(database)).toEqual([]);
  });

  test('names no organization by a setting, where it is not configured', async () => {
    const { code, stderr } = await budget(organizations(), ['set', '--usd', '5']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^modelgate: Which organization\? Name it with its id, or set OPENROUTER_EXTERNAL_USER/);
  });

  test('needs the table, and says what makes it', async () => {
    const database = organizations();
    database.sql.exec('DROP TABLE organization_budgets');
    const { code, stderr } = await budget(database, ['set', 'acme', '--usd', '5']);
    expect(code).toBe(1);
    expect(stderr).toContain('The file has no table organization_budgets. Nothing was changed.');
    expect(stderr).toContain(`  modelgate init --database ${database.path}`);
  });

  test('writes all of its budgets, or none', async () => {
    const database = organizations();
    database.sql.exec(
      "CREATE TRIGGER no_users BEFORE INSERT ON organization_budgets WHEN new.scope = 'user' BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    const { code, stderr } = await budget(database, ['set', 'acme', '--usd', '5', '--user-usd', '1']);
    expect(code).toBe(1);
    expect(stderr).toContain('The table organization_budgets does not take the row: no. Nothing was changed.');
    expect(rowsOf(database)).toEqual([]);
  });

  test('says that an organization is switched off', async () => {
    const database = organizations();
    database.run("UPDATE client_organizations SET is_active = 0 WHERE id = 'acme'");
    expect((await budget(database, ['set', 'acme', '--usd', '5'])).stderr).toContain('"acme" is switched off');
  });
});

describe('budget raise', () => {
  test('counts on top to the end of its day, by the clock of the budget, to the nano-USD', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '0.1', '--time-zone', 'Europe/Warsaw']);
    expect(await budget(database, ['raise', 'acme', '--usd', '0.2', '--until', '2999-11-30'])).toEqual({
      code: 0,
      stdout: [
        'BUDGET            FOR           RAISED BY  TO THE END OF  TIME ZONE',
        '0.10 USD a month  all together  0.20 USD   2999-11-30     Europe/Warsaw',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(await listed(database, 'acme')).toMatchObject([
      { amount: 0.1, amount_now: 0.3, raised: { by: 0.2, until: '2999-11-30T23:00:00Z' } },
    ]);
  });

  test('of a budget without a time zone ends by that of the settings', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '1']);
    const words = ['raise', 'acme', '--usd', '1', '--until', '2999-06-01'];
    const { stdout } = await budget(database, words, { MODELGATE_TIME_ZONE: 'America/Santiago' });
    expect(stdout).toContain('America/Santiago');
    expect(rowsOf(database, 'raised_until')).toEqual([['usd', Date.parse('2999-06-02T04:00:00Z')]]);
  });

  test('takes the place of an earlier one, and outlives a new amount', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '10']);
    for (const more of ['5', '7']) await budget(database, ['raise', 'acme', '--usd', more, '--until', '2999-01-01']);
    await budget(database, ['set', 'acme', '--usd', '20']);
    expect(await listed(database, 'acme')).toMatchObject([{ amount: 20, amount_now: 27 }]);
  });

  test.each<[why: string, words: string[], code: number, said: string]>([
    ['whose day is over', ['acme', '--usd', '1', '--until', '2020-01-01'], 1, '2020-01-01 is over in UTC'],
    ['without a day', ['acme', '--usd', '1'], 2, '--until <day> is missing'],
    ['to no day', ['acme', '--usd', '1', '--until', '2999-02-30'], 2, 'expected a day, such as 2026-11-30'],
    ['of nothing', ['acme', '--until', '2999-01-01'], 2, 'How much?'],
    [
      'of a budget that is not there',
      ['acme', '--usd', '1', '--tokens', '1', '--period', 'day', '--until', '2999-01-01'],
      1,
      '"acme" has no budget --tokens --period day that counts.',
    ],
    [
      "of mAI's limit",
      ['globex', '--usd', '1', '--until', '2999-01-01'],
      1,
      "It has mAI's alone, client_organizations.monthly_limit: change that in mAI, or set one in its place:\n  modelgate budget set globex --usd 30 ",
    ],
  ])('%s is refused', async (_, words, code, said) => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '10']);
    const result = await budget(database, ['raise', ...words]);
    expect(result).toMatchObject({ code, stdout: '' });
    expect(result.stderr).toContain(said);
    expect(rowsOf(database, 'raised')).toEqual([['usd', 0]]);
  });
});

describe('budget clear', () => {
  const withThree = async (): Promise<TestDatabase> => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '5', '--requests', '9']);
    await budget(database, ['set', 'acme', '--usd', '1', '--period', 'day', '--model', 'openai/*']);
    return database;
  };
  const active = (database: TestDatabase) => rowsOf(database, "period || ' ' || scope || ' ' || is_active");

  test.each<[words: string[], off: string[]]>([
    [[], ['requests month organization', 'usd day model:openai/*', 'usd month organization']],
    [['--usd'], ['usd month organization']],
    [['--period', 'day'], ['usd day model:openai/*']],
    [['--model', 'openai/*'], ['usd day model:openai/*']],
    [['--requests', '--period', 'month'], ['requests month organization']],
  ])('with %j switches off what is named, and leaves the rest', async (words, off) => {
    const database = await withThree();
    expect((await budget(database, ['clear', 'acme', ...words])).code).toBe(0);
    const found = active(database) as [string, string][];
    const switchedOff = found.filter(([, row]) => row.endsWith(' 0')).map(([measure, row]) => `${measure} ${row}`);
    expect(switchedOff).toEqual(off.map((row) => `${row} 0`));
  });

  test('keeps the rows, which set switches on again', async () => {
    const database = await withThree();
    await budget(database, ['clear', 'acme']);
    expect(await listed(database)).toMatchObject([
      ...Array<object>(3).fill({ state: 'switched_off', counts: false, amount_now: null, spent: null }),
      { organization: 'globex' },
    ]);
    expect((await budget(database, ['clear', 'acme', '--requests'])).stdout).toContain('was switched off already');
    expect((await budget(database, ['set', 'acme', '--usd', '6'])).stdout).toContain('switched on again');
  });

  test("deletes with --purge, and says that mAI's limit counts again", async () => {
    const database = organizations();
    await budget(database, ['set', 'globex', '--usd', '5']);
    expect((await budget(database, ['clear', 'globex'])).stderr).toBe('');
    const { stdout, stderr } = await budget(database, ['clear', 'globex', '--purge']);
    expect(stdout).toContain('deleted');
    expect(stderr).toBe('modelgate: mAI\'s monthly_limit of 30.00 USD counts for "globex".\n');
    expect(rowsOf(database)).toEqual([]);
  });

  test('of what is not there is refused with the list that shows what is', async () => {
    const database = await withThree();
    const { code, stderr } = await budget(database, ['clear', 'acme', '--tokens']);
    expect(code).toBe(1);
    expect(stderr).toContain(
      `"acme" has no such budget. Nothing was changed. Its budgets:\n  modelgate budget list acme --database ${database.path}`,
    );
  });
});

describe('budget list', () => {
  test('shows what is spent of each in its own measure, in the period that runs', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '50', '--user-usd', '5', '--tokens', '1000']);
    await budget(database, ['set', 'acme', '--requests', '9', '--period', 'total', '--model', 'openai/*']);
    spend(
      database,
      { nano: 1_234_567_891 },
      { nano: 100_000_000, user: 'bob', model: 'mistral/x' },
      { nano: 9_000_000_000, user: 'bob', daysAgo: 40 },
    );
    const found = await listed(database, 'acme');
    expect(
      found.map(({ measure, scope, spent, reserved, spent_by: user }) => [measure, scope, spent, reserved, user]),
    ).toEqual(
      expect.arrayContaining([
        ['usd', 'organization', 1.334567891, 0, null],
        ['usd', 'user', 1.234567891, 0, 'ada'],
        ['tokens', 'organization', 220, 0, null],
        ['requests', 'model:openai/*', 2, 0, null],
      ]),
    );
    const { stdout, stderr } = await budget(database, ['list', 'acme']);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^acme +50\.00 USD a month +all together +1\.3346 USD /m);
    expect(stdout).toMatch(/^acme +5\.00 USD a month +each user +1\.2346 USD \(ada\) /m);
  });

  test("finds a fault in mAI's time zone where it is none, and none where it is empty", async () => {
    const database = organizations();
    for (const [zone, faults] of [
      ['', []],
      ['Mars', [expect.stringContaining("none of IANA's list")]],
    ]) {
      database.run("UPDATE client_organizations SET timezone = ? WHERE id = 'globex'", zone);
      expect(await listed(database)).toMatchObject([{ organization: 'globex', time_zone: 'UTC', faults }]);
    }
  });

  test('shows what calls that run have reserved', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '50']);
    spend(database);
    using ledger = openLedger(database);
    ledger
      .prepare(
        `INSERT INTO usage_request (id, instance, state, started_at, organization_id, user_id, provider, endpoint, kind, model, wire_model,
           reserved_nano, is_streamed, bytes_in) VALUES ('1', 'i', 'open', ?, 'acme', 'ada', 'p', 'e', 'chat', 'm', 'm', 2000000000, 1, 1)`,
      )
      .run(Date.now());
    expect(await listed(database, 'acme')).toMatchObject([{ spent: 0, reserved: 2 }]);
    expect((await budget(database, ['list', 'acme'])).stdout).toMatch(/0\.00 USD +2\.00 USD/);
  });

  test('says when each begins again, by its own clock', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '50', '--period', 'total']);
    const [acme, globex] = await listed(database);
    expect(acme).toMatchObject({ period_start: null, period_end: null, time_zone: 'UTC' });
    expect(globex).toMatchObject({ time_zone: 'Europe/Warsaw', source: 'client_organizations' });
    expect(String(globex?.['period_end'])).toMatch(/T2[23]:00:00Z$/);
  });

  test('goes on without a ledger, and says that nothing is known of what is spent', async () => {
    const database = organizations();
    const { code, stdout, stderr } = await budget(database, ['list']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^globex +30\.00 USD a month +all together +20/m);
    expect(stderr).toMatch(/^modelgate: What is spent is not known\. There is no ledger at .*usage\.db/);
    expect(await ask(database, ['list'])).toMatchObject({
      budgets: [{ spent: null, reserved: null }],
      ledger_problem: expect.stringMatching(/^There is no ledger at /) as string,
    });
  });

  test('is refused where the ledger that is named is none', async () => {
    const database = organizations();
    const absent = join(database.directory, 'absent.db');
    expect(await budget(database, ['list', '--usage-database', absent])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(`There is no ledger at ${absent}`) as string,
    });
  });

  test('leaves the ledger as it is', async () => {
    const database = organizations();
    await budget(database, ['set', 'acme', '--usd', '50']);
    spend(database, { nano: 5 });
    await budget(database, ['list']);
    using ledger = openLedger(database);
    expect(ledger.prepare('SELECT count(*) FROM usage_budget_state').pluck().get()).toBe(0);
  });

  test('without a budget says how to set one', async () => {
    const database = organizations();
    expect(await budget(database, ['list', 'acme'])).toMatchObject({
      code: 0,
      stdout: '',
      stderr: expect.stringContaining('modelgate budget set ORGANIZATION --usd 50') as string,
    });
  });

  test('shows what a hand has written without a way for it to steer the terminal', async () => {
    const database = organizations();
    for (const [at, value] of Object.values(HOSTILE).entries()) {
      database.run(
        'INSERT INTO organization_budgets (id, organization_id, measure, amount, period, scope) VALUES (?, ?, ?, ?, ?, ?)',
        ...[`b${at}`, 'acme', 'usd', value, 'month', value],
      );
    }
    const result = await budget(database, ['list', 'acme']);
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('counts for nothing; its amount and scope cannot be read, so it limits nothing');
    expectHarmless(result);
  });
});
