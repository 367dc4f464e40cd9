/** Months that are closed: when they cannot be, what is kept, and what comes later. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { type UsageLedger, usageOfTest } from '../../../support/database/settled-calls.ts';
import type { Invoice } from '../../../../src/usage/invoice.ts';
import type { UsageReport } from '../../../../src/usage/report.ts';

const run = ({ path }: UsageLedger, words: readonly string[]) =>
  runCommand(['usage', ...words, '--usage-database', path]);
const close = (ledger: UsageLedger, month: string, ...words: readonly string[]) =>
  run(ledger, ['close', '--month', month, ...words]);
const ask = (ledger: UsageLedger, month: string, ...words: readonly string[]) =>
  run(ledger, ['invoice', '--month', month, '--org', 'acme', ...words]);
const csvOf = async (...asked: Parameters<typeof ask>): Promise<string> => (await ask(...asked, '--csv')).stdout;
const invoiceOf = async (...asked: Parameters<typeof ask>): Promise<Invoice> => {
  const { stdout } = await ask(...asked, '--json');
  return (JSON.parse(stdout) as { invoices: readonly Invoice[] }).invoices[0] ?? expect.fail('no invoice');
};
const closings = ({ connection }: UsageLedger) =>
  connection.prepare('SELECT organization_id, period, cost_nano FROM usage_closing').raw().all();

/** 12 USD in September and 5 in October. */
function twoMonths(): UsageLedger {
  const ledger = usageOfTest();
  ledger.settle({ at: '2026-09-10T10:00Z', cost: 12e9 }, { at: '2026-10-10T10:00Z', cost: 5e9 });
  return ledger;
}

describe('a month', () => {
  test('is kept with its terms, its sum, and the hash of what its invoice prints', async () => {
    const ledger = twoMonths();
    const terms = '--org acme --markup 1.3 --currency PLN --rate 4.0215 --time-zone Europe/Warsaw'.split(' ');
    expect(await close(ledger, '2026-09', ...terms)).toMatchObject({ code: 0, stderr: '' });
    const csv = await csvOf(ledger, '2026-09');
    expect(csv).toContain(',12.00,0,0.00,0,0.00,Europe/Warsaw,1.3,4.0215,PLN,62.74\r\n');
    expect(ledger.connection.prepare('SELECT * FROM usage_closing').get()).toMatchObject({
      ...{ organization_id: 'acme', period: '2026-09', cost_nano: 12e9, markup: 1.3, rate: 4.0215, currency: 'PLN' },
      ...{ starts_at: Date.parse('2026-09-01T00:00+02:00'), ends_at: Date.parse('2026-10-01T00:00+02:00') },
      csv_sha256: createHash('sha256').update(csv).digest('hex'),
    });
  });

  test('never changes: not with later calls, other terms or other names', async () => {
    const [ledger, database] = [twoMonths(), databaseOfTest()];
    database.addUser({ id: 'ann', email: 'ann@acme.example' });
    const backend = ['--database', database.path];
    const draft = await csvOf(ledger, '2026-09', ...backend, '--markup', '1.3');
    await close(ledger, '2026-09', '--markup', '1.3', ...backend);
    const billed = await invoiceOf(ledger, '2026-09');
    ledger.settle(
      { at: '2026-09-10T10:00Z', cost: 9e9 },
      { at: '2026-09-10T10:00Z', user: 'bob', model: 'new', cost: null },
    );
    ledger.begin({ at: '2026-09-10T10:00Z' });
    database.run(`UPDATE "user" SET email = 'x@acme.example'`);
    const terms = '--markup 2 --currency PLN --rate 4 --time-zone Asia/Kathmandu'.split(' ');
    expect(await csvOf(ledger, '2026-09', ...backend, ...terms)).toBe(draft);
    expect(await invoiceOf(ledger, '2026-09')).toEqual(billed);
    expect(billed).toMatchObject({ amount: '15.60', lines: [{ email: 'ann@acme.example' }] });
    const { stderr } = await run(ledger, ['invoice', '--month', '2026-09']);
    expect(stderr).toBe(`modelgate: acme: 2026-09 was closed at ${billed.closed_at}. This is what was billed.\n`);
  });

  test('is closed once', async () => {
    const ledger = twoMonths();
    await close(ledger, '2026-09');
    expect(await close(ledger, '2026-09', '--org', 'acme')).toEqual({
      ...{ code: 1, stdout: '' },
      stderr: 'modelgate: "acme" has used nothing in 2026-09 that is not closed yet. Nothing was closed.\n',
    });
    ledger.settle({ at: '2026-09-10T10:00Z', organization: 'globex', cost: 1e9 });
    expect(await close(ledger, '2026-09')).toMatchObject({ code: 0 });
    expect(await close(ledger, '2026-09')).toMatchObject({ code: 1 });
    expect(closings(ledger)).toEqual([
      ['acme', '2026-09', 12e9],
      ['globex', '2026-09', 1e9],
    ]);
  });

  test.each(['open', 'interrupted'] as const)('is not closed while a call in it is %s', async (state) => {
    const ledger = twoMonths();
    ledger.settle({ at: '2026-09-10T10:00Z', organization: 'globex', cost: 1e9 });
    ledger.begin({ at: '2026-09-30T23:59:59.999Z', state });
    // of another month, and refused by the provider
    ledger.begin({ at: '2026-10-01T00:00:00.000Z', state });
    ledger.begin({ at: '2026-09-15T00:00Z', state: 'failed' });
    expect(await close(ledger, '2026-09')).toEqual({
      code: 1,
      stdout: '',
      stderr: `modelgate: 1 call of "acme" in this month without figures: a running gate settles calls that were cut within some ten minutes. Nothing was closed. To ask the providers now:\n  modelgate usage reconcile --usage-database ${ledger.path}\n`,
    });
    expect(closings(ledger)).toEqual([]);
    expect(await close(ledger, '2026-09', '--org', 'globex')).toMatchObject({ code: 0 });
    ledger.begin({ at: '2026-09-15T00:00Z', state, organization: 'initech' });
    expect((await close(ledger, '2026-09')).stderr).toContain('Nothing was closed. 2 organizations are in the way:\n');
    ledger.connection.exec(`UPDATE usage_request SET state = 'closed'`);
    expect(await close(ledger, '2026-09')).toMatchObject({ code: 0 });
    expect(closings(ledger)).toHaveLength(2);
  });

  test('is not closed before its end', async () => {
    const ledger = twoMonths();
    const month = Temporal.Now.plainDateISO('UTC').toPlainYearMonth();
    ledger.settle({ at: Date.now() });
    const { code, stderr } = await close(ledger, month.toString());
    expect([code, stderr]).toEqual([
      1,
      `modelgate: The month of "acme" ends at ${month.add({ months: 1 }).toString()}-01T00:00:00.000Z. Nothing was closed.\n`,
    ]);
  });

  test('is not closed after a later one', async () => {
    const ledger = twoMonths();
    await close(ledger, '2026-10');
    expect(await close(ledger, '2026-09')).toMatchObject({
      code: 1,
      stderr:
        'modelgate: Of "acme", 2026-10 was closed already: months are closed in their order. Nothing was closed.\n',
    });
  });

  test('in which nothing was used is none to close', async () => {
    const { code, stderr } = await close(twoMonths(), '2026-08');
    expect([code, stderr]).toEqual([
      1,
      'modelgate: No organization has used anything in 2026-08 that is not closed yet. Nothing was closed.\n',
    ]);
  });
});

describe('what comes after the closing', () => {
  test('is a correction on the next invoice, once, and is said until then', async () => {
    const ledger = twoMonths();
    await close(ledger, '2026-09');
    expect((await invoiceOf(ledger, '2026-10')).lines).toHaveLength(1);
    // reconciled late
    ledger.settle({ at: '2026-09-10T10:00Z', cost: 400_000_000, measured: 'reconciled' });

    expect(await invoiceOf(ledger, '2026-09')).toMatchObject({ cost_usd: '12.00' });
    const october = await invoiceOf(ledger, '2026-10');
    expect(october.lines.at(-1)).toMatchObject({
      line: 'correction',
      since: '2026-09',
      cost_usd: '0.40',
      amount: '0.40',
    });
    expect(october).toMatchObject({ amount: '5.40', cost_nano: 5.4e9 });
    const words = ['usage', '--month', '2026-09', '--usage-database', ledger.path];
    const { stderr } = await runCommand(words);
    expect(stderr).toBe(
      'modelgate: Closed months of acme since 2026-09 differ by 0.40 USD from what was billed: the next invoice has it as a correction.\n',
    );
    const { stdout } = await runCommand([...words, '--json']);
    expect((JSON.parse(stdout) as UsageReport).corrections).toEqual([
      { organization: 'acme', since: '2026-09', cost_usd: '0.40', cost_nano: 4e8 },
    ]);

    await close(ledger, '2026-10');
    expect(closings(ledger)).toEqual([
      ['acme', '2026-09', 12e9],
      ['acme', '2026-10', 5.4e9],
    ]);
    ledger.settle({ at: '2026-11-10T10:00Z', cost: 1e9 });
    expect(await invoiceOf(ledger, '2026-11')).toMatchObject({ amount: '1.00', lines: [{ line: 'usage' }] });
    expect(await askCommand<UsageReport>(words)).toMatchObject({ corrections: [] });
    // and what comes after that is on the one after
    ledger.settle({ at: '2026-09-11T10:00Z', cost: 100_000_000 });
    expect((await invoiceOf(ledger, '2026-11')).lines.at(-1)).toMatchObject({ line: 'correction', cost_usd: '0.10' });
  });

  test('leaves what was billed in all equal to what was used in all', async () => {
    const ledger = twoMonths();
    for (const month of ['2026-06', '2026-07', '2026-08', '2026-09', '2026-10']) {
      ledger.settle({ at: `${month}-03T12:00Z`, cost: 7e8 }, { at: '2026-06-01T00:00Z', cost: 3e8 });
      expect(await close(ledger, month)).toMatchObject({ code: 0 });
    }
    const billed = ledger.connection.prepare('SELECT sum(cost_nano) FROM usage_closing').pluck().get();
    expect(billed).toBe(ledger.connection.prepare('SELECT sum(cost_nano) FROM usage_slot').pluck().get());
  });

  test('is billed once where the time zone changes between two months', async () => {
    const ledger = usageOfTest();
    const zones = {
      '2026-06': 'Europe/Warsaw',
      '2026-07': 'Pacific/Kiritimati',
      '2026-08': 'UTC',
      '2026-09': 'Asia/Kathmandu',
    };
    const hours = Array.from({ length: 24 * 125 }, (_, hour) => Date.parse('2026-05-31T22:00Z') + hour * 3_600_000);
    ledger.settle(...hours.map((at) => ({ at, cost: 1e7 })));
    for (const [month, zone] of Object.entries(zones)) {
      expect(await close(ledger, month, '--time-zone', zone)).toMatchObject({ code: 0 });
    }
    const spans = ledger.connection
      .prepare('SELECT starts_at, ends_at, cost_nano FROM usage_closing')
      .raw()
      .all() as number[][];
    expect(spans.slice(1).map(([from]) => from)).toEqual(spans.slice(0, -1).map(([, to]) => to));
    const end = spans.at(-1)?.[1] ?? 0;
    const billed = spans.reduce((sum, [, , nano = 0]) => sum + nano, 0);
    expect(billed).toBe(hours.filter((at) => at < end).length * 1e7);
  });
});
