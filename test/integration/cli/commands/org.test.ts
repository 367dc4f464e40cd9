import { describe, expect, test } from 'vitest';
import { runCommand, commandOn } from '../../../support/process/command.ts';
import type { DatabaseOptions, TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';
import { createMaiTables } from '../../../support/database/mai-tables.ts';

const CONFIGURED = { OPENROUTER_EXTERNAL_USER: 'home', ORGANIZATION_NAME: 'Home Ltd' };

function organizations(options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest(options);
  database.addUser({ id: 'root', role: 'admin', email: 'Root@example.org' });
  database.addUser({ id: 'second', role: 'admin' });
  for (const id of ['ada', 'bob']) database.addUser({ id });
  database.addUser({ id: 'pen', role: 'pending' });
  return database;
}

function filled(): TestDatabase {
  const database = organizations();
  for (const user of ['root', 'ada', 'pen']) database.addMember('acme', user);
  database.addMember('acme', 'bob', 0);
  database.run("UPDATE organization_members SET role = 'admin' WHERE user_id IN ('ada', 'bob')");
  database.grant('acme', 'openai/*');
  database.grant('acme', 'off', 0);
  database.grant('globex', 'gpt-4o', null);
  return database;
}

const { run: org, ask } = commandOn('org');

describe('org list', () => {
  test('counts members and grants, and those that are switched off', async () => {
    expect(await org(filled(), ['list'])).toEqual({
      code: 0,
      stdout: [
        'ORGANIZATION  MEMBERS                   GRANTS     STATE',
        'acme          3 (1 off, 1 not counted)  1 (1 off)  on',
        'globex        0                         1          on',
        '',
      ].join('\n'),
      stderr: '',
    });
  });

  test('has the organization of the environment before it has a row, and its name', async () => {
    const { organizations: listed } = await ask<{ organizations: unknown[] }>(filled(), ['list'], CONFIGURED);
    expect(listed).toHaveLength(3);
    expect(listed[2]).toEqual({
      id: 'home',
      name: 'Home Ltd',
      active: true,
      configured: true,
      members: { active: 0, all: 0, counting: 0 },
      grants: { active: 0, all: 0 },
    });
  });

  test('counts no user whom the gate refuses, and no user of an organization that is switched off', async () => {
    const database = organizations({ era: '0.6.18' });
    for (const role of ['user', 'admin', 'pending', 'banned']) {
      database.addUser({ id: role, role });
      for (const id of ['acme', 'closed']) database.addMember(id, role);
    }
    database.addMember('acme', 'gone');
    database.addClientOrganization('closed', 0);
    const { organizations: listed } = await ask<{ organizations: { id: string; members: object }[] }>(database, [
      'list',
    ]);
    expect(listed.map(({ id, members }) => [id, members])).toEqual([
      ['acme', { active: 5, all: 5, counting: 2 }],
      ['closed', { active: 4, all: 4, counting: 0 }],
    ]);
  });

  test("has what mAI's table knows: names, and which are switched off", async () => {
    const database = organizations({ era: '0.6.18', organizationTables: 'none' });
    createMaiTables(database);
    for (const [id, active] of [
      ['on', 1],
      ['off', 0],
      ['default', null],
    ] as const) {
      database.addClientOrganization(id, active);
    }
    database.run("UPDATE client_organizations SET name = 'Off Inc' WHERE id = 'off'");
    const { stdout } = await org(database, ['list']);
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/).filter((_, at) => ![2, 3].includes(at)))).toEqual([
      ['ORGANIZATION', 'NAME', 'STATE'],
      ['default', 'default', 'on'],
      ['off', 'Off Inc', 'off'],
      ['on', 'on', 'on'],
      [''],
    ]);
  });

  test('says so where there is none yet', async () => {
    const { code, stdout, stderr } = await org(organizations(), ['list']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    expect(stderr).toContain('There is no organization yet');
    expect(await ask(organizations(), ['list'])).toEqual({ organizations: [] });
  });

  test('says what to run where the tables are missing', async () => {
    const { code, stderr } = await org(organizations({ organizationTables: 'none' }), ['list']);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /table organization_members is missing\. To make what is missing:\n {2}modelgate init --database \//,
    );
  });
});

describe('org show', () => {
  test('names admins, models and what is missing', async () => {
    const database = filled();
    const { code, stdout, stderr } = await org(database, ['show', 'acme']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      [
        'organization    acme',
        'name            -',
        'active          yes',
        'members         4, of which 2 count: 1 switched off, 1 pending in the backend',
        'its admins      ada@example.org (ada)',
        '                bob@example.org (bob), switched off',
        'backend admins  Root@example.org (root)',
        '                second@example.org (second), no member',
        'models          openai/*',
        'switched off    1 of its grants',
        'tables          2 of 6',
        'indexes         4 of 4',
        'views           0 of 2',
        'triggers        0 of 6',
        'missing         table organization_budgets',
        '                table modelgate_version',
        '                table modelgate_user',
        '                table modelgate_model',
        '                view user_available_models',
        '                view user_model_access_report',
        ...['members', 'models'].flatMap((table) =>
          ['insert', 'update', 'delete'].map(
            (event) => `                trigger modelgate_organization_${table}_${event}`,
          ),
        ),
        `  modelgate init --database ${database.path}`,
        '',
      ].join('\n'),
    );
  });

  test("names the backend's admins as the guide's own statement does", async () => {
    const database = filled();
    const { backend_admins: admins } = await ask<{ backend_admins: { id: string; member: string | null }[] }>(
      database,
      ['show', 'acme'],
    );
    const guides = database.sql.prepare(`SELECT id, email, role FROM user WHERE role = 'admin'`).all();
    expect(admins.map(({ id }) => id)).toEqual(guides.map((row) => (row as { id: string }).id));
    expect(admins.map(({ member }) => member)).toEqual(['active', null]);
  });

  test('is complete after init, and takes the organization of the environment', async () => {
    const database = filled();
    await runCommand(['init', '--database', database.path]);
    expect(await ask(database, ['show'], CONFIGURED)).toMatchObject({
      id: 'home',
      name: 'Home Ltd',
      configured: true,
      members: { counting: 0, active: 0, all: 0 },
      models: [],
      complete: true,
      schema: [
        { kind: 'table', expected: 6, missing: [] },
        { kind: 'index', expected: 4, missing: [] },
        { kind: 'view', expected: 2, missing: [] },
        { kind: 'trigger', expected: 6, missing: [] },
      ],
    });
  });

  test("counts members and models as the guide's own statements do", async () => {
    const database = filled();
    const shown = await ask<{ members: { all: number }; grants: { all: number } }>(database, ['show', 'acme']);
    const guides = database.sql
      .prepare(
        `SELECT 'Users:', COUNT(*) FROM organization_members WHERE organization_id = 'acme'
         UNION ALL
         SELECT 'Models:', COUNT(*) FROM organization_models WHERE organization_id = 'acme'`,
      )
      .raw()
      .all();
    expect([
      ['Users:', shown.members.all],
      ['Models:', shown.grants.all],
    ]).toEqual(guides);
  });

  test('shows the first of many models and how many others there are', async () => {
    const database = organizations();
    for (let index = 0; index < 30; index++) database.grant('acme', `model-${index}`);
    const { stdout } = await org(database, ['show', 'acme']);
    expect(stdout.match(/model-\d+/g)).toHaveLength(20);
    expect(stdout).toContain('and 10 more; --json shows all\n');
  });

  test('wants an organization that exists', async () => {
    expect(await org(filled(), ['show'])).toMatchObject({ code: 2, stdout: '' });
    expect(await org(filled(), ['show', 'nobodys'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('Known: "acme", "globex".') as string,
    });
  });
});

test.each(Object.entries(HOSTILE))(
  '%s in ids and names are shown harmlessly, and come back as they were',
  async (_, value) => {
    const database = organizations();
    database.addUser({ id: value, email: value, name: value, role: 'admin' });
    database.addMember(value, value);
    database.run("UPDATE organization_members SET role = 'admin'");
    database.grant(value, value);
    database.addClientOrganization(value, 1);
    for (const shown of [await org(database, ['list']), await org(database, ['show', value])]) {
      expect(shown).toMatchObject({ code: 0, stderr: '' });
      expectHarmless(shown, 400);
    }
    expect(await ask(database, ['list'])).toMatchObject({ organizations: [{ id: value, name: value }] });
    expect(await ask(database, ['show', value])).toMatchObject({
      id: value,
      models: [{ pattern: value, active: true }],
      organization_admins: [{ id: value, email: value }],
    });
  },
);
