/** What modelgate makes in PostgreSQL, from several processes at once, and what its triggers count. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { initializePostgres } from '../../src/store/postgres/initialize.ts';
import { objectsIn } from '../../src/store/postgres/tables.ts';
import { type Era, ERAS } from '../support/database/database.ts';
import { type PostgresDatabase, type PostgresServer, PASSWORD, startPostgres } from '../support/postgres.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const ACME = { id: 'acme', name: 'Acme' };

async function databaseOfTest(era: Era): Promise<PostgresDatabase> {
  const database = await server.createDatabase({ era });
  onTestFinished(() => database[Symbol.asyncDispose]());
  for (const [id, role] of [
    ['root', 'admin'],
    ['ada', 'user'],
    ['bob', 'user'],
    ['pen', 'pending'],
  ])
    await database.sql.query(
      `INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
       VALUES ($1::text, $1::text, $1::text || '@example.org', $2, '', 0, 0, 0)`,
      [id, role],
    );
  for (const [id, base, active] of [
    ['gpt-4o', null, true],
    ['asleep', null, false],
    ['b*', null, true],
    ['preset', 'gpt-4o', true],
  ])
    await database.sql.query(
      `INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
       VALUES ($1::text, 'root', $2, $1::text, '{}', '{}', $3, 0, 0)`,
      [id, base, active],
    );
  return database;
}

const asking =
  (client: pg.Client) =>
  async (text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]> =>
    (await client.query<Record<string, unknown>>(text, values && [...values])).rows;

const initialize = ({ sql }: PostgresDatabase, organization?: typeof ACME) =>
  initializePostgres(asking(sql), 'public', organization);

/** By organization, and those that are others than before. */
async function versionsOf({ sql }: PostgresDatabase): Promise<ReadonlyMap<unknown, unknown>> {
  const rows = await asking(sql)('SELECT organization_id, version FROM modelgate_organization_version');
  return new Map(rows.map(({ organization_id: id, version }) => [id, version]));
}

describe.each(ERAS)('on the schema of %s', (era) => {
  test('everything is made once, and users and models are linked as on a file', async () => {
    const database = await databaseOfTest(era);
    const done = await initialize(database, ACME);
    expect(done?.failed).toEqual([]);
    expect(done?.made).toEqual(objectsIn('public').map(({ label }) => label));
    expect(done?.linked).toEqual({
      ...{ users: 3, usersElsewhere: 0, models: 2 },
      modelsLeftOut: { unusable: ['b*'], ofUsers: [] },
    });
    expect(await initialize(database, ACME)).toBeUndefined();
    const grants = await asking(database.sql)('SELECT id, is_active FROM organization_models ORDER BY id');
    expect(grants).toEqual([
      { id: 'orgmod_acme_asleep', is_active: 0 },
      { id: 'orgmod_acme_gpt-4o', is_active: 1 },
    ]);
    const report = await asking(database.sql)('SELECT * FROM user_model_access_report ORDER BY user_email');
    expect(report[0]).toEqual({
      ...{ user_email: 'ada@example.org', user_name: 'ada', organization_id: 'acme' },
      ...{ accessible_models: '1', model_names: 'gpt-4o' },
    });
  });

  test('a view ties neither table of the backend', async () => {
    const database = await databaseOfTest(era);
    await initialize(database, ACME);
    for (const change of ['ALTER TABLE "user" ALTER email TYPE text', 'ALTER TABLE model DROP COLUMN name CASCADE'])
      await database.sql.query(change);
    const views = await asking(database.sql)(`SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1`);
    expect(views.map(({ viewname }) => viewname)).toEqual(['user_available_models', 'user_model_access_report']);
  });

  test('eight processes at once make one set, and link each user once', async () => {
    const database = await databaseOfTest(era);
    const env = { PATH: process.env['PATH'], DATABASE_URL: database.url };
    const words = [MAIN, 'init', '--org', 'acme', '--name', 'Acme', '--json'];
    const all = await Promise.all(
      Array.from({ length: 8 }, () => promisify(execFile)(process.execPath, words, { env })),
    );
    const records = all.map(({ stdout }) => JSON.parse(stdout) as Record<'made' | 'failed' | 'linked_users', number>);
    expect(records.map(({ failed }) => failed)).toEqual(Array.from({ length: 8 }, () => 0));
    const sum = (what: 'made' | 'linked_users'): number => records.reduce((total, record) => total + record[what], 0);
    expect([sum('made'), sum('linked_users')]).toEqual([objectsIn('public').length, 3]);
  });
});

describe('the version of an organization', () => {
  test.each([
    [`INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'm')`, ['acme']],
    [`UPDATE organization_models SET is_active = 0 WHERE organization_id = 'acme'`, ['acme']],
    [`UPDATE organization_models SET organization_id = 'globex' WHERE model_id = 'gpt-4o'`, ['acme', 'globex']],
    [`DELETE FROM organization_models WHERE organization_id = 'other'`, ['other']],
    ['TRUNCATE organization_models', ['acme', 'globex', 'other']],
    [`UPDATE organization_models SET is_active = 0 WHERE organization_id = 'nowhere'`, []],
    [`UPDATE organization_members SET is_active = 0`, []],
  ])('after %s', async (statement, changed) => {
    const database = await databaseOfTest('0.12.4');
    await initialize(database, ACME);
    await database.sql.query(`INSERT INTO organization_models (id, organization_id, model_id)
      VALUES ('o', 'other', 'm'), ('g', 'globex', 'n')`);
    const before = await versionsOf(database);
    await database.sql.query(statement);
    const after = await versionsOf(database);
    expect([...after].flatMap(([id, version]) => (before.get(id) === version ? [] : [id])).toSorted()).toEqual(changed);
  });

  test('also changes where a trigger was missing, or off, as soon as it is back', async () => {
    const database = await databaseOfTest('0.12.4');
    await initialize(database, ACME);
    const before = await versionsOf(database);
    await database.sql.query('ALTER TABLE organization_models DISABLE TRIGGER modelgate_grants_update_1');
    await database.sql.query('UPDATE organization_models SET is_active = 0');
    expect(await versionsOf(database)).toEqual(before);
    await database.sql.query('DROP TRIGGER modelgate_grants_update_1 ON organization_models');
    expect((await initialize(database, ACME))?.made).toEqual(['trigger modelgate_grants_update_1']);
    expect((await versionsOf(database)).get('acme')).not.toBe(before.get('acme'));
  });

  test('changes by the hand of a role that knows no versions', async () => {
    const database = await databaseOfTest('0.12.4');
    await initialize(database, ACME);
    const before = await versionsOf(database);
    await asRole(database, 'GRANT SELECT, UPDATE ON organization_models TO by_hand', (client) =>
      client.query('UPDATE organization_models SET is_active = 0'),
    );
    expect((await versionsOf(database)).get('acme')).not.toBe(before.get('acme'));
  });
});

/** @param rights of the role `by_hand`, beside none */
async function asRole<T>(database: PostgresDatabase, rights: string, use: (client: pg.Client) => Promise<T>) {
  const admin = new pg.Client({ connectionString: server.url(database.name, 'postgres') });
  await admin.connect();
  await admin.query(`DROP ROLE IF EXISTS by_hand; CREATE ROLE by_hand LOGIN PASSWORD '${PASSWORD}'; ${rights}`);
  const client = new pg.Client({ connectionString: server.url(database.name, 'by_hand') });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
    await admin.query('DROP OWNED BY by_hand; DROP ROLE by_hand');
    await admin.end();
  }
}

test('without the right to make tables, each object says so, and nothing is half made', async () => {
  const database = await databaseOfTest('0.12.4');
  const done = await asRole(database, 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO by_hand', (client) =>
    initializePostgres(asking(client), 'public'),
  );
  expect(done?.made).toEqual([]);
  expect(done?.failed[0]).toBe('table organization_models: 42501: permission denied for schema public');
});

test('a row that is there twice, or a column that is not there, is in the way of its own object alone', async () => {
  const database = await databaseOfTest('0.12.4');
  await database.sql.query(`CREATE TABLE organization_models (organization_id text, model_id text);
    INSERT INTO organization_models VALUES ('acme', 'gpt-4o'), ('acme', 'gpt-4o')`);
  const done = await initialize(database, ACME);
  expect(done?.failed.map((words) => words.split(':')[0]).toSorted()).toEqual([
    'index idx_org_models_org_active',
    'index idx_org_models_org_model',
    'view user_available_models',
    'view user_model_access_report',
  ]);
  expect(done?.made).toContain('trigger modelgate_grants_truncate_1');
});

test('a database without the tables of the backend is left as it is', async () => {
  const database = await databaseOfTest('0.12.4');
  await database.sql.query('CREATE SCHEMA empty');
  await expect(initializePostgres(asking(database.sql), 'empty')).rejects.toThrow('has no tables of the backend');
  expect(await asking(database.sql)(`SELECT 1 FROM pg_tables WHERE schemaname = 'empty'`)).toEqual([]);
});
