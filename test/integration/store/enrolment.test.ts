import { expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { ENROL, createEnrollingDatabase } from '../../support/database/enrolling.ts';
import { openStore } from '../../support/database/opened-store.ts';

const membersOf = (database: TestDatabase): unknown[] =>
  database.rows('SELECT id, role, is_active FROM organization_members ORDER BY id');

test('a new user is enrolled when first seen, and served in the same request', async () => {
  using database = createEnrollingDatabase();
  using opened = await openStore(database, ENROL);
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
  using database = createEnrollingDatabase();
  using opened = await openStore(database, ENROL);
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
  using database = createEnrollingDatabase();
  using opened = await openStore(database, ENROL);
  database.addUser({ id: 'ada', role: 'banned' });
  expect(await opened.next().grantsOf({ kind: 'user', id: 'ada' as never, role: 'user' })).toEqual([]);
  expect(await opened.next().grantsOf({ kind: 'user', id: 'nobody' as never, role: 'user' })).toEqual([]);
  expect(membersOf(database)).toHaveLength(1);
});

test('a membership that was switched off stays off', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  database.addMember('acme', 'ada', 0);
  using opened = await openStore(database, ENROL);
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
    using database = createEnrollingDatabase();
    database.addUser({ id: 'ada' });
    database.addMember('other', 'ada', active);
    database.grant('other', 'elsewhere');
    using opened = await openStore(database, ENROL);
    expect(await opened.grants('ada')).toEqual(grants);
    expect(await opened.effect('ada', 'granted')).toBe('deny');
    expect(membersOf(database)).toHaveLength(2);
  },
);

test('a table made by hand gets the columns that it has', async () => {
  using database = createDatabase({ organizationTables: 'none' });
  database.sql.exec(`
    CREATE TABLE organization_members (id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT);
    CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
    INSERT INTO organization_members (organization_id, user_id) VALUES ('acme', 'first');
    INSERT INTO organization_models VALUES ('acme', 'granted')`);
  database.addUser({ id: 'ada' });
  using opened = await openStore(database, ENROL);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  const members = database.rows('SELECT user_id FROM organization_members ORDER BY id');
  expect(members).toEqual([{ user_id: 'first' }, { user_id: 'ada' }]);
});

test('a user is enrolled where the id that the guide makes for the row is taken', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  database.run("INSERT INTO organization_members (id, organization_id, user_id) VALUES ('om_ada_acme', 'x', 'y')");
  using opened = await openStore(database, ENROL);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  const [row] = database.rows("SELECT id FROM organization_members WHERE user_id = 'ada'");
  expect(row?.['id']).toMatch(/^om_ada_acme_[\da-f-]{36}$/);
});

test.each([
  ['auto-enrolment is off', { ...ENROL, autoEnroll: false }],
  ['no organization is named', { autoEnroll: true }],
])('no user is enrolled where %s', async (_name, options) => {
  using database = createEnrollingDatabase();
  using opened = await openStore(database, options);
  database.addUser({ id: 'ada' });
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(membersOf(database)).toHaveLength(1);
});

test('two gates that see a new user at the same time enrol one membership', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  using one = await openStore(database, ENROL);
  using two = await openStore(database, ENROL);
  expect(await one.effect('ada', 'granted')).toBe('permit');
  expect(await two.effect('ada', 'granted')).toBe('permit');
  expect(membersOf(database)).toHaveLength(2);
});
