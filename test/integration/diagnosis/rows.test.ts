/** What `doctor` finds about rows that do nothing; each fault is made for real, and nothing else is found. */
import { describe, expect, test } from 'vitest';
import { createDatabase } from '../../support/database/database.ts';
import { onlyInFile, policyPlaceOf } from '../../support/database/policy-place.ts';
import { createHealthyDatabase, findingsOf, withName, onlyFault } from '../../support/database/diagnosis.ts';

describe('admins', () => {
  test('none is a warning', async () => {
    using database = createHealthyDatabase();
    database.run(`UPDATE "user" SET role = 'user'`);
    expect((await onlyFault(database, 'warning admins')).finding).toContain(
      'No user of the backend has the role admin',
    );
  });

  test('are named, harmlessly, and no more than five', async () => {
    using database = createHealthyDatabase();
    for (let index = 0; index < 7; index++) {
      database.addUser({ id: `a${index}`, role: 'admin', email: `a\u001b[31m${index}\n@x` });
    }
    const [found] = withName(await findingsOf(database), 'admins');
    expect(found?.finding).toMatch(/^The backend has 8: .* and 3 more\.$/);
    expect(found?.finding).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe('foreign rows', () => {
  test.each<[string, string]>([
    [
      "INSERT INTO organization_members (id, organization_id, user_id) VALUES ('x', 'acme', 'gone')",
      '1 memberships belong to users that the backend does not have: "gone".',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acne', 'gpt-4o')",
      '1 organizations have models and no member: "acne".',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'open*/gpt')",
      '1 grants have a * that is not at the end',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', ' gpt-4 ')",
      '1 grant has an id that is empty',
    ],
    [
      "UPDATE organization_members SET is_active = NULL WHERE user_id = 'alice'",
      '1 memberships have an is_active that is neither 0 nor 1',
    ],
    ["UPDATE organization_models SET is_active = 2 WHERE model_id = 'gpt-4o'", '"acme gpt-4o 2"'],
    ...onlyInFile<[string, string]>([
      "UPDATE organization_models SET is_active = 'true' WHERE model_id = 'gpt-4o'",
      '"acme gpt-4o true"',
    ]),
  ])('%s', async (statement, words) => {
    using database = createHealthyDatabase();
    database.run(statement);
    expect((await onlyFault(database, 'warning foreign rows')).finding).toContain(words);
  });

  test('that match nothing are named in the command that deletes them', async () => {
    using database = createHealthyDatabase();
    database.run(
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'gpt-4o-mini ')",
    );
    expect((await onlyFault(database, 'warning foreign rows')).remedy).toContain(
      "`modelgate model deny 'gpt-4o-mini ' --org acme --purge`",
    );
  });

  test('of models whose ids a grant reads as patterns, and grants that are such ids', async () => {
    using database = createHealthyDatabase();
    for (const id of ['*', 'gpt-*']) database.addModel({ id });
    database.grant('acme', 'gpt-*');
    const found = withName(await findingsOf(database, { quick: true }), 'foreign rows');
    expect(found.map(({ status, finding }) => [status, finding])).toEqual([
      [
        'warning',
        '2 rows of the backend\'s model table have an id that a grant would read as a pattern: "*", "gpt-*".',
      ],
      [
        'warning',
        '1 grants cover every model with their beginning, and are the id of one row of the backend\'s model table too: "acme gpt-*".',
      ],
    ]);
  });

  test('twice, in a table made by hand', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_members (id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT);
      CREATE TABLE organization_models (id INTEGER PRIMARY KEY, organization_id TEXT, model_id TEXT);
      INSERT INTO organization_members (organization_id, user_id) VALUES ('acme', 'root'), ('acme', 'root');
      INSERT INTO organization_models (organization_id, model_id) VALUES ('acme', 'gpt-4o')`);
    database.addUser({ id: 'root', role: 'admin' });
    const found = withName(await findingsOf(database, { quick: true }), 'foreign rows');
    expect(found.map(({ finding }) => finding)).toEqual([
      '1 memberships stand more than once, and one that is on is enough: "acme root".',
    ]);
  });

  test("of an organization that mAI's own table does not have", async () => {
    using database = createHealthyDatabase({ mai: true });
    database.grant('other', 'gpt-4o');
    database.addMember('other', 'alice');
    const [found] = withName(await findingsOf(database), 'foreign rows');
    expect(found?.finding).toBe('1 organizations are not in mAI\'s client_organizations: "other".');
  });

  test('with hostile ids are shown in one harmless line', async () => {
    using database = createHealthyDatabase();
    database.run(
      'INSERT INTO organization_members (id, organization_id, user_id) VALUES (?, ?, ?)',
      'x',
      'acme',
      '\u001b[2J\n\u202eevil',
    );
    const { finding } = await onlyFault(database, 'warning foreign rows');
    expect(finding).not.toMatch(/[\u0000-\u001f\u202e]/);
  });
});

describe('budgets', () => {
  const AN_AMOUNT = 'INSERT INTO organization_budgets (id, organization_id, measure, amount, period';

  test.each<[kind: string, statement: string, finding: string]>([
    [
      'problem budgets',
      `${AN_AMOUNT}) VALUES ('x', 'acme', 'usd', -5, 'month')`,
      '1 of the budgets limit nothing: "acme usd month organization": its amount cannot be read, so it limits nothing.',
    ],
    [
      'problem budgets',
      `${AN_AMOUNT}, scope) VALUES ('x', 'acme', 'usd', 5, 'month', 'team')`,
      '"acme usd month team": its scope cannot be read',
    ],
    [
      'warning budgets',
      `${AN_AMOUNT}, time_zone) VALUES ('x', 'acme', 'usd', 5, 'month', 'Europe/Warszawa')`,
      'count otherwise than they say: "acme usd month organization": its time_zone is none of IANA\'s list, so that of',
    ],
    ...onlyInFile<[string, string, string]>([
      'warning budgets',
      `${AN_AMOUNT}, valid_to) VALUES ('x', 'acme', 'usd', 5, 'month', '2026-12-31')`,
      'its valid_to is no moment in milliseconds, so it does not end.',
    ]),
    [
      'warning foreign rows',
      `${AN_AMOUNT}) VALUES ('x', 'acne', 'usd', 5, 'month')`,
      '1 organizations have a budget and no member: "acne".',
    ],
  ])('%s: %s', async (kind, statement, finding) => {
    using database = createHealthyDatabase();
    database.run(statement);
    expect((await onlyFault(database, kind)).finding).toContain(finding);
  });

  test('that can be read, or are switched off, are not mentioned', async () => {
    using database = createHealthyDatabase();
    database.run(`${AN_AMOUNT}) VALUES ('x', 'acme', 'usd', 5, 'month')`);
    database.run(`${AN_AMOUNT}, is_active) VALUES ('y', 'acme', 'usd', -5, 'day', 0)`);
    expect(withName(await findingsOf(database), 'budgets')).toEqual([]);
  });

  test('in a table without a column that each must have do not count', async () => {
    using database = createHealthyDatabase();
    await policyPlaceOf(database);
    database.run('ALTER TABLE organization_budgets RENAME COLUMN amount TO total');
    expect((await onlyFault(database, 'problem budgets')).finding).toBe('No budget counts: its table has no amount.');
  });
});
