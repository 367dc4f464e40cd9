/** `report` and `audit` as they are printed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { DANGEROUS, HOSTILE } from '../../../support/gate/hostile-values.ts';
import { MAIN } from '../../../support/gate/gate-process.ts';
import { withTimeout } from '../../../support/process/with-timeout.ts';

function twoOrganizations(): TestDatabase {
  const database = databaseOfTest();
  database.addModel({ id: 'openai/gpt-4o', name: 'GPT-4o' });
  database.addModel({ id: 'llama3:latest', name: 'Llama' });
  database.addUser({ id: 'ann' });
  database.addUser({ id: 'bob' });
  database.addUser({ id: 'ada', role: 'admin' });
  database.addUser({ id: 'out', role: 'admin' });
  for (const user of ['ann', 'ada']) database.addMember('acme', user);
  database.addMember('globex', 'bob');
  for (const model of ['openai/gpt-4o', 'llama3:latest']) database.grant('acme', model);
  database.grant('globex', 'llama3:latest');
  return database;
}

const run = ({ path }: TestDatabase, words: readonly string[], screen: { output?: boolean } = {}) =>
  runCommand([...words, '--database', path], { screen });

const HEAD = 'user_email,user_name,organization_id,accessible_models,model_names,does_not_count';

describe('the report', () => {
  test('is either CSV or JSON', async () => {
    const { code, stderr } = await run(twoOrganizations(), ['report', '--csv', '--json']);
    expect({ code, stderr }).toEqual({ code: 2, stderr: 'modelgate: Either --csv or --json, not both.\n' });
  });

  test('is a table or CSV of the same rows', async () => {
    const database = twoOrganizations();
    expect(await run(database, ['report'])).toEqual({
      code: 0,
      stdout: [
        'USER_EMAIL       USER_NAME  ORGANIZATION_ID  ACCESSIBLE_MODELS  MODEL_NAMES',
        'ada@example.org  ada        acme                             2  GPT-4o,Llama',
        'ann@example.org  ann        acme                             2  GPT-4o,Llama',
        'bob@example.org  bob        globex                           1  Llama',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect(await run(database, ['report', '--csv', '--org', 'acme'])).toEqual({
      code: 0,
      stdout: [
        HEAD,
        'ada@example.org,ada,acme,2,"GPT-4o,Llama",',
        'ann@example.org,ann,acme,2,"GPT-4o,Llama",',
        '',
      ].join('\r\n'),
      stderr: '',
    });
  });

  test('says in its last column what the gate does not give, and in a note how much that is', async () => {
    const database = twoOrganizations();
    database.addUser({ id: 'pen', role: 'pending' });
    database.addUser({ id: 'ban', role: 'banned' });
    for (const user of ['pen', 'ban']) database.addMember('globex', user);
    const { stdout, stderr } = await run(database, ['report', '--csv', '--org', 'globex']);
    expect(stdout.split('\r\n')).toEqual([
      HEAD,
      'ban@example.org,ban,globex,1,Llama,banned in the backend',
      'bob@example.org,bob,globex,1,Llama,',
      'pen@example.org,pen,globex,1,Llama,pending in the backend',
      '',
    ]);
    expect(stderr).toBe(
      "modelgate: 2 rows of users who are pending, banned or without a role in the backend, which the guide's view does not look at: the gate gives them nothing.\n",
    );
    expect((await run(database, ['report', '--org', 'globex'])).stdout).toMatch(
      /^ban@example\.org .* Llama +banned in the backend$/m,
    );
  });

  test('says where the gate gives more than the rows, by its settings', async () => {
    const database = twoOrganizations();
    const { path } = database;
    // beside an admin without a membership, to whom the gate gives everything and no membership
    database.addUser({ id: 'new' });
    const environment = {
      OPENROUTER_EXTERNAL_USER: 'acme',
      ORGANIZATION_NAME: 'Acme',
      MODELGATE_ADMIN_ACCESS: 'all',
      MODELGATE_MODE: 'report',
    };
    const { stderr } = await runCommand(['report', '--csv', '--database', path], { environment });
    expect(stderr.split('\n')).toEqual([
      'modelgate: 1 user without any membership not in it: the gate makes such users members of "acme" at their first request (MODELGATE_AUTO_ENROLL).',
      'modelgate: Admins of the backend use every model, whatever the report says: MODELGATE_ADMIN_ACCESS is `all`.',
      'modelgate: The gate does not act on any of it: MODELGATE_MODE=report: denials are only logged.',
      '',
    ]);
  });

  test('without rows is its head, and an empty list', async () => {
    const database = databaseOfTest();
    expect((await run(database, ['report', '--csv'])).stdout).toBe(`${HEAD}\r\n`);
    expect(await askCommand(['report', '--database', database.path])).toMatchObject({ rows: [] });
  });

  test('says what it leaves out, and of which organizations nothing counts', async () => {
    const database = twoOrganizations();
    database.addClientOrganization('acme', 0);
    for (const pattern of ['openai/*', 'mistral/*', 'of-a-provider']) database.grant('acme', pattern);
    const { code, stderr } = await run(database, ['report']);
    expect(code).toBe(0);
    expect(stderr.split('\n')).toEqual([
      "modelgate: The report counts models of the backend's model table, as the guide's view does: it leaves out 2 prefix grants and 1 grant of models without a row there. To see them all:",
      `  modelgate model list --org ORGANIZATION --database ${database.path}`,
      "modelgate: 1 organization in it switched off in client_organizations, which the guide's view does not look at: the gate gives the members nothing.",
      '',
    ]);
  });

  test.each([
    [['report', '--csv', '--json'], 2, 'Either --csv or --json'],
    [['report', '--org', 'acm'], 1, 'There is no organization "acm". Did you mean "acme"?'],
    [['report', '--org', ''], 2, 'Which organization?'],
    [['audit', '--csv', '--json'], 2, 'Either --csv or --json'],
    [['audit', '--only', 'users'], 2, 'expected one of organizations, admins, outside'],
  ])('%j is refused in a sentence', async (words, code, said) => {
    const result = await run(twoOrganizations(), words);
    expect(result).toMatchObject({ code, stderr: expect.stringContaining(said) as string });
  });

  test('ends where no process reads any more, with the file free', { timeout: 30_000 }, async () => {
    const database = twoOrganizations();
    database.addUsers(20_000, 'acme');
    const child = spawn(process.execPath, [MAIN, 'report', '--csv', '--database', database.path], {
      env: {},
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'exit');
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    // one piece arrives, the rest waits in the pipe until the test reads on
    await withTimeout(once(child.stdout, 'readable'), 15_000, 'the first lines of the report');
    expect(String(child.stdout.read())).toContain(HEAD);
    database.sql.pragma('journal_mode = delete');
    child.stdout.destroy();
    expect(await withTimeout(ended, 10_000, 'the end of the report')).toEqual([0, null]);
    expect(stderr).toBe('');
  });

  test('that is interrupted says so', async () => {
    const { path } = twoOrganizations();
    const stop = AbortSignal.abort();
    const result = await runCommand(['report', '--csv', '--database', path], { stop });
    expect(result).toMatchObject({ code: 130, stderr: expect.stringContaining('Stopped') as string });
  });
});

describe('the audit', () => {
  test('has the two tables of the guide, and the admins that they do not show', async () => {
    const database = twoOrganizations();
    database.grant('acme', 'switched-off', 0);
    expect(await run(database, ['audit'])).toEqual({
      code: 0,
      stdout: [
        'Active users by organization',
        'ORGANIZATION_ID  USER_COUNT  MODEL_COUNT  ACTIVE_MODEL_COUNT  IS_ACTIVE  COUNTING_USER_COUNT',
        'acme                      2            3                   2  yes                          2',
        'globex                    1            1                   1  yes                          1',
        '',
        'Users with admin role',
        'EMAIL            NAME  ORGANIZATION_ID  LAST_ACTIVE_AT        IS_MEMBER',
        'ada@example.org  ada   acme             2023-11-14T22:13:20Z  yes',
        '',
        'Users with admin role in no organization',
        'EMAIL            NAME  LAST_ACTIVE_AT',
        'out@example.org  out   2023-11-14T22:13:20Z',
        '',
      ].join('\n'),
      stderr: '',
    });
    expect((await run(database, ['audit', '--csv'])).stdout).toBe(
      [
        'organization_id,user_count,model_count,active_model_count,is_active,counting_user_count',
        'acme,2,3,2,true,2',
        'globex,1,1,1,true,1',
        '',
        'email,name,organization_id,last_active_at,is_member',
        'ada@example.org,ada,acme,2023-11-14T22:13:20Z,true',
        '',
        'email,name,last_active_at',
        'out@example.org,out,2023-11-14T22:13:20Z',
        '',
      ].join('\r\n'),
    );
  });

  test('shows one table alone, and a third only where it says something', async () => {
    const database = twoOrganizations();
    expect((await run(database, ['audit', '--only', 'outside', '--csv'])).stdout.split('\r\n')).toHaveLength(3);
    expect(Object.keys(await askCommand(['audit', '--only', 'admins', '--database', database.path]))).toEqual([
      'admins',
    ]);
    database.addMember('acme', 'out');
    expect((await run(database, ['audit'])).stdout).not.toContain('in no organization');
    expect((await run(database, ['audit', '--only', 'outside'])).stdout).toContain('EMAIL  NAME  LAST_ACTIVE_AT\n');
  });
});

describe('hostile values', () => {
  function hostile(): TestDatabase {
    const database = databaseOfTest();
    for (const [key, value] of Object.entries({ ...HOSTILE, formula: '=cmd|calc', at: '@SUM(1)', minus: '-1+1' })) {
      database.addUser({ id: key, role: 'admin', email: value, name: value });
      database.addModel({ id: `model ${key}`, name: value });
      database.addMember(value, key);
      database.grant(value, `model ${key}`);
    }
    return database;
  }
  const words = [['report'], ['report', '--csv'], ['report', '--json'], ['audit'], ['audit', '--csv']];

  test.each(words)('cannot steer a terminal: %s %s', async (...command) => {
    const { code, stdout, stderr } = await run(
      hostile(),
      command.filter((word) => typeof word === 'string'),
      {
        output: true,
      },
    );
    expect(code).toBe(0);
    expect(stdout.replaceAll(/\u001b\[\d+m/g, '').replaceAll('\r\n', '\n')).not.toMatch(DANGEROUS);
    expect(stderr).toBe('');
  });
});
