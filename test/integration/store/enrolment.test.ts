import { asNobody } from '../../support/process/as-nobody.ts';
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { openStore } from '../../support/database/opened-store.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

const ENROL = { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true };

let other: OtherProcess;
beforeAll(async () => void (other = await openOtherProcess()));
afterAll(() => other.close());

/** One model is granted, and one user is linked already: no other is at the start. */
function prepared(): TestDatabase {
  const database = createDatabase({ era: '0.6.18' });
  database.addUser({ id: 'first' });
  database.addMember('acme', 'first');
  database.grant('acme', 'granted');
  return database;
}

const membersOf = (database: TestDatabase): unknown[] =>
  database.sql.prepare('SELECT id, role, is_active FROM organization_members ORDER BY id').all();

test('a new user is enrolled when first seen, and served in the same request', async () => {
  using database = prepared();
  using opened = await openStore(database.path, ENROL);
  database.addUser({ id: 'ada' });
  database.addUser({ id: 'root', role: 'admin' });
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  expect(await opened.effect('root', 'granted')).toBe('permit');
  expect(membersOf(database)).toEqual([
    { id: 'om_ada_acme', role: 'member', is_active: 1 },
    { id: 'om_first_acme', role: 'member', is_active: 1 },
    { id: 'om_root_acme', role: 'admin', is_active: 1 },
  ]);
});

test('a pending or banned user is not, and is as soon as an administrator has let them in', async () => {
  using database = prepared();
  using opened = await openStore(database.path, ENROL);
  database.addUser({ id: 'ada', role: 'pending' });
  database.addUser({ id: 'eve', role: 'banned' });
  await opened.next().grantsOf({ kind: 'user', id: 'ada' as never, role: 'pending' });
  expect(await opened.reason('ada', 'granted')).toBe('role_not_permitted');
  expect(await opened.reason('eve', 'granted')).toBe('role_not_permitted');
  expect(membersOf(database)).toHaveLength(1);
  database.run(`UPDATE "user" SET role = 'user' WHERE id = 'ada'`);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
});

test('a role that the request still believes in does not enrol a user who has lost it', async () => {
  using database = prepared();
  using opened = await openStore(database.path, ENROL);
  database.addUser({ id: 'ada', role: 'banned' });
  expect(await opened.next().grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' })).toEqual([]);
  expect(await opened.next().grantsOf({ kind: 'user', id: 'nobody' as never, role: 'user' })).toEqual([]);
  expect(membersOf(database)).toHaveLength(1);
});

test('a membership that was switched off stays off', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  database.addMember('acme', 'ada', 0);
  using opened = await openStore(database.path, ENROL);
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(membersOf(database)).toContainEqual({ id: 'om_ada_acme', role: 'member', is_active: 0 });
});

test.each([
  ['switched on', 1, ['other: elsewhere']],
  ['switched off', 0, []],
  ['on by default', null, ['other: elsewhere']],
] as const)(
  'a user with a membership elsewhere, %s, does not join this organization',
  async (_name, active, grants) => {
    using database = prepared();
    database.addUser({ id: 'ada' });
    database.addMember('other', 'ada', active);
    database.grant('other', 'elsewhere');
    using opened = await openStore(database.path, ENROL);
    expect(await opened.grants('ada')).toEqual(grants);
    expect(await opened.effect('ada', 'granted')).toBe('deny');
    expect(membersOf(database)).toHaveLength(2);
  },
);

test('a row that names no organization is a decision all the same, and costs no request an attempt to write', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  database.run("INSERT INTO organization_members (id, organization_id, user_id) VALUES ('x', x'07', 'ada')");
  using opened = await openStore(database.path, ENROL);
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(membersOf(database)).toHaveLength(2);
});

test('a table made by hand gets the columns that it has', async () => {
  using database = createDatabase({ organizationTables: 'none' });
  database.sql.exec(`
    CREATE TABLE organization_members (id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT);
    CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
    INSERT INTO organization_members (organization_id, user_id) VALUES ('acme', 'first');
    INSERT INTO organization_models VALUES ('acme', 'granted')`);
  database.addUser({ id: 'ada' });
  using opened = await openStore(database.path, ENROL);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  const members = database.sql.prepare('SELECT user_id FROM organization_members ORDER BY id').pluck().all();
  expect(members).toEqual(['first', 'ada']);
});

test('a user is enrolled where the id that the guide makes for the row is taken', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  database.run("INSERT INTO organization_members (id, organization_id, user_id) VALUES ('om_ada_acme', 'x', 'y')");
  using opened = await openStore(database.path, ENROL);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  const id = database.sql.prepare("SELECT id FROM organization_members WHERE user_id = 'ada'").pluck().get();
  expect(id).toMatch(/^om_ada_acme_[\da-f-]{36}$/);
});

test.each([
  ['auto-enrolment is off', { ...ENROL, autoEnroll: false }],
  ['no organization is named', { autoEnroll: true }],
])('no user is enrolled where %s', async (_name, options) => {
  using database = prepared();
  using opened = await openStore(database.path, options);
  database.addUser({ id: 'ada' });
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(membersOf(database)).toHaveLength(1);
});

test('a database that is locked costs the membership and not the request, and is tried again later', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database.path, ENROL);
  await other.run(database.path, 'BEGIN IMMEDIATE');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toHaveLength(1);
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toHaveLength(1);
  await other.run(database.path, 'ROLLBACK');
  opened.clock.advance(5_001);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  await other.release(database.path);
});

test('a read-only database costs the membership and not the request', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database.path, ENROL);
  chmodSync(database.path, 0o444);
  chmodSync(database.directory, 0o755);
  expect(await asNobody(() => opened.reason('ada', 'granted'))).toBe('no_organization');
});

test('a full disk costs the membership and not the request, is reported as what it is, and counted', async () => {
  using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
  database.sql.exec(`CREATE TABLE organization_members (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT,
    organization_id TEXT, user_id TEXT, role TEXT, is_active INTEGER DEFAULT 1, joined_at INTEGER)`);
  const lastNumber = (number: string) =>
    database.run(`INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)
      VALUES (1, 'organization_members', ${number})`);
  for (const id of ['first', 'ada', 'eve']) database.addUser({ id });
  database.addMember('acme', 'first');
  using opened = await openStore(database.path, ENROL);
  const { store, clock } = opened;
  database.grant('acme', 'granted');
  expect((await store.health()).writeProblem).toBeUndefined();
  // there is no number left, which SQLite reports with the very code of a full disk
  lastNumber('9223372036854775807');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  const FULL = /SQLITE_FULL: the disk is full/;
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toMatchObject([
    expect.stringMatching(FULL),
  ]);
  clock.advance(12_000);
  expect(await store.health()).toMatchObject({ readable: true, writeProblem: expect.stringMatching(FULL) as string });
  expect((await store.health()).writeProblem).toMatch(/^a new user could not be enrolled 12 s ago: /);
  expect(store.figures().writeErrors).toEqual([{ write: 'enrolment', code: 'SQLITE_FULL', count: 1 }]);
  // no user who could be enrolled may have come since
  clock.advance(3_600_000);
  expect((await store.health()).writeProblem).toBeUndefined();
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect((await store.health()).writeProblem).toMatch(FULL);
  lastNumber('10');
  clock.advance(6_000);
  expect(await opened.effect('eve', 'granted')).toBe('permit');
  expect((await store.health()).writeProblem).toBeUndefined();
});

test('a lock is no trouble with writing', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database.path, ENROL);
  await other.run(database.path, 'BEGIN IMMEDIATE');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect((await opened.store.health()).writeProblem).toBeUndefined();
  expect(opened.store.figures().writeErrors).toMatchObject([{ code: 'SQLITE_BUSY' }]);
  await other.release(database.path);
});

test('two gates that see a new user at the same time enrol one membership', async () => {
  using database = prepared();
  database.addUser({ id: 'ada' });
  using one = await openStore(database.path, ENROL);
  using two = await openStore(database.path, ENROL);
  expect(await one.effect('ada', 'granted')).toBe('permit');
  expect(await two.effect('ada', 'granted')).toBe('permit');
  expect(membersOf(database)).toHaveLength(2);
});
