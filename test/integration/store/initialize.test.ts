import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { initializeWhereIncomplete } from '../../../src/store/initialize.ts';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { type TestDatabase, ERAS, createDatabase } from '../../support/database/database.ts';
import { openStore } from '../../support/database/opened-store.ts';
import { AS_NOBODY } from '../../support/process/as-nobody.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

const ACME = { id: 'mai_client_acme', name: 'Acme' };
const WITH_ACME = { organization: ACME, autoEnroll: true };

/** Each kind of user and of model that the guide's migration distinguishes. */
function people(database: TestDatabase): void {
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'ada' });
  database.addUser({ id: 'waiting', role: 'pending' });
  database.addModel({ id: 'openai/gpt-4o' });
  database.addModel({ id: 'switched-off', active: 0 });
  database.addModel({ id: 'preset', base: 'openai/gpt-4o' });
}

const rowsOf = (database: TestDatabase, table: string): unknown[] =>
  database.sql
    .prepare<[], Record<string, unknown>>(`SELECT * FROM ${table} ORDER BY id`)
    .all()
    .map((row) => ({ ...row, joined_at: 'a time', created_at: 'a time', updated_at: 'a time' }));

const objectsOf = (database: TestDatabase): unknown[] =>
  database.sql.prepare("SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").pluck().all();

describe.each(ERAS)('an untouched database of %s', (era) => {
  test('is made complete at the start of the gate', async () => {
    using database = createDatabase({ era, organizationTables: 'none' });
    people(database);
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.store.health()).toMatchObject({ readable: true, missing: [] });
    expect(objectsOf(database)).toEqual(
      expect.arrayContaining(SCHEMA_OBJECTS.map((object) => `${object.kind} ${object.name}`)),
    );
    expect(await opened.effect('ada', 'openai/gpt-4o')).toBe('permit');
    expect(await opened.reason('waiting', 'openai/gpt-4o')).toBe('role_not_permitted');
    expect(await opened.effect('ada', 'switched-off')).toBe('deny');
  });

  test('stays as it is at a second start', async () => {
    using database = createDatabase({ era, organizationTables: 'none' });
    people(database);
    (await openStore(database.path, WITH_ACME))[Symbol.dispose]();
    const dataVersion = database.sql.pragma('data_version', { simple: true });
    (await openStore(database.path, WITH_ACME))[Symbol.dispose]();
    expect(database.sql.pragma('data_version', { simple: true })).toBe(dataVersion);
  });

  test('makes a report with the columns and the rows of the guide', async () => {
    using database = createDatabase({ era, organizationTables: 'none' });
    people(database);
    (await openStore(database.path, WITH_ACME))[Symbol.dispose]();
    const theGuides = database.sql.prepare(`
      SELECT u.email as user_email, u.name as user_name, om.organization_id,
        COUNT(DISTINCT orgmod.model_id) as accessible_models, GROUP_CONCAT(DISTINCT m.name) as model_names
      FROM user u
      JOIN organization_members om ON u.id = om.user_id
      JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
      JOIN model m ON orgmod.model_id = m.id
      WHERE om.is_active = 1 AND orgmod.is_active = 1
      GROUP BY u.id, om.organization_id`);
    const report = database.sql.prepare('SELECT * FROM user_model_access_report').all();
    expect(report).toHaveLength(2);
    expect(report).toEqual(theGuides.all());
    expect(
      database.sql.prepare("SELECT DISTINCT model_id FROM user_available_models WHERE user_id = 'ada'").all(),
    ).toEqual([{ model_id: 'openai/gpt-4o' }]);
  });
});

describe('what was switched off or taken away', () => {
  test('stays so at every start', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    people(database);
    (await openStore(database.path, WITH_ACME))[Symbol.dispose]();
    database.withdraw(ACME.id, 'openai/gpt-4o');
    database.run("UPDATE organization_members SET is_active = 0 WHERE user_id = 'ada'");
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.reason('ada', 'openai/gpt-4o')).toBe('no_organization');
    expect(await opened.reason('root', 'openai/gpt-4o')).toBe('not_granted');
  });

  test('does not come back where its row was deleted', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    people(database);
    (await openStore(database.path, WITH_ACME))[Symbol.dispose]();
    database.run("DELETE FROM organization_models WHERE model_id = 'openai/gpt-4o'");
    database.addModel({ id: 'made-later' });
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.effect('root', 'openai/gpt-4o')).toBe('deny');
    expect(await opened.effect('root', 'made-later')).toBe('deny');
  });
});

/** An id as the backend gives it to its users. */
const GONE_USER = '3f2b8c1e-9a4d-4c7b-8e5f-0123456789ab';

describe('what a first start does not link', () => {
  const modelsOf = ({ sql }: TestDatabase): unknown[] =>
    sql.prepare('SELECT model_id FROM organization_models ORDER BY model_id').pluck().all();

  test.each(ERAS)('are ids that a grant would read as patterns, or that no request can name, on %s', async (era) => {
    using database = createDatabase({ era, organizationTables: 'none' });
    people(database);
    for (const id of ['*', 'b*', 'openai/*', 'line\nbreak', 'x'.repeat(1025)]) database.addModel({ id });
    database.addModel({ id: 'a*b' });
    using opened = await openStore(database.path, WITH_ACME);
    expect(modelsOf(database)).toEqual(['a*b', 'openai/gpt-4o', 'switched-off']);
    expect(await opened.effect('ada', 'anything')).toBe('deny');
    expect(await opened.effect('ada', 'beta')).toBe('deny');
    expect(await opened.effect('ada', 'a*b')).toBe('permit');
    expect(opened.warnings.find((warning) => warning.includes('read as patterns'))).toContain('"count":5,"some":["*"');
  });

  test('are models that users who are no admins have made, whether the backend still has the user or not', async () => {
    using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
    people(database);
    database.addModel({ id: 'of ada', owner: 'ada' });
    database.addModel({ id: 'of a deleted user', owner: GONE_USER });
    database.addModel({ id: 'of an admin', owner: 'root' });
    database.addModel({ id: 'of a script', owner: 'system' });
    using opened = await openStore(database.path, WITH_ACME);
    expect(modelsOf(database)).toEqual(['of a script', 'of an admin', 'openai/gpt-4o', 'switched-off']);
    expect(opened.warnings.find((warning) => warning.includes('no admins have made them'))).toContain('"count":2');
  });

  test('are users of another organization, switched on or off', async () => {
    using database = createDatabase();
    people(database);
    database.addUser({ id: 'bob' });
    database.addUser({ id: 'eve' });
    database.addMember('globex', 'bob');
    database.addMember('globex', 'eve', 0);
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.effect('ada', 'openai/gpt-4o')).toBe('permit');
    expect(await opened.reason('bob', 'openai/gpt-4o')).toBe('not_granted');
    expect(await opened.reason('eve', 'openai/gpt-4o')).toBe('no_organization');
    expect(opened.warnings.find((warning) => warning.includes('another organization'))).toContain('"count":2');
  });
});

describe('several processes that start at once', () => {
  const starter = `
    const { NOTHING_LINKED, initializeWhereIncomplete } = await import(process.argv[1]);
    const done = initializeWhereIncomplete(process.argv[2], 5000, { id: 'acme', name: 'Acme' });
    const { made, linked } = done ?? { made: [], linked: NOTHING_LINKED };
    console.log(JSON.stringify({ made: made.length, linked }));`;

  test('make everything once', async () => {
    using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
    for (let user = 0; user < 500; user++) database.addUser({ id: `user-${user}` });
    database.addModel({ id: 'granted' });
    const module = new URL('../../../src/store/initialize.ts', import.meta.url).href;
    const { spawn } = await import('node:child_process');
    const outputs = await Promise.all(
      Array.from(
        { length: 4 },
        () =>
          new Promise<string>((resolve, reject) => {
            const child = spawn(process.execPath, ['--input-type=module', '-e', starter, module, database.path]);
            let output = '';
            child.stdout.on('data', (chunk: Buffer) => void (output += chunk.toString()));
            child.stderr.on('data', (chunk: Buffer) => void (output += chunk.toString()));
            child.once('error', reject);
            child.once('close', () => resolve(output));
          }),
      ),
    );
    const results = outputs.map((output) => JSON.parse(output) as { made: number; linked: { users: number } });
    expect(results.map((result) => result.made).sort()).toEqual([0, 0, 0, SCHEMA_OBJECTS.length]);
    expect(results.map((result) => result.linked.users).sort()).toEqual([0, 0, 0, 500]);
    expect(rowsOf(database, 'organization_members')).toHaveLength(500);
  });
});

describe("the backend's migrations", () => {
  let other: OtherProcess;
  beforeAll(async () => void (other = await openOtherProcess()));
  afterAll(() => other.close());

  // as alembic's batch_alter_table does it (0.6.41 for `user`, 0.8.0 for `model`)
  const rebuild = (table: string) => `
    CREATE TABLE _alembic_tmp AS SELECT * FROM "${table}";
    BEGIN;
    DROP TABLE "${table}";
    ALTER TABLE _alembic_tmp RENAME TO "${table}";
    COMMIT;`;

  test.each(ERAS)('rebuild their own tables beside ours (%s)', async (era) => {
    using database = createDatabase({ era, organizationTables: 'none' });
    people(database);
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.effect('ada', 'openai/gpt-4o')).toBe('permit');
    await other.run(database.path, rebuild('user'));
    await other.run(database.path, rebuild('model'));
    await other.run(database.path, 'ALTER TABLE config RENAME TO config_renamed');
    expect(await opened.effect('ada', 'openai/gpt-4o')).toBe('permit');
    await other.run(database.path, `UPDATE "user" SET role = 'pending' WHERE id = 'ada'`);
    expect(await opened.reason('ada', 'openai/gpt-4o')).toBe('role_not_permitted');
    expect(database.sql.prepare('SELECT count(*) FROM user_model_access_report').pluck().get()).toBe(2);
    await other.release(database.path);
  });

  test('that move API keys from a column to a table are noticed', async () => {
    using database = createDatabase({ era: '0.6.18' });
    database.addUser({ id: 'ada', apiKey: 'sk-old' });
    using opened = await openStore(database.path);
    expect(await opened.next().userOfApiKey('sk-old')).toBe('ada');
    await other.run(
      database.path,
      `CREATE TABLE api_key (id TEXT PRIMARY KEY, user_id TEXT, "key" TEXT UNIQUE NOT NULL);
       INSERT INTO api_key VALUES ('key_ada', 'ada', 'sk-new');
       DROP INDEX user_api_key;
       ALTER TABLE "user" DROP COLUMN api_key;`,
    );
    expect(await opened.next().userOfApiKey('sk-old')).toBeUndefined();
    expect(await opened.next().userOfApiKey('sk-new')).toBe('ada');
    await other.release(database.path);
  });
});

describe('tables that others have made', () => {
  test("mAI's own, with foreign keys, other ids and NULL for active, are used as they are", async () => {
    using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
    database.addUser({ id: 'ada' });
    database.addUser({ id: 'bob' });
    createMaiTables(database);
    database.addClientOrganization('mai_client_acme', null);
    database.sql.exec(`
      INSERT INTO organization_models VALUES ('uuid-1', 'mai_client_acme', 'anthropic/claude', NULL, 1, 1);
      INSERT INTO organization_models VALUES ('uuid-2', 'mai_client_acme', 'off', 0, 1, 1);
      INSERT INTO organization_members VALUES ('uuid-3', 'mai_client_acme', 'ada', 'member', NULL, 1);
      INSERT INTO organization_members VALUES ('uuid-4', 'mai_client_acme', 'bob', 'member', 0, 1);`);
    using opened = await openStore(database.path, WITH_ACME);
    expect(await opened.grants('ada')).toEqual(['mai_client_acme: anthropic/claude']);
    expect(await opened.grants('bob')).toEqual([]);
    database.run("UPDATE client_organizations SET is_active = 0 WHERE id = 'mai_client_acme'");
    expect(await opened.reason('ada', 'anthropic/claude')).toBe('no_organization');
  });

  test('by hand, without any of the optional columns and with a row twice, still count, and what cannot be made is said', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.addUser({ id: 'ada' });
    database.sql.exec(`
      CREATE TABLE organization_models (organization_id, model_id);
      CREATE TABLE organization_members (organization_id, user_id);
      INSERT INTO organization_models VALUES ('acme', 'granted'), ('acme', 'granted'), ('acme', 7), ('acme', NULL);
      INSERT INTO organization_members VALUES ('acme', 'ada'), ('acme', 'ada'), (NULL, 'ada');`);
    using opened = await openStore(database.path);
    expect(await opened.grants('ada')).toEqual(['acme: granted']);
    const { missing } = await opened.store.health();
    expect(missing.filter((line) => line.includes('no such column: is_active')).length).toBeGreaterThan(0);
    expect(missing.filter((line) => line.includes('UNIQUE constraint failed')).length).toBe(1);
    database.run('DELETE FROM organization_models');
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('with columns that nothing can be read from are said, not read', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.sql.exec('CREATE TABLE organization_members (member TEXT, team TEXT)');
    using opened = await openStore(database.path);
    await expect(opened.next().user('ada' as never)).rejects.toMatchObject({ code: 'policy_unavailable' });
    expect((await opened.store.health()).problem).toContain('table organization_members has no column organization_id');
  });
});

describe('a database that cannot be written', () => {
  /** A process without the rights of root, for which a read-only file is read-only. */
  function asNobody(path: string): {
    health: { readable: boolean; missing: string[]; problem?: string };
    grants: string[];
    budgets: unknown[];
  } {
    const script = fileURLToPath(new URL('../../support/database/store-of-nobody.ts', import.meta.url));
    const output = execFileSync(process.execPath, [script, path], { ...AS_NOBODY, encoding: 'utf8' });
    return JSON.parse(output) as ReturnType<typeof asNobody>;
  }

  function prepared(organizationTables: 'guide' | 'none'): TestDatabase & { directory: string } {
    const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
    const database = createDatabase({ era: '0.6.18', organizationTables, directory });
    database.addUser({ id: 'ada' });
    if (organizationTables === 'guide') {
      database.addMember('acme', 'ada');
      database.grant('acme', 'granted');
    }
    return database;
  }

  test('is read as it is, and what is missing is said', () => {
    const database = prepared('guide');
    database.close();
    execFileSync('chmod', ['-R', 'a+rX,a-w', database.directory]);
    const { health, grants, budgets } = asNobody(database.path);
    expect(health.readable).toBe(true);
    expect(grants).toEqual(['acme: granted']);
    expect(budgets).toEqual([]);
    expect(health.missing.join('\n')).toContain('view user_available_models (not made: SQLITE_');
    rmSync(database.directory, { recursive: true });
  });

  test('gives no user a model while the tables themselves are missing', () => {
    const database = prepared('none');
    database.close();
    execFileSync('chmod', ['-R', 'a+rX,a-w', database.directory]);
    const { health, grants } = asNobody(database.path);
    expect(health).toMatchObject({ readable: false });
    expect(health.problem).toContain('table organization_members is missing');
    expect(health.missing.join('\n')).toContain('table organization_models (not made: SQLITE_');
    expect(grants).toEqual(['policy_unavailable']);
    rmSync(database.directory, { recursive: true });
  });

  test('asks for nothing where it is complete already', () => {
    const database = prepared('guide');
    initializeWhereIncomplete(database.path, 1_000);
    database.close();
    execFileSync('chmod', ['-R', 'a+rX,a-w', database.directory]);
    expect(asNobody(database.path).health).toMatchObject({ readable: true, missing: [] });
    rmSync(database.directory, { recursive: true });
  });
});

test('the version counter counts every kind of change, for the whole table too', () => {
  using database = createDatabase();
  initializeWhereIncomplete(database.path, 1_000);
  const version = () =>
    Number(
      database.sql.prepare("SELECT version FROM modelgate_version WHERE subject = 'organization_models'").pluck().get(),
    );
  let last = version();
  for (const statement of [
    "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('1', 'acme', 'a')",
    "INSERT OR REPLACE INTO organization_models (id, organization_id, model_id) VALUES ('1', 'acme', 'b')",
    "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('1', 'acme', 'c') ON CONFLICT DO UPDATE SET model_id = 'c'",
    "UPDATE organization_models SET model_id = 'd'",
    'DELETE FROM organization_models',
  ]) {
    database.run(statement);
    expect(version(), statement).toBeGreaterThan(last);
    last = version();
  }
});

const TRIGGERS = SCHEMA_OBJECTS.filter(({ kind }) => kind === 'trigger');
/** The triggers of release 0.1.0's first builds, which counted one by one. */
const EARLIER_TRIGGERS = TRIGGERS.map(
  ({ name, sql }) =>
    `DROP TRIGGER ${name};${sql.replace(' IF NOT EXISTS', '').replace(/SET version = .* WHERE/, 'SET version = version + 1 WHERE')};`,
).join('');

const versionsOf = ({ sql }: TestDatabase): unknown[] =>
  sql.prepare('SELECT version FROM modelgate_version ORDER BY subject').pluck().all();

describe('the version counter', () => {
  test('has different numbers in different files, whatever was done to them', () => {
    const [one, other] = [createDatabase(), createDatabase()];
    for (const database of [one, other]) {
      initializeWhereIncomplete(database.path, 1_000);
      database.addMember('acme', 'ada');
      database.grant('acme', 'granted');
    }
    expect(versionsOf(one).filter((version) => versionsOf(other).includes(version))).toEqual([]);
    for (const database of [one, other]) database.close();
  });

  test('goes different ways in two copies of one file', () => {
    using one = createDatabase({ journalMode: 'delete' });
    initializeWhereIncomplete(one.path, 1_000);
    one.grant('acme', 'granted');
    const copy = new Database(one.sql.serialize());
    for (const sql of [one.sql, copy]) sql.exec("UPDATE organization_models SET model_id = 'another'");
    const version = "SELECT version FROM modelgate_version WHERE subject = 'organization_models'";
    expect(copy.prepare(version).pluck().get()).not.toBe(one.sql.prepare(version).pluck().get());
    copy.close();
  });

  test('of an earlier release is counted on in the way of this one', async () => {
    using database = createDatabase();
    initializeWhereIncomplete(database.path, 1_000);
    database.sql.exec(`${EARLIER_TRIGGERS} UPDATE modelgate_version SET version = 7`);
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    using opened = await openStore(database.path);
    database.grant('acme', 'granted');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    expect((await opened.store.health()).missing).toEqual([]);
    for (const version of versionsOf(database)) expect(version).toBeGreaterThan(1_000);
  });

  test('is not fought over with a replica of an earlier release, which makes its own triggers when it starts', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    using opened = await openStore(database.path);
    database.sql.exec(EARLIER_TRIGGERS);
    for (const step of ['granted', 'open/a', 'open/b']) {
      database.grant('acme', step);
      expect(await opened.effect('ada', step)).toBe('permit');
      opened.clock.advance(10_000);
      database.withdraw('acme', step);
      expect(await opened.effect('ada', step)).toBe('deny');
    }
    expect((await opened.store.health()).missing).toHaveLength(TRIGGERS.length);
    expect(opened.warnings.filter((warning) => warning.includes('initialized'))).toHaveLength(1);
  });
});
