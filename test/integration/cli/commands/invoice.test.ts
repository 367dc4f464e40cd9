/** What organizations pay for a month, against another way to work it out. */
import { describe, expect, test } from 'vitest';
import { runCommand } from '../../../support/process/command.ts';
import { type TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { type SettledCall, type UsageLedger, usageOfTest } from '../../../support/database/settled-calls.ts';
import type { Invoice } from '../../../../src/usage/invoice.ts';

interface Printed {
  readonly month: string;
  readonly invoices: readonly Invoice[];
}

async function ask(ledger: UsageLedger, words: readonly string[]): Promise<Printed> {
  const all = ['usage', 'invoice', '--month', '2026-10', '--usage-database', ledger.path, ...words, '--json'];
  const { code, stdout } = await runCommand(all);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  return JSON.parse(stdout) as Printed;
}

async function csvOf(ledger: UsageLedger, words: readonly string[], environment: Record<string, string> = {}) {
  const all = ['usage', 'invoice', '--month', '2026-10', '--usage-database', ledger.path, ...words, '--csv'];
  const { code, stdout, stderr } = await runCommand(all, { environment });
  expect(code).toBe(0);
  const [head = '', ...lines] = stdout.trimEnd().split('\r\n');
  const titles = head.split(',');
  const rows = lines.map((line): Record<string, string> => {
    const cells = line.split(',');
    return Object.fromEntries(titles.map((title, at) => [title, cells[at] ?? '']));
  });
  return { rows, stderr, stdout };
}

/** mAI's row of an organization. */
function bill(database: TestDatabase, organization: string, markup: number | null, timeZone: string | null): void {
  database.addClientOrganization(organization, 1);
  database.run(
    'UPDATE client_organizations SET name = ?, markup_rate = ?, timezone = ? WHERE id = ?',
    ...[`${organization} GmbH`, markup, timeZone, organization],
  );
}

/** Cents by schoolbook: digits as text, without the code under test and without floats. */
function centsBySchoolbook(nano: number, ...factors: readonly string[]): number {
  let digits = String(nano).split('').map(Number).toReversed();
  let behind = 9;
  for (const factor of factors) {
    const [whole = '', rest = ''] = factor.split('.');
    behind += rest.length;
    const by = `${whole}${rest}`.split('').map(Number).toReversed();
    const product = new Array<number>(digits.length + by.length + 1).fill(0);
    digits.forEach((one, i) => by.forEach((other, j) => (product[i + j]! += one * other)));
    for (let at = 0; at < product.length - 1; at += 1) {
      product[at + 1]! += Math.floor(product[at]! / 10);
      product[at]! %= 10;
    }
    digits = product;
  }
  const kept = digits.slice(behind - 2).reduceRight((number, digit) => number * 10 + digit, 0);
  return (digits[behind - 3] ?? 0) >= 5 ? kept + 1 : kept;
}

describe('the invoice of three organizations, with markup 1.3 and rate 4.0215', () => {
  const organizations = ['acme', 'globex', 'initech'];
  const users = ['ann', 'bob', 'cyd', 'dan'];
  const models = ['openai/gpt-4o', 'mistral/large', 'free'];
  const terms = ['--markup', '1.3', '--currency', 'PLN', '--rate', '4.0215'];

  function calls(): SettledCall[] {
    let seed = 42;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    return Array.from({ length: 1_500 }, () => {
      const model = models[random(3)]!;
      return {
        at: Date.UTC(2026, 9, 1 + random(31), random(24), random(60)),
        organization: organizations[random(3)]!,
        user: users[random(4)]!,
        model,
        measured: (['reported', 'reported', 'reconciled', 'estimated', 'interrupted'] as const)[random(5)]!,
        input: random(10_000),
        output: random(1_000),
        cost: model === 'free' ? 0 : random(90_000_000),
      };
    });
  }

  test('is what schoolbook multiplication of the single calls gives, to the cent', async () => {
    const ledger = usageOfTest();
    const settled = calls();
    ledger.settle(...settled);
    const { rows, stderr } = await csvOf(ledger, terms);
    expect(stderr).toBe('');
    const groups = Map.groupBy(settled, ({ organization, user, model }) => [organization, user, model].join(' '));
    const expected = [...groups].map(([key, group]) => {
      const nano = group.reduce((sum, { cost }) => sum + (cost ?? 0), 0);
      return [key, centsBySchoolbook(nano, '1.3', '4.0215'), group.length] as const;
    });
    const printed = rows.map(({ organization, user, model, amount, requests }) => [
      [organization, user, model].join(' '),
      Math.round(Number(amount) * 100),
      Number(requests),
    ]);
    expect(printed.toSorted()).toEqual(expected.toSorted());
    expect(printed).toHaveLength(36);
    const { invoices } = await ask(ledger, terms);
    for (const { organization, amount, currency } of invoices) {
      const own = expected.filter(([key]) => key.startsWith(`${organization} `));
      const cents = own.reduce((sum, [, one]) => sum + one, 0);
      expect([amount, currency]).toEqual([(cents / 100).toFixed(2), 'PLN']);
    }
  });

  test('has estimated and interrupted calls apart', async () => {
    const ledger = usageOfTest();
    const settled = calls();
    ledger.settle(...settled);
    const { rows } = await csvOf(ledger, ['--org', 'acme']);
    for (const part of ['estimated', 'interrupted']) {
      const ours = settled.filter(({ organization, measured }) => organization === 'acme' && measured === part);
      expect(rows.reduce((sum, row) => sum + Number(row[part]), 0)).toBe(ours.length);
      const nano = rows.reduce((sum, row) => sum + Math.round(Number(row[`${part}_usd`]) * 1e9), 0);
      expect(nano).toBe(ours.reduce((sum, { cost }) => sum + (cost ?? 0), 0));
    }
  });
});

test('half of a cent is rounded up in each line, and the total is the sum of the lines', async () => {
  const ledger = usageOfTest();
  for (const user of ['ann', 'bob', 'cyd']) ledger.settle({ at: '2026-10-05T10:00Z', user, cost: 5_000_000 });
  const [invoice] = (await ask(ledger, [])).invoices;
  expect(invoice?.lines.map(({ amount }) => amount)).toEqual(['0.01', '0.01', '0.01']);
  expect(invoice).toMatchObject({ amount: '0.03', cost_usd: '0.015', currency: 'USD', markup: '1', rate: '1' });
});

test('calls without a price are a line without an amount, and are said, and a free model is a line of zero', async () => {
  const ledger = usageOfTest();
  const at = '2026-10-05T10:00Z';
  ledger.settle({ at, model: 'mixed', input: 10, cost: 2e9 }, { at, model: 'mixed', input: 5, cost: null });
  ledger.settle({ at, model: 'new', input: 7, cost: null }, { at, model: 'free', cost: 0 });
  const { rows, stderr } = await csvOf(ledger, []);
  expect(
    rows.map(({ model, line, requests, input, cost_usd, amount }) => [model, line, requests, input, cost_usd, amount]),
  ).toEqual([
    ['free', 'usage', '1', '0', '0.00', '0.00'],
    ['mixed', 'usage', '1', '15', '2.00', '2.00'],
    ['mixed', 'unpriced', '1', '', '', ''],
    ['new', 'unpriced', '1', '7', '', ''],
  ]);
  expect(stderr).toBe('modelgate: acme: 2 calls WITHOUT A PRICE, in no amount: see the lines "unpriced".\n');
});

test('markup, time zone and names are those of the backend, where no option says otherwise', async () => {
  const [database, ledger] = [databaseOfTest(), usageOfTest()];
  bill(database, 'acme', 1.3, 'Asia/Kathmandu');
  bill(database, 'globex', null, null);
  database.addUser({ id: 'ann', email: 'ann@acme.example' });
  // 2026-11-01 00:00 in Kathmandu
  for (const organization of ['acme', 'globex']) ledger.settle({ at: '2026-10-31T18:15Z', organization, cost: 1e9 });
  for (const organization of ['acme', 'globex']) ledger.settle({ at: '2026-10-31T18:14Z', organization, cost: 2e9 });
  const { rows } = await csvOf(ledger, ['--database', database.path]);
  const shown = rows.map((row) => [
    row['organization_name'],
    row['email'],
    row['time_zone'],
    row['markup'],
    row['amount'],
  ]);
  expect(shown).toEqual([
    ['acme GmbH', 'ann@acme.example', 'Asia/Kathmandu', '1.3', '2.60'],
    ['globex GmbH', 'ann@acme.example', 'UTC', '1', '3.00'],
  ]);
  const asked = await csvOf(ledger, [
    '--database',
    database.path,
    '--markup',
    '2',
    '--time-zone',
    'UTC',
    '--org',
    'acme',
  ]);
  expect(asked.rows).toMatchObject([{ time_zone: 'UTC', markup: '2', amount: '6.00' }]);
});

test('the name of the settings counts where the backend has none for that organization', async () => {
  const [database, ledger] = [databaseOfTest(), usageOfTest()];
  bill(database, 'globex', null, null);
  for (const organization of ['acme', 'globex']) ledger.settle({ at: '2026-10-05T10:00Z', organization, cost: 1e9 });
  const namesOf = async (id: string) => {
    const settings = { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: 'Configured' };
    const { rows } = await csvOf(ledger, ['--database', database.path], settings);
    return rows.map((row) => row['organization_name']);
  };
  expect(await namesOf('acme')).toEqual(['Configured', 'globex GmbH']);
  expect(await namesOf('globex')).toEqual(['', 'globex GmbH']);
});

test('a month in which nothing was used is said', async () => {
  const { rows, stderr } = await csvOf(usageOfTest(), []);
  expect(rows).toEqual([]);
  expect(stderr).toContain('No organization has used anything in 2026-10.');
});

test('one USD is no other number of USD', async () => {
  const words = ['usage', 'invoice', '--month', '2026-10', '--usage-database', usageOfTest().path, '--currency', 'USD'];
  expect(await runCommand([...words, '--rate', '4'])).toEqual({
    ...{ code: 2, stdout: '' },
    stderr: 'modelgate: One USD is one USD: --rate is of another currency. Add --currency PLN.\n',
  });
  expect(await runCommand([...words, '--rate', '1.0'])).toMatchObject({ code: 0 });
});

test.each([
  [
    -1,
    null,
    'client_organizations has markup_rate "-1" for "acme", which cannot be used. Correct it, or name one with --markup.',
  ],
  [
    1.3,
    'Mars/Phobos',
    'client_organizations has timezone "Mars/Phobos" for "acme", which cannot be used. Correct it, or name one with --time-zone.',
  ],
])('a markup of %s and a time zone %s of the backend are refused, not guessed', async (markup, zone, sentence) => {
  const [database, ledger] = [databaseOfTest(), usageOfTest()];
  bill(database, 'acme', markup, zone);
  ledger.settle({ at: '2026-10-05T10:00Z', cost: 1e9 });
  const words = [
    'usage',
    'invoice',
    '--month',
    '2026-10',
    '--usage-database',
    ledger.path,
    '--database',
    database.path,
  ];
  expect(await runCommand(words)).toEqual({ code: 1, stdout: '', stderr: `modelgate: ${sentence}\n` });
});

test('what a spreadsheet would run is quoted, and an amount below zero is a number', async () => {
  const [database, ledger] = [databaseOfTest(), usageOfTest()];
  database.addUser({ id: 'ann', email: '=1+1' });
  ledger.settle({ at: '2026-10-05T10:00Z', model: '@SUM(A1)', cost: 1e9 }, { at: '2026-09-05T10:00Z', cost: 1e9 });
  const [from, to] = [Date.UTC(2026, 8), Date.UTC(2026, 9)];
  ledger.connection.exec(
    `INSERT INTO usage_closing VALUES ('acme', '2026-09', ${from}, ${to}, 1, 1, 1, 'USD', 1400000000, 'x', '{}')`,
  );
  const { rows } = await csvOf(ledger, ['--database', database.path]);
  expect(rows).toMatchObject([
    { email: "'=1+1", model: "'@SUM(A1)", amount: '1.00' },
    { line: 'correction since 2026-09', user: '', cost_usd: '-0.40', amount: '-0.40' },
  ]);
});
