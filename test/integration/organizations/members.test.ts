import { setImmediate } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { addAllUsers, addMembers, listMembers, removeMembers } from '../../../src/organizations/members.ts';
import type { ChosenOrganization } from '../../../src/organizations/organizations.ts';
import { ERAS, type DatabaseOptions, type TestDatabase } from '../../support/database/database.ts';
import { testOfFile } from '../../support/database/policy-place.ts';
import { databaseOfTest } from '../../support/database/opened-store.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { failureOf, flattened, operationOf, operationOn } from '../../support/database/operation.ts';

const ACME = 'mai_client_acme';
const chosen = (id = ACME, more: Partial<ChosenOrganization> = {}): ChosenOrganization => ({
  id,
  isConfigured: false,
  mayBeNew: true,
  ...more,
});

/** A user of each kind that the guide distinguishes, and of kinds that it does not know. */
function people(options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest(options);
  database.addUser({ id: 'root', role: 'admin' });
  for (const id of ['ada', 'bob', 'cyd']) database.addUser({ id, email: `${id}@Example.org` });
  database.addUser({ id: 'pen', role: 'pending' });
  database.addUser({ id: 'ban', role: 'banned' });
  return database;
}

const add = async (database: TestDatabase, named: string[], role?: string, organization = chosen()) =>
  flattened(addMembers(await operationOf(database), organization, { named, role }));
const addAll = async (database: TestDatabase, organization = chosen()) =>
  flattened(addAllUsers(await operationOf(database), organization));
const remove = async (database: TestDatabase, named: string[], purge = false) =>
  flattened(removeMembers(await operationOf(database), chosen(ACME, { mayBeNew: false }), { named, purge }));
const list = async (database: TestDatabase) => (await listMembers(await operationOf(database), chosen())).members;

const rowsOf = (database: TestDatabase): Record<string, unknown>[] =>
  database.rows('SELECT * FROM organization_members ORDER BY organization_id, user_id');
/** A row as the guide writes it at another second is the same row. */
const withoutTimes = (rows: readonly Record<string, unknown>[]) =>
  rows.map((row) => ({ ...row, joined_at: typeof row['joined_at'] }));

describe.each(ERAS)('on a database of %s', (era) => {
  test("a user who is added has the row of the guide's statement", async () => {
    const [ours, theirs] = [people({ era }), people({ era })];
    await add(ours, ['ada']);
    // the guide, "Adding Users to Organization", with its placeholders filled in
    theirs.sql.exec(`
      INSERT INTO organization_members (id, organization_id, user_id, role, is_active, joined_at)
      VALUES (
          'om_' || 'ada' || '_' || 'mai_client_acme',
          'mai_client_acme',
          'ada',
          'member',
          1,
          strftime('%s', 'now')
      );`);
    expect(withoutTimes(rowsOf(ours))).toEqual(withoutTimes(rowsOf(theirs)));
    expect(Number(rowsOf(ours)[0]?.['joined_at'])).toBeCloseTo(Date.now() / 1000, -2);
  });

  test("each added user has the rows of the guide's statement, and a user who had one keeps it", async () => {
    const [ours, theirs] = [people({ era }), people({ era })];
    for (const database of [ours, theirs]) {
      database.addMember(ACME, 'bob', 0);
      database.addMember(ACME, 'cyd', null);
      database.addMember('globex', 'ada');
    }
    const done = await addAll(ours);
    theirs.sql.exec(`
      INSERT OR IGNORE INTO organization_members (id, organization_id, user_id, role, is_active, joined_at)
      SELECT
          'om_' || user.id || '_' || 'mai_client_acme',
          'mai_client_acme',
          user.id,
          'member',
          1,
          strftime('%s', 'now')
      FROM user
      WHERE user.role NOT IN ('pending', 'banned');`);
    expect(withoutTimes(rowsOf(ours))).toEqual(withoutTimes(rowsOf(theirs)));
    expect(done).toEqual({
      organization: ACME,
      created: false,
      added: 2,
      members_already: 2,
      switched_off: 1,
      skipped: 2,
      firstTime: 1,
      isActive: true,
    });
  });

  test('an address is found in any letter case, and an id before an address', async () => {
    const database = people({ era });
    database.addUser({ id: 'bob@example.org', email: 'other@example.org' });
    const { members } = await add(database, ['ADA@EXAMPLE.ORG', 'bob@example.org', 'cyd']);
    expect(members.map(({ id }) => id)).toEqual(['ada', 'bob@example.org', 'cyd']);
  });
});

describe('who is named', () => {
  test('twice, by id and by address, is added once', async () => {
    const database = people();
    expect((await add(database, ['ada', 'ada@example.org', 'ada'])).members).toHaveLength(1);
  });

  test('gets the role that is asked for, and keeps the one there is where none is', async () => {
    const database = people();
    await add(database, ['ada'], 'admin');
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('unchanged');
    expect(rowsOf(database)[0]?.['role']).toBe('admin');
    expect((await add(database, ['ada'], 'member')).members[0]?.outcome).toBe('role_changed');
    expect(rowsOf(database)[0]?.['role']).toBe('member');
  });

  test.each([
    ['pen', /"pen" is pending: an admin of the backend has to approve the user first\. No user was added\./],
    ['ban', /"ban" is banned in the backend\. No user was added\./],
    ['nobody', /knows no user with the id or e-mail address "nobody"\. No user was added\./],
    ['\u001b]52;c;eA==\u0007', /"\\u001b\]52;c;eA==\\u0007"\. No user was added/],
  ])('%j is refused, and then no user is added', async (wrong, said) => {
    const database = people();
    expect(await failureOf(add(database, ['ada', wrong]))).toMatch(said);
    expect(rowsOf(database)).toEqual([]);
  });

  test('wrongly in several ways hears of all of them', async () => {
    const message = await failureOf(add(people(), ['ada', 'pen', 'nobody']));
    expect(message.split('\n')).toEqual([
      'No user was added. 2 names are in the way:',
      '  "pen" is pending: an admin of the backend has to approve the user first.',
      '  The backend knows no user with the id or e-mail address "nobody".',
    ]);
  });

  test('by an address of two users has to be named by id', async () => {
    const database = people({ era: '0.6.18' });
    for (const [id, email] of [
      ['x', 'twin@example.org'],
      ['y', 'TWIN@example.org'],
    ] as const) {
      database.addUser({ id, email });
    }
    expect(await failureOf(add(database, ['twin@example.org']))).toContain('Several users');
    expect((await add(database, ['x'])).members).toHaveLength(1);
  });
});

testOfFile('while very many are added, others can go on reading, also outside of WAL mode', async () => {
  const database = people({ era: '0.6.18' });
  database.sql.transaction(() => {
    // long ids, so that a few of them are more than SQLite keeps in memory without being asked to
    for (let user = 0; user < 4_000; user++) database.addUser({ id: `${user}-${'x'.repeat(2_000)}`, email: 'x' });
  })();
  const reader = new Database(database.path, { readonly: true, timeout: 0 });
  const seen = { isDone: false, counts: [] as unknown[] };
  const adding = addAllUsers(operationOn(database.path), chosen()).finally(() => (seen.isDone = true));
  // between the statement and the commit the event loop runs once
  for (; !seen.isDone; await setImmediate()) {
    seen.counts.push(reader.prepare('SELECT count(*) FROM organization_members').pluck().get());
  }
  const { record: done } = await adding;
  reader.close();
  expect(done.added).toBe(4_004);
  expect(seen.counts).toContain(0);
});

describe('two pairs for which the guide makes the same id', () => {
  const both = (database: TestDatabase) =>
    rowsOf(database).map((row) => `${String(row['organization_id'])}: ${String(row['user_id'])}`);

  test('are both members when they are named', async () => {
    const database = people();
    database.addUser({ id: 'ada_x' });
    await add(database, ['ada_x'], undefined, chosen('org'));
    await add(database, ['ada'], undefined, chosen('x_org'));
    expect(both(database)).toEqual(['org: ada_x', 'x_org: ada']);
  });

  test('are both members when all users are added', async () => {
    const database = people();
    database.addUser({ id: 'ada_x' });
    await addAll(database, chosen('org'));
    expect(await addAll(database, chosen('x_org'))).toMatchObject({ added: 5 });
    expect(await addAll(database, chosen('x_org'))).toMatchObject({ added: 0, members_already: 5 });
    expect(both(database)).toContain('x_org: ada');
  });
});

describe('who is removed', () => {
  test('keeps a row that is off, and is distinguished from a member whose row was off', async () => {
    const database = people();
    database.addMember(ACME, 'ada');
    database.addMember(ACME, 'bob', 0);
    database.addMember(ACME, 'cyd', null);
    database.addMember('globex', 'ada');
    const { members } = await remove(database, ['ADA@example.org', 'bob', 'cyd']);
    expect(members.map(({ id, outcome }) => [id, outcome])).toEqual([
      ['ada', 'switched_off'],
      ['bob', 'off_already'],
      ['cyd', 'switched_off'],
    ]);
    expect(rowsOf(database).map((row) => row['is_active'])).toEqual([1, 0, 0, 0]);
  });

  test('with --purge has no row any more', async () => {
    const database = people();
    database.addMember(ACME, 'ada');
    database.addMember(ACME, 'bob', 0);
    expect(await remove(database, ['ada'], true)).toMatchObject({ isEmpty: false });
    expect(await remove(database, ['bob'], true)).toMatchObject({ isEmpty: true, members: [{ outcome: 'deleted' }] });
    expect(rowsOf(database)).toEqual([]);
  });

  test('may be a user whom the backend has deleted', async () => {
    const database = people();
    database.addMember(ACME, 'long-gone');
    expect((await remove(database, ['long-gone'])).members).toEqual([
      { id: 'long-gone', email: null, outcome: 'switched_off' },
    ]);
  });

  test('must be a member, or no user is removed', async () => {
    const database = people();
    database.addMember(ACME, 'ada');
    expect(await failureOf(remove(database, ['ada', 'bob']))).toBe(
      '"bob" is no member of "mai_client_acme". No user was removed.',
    );
    expect(await failureOf(remove(database, ['nobody']))).toContain('Neither has "mai_client_acme" such a member.');
    expect(rowsOf(database)[0]?.['is_active']).toBe(1);
  });
});

describe('an organization without users', () => {
  test("is known where only mAI's table names it", async () => {
    const database = people();
    database.addClientOrganization('globex', 0);
    expect(await add(database, ['ada'], undefined, chosen('globex', { mayBeNew: false }))).toMatchObject({
      created: false,
      isActive: false,
    });
  });
});

describe("mAI's own tables", () => {
  function withMai(): TestDatabase {
    const database = people({ era: '0.6.18', organizationTables: 'none' });
    createMaiTables(database);
    database.addClientOrganization(ACME, 1);
    database.run(`INSERT INTO organization_members VALUES ('uuid-1', ?, 'ada', 'member', 0, 5)`, ACME);
    return database;
  }

  test('keep the ids and times that mAI has given', async () => {
    const database = withMai();
    await add(database, ['ada']);
    expect(rowsOf(database)).toEqual([
      { id: 'uuid-1', organization_id: ACME, user_id: 'ada', role: 'member', is_active: 1, joined_at: 5 },
    ]);
  });

  test('take all other users', async () => {
    const database = withMai();
    expect(await addAll(database)).toMatchObject({ added: 3, members_already: 1, switched_off: 1 });
    expect(rowsOf(database).every((row) => Number.isInteger(row['joined_at']))).toBe(true);
  });
});

describe('tables made by hand', () => {
  function byHand(columns: string): TestDatabase {
    const database = people({ organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
      CREATE TABLE organization_members (${columns});`);
    return database;
  }

  test('without any optional column take members, each once', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT');
    await add(database, ['ada']);
    expect(await addAll(database)).toMatchObject({ added: 3, members_already: 1, switched_off: 0 });
    expect(await addAll(database)).toMatchObject({ added: 0, members_already: 4 });
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('unchanged');
    expect(rowsOf(database)).toHaveLength(4);
  });

  test('without is_active cannot switch a member off, and say what can be done', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT');
    await add(database, ['ada']);
    expect(await failureOf(remove(database, ['ada']))).toMatch(/no column is_active.*--purge/);
    expect(await remove(database, ['ada'], true)).toMatchObject({ isEmpty: true });
  });

  test('that number their rows themselves go on doing so', async () => {
    const database = byHand('id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT');
    await add(database, ['ada']);
    await addAll(database);
    const [first, ...others] = rowsOf(database).map((row) => Number(row['id']));
    expect(others).toEqual([1, 2, 3].map((more) => Number(first) + more));
  });

  test('with a rule of their own say it', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT, invited_by TEXT NOT NULL');
    for (const attempt of [() => add(database, ['ada']), () => addAll(database)]) {
      expect(await failureOf(attempt())).toMatch(
        /does not take the row: (NOT NULL constraint failed: organization_members.invited_by|.* null value in column "invited_by" .*\(23502\))\. Nothing/,
      );
    }
  });

  test('that compute is_active take a row that counts, and say where a row cannot be switched', async () => {
    const database = byHand(`organization_id TEXT, user_id TEXT, state TEXT,
      is_active INTEGER GENERATED ALWAYS AS (CASE WHEN coalesce(state, 'on') = 'on' THEN 1 ELSE 0 END) STORED`);
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('added');
    expect(await failureOf(remove(database, ['ada']))).toContain('no column is_active that can be written');
    database.run("UPDATE organization_members SET state = 'off'");
    expect(await failureOf(add(database, ['ada']))).toContain('one that does not count');
    expect((await remove(database, ['ada'], true)).members[0]?.outcome).toBe('deleted');
  });

  testOfFile('that are views cannot be written, and say so', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT, is_active INTEGER');
    database.sql.exec(`ALTER TABLE organization_members RENAME TO people;
      CREATE VIEW organization_members AS SELECT * FROM people; INSERT INTO people VALUES ('${ACME}', 'ada', 1)`);
    for (const attempt of [add(database, ['bob']), addAll(database), remove(database, ['ada'])]) {
      expect(await failureOf(attempt)).toContain('because it is a view');
    }
    expect((await list(database)).map(({ id }) => id)).toEqual(['ada']);
  });

  testOfFile('that are views with triggers of their own take a member once', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT, is_active INTEGER');
    database.sql.exec(`ALTER TABLE organization_members RENAME TO people;
      CREATE VIEW organization_members AS SELECT * FROM people;
      CREATE TRIGGER taken INSTEAD OF INSERT ON organization_members
      BEGIN INSERT INTO people VALUES (new.organization_id, new.user_id, new.is_active); END;
      CREATE TRIGGER switched INSTEAD OF UPDATE ON organization_members
      BEGIN UPDATE people SET is_active = new.is_active WHERE user_id = old.user_id; END`);
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('added');
    await addAll(database);
    expect(rowsOf(database).map((row) => row['user_id'])).toEqual(['ada', 'bob', 'cyd', 'root']);
  });

  test('with names in upper case are the same tables', async () => {
    const database = byHand('ORGANIZATION_ID TEXT, USER_ID TEXT, ROLE TEXT, IS_ACTIVE INTEGER');
    await add(database, ['ada'], 'admin');
    expect(await list(database)).toMatchObject([{ id: 'ada', organization_role: 'admin', active: true }]);
    expect((await remove(database, ['ada'])).members[0]?.outcome).toBe('switched_off');
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('restored');
  });

  test('that hold a user twice switch both rows', async () => {
    const database = byHand('organization_id TEXT, user_id TEXT, is_active INTEGER');
    database.run('INSERT INTO organization_members VALUES (?, ?, 1), (?, ?, 0)', ACME, 'ada', ACME, 'ada');
    expect((await remove(database, ['ada'])).members[0]?.outcome).toBe('switched_off');
    expect(rowsOf(database).map((row) => row['is_active'])).toEqual([0, 0]);
    expect((await add(database, ['ada'])).members[0]?.outcome).toBe('restored');
    expect(rowsOf(database).map((row) => row['is_active'])).toEqual([1, 1]);
  });
});

test('a list says who does not count, and why', async () => {
  const database = people();
  for (const user of ['ada', 'pen', 'ban', 'long-gone', 'root']) database.addMember(ACME, user);
  database.addMember(ACME, 'bob', 0);
  database.addMember(ACME, 'cyd', null);
  database.addMember('globex', 'ada');
  const obstacles = async () => Object.fromEntries((await list(database)).map((one) => [one.id, one.reasons]));
  const expected = {
    ada: [],
    cyd: [],
    root: [],
    bob: ['inactive'],
    pen: ['pending'],
    ban: ['banned'],
    'long-gone': ['unknown_user'],
  };
  expect(await obstacles()).toEqual(expected);
  database.addClientOrganization(ACME, 0);
  expect(await obstacles()).toEqual(
    Object.fromEntries(Object.entries(expected).map(([id, why]) => [id, [...why, 'organization_inactive']])),
  );
});
