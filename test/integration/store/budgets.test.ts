import { describe, expect, test } from 'vitest';
import { type StoredBudget, budgetsAt } from '../../../src/policy/budget.ts';
import { toOrganizationId } from '../../../src/policy/principal.ts';
import type { TestDatabase } from '../../support/database/database.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { onlyInFile } from '../../support/database/policy-place.ts';
import { type OpenedStore, databaseOfTest, openStore } from '../../support/database/opened-store.ts';
import { makeBudgetTable } from '../../support/database/usage.ts';

const ACME = toOrganizationId('acme');

function withBudgets(...rows: Readonly<Record<string, unknown>>[]): TestDatabase {
  const database = databaseOfTest();
  makeBudgetTable(database);
  for (const row of rows) addBudget(database, row);
  return database;
}

function addBudget({ run }: TestDatabase, fields: Readonly<Record<string, unknown>> = {}): void {
  const row = { id: 'b', organization_id: 'acme', measure: 'usd', amount: 50, period: 'month', ...fields };
  const names = Object.keys(row);
  run(
    `INSERT INTO organization_budgets (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
    ...Object.values(row),
  );
}

const budgetsOf = (opened: OpenedStore) => opened.next().budgetsOf(ACME);

async function readOnce(database: TestDatabase): Promise<readonly StoredBudget[]> {
  using opened = await openStore(database);
  return await budgetsOf(opened);
}

describe('a budget', () => {
  test('of nothing but what it must have is hard, of the whole organization, and counts for ever', async () => {
    expect(await readOnce(withBudgets({}))).toEqual([
      {
        ...{ id: 'b', organization: 'acme', measure: 'usd', amount: 50, period: 'month', softPercent: 80 },
        ...{ scope: { kind: 'organization' }, isHard: true, timeZone: undefined },
        ...{ raise: { amount: 0, until: Infinity }, validFrom: -Infinity, validTo: Infinity },
      },
    ]);
  });

  test.each<[fields: Readonly<Record<string, unknown>>, expected: object]>([
    [{ scope: 'user' }, { scope: { kind: 'user' } }],
    [{ scope: 'model:openai/*' }, { scope: { kind: 'model', pattern: 'openai/*' } }],
    [{ time_zone: 'europe/warsaw' }, { timeZone: 'Europe/Warsaw' }],
    [{ soft_percent: null }, { softPercent: undefined }],
    [{ is_hard: 0 }, { isHard: false }],
    [{ is_hard: null }, { isHard: true }],
    [
      { valid_from: 5, valid_to: 7 },
      { validFrom: 5, validTo: 7 },
    ],
    [{ raised: 20, raised_until: 9 }, { raise: { amount: 20, until: 9 } }],
    [{ amount: 0 }, { amount: 0 }],
  ])('with %j is %j', async (fields, expected) => {
    expect(await readOnce(withBudgets(fields))).toMatchObject([expected]);
  });

  test.each([
    [{ time_zone: 'Mars/Olympus' }, { timeZone: undefined }],
    [{ raised: -20 }, { raise: { amount: 0 } }],
    ...onlyInFile<[fields: Readonly<Record<string, unknown>>, expected: object]>(
      [{ is_hard: 'perhaps' }, { isHard: true }],
      [{ valid_from: 'then' }, { validFrom: -Infinity }],
      [{ valid_to: '2026-12-31' }, { validTo: Infinity }],
      [{ raised: 20, raised_until: 'then' }, { raise: { amount: 20, until: -Infinity } }],
      [{ soft_percent: 'most' }, { softPercent: undefined }],
    ),
  ])('is no wider by what cannot be read: %j', async (fields, expected) => {
    expect(await readOnce(withBudgets(fields))).toMatchObject([{ amount: 50, ...expected }]);
  });

  test.each([
    { amount: -1 },
    ...onlyInFile({ amount: 'much' }),
    { amount: Infinity },
    { scope: 'team' },
    { scope: 'model:' },
  ])('that cannot be read at all is none: %j', async (fields) => {
    expect(await readOnce(withBudgets(fields, { id: 'other', measure: 'tokens' }))).toMatchObject([{ id: 'other' }]);
  });

  test('that is switched off, or of another organization, is none', async () => {
    const other = { id: 'o', organization_id: 'ACME' };
    expect(await readOnce(withBudgets({ is_active: 0 }, other))).toEqual([]);
  });

  test('that was changed by hand counts as it is at the next call', async () => {
    const database = withBudgets({});
    using opened = await openStore(database);
    const amounts = async () => (await budgetsOf(opened)).map(({ amount }) => amount);
    expect(await amounts()).toEqual([50]);
    database.run('UPDATE organization_budgets SET amount = 70');
    expect(await amounts()).toEqual([70]);
    addBudget(database, { id: 'c', measure: 'tokens', amount: 9 });
    expect(await amounts()).toEqual([9, 70]);
    database.run('DELETE FROM organization_budgets');
    expect(await amounts()).toEqual([]);
  });

  test('is raised, and ends, without a change of the file', async () => {
    const database = withBudgets({ raised: 20, raised_until: 1_000, valid_to: 2_000 });
    using opened = await openStore(database);
    const stored = await budgetsOf(opened);
    expect([999, 1_000, 2_000].map((at) => budgetsAt(stored, at).map(({ amount }) => amount))).toEqual([
      [70],
      [50],
      [],
    ]);
  });
});

describe('a file without the table', () => {
  test('gets it with the start of the gate, and what is then written counts', async () => {
    const database = databaseOfTest();
    using opened = await openStore(database);
    expect(await budgetsOf(opened)).toEqual([]);
    addBudget(database);
    expect(await budgetsOf(opened)).toHaveLength(1);
  });

  test.each([
    ['without an id', 'organization_id TEXT, measure TEXT, amount REAL, period TEXT', []],
    [
      'with what it must have',
      'id TEXT, organization_id TEXT, measure TEXT, amount NUMERIC, period TEXT',
      [{ amount: 5, scope: { kind: 'organization' } }],
    ],
  ])('but one made by hand %s', async (_what, columns, expected) => {
    const database = databaseOfTest({ organizationTables: 'none' });
    database.sql.exec(`CREATE TABLE organization_budgets (${columns})`);
    const values: Record<string, unknown> = {
      id: 'b',
      organization_id: 'acme',
      measure: 'usd',
      amount: 5,
      period: 'day',
    };
    const named = columns.split(', ').map((column) => values[column.split(' ')[0] ?? '']);
    database.run(`INSERT INTO organization_budgets VALUES (${named.map(() => '?').join(', ')})`, ...named);
    expect(await readOnce(database)).toMatchObject(expected);
  });
});

describe("mAI's monthly limit", () => {
  function withMai(limit: unknown, timezone: string | null = 'Europe/Warsaw'): TestDatabase {
    const database = databaseOfTest({ organizationTables: 'none' });
    createMaiTables(database);
    database.addClientOrganization('acme', 1);
    database.run("UPDATE client_organizations SET name = 'Acme Inc', monthly_limit = ?, timezone = ?", limit, timezone);
    makeBudgetTable(database);
    return database;
  }

  test('is a hard budget in US dollars a month, by the time zone of the organization', async () => {
    expect(await readOnce(withMai(120))).toMatchObject([
      { id: 'monthly_limit', measure: 'usd', amount: 120, period: 'month', isHard: true, timeZone: 'Europe/Warsaw' },
    ]);
  });

  test.each([null, -1, ...onlyInFile('much')])('of %j is none', async (limit) => {
    expect(await readOnce(withMai(limit))).toEqual([]);
  });

  test.each([
    ['takes its place', { amount: 5 }, ['b']],
    ['takes its place also where it is switched off', { is_active: 0 }, []],
    ['stands beside it where it is of another period', { period: 'day' }, ['b', 'monthly_limit']],
    ['stands beside it where it is of another scope', { scope: 'user' }, ['b', 'monthly_limit']],
    ['leaves it in place where it cannot be read', { amount: -5 }, ['monthly_limit']],
  ])('and a row of ours, which %s', async (_what, fields, ids) => {
    const database = withMai(120);
    addBudget(database, fields);
    expect((await readOnce(database)).map(({ id }) => id)).toEqual(ids);
  });

  test("and the organization's time zone is that of our rows without one", async () => {
    const database = withMai(null);
    addBudget(database);
    addBudget(database, { id: 'c', measure: 'tokens', time_zone: 'UTC' });
    expect((await readOnce(database)).map(({ timeZone }) => timeZone)).toEqual(['UTC', 'Europe/Warsaw']);
  });
});

describe('an organization is called', () => {
  const nameOf = async (database: TestDatabase) => {
    const options = { organization: { id: 'acme', name: 'Acme of the environment' } };
    using opened = await openStore(database, options);
    const view = opened.next();
    return await Promise.all(['acme', 'globex'].map((id) => view.organizationName(toOrganizationId(id))));
  };

  test('as the environment has it, or by its id', async () => {
    expect(await nameOf(databaseOfTest())).toEqual(['Acme of the environment', 'globex']);
  });

  test('as mAI has it, first of all', async () => {
    const database = databaseOfTest();
    for (const id of ['acme', 'globex']) database.addClientOrganization(id, 1);
    database.run("UPDATE client_organizations SET name = 'Acme Inc' WHERE id = 'acme'");
    database.run("UPDATE client_organizations SET name = ' ' WHERE id = 'globex'");
    expect(await nameOf(database)).toEqual(['Acme Inc', 'globex']);
  });
});
