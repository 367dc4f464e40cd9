/** The deployment guide's own migration script, run by Python on a copy of the file, beside what modelgate writes. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { migrate } from '../../src/organizations/migration.ts';
import { type TestDatabase, ERAS, createDatabase } from '../support/database/database.ts';
import { ACME, inhabited, objectsOf, rowsOf } from '../support/database/migration-world.ts';
import { openStore } from '../support/database/opened-store.ts';
import { operationOn } from '../support/database/operation.ts';
import { runPython } from './python.ts';

const TABLES = ['organization_members', 'organization_models'] as const;
const UNTOUCHED = { journalMode: 'delete' } as const;

const migrateByScript = (path: string): string => runPython('migrate_to_organizations.py', [path, ACME.id, ACME.name]);

/** A copy of the file on which the script has run. */
function migratedByScript(database: TestDatabase): Database.Database {
  const path = join(database.directory, 'by-hand.db');
  database.sql.pragma('wal_checkpoint(TRUNCATE)');
  copyFileSync(database.path, path);
  migrateByScript(path);
  return new Database(path);
}

const columnsOf = (sql: Database.Database): unknown[] =>
  TABLES.map((table) => sql.prepare('SELECT * FROM pragma_table_info(?)').all(table));

function expectAsByScript(ours: Database.Database, theirs: Database.Database): void {
  expect(rowsOf(ours)).toEqual(rowsOf(theirs));
  expect(columnsOf(ours)).toEqual(columnsOf(theirs));
  expect(objectsOf(ours)).toEqual(expect.arrayContaining(objectsOf(theirs)));
  theirs.close();
}

describe.each(ERAS)('a database of %s', (era) => {
  test('gets from migrate the very rows and ids of the script', async () => {
    using database = inhabited({ era });
    const byScript = migratedByScript(database);
    const { figures } = await migrate(operationOn(database.path), ACME);
    expectAsByScript(database.sql, byScript);
    expect(figures).toMatchObject({
      users: { joined: 5, joined_admins: 1, joined_banned: 1, left_out_pending: 1, present: 0, left_out_id_taken: 0 },
      models: { linked: 2, linked_inactive: 1, left_out_presets: 1, left_out_id_taken: 0 },
      total: { members: 5, models: 2 },
      failed: [],
    });
  });

  test('gets from the start of the gate the very rows and ids of the script', async () => {
    using database = inhabited({ era, ...UNTOUCHED });
    // the script and `migrate` make banned users members, the start does not
    database.run(`DELETE FROM "user" WHERE role = 'banned'`);
    const byScript = migratedByScript(database);
    (await openStore(database.path, { organization: ACME, autoEnroll: true }))[Symbol.dispose]();
    expectAsByScript(database.sql, byScript);
  });

  test('that the script has migrated gets from migrate what came later', async () => {
    using database = inhabited({ era, ...UNTOUCHED });
    migrateByScript(database.path);
    database.addUser({ id: 'late' });
    const before = rowsOf(database.sql);
    const { figures } = await migrate(operationOn(database.path), ACME);
    expect(figures.users.joined).toBe(1);
    const [members = [], models = []] = rowsOf(database.sql);
    expect(members).toHaveLength(6);
    expect([members.filter((row) => !JSON.stringify(row).includes('late')), models]).toEqual(before);
  });

  test('that the script has migrated is used by the gate as it is', async () => {
    using database = inhabited({ era, ...UNTOUCHED });
    migrateByScript(database.path);
    const before = rowsOf(database.sql);
    using opened = await openStore(database.path, { organization: ACME, autoEnroll: true });
    expect(await opened.effect('ada', 'openai/gpt-4o:free')).toBe('permit');
    expect(rowsOf(database.sql)).toEqual(before);
  });
});

test('whose ids collide are left out as the script leaves them out, and that is said', async () => {
  using database = createDatabase();
  for (const id of ['a', 'a_b']) database.addUser({ id });
  database.run(`INSERT INTO organization_members (id, organization_id, user_id) VALUES ('om_a_${ACME.id}', 'x', 'y')`);
  const byScript = migratedByScript(database);
  const { figures } = await migrate(operationOn(database.path), ACME);
  expect(figures).toMatchObject({
    users: { joined: 1, left_out_id_taken: 1 },
    models: { left_out_id_taken: 0 },
  });
  expect(rowsOf(database.sql)[0]).toEqual(rowsOf(byScript)[0]);
  byScript.close();
});
