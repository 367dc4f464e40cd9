/** Tables of organizations, made by hand in any way that SQLite accepts: what cannot be understood gives nothing. */
import { describe, expect, test } from 'vitest';
import { checkForeignRows } from '../../../src/diagnosis/rows.ts';
import { readSchema } from '../../../src/store/schema.ts';
import type { TestDatabase } from '../../support/database/database.ts';
import { databaseOfTest, openStore, type OpenedStore } from '../../support/database/opened-store.ts';

/** A backend's file with these tables; ada is to be a member of `acme`, bob is switched off. */
function withTables(sql: string): TestDatabase {
  const database = databaseOfTest({ organizationTables: 'none' });
  for (const id of ['ada', 'bob']) database.addUser({ id });
  database.sql.exec(sql);
  return database;
}

/** The guide's table with another form of `is_active`. */
const tables = (is_active: string, options = ''): string => `
  CREATE TABLE organization_members (organization_id TEXT, user_id TEXT PRIMARY KEY, is_active ${is_active}) ${options};
  CREATE TABLE organization_models (organization_id TEXT, model_id TEXT PRIMARY KEY, is_active ${is_active}) ${options};
  INSERT INTO organization_members VALUES ('acme', 'ada', 1), ('acme', 'bob', 0);
  INSERT INTO organization_models VALUES ('acme', 'on', 1), ('acme', 'off', 0);`;

/** `is_active` computed from a column of the table's own. */
const generated = (kind: string): string => `
  CREATE TABLE organization_members (
    organization_id TEXT, user_id TEXT, state TEXT, is_active INTEGER AS (state = 'here') ${kind});
  CREATE TABLE organization_models (
    organization_id TEXT, model_id TEXT, until TEXT, "Is_Active" INTEGER AS (until IS NULL) ${kind});
  INSERT INTO organization_members VALUES ('acme', 'ada', 'here'), ('acme', 'bob', 'gone');
  INSERT INTO organization_models VALUES ('acme', 'on', NULL), ('acme', 'off', '2026');`;

const SHAPES: Record<string, string> = {
  'is_active generated, virtual': generated('VIRTUAL'),
  'is_active generated, stored': generated('STORED'),
  'every column generated': `
    CREATE TABLE organization_members (row JSON, organization_id TEXT AS (row ->> 0), user_id TEXT AS (row ->> 1),
      is_active INTEGER AS (row ->> 2));
    CREATE TABLE organization_models (row JSON, organization_id TEXT AS (row ->> 0), model_id TEXT AS (row ->> 1),
      is_active INTEGER AS (row ->> 2));
    INSERT INTO organization_members VALUES ('["acme","ada",1]'), ('["acme","bob",0]');
    INSERT INTO organization_models VALUES ('["acme","on",1]'), ('["acme","off",0]');`,
  'names in upper case': `
    CREATE TABLE ORGANIZATION_MEMBERS (ORGANIZATION_ID TEXT, USER_ID TEXT, IS_ACTIVE INTEGER DEFAULT 1);
    CREATE TABLE "Organization_Models" ([Organization_Id] TEXT, \`Model_Id\` TEXT, "Is_Active" INTEGER DEFAULT 1);
    INSERT INTO organization_members VALUES ('acme', 'ada', 1), ('acme', 'bob', 0);
    INSERT INTO organization_models VALUES ('acme', 'on', 1), ('acme', 'off', 0);`,
  'WITHOUT ROWID': tables('INTEGER DEFAULT 1', 'WITHOUT ROWID'),
  STRICT: tables('INTEGER DEFAULT 1', 'STRICT'),
  'STRICT, with text': tables('TEXT', 'STRICT'),
  'no type': tables(''),
  BOOLEAN: tables('BOOLEAN NOT NULL DEFAULT TRUE'),
  TEXT: tables('TEXT'),
  REAL: tables('REAL'),
  NUMERIC: tables('NUMERIC(1)'),
  views: `
    CREATE TABLE people (team, person, is_on);
    CREATE TABLE models (team, model, is_on);
    INSERT INTO people VALUES ('acme', 'ada', 1), ('acme', 'bob', 0);
    INSERT INTO models VALUES ('acme', 'on', 1), ('acme', 'off', 0);
    CREATE VIEW organization_members AS SELECT team AS organization_id, person AS user_id, is_on AS is_active FROM people;
    CREATE VIEW organization_models AS SELECT team AS Organization_Id, model AS Model_Id, is_on AS IS_ACTIVE FROM models;`,
  'virtual tables': `
    CREATE VIRTUAL TABLE organization_members USING fts5(organization_id, user_id, is_active);
    CREATE VIRTUAL TABLE organization_models USING fts5(organization_id, model_id, is_active);
    INSERT INTO organization_members VALUES ('acme', 'ada', 1), ('acme', 'bob', 0);
    INSERT INTO organization_models VALUES ('acme', 'on', 1), ('acme', 'off', 0);`,
};

const seen = async (opened: OpenedStore) => ({ ada: await opened.grants('ada'), bob: await opened.grants('bob') });

test.each(Object.entries(SHAPES))('%s: what is off does not count', async (_name, sql) => {
  const database = withTables(sql);
  using opened = await openStore(database.path);
  expect(await seen(opened)).toEqual({ ada: ['acme: on'], bob: [] });
});

test.each(['is_active generated, virtual', 'names in upper case', 'WITHOUT ROWID', 'views', 'virtual tables'])(
  '%s: a change counts at the next request',
  async (name) => {
    const database = withTables(SHAPES[name] ?? '');
    using opened = await openStore(database.path);
    expect(await seen(opened)).toEqual({ ada: ['acme: on'], bob: [] });
    database.sql.exec(
      {
        'is_active generated, virtual': "UPDATE organization_members SET state = 'gone'",
        views: 'UPDATE people SET is_on = 0',
      }[name] ?? 'UPDATE organization_members SET is_active = 0',
    );
    expect(await seen(opened)).toEqual({ ada: [], bob: [] });
  },
);

/** What is stored in a column of no type, and whether it is a switch that is on; the log reports `odd`. */
const VALUES: readonly (readonly [sql: string, meaning: 'on' | 'off' | 'odd on' | 'odd off'])[] = [
  ['1', 'on'],
  ['1.0', 'on'],
  ['TRUE', 'on'],
  ["'1'", 'on'],
  ['NULL', 'odd on'],
  ['0', 'off'],
  ['0.0', 'off'],
  ['FALSE', 'off'],
  ["'0'", 'off'],
  ['2', 'odd off'],
  ['-1', 'odd off'],
  ['0.5', 'odd off'],
  ["'true'", 'odd off'],
  ["'false'", 'odd off'],
  ["'yes'", 'odd off'],
  ["'1 '", 'odd off'],
  ["' 1'", 'odd off'],
  ["'1.0'", 'odd off'],
  ["''", 'odd off'],
  ["X'31'", 'odd off'],
  ["X'01'", 'odd off'],
];

describe('the value of is_active', () => {
  test.each(VALUES)('%s is %s', async (sql, meaning) => {
    const database = withTables(`
      CREATE TABLE organization_members (organization_id, user_id, is_active);
      CREATE TABLE organization_models (organization_id, model_id, is_active);
      CREATE TABLE client_organizations (id, is_active);
      INSERT INTO organization_members VALUES ('acme', 'ada', ${sql}), ('other', 'bob', 1), ('third', 'bob', 1);
      INSERT INTO organization_models VALUES ('acme', 'a', 1), ('other', 'b', ${sql}), ('third', 'c', 1);
      INSERT INTO client_organizations VALUES ('acme', 1), ('other', 1), ('third', ${sql});`);
    using opened = await openStore(database.path);
    const isOn = meaning.endsWith('on');
    expect(await seen(opened)).toEqual(
      isOn ? { ada: ['acme: a'], bob: ['other: b', 'third: c'] } : { ada: [], bob: [] },
    );
    const told = checkForeignRows(database.sql, readSchema(database.sql)).map(({ finding }) => finding);
    expect(told.filter((finding) => finding.includes('is_active'))).toHaveLength(meaning.startsWith('odd') ? 2 : 0);
  });

  test('of one column that ignores case and spaces, is the exact one', async () => {
    const database = withTables(tables('TEXT COLLATE RTRIM'));
    database.sql.exec("UPDATE organization_members SET is_active = '1 '");
    using opened = await openStore(database.path);
    expect(await seen(opened)).toEqual({ ada: [], bob: [] });
  });
});

describe('ids that are not exactly the one that is asked for', () => {
  const withIds = (type: string, rows: string) =>
    withTables(`
      CREATE TABLE organization_members (organization_id ${type}, user_id ${type}, is_active INTEGER);
      CREATE TABLE organization_models (organization_id ${type}, model_id ${type}, is_active INTEGER);
      ${rows}`);

  test.each([
    ['TEXT COLLATE NOCASE', "('ACME', 'ada', 1), ('acme', 'BOB', 1)", "('acme', 'on', 1)"],
    ['TEXT COLLATE RTRIM', "('acme ', 'ada', 1), ('acme', 'bob  ', 1)", "('acme', 'on', 1)"],
    ['BLOB', "(CAST('acme' AS BLOB), 'ada', 1), ('acme', CAST('bob' AS BLOB), 1)", "('acme', 'on', 1)"],
    ['TEXT', "('acme', 'ada', 1), ('acme', 'bob', 1)", "(CAST('acme' AS BLOB), 'on', 1)"],
    ['BLOB', "('acme', 'ada', 1), ('acme', 'bob', 1)", "('acme', CAST('on' AS BLOB), 1)"],
  ])('to a column of %s', async (type, members, models) => {
    const database = withIds(
      type,
      `INSERT INTO organization_members VALUES ${members}; INSERT INTO organization_models VALUES ${models};`,
    );
    using opened = await openStore(database.path);
    expect(await seen(opened)).toEqual({ ada: [], bob: [] });
  });

  test('a column of numbers takes 7 and 07 for one, and gives neither anything', async () => {
    const database = withIds(
      'INTEGER',
      `INSERT INTO organization_members VALUES ('acme', '7', 1), ('8', 'ada', 1);
       INSERT INTO organization_models VALUES ('acme', 'on', 1), ('8', 'on', 1), ('acme', '9', 1);`,
    );
    for (const id of ['7', '07']) database.addUser({ id });
    using opened = await openStore(database.path);
    expect(await Promise.all(['7', '07', 'ada'].map((user) => opened.grants(user)))).toEqual([[], [], []]);
    const told = checkForeignRows(database.sql, readSchema(database.sql)).map(({ finding }) => finding);
    expect(told.filter((finding) => finding.includes('no text'))).toHaveLength(2);
  });

  test('a user who is there in another spelling is not enrolled, and costs no write at every request', async () => {
    const database = withIds(
      'TEXT COLLATE NOCASE',
      "INSERT INTO organization_members VALUES ('acme', 'ADA', 1); INSERT INTO organization_models VALUES ('acme', 'on', 1)",
    );
    using opened = await openStore(database.path, { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true });
    const rows = () =>
      database.sql.prepare("SELECT count(*) FROM organization_members WHERE user_id = 'ada'").pluck().get();
    expect(rows()).toBe(1);
    expect(await opened.grants('ada')).toEqual([]);
    expect(rows()).toBe(1);
  });
});

test("an organization of mAI's that stands there twice is off where one row is", async () => {
  const database = withTables(`${tables('INTEGER')}
    CREATE TABLE client_organizations (id TEXT, is_active INTEGER);
    INSERT INTO client_organizations VALUES ('acme', 1), ('acme', 0);`);
  using opened = await openStore(database.path);
  expect(await seen(opened)).toEqual({ ada: [], bob: [] });
});

test('the organization is linked to tables that compute is_active', async () => {
  const database = withTables(generated('VIRTUAL').replace(/INSERT[^;]*;/g, ''));
  database.addModel({ id: 'linked' });
  using opened = await openStore(database.path, { organization: { id: 'acme', name: 'Acme' } });
  expect(await opened.store.health()).toMatchObject({ readable: true });
  expect(database.sql.prepare('SELECT count(*) FROM organization_members').pluck().get()).toBe(2);
  expect(database.sql.prepare('SELECT model_id FROM organization_models').pluck().all()).toEqual(['linked']);
});

test('a row that names no organization is a decision all the same, and costs no request an attempt to write', async () => {
  const database = withTables(tables('INTEGER'));
  database.run("UPDATE organization_members SET organization_id = x'07' WHERE user_id = 'ada'");
  using opened = await openStore(database.path, { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true });
  expect(await opened.reason('ada', 'on')).toBe('no_organization');
  expect(opened.warnings.filter((warning) => warning.includes('enrolled'))).toEqual([]);
  expect(database.sql.prepare('SELECT count(*) FROM organization_members').pluck().get()).toBe(2);
});
