/** Sums of slots: in every time zone all rows are in one month, one day and one group, and none is in two. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readInvoice } from '../../../src/usage/invoice.ts';
import { parseDecimal } from '../../../src/usage/money.ts';
import { type UsageReport, readUsage } from '../../../src/usage/report.ts';
import { monthSpan } from '../../../src/policy/period.ts';
import { type SettledCall, usageOfTest } from '../../support/database/settled-calls.ts';

const ZONES = [
  ...['UTC', 'Europe/Warsaw', 'Asia/Kathmandu', 'America/Santiago', 'Pacific/Kiritimati', 'Pacific/Pago_Pago'],
  ...['Australia/Lord_Howe', 'America/St_Johns', 'Asia/Tehran', 'Africa/Casablanca', 'Pacific/Chatham'],
];

const MOMENTS = [
  ...['2026-03-29T00:00', '2026-03-29T01:00', '2026-10-25T01:00', '2026-10-25T00:00', '2026-01-01T00:00'],
  ...['2026-04-05T03:00', '2026-09-06T04:00', '2026-12-31T18:15', '2026-11-30T23:00', '2026-02-28T10:00'],
].map((moment) => Date.parse(`${moment}Z`));

const from = Date.parse('2026-01-01T00:00Z');
const times = fc.oneof(
  fc.integer({ min: from, max: Date.parse('2026-12-31T23:59:59.999Z') }),
  fc.tuple(fc.constantFrom(...MOMENTS), fc.constantFrom(-1, 0, 1)).map(([moment, ms]) => moment + ms),
);
const calls: fc.Arbitrary<SettledCall[]> = fc.array(
  fc.record({
    at: times,
    organization: fc.constantFrom('acme', 'globex'),
    user: fc.constantFrom('ann', 'bob', ''),
    model: fc.constantFrom('m', 'n'),
    measured: fc.constantFrom('reported', 'estimated', 'interrupted', 'none', 'reconciled'),
    input: fc.nat(10_000),
    output: fc.nat(1_000),
    cost: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 1_000_000_000_000_000 })),
  }),
  { maxLength: 40 },
);

const decimals = fc.constantFrom('1', '1.3', '4.0215', '0.99999999').map(parseDecimal);

/** Around the year in every zone. */
const MONTHS = [
  '2025-12',
  ...Array.from({ length: 12 }, (_, month) => `2026-${String(month + 1).padStart(2, '0')}`),
  '2027-01',
];

const figures = ({ total }: UsageReport) => [total.requests, total.input, total.output, total.unpriced];
const nanoOf = ({ total }: UsageReport): bigint => nano(total.cost_usd);
const nano = (usd: string): bigint => {
  const [whole = '', behind = ''] = usd.split('.');
  return BigInt(whole) * 1_000_000_000n + BigInt(behind.padEnd(9, '0'));
};
const sum = (values: readonly bigint[]): bigint => values.reduce((all, value) => all + value, 0n);

/** Of the single calls, exact. */
const COST = "SELECT coalesce(sum(cost_nano), 0) || '' FROM usage_request";

test('the sum of months is the sum of rows, and so is that of days and of all groups', () => {
  const ledger = usageOfTest();
  fc.assert(
    fc.property(calls, fc.constantFrom(...ZONES), (settled, timeZone) => {
      ledger.connection.exec('DELETE FROM usage_slot; DELETE FROM usage_request');
      ledger.settle(...settled);
      const cost = BigInt(ledger.connection.prepare(COST).pluck().get() as string);
      const months = MONTHS.map((month) => {
        const span = monthSpan(month, timeZone) ?? expect.fail(month);
        return readUsage(ledger.connection, { ...span, by: 'user', timeZone });
      });
      expect(sum(months.map(nanoOf))).toBe(cost);
      expect(months.map(figures).reduce((all, one) => all.map((value, at) => value + one[at]!), [0, 0, 0, 0])).toEqual([
        settled.length,
        settled.reduce((all, { input = 0 }) => all + input, 0),
        settled.reduce((all, { output = 0 }) => all + output, 0),
        settled.filter((call) => call.cost === null).length,
      ]);
      const whole = { from: Date.parse(months[0]!.from), to: Date.parse(months.at(-1)!.to), timeZone };
      for (const by of ['organization', 'user', 'model', 'day', 'kind', 'provider'] as const) {
        const { rows } = readUsage(ledger.connection, { ...whole, by });
        expect(sum(rows.map((row) => nano(row.cost_usd)))).toBe(cost);
      }
      const { rows: days } = readUsage(ledger.connection, { ...whole, by: 'day' });
      for (const { day, requests } of days) {
        expect(requests).toBe(settled.filter((call) => localDay(call.at, timeZone) === day).length);
      }
    }),
    { numRuns: 15 },
  );
});

const names = { organization: null, emailOf: () => null };

test('invoices of all months bill every row once, to the nano, and an invoice is the sum of its lines', () => {
  const ledger = usageOfTest();
  fc.assert(
    fc.property(calls, fc.constantFrom(...ZONES), decimals, decimals, (settled, timeZone, markup, rate) => {
      ledger.connection.exec('DELETE FROM usage_slot; DELETE FROM usage_request');
      ledger.settle(...settled);
      const terms = { timeZone, markup, rate, currency: 'PLN' };
      const invoices = ['acme', 'globex'].flatMap((organization) =>
        MONTHS.map((month) => readInvoice(ledger.connection, { organization, month, terms, names })),
      );
      const lines = invoices.flatMap((invoice) => invoice.lines);
      const cost = BigInt(ledger.connection.prepare(COST).pluck().get() as string);
      expect(sum(invoices.map(({ cost_usd: usd }) => nano(usd)))).toBe(cost);
      expect(sum(lines.map(({ cost_usd: usd }) => nano(usd ?? '0')))).toBe(cost);
      expect(lines.reduce((all, { requests }) => all + (requests ?? 0), 0)).toBe(settled.length);
      for (const { lines: own, amount } of invoices) {
        expect(nano(amount)).toBe(sum(own.map((line) => nano(line.amount ?? '0'))));
      }
    }),
    { numRuns: 40 },
  );
});

const formats = new Map<string, Intl.DateTimeFormat>();

/** Another calendar than the one of the product. */
function localDay(at: number | string, timeZone: string): string {
  const format = formats.get(timeZone) ?? new Intl.DateTimeFormat('sv', { timeZone });
  formats.set(timeZone, format);
  return format.format(new Date(at));
}

const CALENDAR = ['Europe/Warsaw', 'Asia/Kathmandu', 'America/Santiago', 'UTC'].flatMap((zone) =>
  MOMENTS.map((moment) => [zone, new Date(moment).toISOString(), moment] as const),
);

test.each(CALENDAR)('in %s the milliseconds around %s are each in one month and one day', (timeZone, _, moment) => {
  const ledger = usageOfTest();
  const around = [moment - 1, moment, moment + 1];
  ledger.settle(...around.map((at, index) => ({ at, cost: 10 ** index })));
  const months = MONTHS.map((month) =>
    readUsage(ledger.connection, { ...(monthSpan(month, timeZone) ?? expect.fail(month)), by: 'day', timeZone }),
  );
  expect(sum(months.map(nanoOf))).toBe(111n);
  const days = months.flatMap(({ rows }) => rows.map(({ day, requests }) => [day, requests]));
  const expected = Map.groupBy(around, (at) => localDay(at, timeZone));
  expect(days).toEqual([...expected].map(([day, found]) => [day, found.length]));
});
