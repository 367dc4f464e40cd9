/** `modelgate usage`: what the ledger says, in the words and days of its reader. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { type UsageLedger, usageOfTest } from '../../../support/database/settled-calls.ts';
import type { UsageReport } from '../../../../src/usage/report.ts';

const IN_NOVEMBER = ['--month', '2026-11'];

const run = ({ path }: UsageLedger, ...words: readonly string[]) =>
  runCommand(['usage', ...words, '--usage-database', path]);
const ask = async (...asked: Parameters<typeof run>): Promise<UsageReport> =>
  JSON.parse((await run(...asked, '--json')).stdout) as UsageReport;

function november(): UsageLedger {
  const ledger = usageOfTest();
  const at = '2026-11-03T10:00Z';
  ledger.settle(
    { at, input: 1_000, inputCached: 400, output: 50, outputReasoning: 20, cost: 1_500_000_001 },
    { at: '2026-11-04T10:00Z', user: 'bob', measured: 'estimated', input: 100, output: 5, cost: 250_000_000 },
    { at, user: 'bob', measured: 'interrupted', kind: 'task', output: 1, cost: 10_000_000 },
    { at, organization: 'globex', user: '', provider: 'ollama:11434', model: 'llama', kind: 'embedding', cost: null },
    { at: '2026-10-31T23:59:59.999Z', cost: 9e9 },
    { at: '2026-12-01T00:00:00.000Z', cost: 9e9 },
  );
  return ledger;
}

describe('usage', () => {
  test('has tokens and money of each organization, what was estimated or cut, and what has no price', async () => {
    const { rows, total } = await ask(november(), ...IN_NOVEMBER);
    expect(rows).toEqual([
      {
        ...{ organization: 'acme', requests: 3, input: 1_100, cached: 400, output: 56, reasoning: 20, unpriced: 0 },
        ...{ cost_usd: '1.760000001', cost_nano: 1_760_000_001 },
        estimated: { requests: 1, cost_usd: '0.25', cost_nano: 250_000_000 },
        interrupted: { requests: 1, cost_usd: '0.01', cost_nano: 10_000_000 },
      },
      expect.objectContaining({ organization: 'globex', requests: 1, cost_usd: '0.00', unpriced: 1 }),
    ]);
    expect(total).toMatchObject({ requests: 4, input: 1_100, output: 56, unpriced: 1, cost_usd: '1.760000001' });
  });

  test.each([
    ['user', ['ann', 1], ['bob', 2], [null, 1]],
    ['model', ['openai/gpt-4o', 3], ['llama', 1]],
    ['kind', ['chat', 2], ['task', 1], ['embedding', 1]],
    ['provider', ['openrouter.ai', 3], ['ollama:11434', 1]],
    ['day', ['2026-11-03', 3], ['2026-11-04', 1]],
  ] as const)('is told by %s, the dearest first, and days in their order', async (by, ...expected) => {
    const { rows } = await ask(november(), ...IN_NOVEMBER, '--by', by);
    expect(rows.map((row) => [row[by], row.requests])).toEqual(expected);
  });

  test('is that of one organization where one is named', async () => {
    const { total } = await ask(november(), ...IN_NOVEMBER, '--org', 'globex');
    expect(total).toMatchObject({ requests: 1, unpriced: 1 });
  });

  test('is that of this month where no time is named, in the time zone of the settings', async () => {
    const ledger = usageOfTest();
    const zone = 'Pacific/Kiritimati';
    const month = Temporal.Now.plainDateISO(zone).with({ day: 1 });
    const start = month.toZonedDateTime(zone).epochMilliseconds;
    ledger.settle({ at: start, cost: 1 }, { at: start - 1, cost: 10 });
    const environment = { MODELGATE_TIME_ZONE: zone };
    const words = ['usage', '--usage-database', ledger.path];
    const report = await askCommand<UsageReport>(words, { environment });
    expect(report).toMatchObject({ time_zone: zone, from: new Date(start).toISOString(), total: { cost_nano: 1 } });
    expect(await askCommand<UsageReport>([...words, '--time-zone', 'utc'], { environment })).toMatchObject({
      time_zone: 'UTC',
    });
  });

  test('of days counts the first and the last, also where a day has 25 hours', async () => {
    const ledger = usageOfTest();
    const hours = Array.from({ length: 75 }, (_, hour) => Date.parse('2026-10-23T22:00Z') + hour * 3_600_000);
    ledger.settle(...hours.map((at) => ({ at })));
    const words = '--from 2026-10-24 --to 2026-10-26 --time-zone Europe/Warsaw --by day'.split(' ');
    const { rows } = await ask(ledger, ...words);
    expect(rows.map(({ day, requests }) => [day, requests])).toEqual([
      ['2026-10-24', 24],
      ['2026-10-25', 25],
      ['2026-10-26', 24],
    ]);
  });

  test('has the names of people and organizations where the database is there, beside which the ledger is found', async () => {
    const [database, ledger] = [databaseOfTest(), november()];
    database.addUser({ id: 'ann', name: 'Ann', email: 'ann@acme.example' });
    const words = ['usage', ...IN_NOVEMBER, '--csv', '--database', database.path];
    const { stdout } = await runCommand([...words, '--by', 'user', '--usage-database', ledger.path]);
    expect(stdout.split('\r\n').slice(0, 3)).toEqual([
      'user,email,name,requests,input,cached,output,reasoning,cost_usd,unpriced,estimated,estimated_usd,interrupted,interrupted_usd',
      'ann,ann@acme.example,Ann,1,1000,400,50,20,1.500000001,0,0,0.00,0,0.00',
      'bob,,,2,100,0,6,0,0.26,0,1,0.25,1,0.01',
    ]);
    const { code, stderr } = await runCommand(words);
    const beside = join(database.directory, 'modelgate', 'usage.db');
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(beside) as string });
  });

  test('says which calls are in no row, and which in no cost', async () => {
    const ledger = november();
    ledger.begin({ at: '2026-11-05T10:00Z' });
    ledger.begin({ at: '2026-11-05T10:00Z', state: 'interrupted' });
    ledger.begin({ at: '2026-12-01T00:00Z' });
    const { stderr } = await run(ledger, ...IN_NOVEMBER);
    expect(stderr).toBe(
      'modelgate: 2 calls of this time in no row: the figures are not known yet.\nmodelgate: 1 call without a known price in no cost.\n',
    );
    expect((await ask(ledger, ...IN_NOVEMBER)).unresolved).toBe(2);
  });

  test.each([
    ['--month 2026-13', '--month "2026-13": expected a month such as 2026-11.'],
    ['--month 11', '--month "11": expected a month such as 2026-11.'],
    ['--from 2026-02-30', '--from "2026-02-30": expected a day, such as 2026-11-30.'],
    ['--from 2026-11-09 --to 2026-11-01', '--from 2026-11-09 is after --to 2026-11-01.'],
    ['--from 2999-01-01', '--from 2999-01-01 is after today.'],
    ['--to 2026-11-01', '--to needs a first day, too: --from 2026-11-01.'],
    ['--month 2026-11 --from 2026-11-01', 'Either --month or --from, not both.'],
    ['--by week', '--by "week": expected one of org, user, model, day, kind, provider.'],
    ['--time-zone +01:00', `--time-zone "+01:00": expected a time zone of IANA's list, such as Europe/Warsaw.`],
    ['--csv --json', 'Either --csv or --json, not both.'],
  ])('refuses %s', async (words, said) => {
    const { code, stderr } = await run(november(), ...words.split(' '));
    expect({ code, stderr }).toEqual({ code: 2, stderr: `modelgate: ${said}\n` });
  });

  test('suggests the organization that was meant', async () => {
    expect(await run(november(), '--org', 'acne')).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: 'modelgate: The ledger has no calls of an organization "acne". Did you mean "acme"?\n',
    });
  });

  test('of a ledger of another version says what it lacks, and what makes it', async () => {
    const ledger = usageOfTest();
    ledger.connection.exec('DROP TABLE usage_closing');
    expect(await run(ledger)).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: `modelgate: ${ledger.path} is the ledger of another version of modelgate: no such table: usage_closing. Nothing was changed. Start the gate of this version on it once: it makes what is missing.\n`,
    });
  });

  test('is read of no other file', async () => {
    const ledger = usageOfTest();
    const other = join(ledger.directory, 'other');
    writeFileSync(other, 'nothing that SQLite would read '.repeat(100));
    expect((await runCommand(['usage', '--usage-database', other])).stderr).toContain(' is no ledger of modelgate');
    expect(await runCommand(['usage', '--usage-database', `${other}.db`])).toMatchObject({ code: 2 });
  });

  test('and a mistake in its place is said by the name that was typed', async () => {
    const { directory } = usageOfTest();
    const run = (words: string[], environment: Record<string, string> = {}) =>
      runCommand(['usage', ...words], { environment });
    const found = `: found "${directory}", which is a directory\n  expected a file of modelgate's own, in a folder that it may write, or \`postgresql://USER:PASSWORD@HOST:PORT/NAME\`\n`;
    expect(await run(['--usage-database', directory])).toMatchObject({
      code: 2,
      stderr: `modelgate: There is 1 mistake in the configuration:\n\n--usage-database${found}  example: --usage-database state/usage.db\n`,
    });
    expect((await run([], { MODELGATE_USAGE_DATABASE: directory })).stderr).toContain(
      `MODELGATE_USAGE_DATABASE${found}`,
    );
  });
});
