import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { MAIN } from '../../../support/gate/gate-process.ts';
import { runCommand, commandOn } from '../../../support/process/command.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';

const ORG = ['--org', 'acme'];
const CONFIGURED = { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' };

function people(): TestDatabase {
  const database = databaseOfTest();
  database.addUser({ id: 'root', role: 'admin', name: 'Root' });
  for (const id of ['ada', 'bob']) database.addUser({ id, email: `${id}@Example.org`, name: id.toUpperCase() });
  database.addUser({ id: 'pen', role: 'pending' });
  database.grant('acme', 'model');
  return database;
}

const { run: member, ask } = commandOn('member');

describe('member add', () => {
  test('says of each what has become of it', async () => {
    const database = people();
    database.addMember('acme', 'bob', 0);
    expect(await member(database, ['add', 'ADA@example.org', 'bob', ...ORG])).toEqual({
      code: 0,
      stdout: [
        'USER  E-MAIL           ORGANIZATION  RESULT',
        'ada   ada@Example.org  acme          added',
        'bob   bob@Example.org  acme          switched on again',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(await ask(database, ['add', 'ada', ...ORG])).toEqual({
      organization: 'acme',
      created: false,
      members: [{ id: 'ada', email: 'ada@Example.org', outcome: 'unchanged' }],
    });
  });

  test('--all counts who was added, who was there and who was skipped', async () => {
    const database = people();
    database.addMember('acme', 'bob', 0);
    expect(await member(database, ['add', '--all', ...ORG])).toEqual({
      code: 0,
      stdout:
        'acme: 2 users added; 1 already there; 1 of those switched off, and so they stay; 1 skipped, because they are pending or banned in the backend.\n',
      stderr: '',
    });
  });

  test('takes the organization of the environment, which need not have a row', async () => {
    const database = people();
    database.run('DELETE FROM organization_models');
    expect(await member(database, ['add', 'ada'], CONFIGURED)).toMatchObject({ code: 0, stderr: '' });
  });

  test('says that a user who is added elsewhere is not enrolled in the organization of the environment', async () => {
    const database = people();
    database.addMember('acme', 'bob');
    database.addMember('acme', 'root', 0);
    const elsewhere = ['--org', 'globex', '--create'];
    expect((await member(database, ['add', 'ada', 'bob', 'root', ...elsewhere], CONFIGURED)).stderr).toBe(
      'modelgate: 1 user had no membership before, and now one of "globex" alone: the gate enrols no user in "acme" who is a member elsewhere. To make one a member of both:\n' +
        `  modelgate member add USER --org acme --database ${database.path}\n`,
    );
    expect((await member(database, ['add', 'ada', ...elsewhere], CONFIGURED)).stderr).toBe('');
    database.addUser({ id: 'new' });
    expect((await member(database, ['add', '--all', ...elsewhere], CONFIGURED)).stderr).toContain(
      '1 user had no membership before',
    );
    database.addUser({ id: 'newer' });
    const withoutEnrolment = { ...CONFIGURED, MODELGATE_AUTO_ENROLL: 'false' };
    expect((await member(database, ['add', 'newer', ...elsewhere], withoutEnrolment)).stderr).toBe('');
  });

  test('wants an organization: without one it is wrong use, with an unknown one it fails', async () => {
    const database = people();
    expect(await member(database, ['add', 'ada'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^modelgate: Which organization\? Name it with --org ID/) as string,
    });
    expect(await member(database, ['add', 'ada', '--org', 'acne'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: `modelgate: There is no organization "acne". Nothing was changed. Did you mean "acme"? All of them:\n  modelgate org list --database ${database.path}\n--create makes a new one.\n`,
    });
    expect(await member(database, ['add', 'ada', '--org', 'acne', '--create'])).toMatchObject({ code: 0, stderr: '' });
  });

  test.each([
    [['add', ...ORG], /Whom\?/],
    [['add', '--all', 'ada', ...ORG], /not both/],
    [['add', 'ada', '--role', '', ...ORG], /is no role in an organization: member and admin are\. No user was added/],
    [['add', 'ada', '--role', 'admn', ...ORG], /Did you mean admin\?/],
    [['add', 'ada', '--org', 'a b;--', '--create'], /cannot be the id of a new organization/],
    [['add', 'ada', '--org', 'x'.repeat(65), '--create'], /at most 64/],
    [['add', 'ada', '--org', ''], /Which organization\?/],
    [['remove', ...ORG], /<users> is missing\./],
  ])('%j is wrong use: code 2', async (words, said) => {
    expect(await member(people(), words)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(said) as string,
    });
  });

  test('warns where nothing in the organization counts', async () => {
    const database = people();
    database.addClientOrganization('acme', 0);
    expect((await member(database, ['add', 'ada', ...ORG])).stderr).toMatch(
      /^modelgate: "acme" is switched off in client_organizations/,
    );
  });
});

describe('member add --role', () => {
  test('says which role it was', async () => {
    const database = people();
    database.addMember('acme', 'bob');
    expect((await member(database, ['add', 'bob', '--role', 'admin', ...ORG])).stdout).toContain(
      'was there already, role: member → admin',
    );
    const { members } = await ask<{ members: unknown[] }>(database, ['add', 'bob', '--role', 'member', ...ORG]);
    expect(members).toMatchObject([{ id: 'bob', outcome: 'role_changed', role: { before: 'admin', after: 'member' } }]);
    expect((await member(database, ['add', 'bob', '--role', 'boss', ...ORG])).code).toBe(2);
    expect((await member(database, ['add', 'bob', '--role', 'boss', '--as-is', ...ORG])).stdout).toContain(
      'role: member → boss',
    );
  });
});

test('an address that was mistyped is answered with the one that was meant', async () => {
  const database = people();
  database.addUser({ id: 'u-1', email: 'alice@example.com' });
  for (const words of [
    ['member', 'add', 'alcie@example.com', ...ORG],
    ['member', 'remove', 'alcie@example.com', ...ORG],
    ['explain', '--user', 'alcie@example.com', '--model', 'm'],
    ['doctor', '--quick', '--user', 'alcie@example.com'],
  ]) {
    const { stderr } = await runCommand([...words, '--database', database.path]);
    expect(stderr).toContain('Did you mean alice@example.com?');
  }
});

describe('member remove', () => {
  const removed = async (words: string[], environment: Record<string, string> = {}) => {
    const database = people();
    for (const user of ['ada', 'bob']) database.addMember('acme', user);
    return member(database, ['remove', ...words, ...ORG], environment);
  };

  test('switches off, and says nothing more, because the row keeps the user out', async () => {
    expect(await removed(['ada'], CONFIGURED)).toEqual({
      code: 0,
      stdout: 'USER  E-MAIL           ORGANIZATION  RESULT\nada   ada@Example.org  acme          switched off\n',
      stderr: '',
    });
  });

  test.each<[string, Record<string, string>, RegExp]>([
    [
      'the organization of the environment',
      CONFIGURED,
      /^modelgate: A user without a row is enrolled again with the next request and MODELGATE/,
    ],
    [
      'perhaps that of the gate',
      {},
      /enrolled again with the next request if the gate runs with OPENROUTER_EXTERNAL_USER="acme"/,
    ],
    ['the organization of the environment without enrolment', { ...CONFIGURED, MODELGATE_AUTO_ENROLL: 'false' }, /^$/],
    [
      'not that of the environment, in which the user is enrolled then',
      { OPENROUTER_EXTERNAL_USER: 'globex', ORGANIZATION_NAME: 'Globex' },
      /^modelgate: 1 user without a membership left: with the next request the gate makes such a user a member of "globex"/,
    ],
  ])('--purge from %s says whether the user comes back', async (_, environment, said) => {
    const { code, stdout, stderr } = await removed(['ada', '--purge'], environment);
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ada .* deleted$/m) as string });
    expect(stderr).toMatch(said);
  });

  test('--purge says nothing of enrolment where another membership is left, switched on or off', async () => {
    const database = people();
    for (const user of ['ada', 'bob']) database.addMember('acme', user);
    database.addMember('globex', 'ada', 0);
    expect(await member(database, ['remove', 'ada', '--purge', ...ORG], CONFIGURED)).toMatchObject({
      code: 0,
      stderr: '',
    });
  });

  test('--purge of the last one says that the next start links all users', async () => {
    const { stderr } = await removed(['ada', 'bob', '--purge'], CONFIGURED);
    expect(stderr).toContain('No member is left: the next start of the gate links all users of the backend again.\n');
  });
});

describe('member list', () => {
  test('shows who counts and why not', async () => {
    const database = people();
    for (const user of ['ada', 'pen', 'gone']) database.addMember('acme', user);
    database.addMember('acme', 'bob', 0);
    const { stdout } = await member(database, ['list', ...ORG]);
    expect(stdout).toBe(
      [
        'E-MAIL           NAME  ROLE IN BACKEND  ROLE IN ORG  SINCE       STATE',
        'ada@Example.org  ADA   user             member       2023-11-14  member',
        'bob@Example.org  BOB   user             member       2023-11-14  switched off',
        'pen@example.org  pen   pending          member       2023-11-14  pending in the backend',
        'gone             -     -                member       2023-11-14  unknown to the backend',
        '',
      ].join('\n'),
    );
    expect((await member(database, ['list', '--ids', ...ORG])).stdout).toMatch(
      /^ID +E-MAIL .*\nada +ada@Example\.org /,
    );
  });

  test.each([
    [0, '1970-01-01T00:00:00Z'],
    [null, null],
    [1e15, '1000000000000000'],
    ['yesterday', 'yesterday'],
  ])('shows a time of joining of %j as %j', async (stored, shown) => {
    const database = people();
    database.addMember('acme', 'ada');
    database.run('UPDATE organization_members SET joined_at = ?', stored);
    const { members } = await ask<{ members: { joined_at: string | null }[] }>(database, ['list', ...ORG]);
    expect(members[0]?.joined_at).toBe(shown);
  });
});

describe('hostile values', () => {
  test.each(Object.entries(HOSTILE))(
    '%s are stored exactly, shown harmlessly and come back as they were',
    async (_, value) => {
      const database = people();
      database.addUser({ id: value, email: `${value}@x`, name: value });
      // no new organization gets such an id, and one that is there is used as it is
      database.grant(value, 'gpt-4o');
      const org = ['--org', value];
      const shown = [
        await member(database, ['add', value, ...org]),
        await member(database, ['add', 'ada', '--role', value, '--as-is', ...org]),
        await member(database, ['list', ...org]),
        await member(database, ['list', '--org', `${value}!`]),
        await member(database, ['remove', `${value}@x`, ...org]),
        await member(database, ['remove', `${value}?`, ...org]),
      ];
      expect(shown.map(({ code }) => code)).toEqual([0, 0, 0, 1, 0, 1]);
      for (const one of shown) expectHarmless(one);
      expect(shown[2]?.stdout.trimEnd().split('\n')).toHaveLength(3);
      const row = database.sql.prepare('SELECT * FROM organization_members WHERE user_id = ?').get(value);
      expect(row).toMatchObject({ id: `om_${value}_${value}`, organization_id: value, user_id: value, is_active: 0 });
      const { organization, members } = await ask<{
        organization: string;
        members: { id: string; name: string; organization_role: string }[];
      }>(database, ['list', ...org]);
      expect(organization).toBe(value);
      expect(members.find(({ id }) => id === value)).toMatchObject({ id: value, name: value, email: `${value}@x` });
      expect(members.find(({ id }) => id === 'ada')?.organization_role).toBe(value);
    },
  );
});

const run = promisify(execFile);

describe('many users', () => {
  test('are listed whole into a pipe that is read late', async () => {
    const database = people();
    database.addUsers(2_000);
    await member(database, ['add', '--all', ...ORG]);
    const { stdout } = await run(
      '/bin/sh',
      [
        '-c',
        '"$0" "$@" | { sleep 0.3; cat; }',
        ...[process.execPath, MAIN, 'member', 'list', '--json', '--database', database.path, ...ORG],
      ],
      { maxBuffer: 1e8 },
    );
    expect(stdout.length).toBeGreaterThan(300_000);
    expect((JSON.parse(stdout) as { members: unknown[] }).members).toHaveLength(2_003);
  });
});
