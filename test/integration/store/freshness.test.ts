import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ModelId } from '../../../src/policy/grant.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { type OpenedStore, openStore } from '../../support/database/opened-store.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

const SETTINGS = [
  { era: '0.6.18', journalMode: 'delete' },
  { era: '0.6.18', journalMode: 'wal' },
  { era: '0.12.4', journalMode: 'delete' },
  { era: '0.12.4', journalMode: 'wal' },
] as const;

let other: OtherProcess;
beforeAll(async () => void (other = await openOtherProcess()));
afterAll(() => other.close());

describe.each(SETTINGS)('what another process commits counts at the next request ($era, $journalMode)', (setting) => {
  let database: TestDatabase;
  const operator = { run: (sql: string) => other.run(database.path, sql) };
  let opened: OpenedStore;

  beforeEach(async () => {
    database = createDatabase(setting);
    database.addUser({ id: 'ada', apiKey: 'sk-ada' });
    database.addModel({ id: 'preset', base: 'granted' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'granted');
    database.grant('acme', 'open/*');
    opened = await openStore(database.path);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    expect(await opened.effect('ada', 'preset')).toBe('permit');
  });

  afterEach(async () => {
    opened[Symbol.dispose]();
    await other.release(database.path);
    database.close();
  });

  test('a grant that is switched off', async () => {
    await operator.run("UPDATE organization_models SET is_active = 0 WHERE model_id = 'granted'");
    expect(await opened.reason('ada', 'granted')).toBe('not_granted');
    await operator.run("UPDATE organization_models SET is_active = 1 WHERE model_id = 'granted'");
    expect(await opened.effect('ada', 'granted')).toBe('permit');
  });

  test('a grant that is deleted, replaced or added', async () => {
    await operator.run("DELETE FROM organization_models WHERE model_id = 'granted'");
    expect(await opened.effect('ada', 'granted')).toBe('deny');
    await operator.run(
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'granted')",
    );
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await operator.run(
      "INSERT OR REPLACE INTO organization_models (id, organization_id, model_id, is_active) VALUES ('x', 'acme', 'granted', 0)",
    );
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('every grant deleted at once', async () => {
    await operator.run('DELETE FROM organization_models');
    expect(await opened.grants('ada')).toEqual([]);
  });

  test('a membership that is switched off, and one that is moved to another organization', async () => {
    await operator.run('UPDATE organization_members SET is_active = 0');
    expect(await opened.reason('ada', 'granted')).toBe('no_organization');
    await operator.run("UPDATE organization_members SET is_active = 1, organization_id = 'other'");
    expect(await opened.reason('ada', 'granted')).toBe('not_granted');
  });

  test('a role', async () => {
    await operator.run(`UPDATE "user" SET role = 'pending'`);
    expect(await opened.reason('ada', 'granted')).toBe('role_not_permitted');
  });

  test('a user who is deleted', async () => {
    await operator.run('DELETE FROM "user"');
    expect(await opened.reason('ada', 'granted')).toBe('not_authenticated');
  });

  test('an API key that is deleted, and one that is made anew', async () => {
    expect(await opened.next().userOfApiKey('sk-ada')).toBe('ada');
    const [remove, renew] =
      setting.era === '0.6.18'
        ? ['UPDATE "user" SET api_key = NULL', `UPDATE "user" SET api_key = 'sk-new'`]
        : [
            'DELETE FROM api_key',
            `INSERT INTO api_key (id, user_id, "key", created_at, updated_at) VALUES ('k', 'ada', 'sk-new', 1, 1)`,
          ];
    await operator.run(remove);
    expect(await opened.next().userOfApiKey('sk-ada')).toBeUndefined();
    await operator.run(renew);
    expect(await opened.next().userOfApiKey('sk-ada')).toBeUndefined();
    expect(await opened.next().userOfApiKey('sk-new')).toBe('ada');
  });

  test('a preset whose base is changed, and one that is made', async () => {
    await operator.run("UPDATE model SET base_model_id = 'forbidden'");
    expect(await opened.reason('ada', 'preset')).toBe('preset_base_not_granted');
    expect(await opened.next().hasModelRow('fresh' as ModelId)).toBe(false);
    await operator.run("UPDATE model SET id = 'fresh', base_model_id = 'open/anything'");
    expect(await opened.next().hasModelRow('fresh' as ModelId)).toBe(true);
    expect(await opened.effect('ada', 'fresh')).toBe('permit');
  });

  test("a switch for the whole organization, in mAI's own table", async () => {
    database.addClientOrganization('acme', 1);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await operator.run('UPDATE client_organizations SET is_active = 0');
    expect(await opened.reason('ada', 'granted')).toBe('no_organization');
    await operator.run('UPDATE client_organizations SET is_active = NULL');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
  });

  test('our own table, dropped and made again without its triggers', async () => {
    await operator.run(`
      BEGIN;
      CREATE TABLE saved AS SELECT * FROM organization_models;
      DROP TABLE organization_models;
      CREATE TABLE organization_models (id TEXT, organization_id TEXT, model_id TEXT, is_active INTEGER);
      INSERT INTO organization_models SELECT id, organization_id, model_id, is_active FROM saved;
      COMMIT`);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await operator.run("UPDATE organization_models SET is_active = 0 WHERE model_id = 'granted'");
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('a trigger of ours that an idle one has replaced', async () => {
    await operator.run(`
      DROP TRIGGER modelgate_organization_models_update;
      CREATE TRIGGER modelgate_organization_models_update AFTER UPDATE ON organization_models BEGIN SELECT 1; END`);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await operator.run("UPDATE organization_models SET is_active = 0 WHERE model_id = 'granted'");
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('a change behind the back of our triggers, which are there again afterwards', async () => {
    const trigger = database.sql
      .prepare<[], string>("SELECT sql FROM sqlite_schema WHERE name = 'modelgate_organization_models_update'")
      .pluck()
      .get();
    await operator.run(`
      BEGIN;
      DROP TRIGGER modelgate_organization_models_update;
      UPDATE organization_models SET is_active = 0 WHERE model_id = 'granted';
      ${trigger ?? ''};
      COMMIT`);
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('nothing that is not committed', async () => {
    await operator.run("BEGIN IMMEDIATE; UPDATE organization_models SET is_active = 0 WHERE model_id = 'granted'");
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await operator.run('ROLLBACK');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
  });
});

test('a chat written by the backend leaves memberships and grants cached', async () => {
  using database = createDatabase();
  database.addUser({ id: 'ada' });
  database.addMember('acme', 'ada');
  database.grant('acme', 'granted');
  using opened = await openStore(database.path);
  const before = opened.next();
  const [set] = await before.grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' });
  database.addChat({ id: 'chat', user: 'ada', chat: {} });
  expect((await opened.next().grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' }))[0]).toBe(set);
  database.grant('acme', 'second');
  expect((await opened.next().grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' }))[0]).not.toBe(set);
});

test('members of one organization share one set of grants', async () => {
  using database = createDatabase();
  database.addMember('acme', 'ada');
  database.addMember('acme', 'bob');
  database.grant('acme', 'granted');
  using opened = await openStore(database.path);
  const view = opened.next();
  const [ofAda] = await view.grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' });
  expect((await view.grantsOf({ kind: 'user', id: 'bob' as never, role: 'user' }))[0]).toBe(ofAda);
});
