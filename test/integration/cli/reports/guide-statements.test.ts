/** The report and the audit, beside the statements of the deployment guide on the same rows. */
import { copyFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import type { AccessAudit, AccessReport } from '../../../../src/organizations/access.ts';
import type { DatabaseOptions, TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest, openStore } from '../../../support/database/opened-store.ts';
import {
  GUIDE_AUDIT_ADMINS,
  GUIDE_AUDIT_ORGANIZATIONS,
  GUIDE_REPORT_VIEW,
} from '../../../support/database/guide-sql.ts';
import { HOSTILE } from '../../../support/gate/hostile-values.ts';
import { createMaiTables } from '../../../support/database/mai-tables.ts';
import { runCommand } from '../../../support/process/command.ts';

type Kind = '0.6.18' | '0.12.4' | 'mAI';
const KINDS: readonly Kind[] = ['0.6.18', '0.12.4', 'mAI'];

function empty(kind: Kind, options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest(
    kind === 'mAI' ? { era: '0.6.18', organizationTables: 'none', ...options } : { era: kind, ...options },
  );
  if (kind === 'mAI') createMaiTables(database);
  return database;
}

/** Rows of every kind that the statements tell apart. */
function peopled(kind: Kind): TestDatabase {
  const database = empty(kind);
  const member = (organization: string, user: string, active = 1) =>
    database.run(
      'INSERT INTO organization_members (id, organization_id, user_id, is_active, joined_at) VALUES (?, ?, ?, ?, 1)',
      ...[`row ${organization} ${user}`, organization, user, active],
    );
  const grant = (organization: string, model: string, active = 1) =>
    database.run(
      `INSERT INTO organization_models (id, organization_id, model_id, is_active, created_at, updated_at)
       VALUES (?, ?, ?, ?, 1, 1)`,
      ...[`row ${organization} ${model}`, organization, model, active],
    );
  for (const id of ['a', 'b', 'c', 'unlinked']) database.addModel({ id, name: `Model ${id.toUpperCase()}` });
  database.addModel({ id: 'b-too', name: 'Model B' });
  database.addModel({ id: 'with, comma', name: 'One, two' });
  database.addModel({ id: 'preset', base: 'a', name: 'Helper' });
  for (const id of ['ann', 'bob', 'cyd', 'off', 'none']) database.addUser({ id });
  for (const id of ['ada', 'eve', 'out']) database.addUser({ id, role: 'admin' });
  database.addUser({ id: 'pen', role: 'pending' });
  database.run('UPDATE "user" SET last_active_at = 1700000900 WHERE id = ?', 'eve');
  for (const [key, value] of Object.entries(HOSTILE)) {
    database.addUser({ id: value, email: value, name: value });
    database.addModel({ id: `id of ${key}`, name: value });
    member(value, value);
    grant(value, `id of ${key}`);
  }
  for (const user of ['ann', 'cyd', 'ada', 'pen', 'deleted']) member('acme', user);
  member('acme', 'off', 0);
  member('acme', 'eve', 0);
  for (const user of ['bob', 'cyd', 'eve']) member('globex', user);
  member('without models', 'ann');
  member('all off', 'ann');
  for (const model of ['a', 'b', 'b-too', 'preset', 'with, comma', 'vendor/*', 'no row']) grant('acme', model);
  grant('acme', 'c', 0);
  grant('globex', 'c');
  grant('all off', 'a', 0);
  grant('without members', 'a');
  return database;
}

/** The guide's own statements, on a copy of the file. */
function guide(database: TestDatabase, ask: (sql: Database.Database) => Record<string, unknown>[]) {
  database.sql.pragma('wal_checkpoint(TRUNCATE)');
  const copy = `${database.path}.copy`;
  copyFileSync(database.path, copy);
  const sql = new Database(copy);
  try {
    return ask(sql);
  } finally {
    sql.close();
  }
}

const guideReport = (database: TestDatabase) =>
  guide(database, (sql) => {
    sql.exec('DROP VIEW IF EXISTS user_model_access_report');
    sql.exec(GUIDE_REPORT_VIEW);
    return sql.prepare<[], Record<string, unknown>>('SELECT * FROM user_model_access_report').all();
  });

/** Notes on standard error are none of these tests' business. */
async function ask<T>({ path }: TestDatabase, words: readonly string[], environment = {}): Promise<T> {
  const { code, stdout, stderr } = await runCommand([...words, '--json', '--database', path], { environment });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

const read = (database: TestDatabase, organization?: string, environment = {}): Promise<AccessReport> =>
  ask(database, ['report', ...(organization === undefined ? [] : ['--org', organization])], environment);

const audit = (database: TestDatabase): Promise<AccessAudit> => ask(database, ['audit']);

/** In the columns of the view; names as a sorted list, because SQLite promises no order. */
const asView = ({ rows }: AccessReport) =>
  rows.map((row) => ({
    user_email: row.email,
    user_name: row.name,
    organization_id: row.organization,
    accessible_models: row.model_count,
    model_names: row.model_names.join(',').split(',').toSorted().join(),
  }));

const sorted = (rows: readonly object[]) =>
  rows.toSorted((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));

describe.each(KINDS)('the report on %s', (kind) => {
  test("has the rows of the guide's view", async () => {
    const database = peopled(kind);
    const expected = guideReport(database).map((row) => ({
      ...row,
      model_names: String(row['model_names']).split(',').toSorted().join(),
    }));
    expect(expected.length).toBeGreaterThan(6 + Object.keys(HOSTILE).length);
    expect(sorted(asView(await read(database)))).toEqual(sorted(expected));
  });

  test('of one organization has its rows alone', async () => {
    const database = peopled(kind);
    const expected = guideReport(database).filter((row) => row['organization_id'] === 'globex');
    expect(sorted(asView(await read(database, 'globex')))).toEqual(sorted(expected));
    expect(asView(await read(database, 'without members'))).toEqual([]);
    await expect(read(database, 'globe')).rejects.toThrow(/There is no organization "globe"\. Did you mean "globex"\?/);
  });

  test('does not need the view, and is not led astray by another one of its name', async () => {
    const database = peopled(kind);
    const before = asView(await read(database));
    database.sql.exec(
      `DROP VIEW IF EXISTS user_model_access_report; CREATE VIEW user_model_access_report AS SELECT 'x' AS user_email`,
    );
    expect(asView(await read(database))).toEqual(before);
  });

  test('counts a flag that is NULL as the gate does: switched on', async () => {
    const database = empty(kind);
    database.addUser({ id: 'ann' });
    database.addModel({ id: 'a', name: 'A' });
    for (const [table, key, value] of [
      ['organization_members', 'user_id', 'ann'],
      ['organization_models', 'model_id', 'a'],
    ] as const) {
      const time = table === 'organization_members' ? 'joined_at' : 'created_at, updated_at';
      const times = table === 'organization_members' ? '1' : '1, 1';
      database.run(
        `INSERT INTO ${table} (id, organization_id, ${key}, is_active, ${time}) VALUES ('row', 'acme', ?, NULL, ${times})`,
        value,
      );
    }
    expect(asView(await read(database))).toEqual([
      {
        user_email: 'ann@example.org',
        user_name: 'ann',
        organization_id: 'acme',
        accessible_models: 1,
        model_names: 'A',
      },
    ]);
  });
});

describe('the report', () => {
  test('says how many grants the view does not count', async () => {
    const database = peopled('0.12.4');
    expect((await read(database)).not_counted).toEqual({
      prefix_grants: 1,
      grants_without_row: 1,
      inactive_organizations: 0,
      refused_users: 1,
      not_enrolled: 0,
    });
    expect((await read(database, 'globex')).not_counted).toMatchObject({ prefix_grants: 0, grants_without_row: 0 });
  });

  test('says how many organizations mAI has switched off, which the view does not look at', async () => {
    const database = peopled('mAI');
    database.addClientOrganization('acme', 0);
    database.addClientOrganization('globex', null);
    database.addClientOrganization('without members', 0);
    const { rows, not_counted: rest } = await read(database);
    expect(rest.inactive_organizations).toBe(1);
    expect(rows.some(({ organization }) => organization === 'acme')).toBe(true);
  });

  test('says of each row whether the gate gives it, and why not', async () => {
    const database = peopled('0.12.4');
    database.addUser({ id: 'outlaw', role: 'banned' });
    database.addUser({ id: 'roleless' });
    database.run('UPDATE "user" SET role = NULL WHERE id = ?', 'roleless');
    for (const user of ['outlaw', 'roleless']) database.addMember('globex', user);
    database.addClientOrganization('acme', 0);
    const { rows, not_counted: rest } = await read(database);
    const said = new Map(
      rows.map(({ email, organization, reasons }) => [`${organization} ${email ?? ''}`, reasons.join(' ')]),
    );
    expect(said.get('acme pen@example.org')).toBe('pending organization_inactive');
    expect(said.get('acme ann@example.org')).toBe('organization_inactive');
    expect(said.get('globex outlaw@example.org')).toBe('banned');
    expect(said.get('globex roleless@example.org')).toBe('pending');
    expect(said.get('globex bob@example.org')).toBe('');
    expect(rest).toMatchObject({ refused_users: 3, inactive_organizations: 1 });
    using gate = await openStore(database.path);
    for (const id of ['ann', 'pen', 'outlaw', 'roleless', 'bob', 'eve', 'cyd']) {
      const own = rows.filter(({ email }) => email === `${id}@example.org`);
      const counted = own.some(({ counts, organization }) => counts && organization === 'globex');
      expect([id, await gate.effect(id, 'c')]).toEqual([id, counted ? 'permit' : 'deny']);
    }
    const { organizations } = await audit(database);
    expect(organizations.find(({ organization }) => organization === 'globex')).toMatchObject({
      user_count: 5,
      counting_user_count: 3,
    });
  });

  test('says how many users are not in it yet, whom the gate enrols at their first request', async () => {
    const database = peopled('0.12.4');
    const environment = { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' };
    const enrolling = async (organization?: string): Promise<number> =>
      (await read(database, organization, environment)).not_counted.not_enrolled;
    // `none` and `out`, and no user whose membership is switched off
    expect(await enrolling()).toBe(2);
    expect(await enrolling('acme')).toBe(2);
    expect(await enrolling('globex')).toBe(0);
    expect((await read(database)).not_counted.not_enrolled).toBe(0);
  });

  test('stands in the order of organizations and then of addresses', async () => {
    const rows = asView(await read(peopled('0.12.4'))).filter(({ organization_id: id }) => /^(acme|globex)$/.test(id));
    expect(rows.map(({ user_email: email, organization_id: id }) => `${id} ${String(email)}`)).toEqual([
      'acme ada@example.org',
      'acme ann@example.org',
      'acme cyd@example.org',
      'acme pen@example.org',
      'globex bob@example.org',
      'globex cyd@example.org',
      'globex eve@example.org',
    ]);
  });

  test('reads tables made by hand: without flags, without rules against the same row twice', async () => {
    const database = empty('0.12.4', { organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_members (organization_id, user_id);
      CREATE TABLE organization_models (organization_id, model_id);
      INSERT INTO organization_members VALUES ('acme', 'ann'), ('acme', 'ann'), ('acme', 'bob');
      INSERT INTO organization_models VALUES ('acme', 'a'), ('acme', 'a');`);
    for (const id of ['ann', 'bob']) database.addUser({ id });
    database.addModel({ id: 'a', name: 'A' });
    expect(asView(await read(database)).map((row) => [row.user_name, row.accessible_models])).toEqual([
      ['ann', 1],
      ['bob', 1],
    ]);
  });
});

describe.each(KINDS)('the audit on %s', (kind) => {
  test("has the rows of the guide's two statements", async () => {
    const database = peopled(kind);
    const { organizations, admins } = await audit(database);
    const counts = organizations.map(({ organization, user_count, model_count }) => ({
      organization_id: organization,
      user_count,
      model_count,
    }));
    const counted = guide(database, (sql) => sql.prepare<[], Record<string, unknown>>(GUIDE_AUDIT_ORGANIZATIONS).all());
    expect(sorted(counts)).toEqual(sorted(counted));
    expect(counts.length).toBeGreaterThan(4);
    const rows = admins.map(({ email, name, organization, last_active_at_seconds: seconds }) => ({
      email,
      name,
      organization_id: organization,
      last_active_at: seconds,
    }));
    const expected = guide(database, (sql) => sql.prepare<[], Record<string, unknown>>(GUIDE_AUDIT_ADMINS).all());
    expect(rows[0]).toEqual(expected.find(({ email }) => email === 'eve@example.org'));
    expect(rows.map(({ last_active_at: at }) => at)).toEqual(expected.map((row) => row['last_active_at']));
    expect(sorted(rows)).toEqual(sorted(expected));
  });
});

describe('the audit', () => {
  test('says beside the guide what counts', async () => {
    const database = peopled('0.12.4');
    database.addClientOrganization('globex', 0);
    const { organizations, admins, admins_outside: outside } = await audit(database);
    const of = (id: string) => organizations.find(({ organization }) => organization === id);
    expect(of('acme')).toEqual({
      organization: 'acme',
      // the guide counts a membership whose user is deleted, too
      user_count: 5,
      model_count: 8,
      active_model_count: 7,
      active: true,
      counting_user_count: 3,
    });
    expect(of('all off')).toMatchObject({ user_count: 1, model_count: 1, active_model_count: 0 });
    expect(of('globex')).toMatchObject({ user_count: 3, active: false, counting_user_count: 0 });
    expect(admins.map(({ email, organization, member }) => [email, organization, member])).toEqual([
      ['eve@example.org', 'acme', false],
      ['eve@example.org', 'globex', true],
      ['ada@example.org', 'acme', true],
    ]);
    expect(outside.map(({ email }) => email)).toEqual(['out@example.org']);
  });
});
