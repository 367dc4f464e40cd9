import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { backUpBeforeMigration, isNeeded, migrate, planMigration } from '../../../src/organizations/migration.ts';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import { type TestDatabase, ERAS, createDatabase } from '../../support/database/database.ts';
import { ACME, inhabited, objectsOf, rowsOf } from '../../support/database/migration-world.ts';
import { operationOn } from '../../support/database/operation.ts';

const stateOf = (sql: Database.Database): unknown => [
  sql.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2').all(),
  sql.prepare('SELECT * FROM "user"').all(),
];

describe.each(ERAS)('migrating a database of %s', (era) => {
  test('makes everything that the gate needs', async () => {
    using database = inhabited({ era });
    await migrate(operationOn(database.path), ACME);
    expect(objectsOf(database.sql)).toEqual(
      expect.arrayContaining(SCHEMA_OBJECTS.map(({ kind, name }) => `${kind} ${name}`)),
    );
    expect(database.sql.prepare('SELECT count(*) FROM modelgate_version').pluck().get()).toBe(2);
  });

  test('says beforehand what it does, and leaves the file byte for byte as it was', async () => {
    using database = inhabited({ era });
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    const before = readFileSync(database.path);
    const { figures: plan } = await planMigration(operationOn(database.path), ACME);
    expect(readFileSync(database.path).equals(before)).toBe(true);
    const { users, models, made } = (await migrate(operationOn(database.path), ACME)).figures;
    expect({ users, models, made: made.toSorted() }).toEqual({
      users: plan.users,
      models: plan.models,
      made: plan.made.toSorted(),
    });
  });

  test('has nothing left to do the second time', async () => {
    using database = inhabited({ era });
    await migrate(operationOn(database.path), ACME);
    database.run('UPDATE organization_members SET is_active = 0 WHERE user_id = ?', 'ada');
    database.withdraw(ACME.id, 'openai/gpt-4o:free');
    const before = rowsOf(database.sql);
    const { figures: plan } = await planMigration(operationOn(database.path), ACME);
    expect(isNeeded(plan)).toBe(false);
    expect(plan).toMatchObject({ users: { present: 5, present_off: 1 }, models: { present: 2, present_off: 2 } });
    await migrate(operationOn(database.path), ACME);
    expect(rowsOf(database.sql)).toEqual(before);
  });

  test('is rolled back whole when a row is refused in the middle', async () => {
    using database = inhabited({ era, organizationTables: 'guide' });
    database.run(`CREATE TRIGGER guard BEFORE INSERT ON organization_models WHEN new.model_id = 'switched-off'
      BEGIN SELECT raise(ABORT, 'no more models'); END`);
    const before = stateOf(database.sql);
    await expect(migrate(operationOn(database.path), ACME)).rejects.toThrow(
      /organization_models does not take the row: no more models\. Nothing was changed/,
    );
    expect(stateOf(database.sql)).toEqual(before);
    expect(rowsOf(database.sql)).toEqual([[], []]);
  });

  test('is rolled back whole when rows that are there forbid an index', async () => {
    using database = inhabited({ era });
    database.run('CREATE TABLE organization_models (id TEXT, organization_id TEXT, model_id TEXT, is_active INTEGER)');
    for (const id of ['a', 'b']) database.run(`INSERT INTO organization_models VALUES (?, 'o', 'm', 1)`, id);
    const before = stateOf(database.sql);
    await expect(migrate(operationOn(database.path), ACME)).rejects.toThrow(/idx_org_models_org_model.*twice/);
    expect(stateOf(database.sql)).toEqual(before);
  });
});

describe('a migration leaves out, and says so,', () => {
  test.each(ERAS)('ids that a grant would read as patterns, and rows of ordinary users, on %s', async (era) => {
    using database = inhabited({ era });
    for (const id of ['*', 'b*', 'line\nbreak']) database.addModel({ id });
    database.addModel({ id: 'own', owner: 'ada' });
    database.addModel({ id: 'adopted', owner: 'root' });
    const plan = await planMigration(operationOn(database.path), ACME);
    const result = await migrate(operationOn(database.path), ACME);
    const models = { linked: 3, left_out_presets: 1, left_out_unusable: 3, left_out_of_users: 1, left_out_id_taken: 0 };
    const leftOut = { unusable: ['*', 'b*', 'line\nbreak'], ofUsers: ['own'] };
    expect(plan).toMatchObject({ figures: { models }, leftOut });
    expect(result).toMatchObject({ figures: { models, total: { models: 3 } }, leftOut });
    expect(database.sql.prepare('SELECT model_id FROM organization_models ORDER BY model_id').pluck().all()).toEqual([
      'adopted',
      'openai/gpt-4o:free',
      'switched-off',
    ]);
    expect(isNeeded((await planMigration(operationOn(database.path), ACME)).figures)).toBe(false);
  });

  test('no user who belongs to another organization, as the guide does, but says who will be in both', async () => {
    using database = inhabited({ organizationTables: 'guide' });
    database.addMember('globex', 'ada', 0);
    expect((await planMigration(operationOn(database.path), ACME)).figures.users).toMatchObject({
      joined: 5,
      joined_elsewhere: 1,
    });
    const { users } = (await migrate(operationOn(database.path), ACME)).figures;
    expect(users).toMatchObject({ joined: 5, joined_elsewhere: 1 });
  });
});

describe('tables that others have made', () => {
  test("of mAI keep their shape and get the guide's rows", async () => {
    using database = inhabited({ era: '0.6.18' });
    database.addClientOrganization(ACME.id, 0);
    database.run(`CREATE TABLE organization_models (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, model_id TEXT NOT NULL,
      is_active INTEGER DEFAULT 1, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
      UNIQUE(organization_id, model_id), FOREIGN KEY (organization_id) REFERENCES client_organizations(id),
      FOREIGN KEY (model_id) REFERENCES model(id))`);
    database.run(`CREATE TABLE organization_members (id TEXT PRIMARY KEY, organization_id TEXT NOT NULL, user_id TEXT NOT NULL,
      role TEXT DEFAULT 'member', is_active INTEGER DEFAULT 1, joined_at INTEGER NOT NULL,
      UNIQUE(organization_id, user_id), FOREIGN KEY (organization_id) REFERENCES client_organizations(id))`);
    database.run(`CREATE VIEW user_available_models AS SELECT user_id FROM organization_members`);
    database.run(`INSERT INTO organization_members VALUES ('7', ?, 'ada', 'member', 0, 1)`, ACME.id);
    expect(await migrate(operationOn(database.path), ACME)).toMatchObject({
      figures: { users: { joined: 4, present: 1, present_off: 1 }, failed: [] },
      isActive: false,
    });
    const ada = `SELECT id, is_active FROM organization_members WHERE user_id = 'ada'`;
    expect(database.sql.prepare(ada).all()).toEqual([{ id: '7', is_active: 0 }]);
    expect(
      database.sql.prepare("SELECT sql FROM sqlite_schema WHERE name = 'user_available_models'").pluck().get(),
    ).toContain('SELECT user_id');
  });

  test('by hand may lack columns and rules: no user is linked twice', async () => {
    using database = inhabited();
    database.run('CREATE TABLE organization_members (id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT)');
    database.run('CREATE TABLE organization_models (organization_id TEXT, model_id TEXT)');
    database.run(`INSERT INTO organization_members (organization_id, user_id) VALUES (?, 'ada')`, ACME.id);
    for (const joining of [4, 0]) {
      const { figures } = await migrate(operationOn(database.path), ACME);
      expect(figures.users.joined).toBe(joining);
      expect(figures.failed.join()).toMatch(/is_active/);
    }
    const members = database.sql.prepare('SELECT user_id FROM organization_members').pluck().all();
    expect(new Set(members).size).toBe(5);
    expect(members).toHaveLength(5);
    expect(database.sql.prepare('SELECT count(*) FROM organization_models').pluck().get()).toBe(2);
  });

  test('without the columns that decide are refused', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.run('CREATE TABLE organization_members (member TEXT)');
    const before = stateOf(database.sql);
    await expect(migrate(operationOn(database.path), ACME)).rejects.toThrow(/has no column organization_id/);
    expect(stateOf(database.sql)).toEqual(before);
  });
});

describe('the backup before a migration', () => {
  const backUp = (database: TestDatabase, directory?: string) =>
    backUpBeforeMigration(operationOn(database.path), {
      directory,
      now: new Date(2026, 0, 31, 3, 4, 5),
      onStep: () => undefined,
    });

  test('has the name of the guide, belongs to its owner alone, and holds the state before', async () => {
    using database = inhabited();
    const { path, facts } = await backUp(database);
    expect(path).toBe(`${database.path}.backup.20260131_030405`);
    expect(facts).toMatchObject({ users: 6, models: 3, members: 0 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await migrate(operationOn(database.path), ACME);
    const copy = new Database(path, { readonly: true });
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(objectsOf(copy)).not.toContain('table organization_members');
    expect(copy.prepare('SELECT * FROM "user"').all()).toEqual(database.sql.prepare('SELECT * FROM "user"').all());
    copy.close();
  });

  test('never replaces another', async () => {
    using database = createDatabase();
    const first = await backUp(database);
    const second = await backUp(database);
    expect(second.path).toBe(`${first.path}-2`);
    expect(readdirSync(database.directory).filter((name) => name.includes('modelgate-'))).toEqual([]);
  });

  test.each(ERAS)('refuses a damaged database of %s before anything is touched', async (era) => {
    using database = inhabited({ era, journalMode: 'delete', organizationTables: 'guide' });
    const bytes = readFileSync(database.path);
    const root = database.sql
      .prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'model'")
      .pluck()
      .get() as number;
    bytes.fill(0xee, (root - 1) * 4096, root * 4096);
    const path = join(database.directory, 'damaged.db');
    writeFileSync(path, bytes);
    await expect(
      backUpBeforeMigration(operationOn(path), { now: new Date(), onStep: () => undefined }),
    ).rejects.toThrow(/damaged.db is damaged.*Nothing was changed.*restore/);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(readdirSync(database.directory).filter((name) => /backup|modelgate-/.test(name))).toEqual([]);
  });
});
