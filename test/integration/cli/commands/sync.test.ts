/** `model sync` as it is used: what it shows, whom it asks, what it refuses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { askCommand, runCommand, type CommandSurroundings } from '../../../support/process/command.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { startTestGate } from '../../../support/gate/gate.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';
import { closing } from '../../../support/gate/transport.ts';
import { sendJson, startRecordingUpstream } from '../../../support/upstream/upstreams.ts';

function filled(): TestDatabase {
  const database = databaseOfTest();
  for (const id of ['new', 'on', 'off', 'vendor/x']) database.addModel({ id });
  database.addModel({ id: 'helper', base: 'on' });
  for (const [model, active] of [
    ['on', 1],
    ['off', 0],
    ['vendor/*', 1],
    ['gone', 1],
  ] as const) {
    database.grant('acme', model, active);
  }
  return database;
}

const sync = ({ path }: TestDatabase, words: readonly string[], surroundings: CommandSurroundings = {}) =>
  runCommand(['model', 'sync', '--org', 'acme', '--database', path, ...words], surroundings);

const active = ({ sql }: TestDatabase): unknown[] =>
  sql.prepare('SELECT model_id FROM organization_models WHERE is_active = 1 ORDER BY model_id').pluck().all();

const AT_TERMINAL = { input: true, output: true, error: true };
const typing = (...lines: readonly string[]): CommandSurroundings => {
  const left = [...lines];
  return { screen: AT_TERMINAL, environment: { NO_COLOR: '1' }, input: () => Readable.from([left.shift() ?? '']) };
};

const PRESETS =
  'modelgate: Left out as presets: "helper". A preset works as soon as its base is allowed, and --presets allows it itself.\n';

describe('model sync', () => {
  test('shows the difference and changes nothing with --dry-run', async () => {
    const database = filled();
    expect(await sync(database, ['--dry-run', '--remove'])).toEqual({
      code: 0,
      stdout: [
        "acme, compared with the backend's model table:",
        '+ new',
        '- gone',
        '= off  off, and stays off (--switch-on would switch it on)',
        '= vendor/*  covers 1 model: no row needed',
        '1 to allow, 1 to switch off, 2 allowed already, 1 off and staying off.',
        '',
      ].join('\n'),
      stderr: `${PRESETS}modelgate: The table has a row for a model only if it was edited in the backend: what is switched off here may be there all the same. --from live knows.\n`,
    });
    expect(active(database)).toEqual(['gone', 'on', 'vendor/*']);
  });

  test('writes with --yes what it has shown', async () => {
    const database = filled();
    const { code, stdout } = await sync(database, ['--yes', '--switch-on', '--presets']);
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      "acme, compared with the backend's model table:",
      '+ helper',
      '+ new',
      '~ off  switched on again',
      '= vendor/*  covers 1 model: no row needed',
      '= gone  not in the catalogue; stays on (--remove would switch it off)',
      '2 to allow, 1 to switch on again, 2 allowed already.',
      'Written: 3 grants.',
      '',
    ]);
    expect(active(database)).toEqual(['gone', 'helper', 'new', 'off', 'on', 'vendor/*']);
  });

  test('says whose the rows are that it leaves out, and grants one that is named', async () => {
    const database = databaseOfTest({ era: '0.6.18' });
    database.addUser({ id: 'ann' });
    database.addUser({ id: 'root', role: 'admin' });
    database.addModel({ id: 'hoped-for', owner: 'ann' });
    database.addModel({ id: 'secret', base: 'm', owner: 'root' });
    database.run(`UPDATE model SET access_control = '{}' WHERE id = 'secret'`);
    database.addModel({ id: '*', owner: 'ann' });
    database.grant('globex', 'secret');
    database.grant('acme', 'on');
    const { code, stderr } = await sync(database, ['--yes', '--presets']);
    expect(code).toBe(0);
    expect(stderr.split('\n')).toEqual(
      expect.arrayContaining([
        'modelgate: Left out because no request can name them, or they would be read as patterns: "*" of "ann@example.org".',
        'modelgate: Left out because users who are no admins have made them: "hoped-for" of "ann@example.org". To allow one all the same:',
        `  modelgate model allow ID --database ${database.path}`,
        'modelgate: Left out as private presets of other organizations: "secret" of "globex". To allow one all the same:',
      ]),
    );
    expect(active(database)).toEqual(['on', 'secret']);
    const { stdout } = await sync(database, ['--dry-run', '--presets', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      left_out: { unusable: ['*'], of_users: ['hoped-for'], of_organizations: ['secret'] },
      owners: { 'hoped-for': { user: { id: 'ann', email: 'ann@example.org' } }, secret: { organization: 'globex' } },
    });
    expect(
      await runCommand(['model', 'allow', 'hoped-for', '--org', 'acme', '--database', database.path]),
    ).toMatchObject({ code: 0 });
    expect(active(database)).toEqual(['hoped-for', 'on', 'secret']);
  });

  test('names of what stays as it is only the first', async () => {
    const database = filled();
    for (let index = 0; index < 30; index += 1) database.grant('acme', `gone-${index}`);
    const { stdout } = await sync(database, ['--dry-run']);
    expect(stdout.match(/not in the catalogue/g)).toHaveLength(11);
    expect(stdout).toContain('… and 21 more');
  });

  test('of a new organization needs --create', async () => {
    const database = filled();
    const words = ['model', 'sync', '--org', 'initech', '--database', database.path, '--yes'];
    expect(await runCommand(words)).toMatchObject({ code: 1, stderr: expect.stringContaining('--create') as string });
    const { created } = await askCommand<{ created: boolean }>([...words, '--create', '--presets']);
    expect(created).toBe(true);
  });
});

describe('the operator at the terminal', () => {
  test.each(['y\n', 'Yes\n', ' y \n'])('is asked, and %j writes', async (answer) => {
    const database = filled();
    const { code, stdout, stderr } = await sync(database, [], typing(answer));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `${PRESETS}Write this to ${database.path}? [y/N] `,
    });
    expect(stdout).toContain('+ new\n');
    expect(stdout).toContain('Written: 1 grant.\n');
    expect(active(database)).toContain('new');
  });

  test.each(['n\n', '\n', '', 'yellow\n'])('may say no, and %j does', async (answer) => {
    const database = filled();
    const { code, stderr } = await sync(database, [], typing(answer));
    expect(code).toBe(1);
    expect(stderr).toMatch(/Nothing was changed\.\n$/);
    expect(active(database)).not.toContain('new');
  });

  test('writes nothing where the file has changed meanwhile, and says so', async () => {
    const database = filled();
    const { code, stderr } = await sync(database, [], {
      ...typing(),
      input: () => {
        database.addModel({ id: 'newer' });
        return Readable.from(['y\n']);
      },
    });
    expect(code).toBe(1);
    expect(stderr).toContain(
      'Another program has changed the file meanwhile. Nothing was changed. Run the command again',
    );
    expect(active(database)).not.toContain('new');
  });

  test('is not asked where there is nothing to write', async () => {
    const database = filled();
    database.grant('acme', 'new');
    expect(await sync(database, [], typing())).toMatchObject({ code: 0, stderr: PRESETS });
  });

  test('who is a script must say --yes or --dry-run', async () => {
    const database = filled();
    expect(await sync(database, [])).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'modelgate: Not a terminal, so it cannot be confirmed. Add --yes, or --dry-run to look at the difference. Nothing was changed.\n',
    });
    const json = await sync(database, ['--json'], typing('y\n'));
    expect(json).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(
        'With --json no question is asked, so it cannot be confirmed. Add --yes',
      ) as string,
    });
    const held = await sync(database, ['--from', 'live', '--token-file', '-'], typing('y\n'));
    expect(held).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Standard input holds the token') as string,
    });
    expect(active(database)).not.toContain('new');
  });
});

describe('with --from live', () => {
  const TOKEN = 'sk-a-token-of-an-admin';

  async function backend(): Promise<{ readonly url: string; tokens(): readonly string[] }> {
    const data = [{ id: 'live-1' }, { id: 'on' }, { id: 'vendor/z' }];
    const recorder = closing(await startRecordingUpstream((_incoming, response) => sendJson(response, { data })));
    return {
      url: recorder.origin,
      tokens: () => recorder.requests.flatMap((request) => request.all('authorization')),
    };
  }

  test.each([
    ['a file', (database: TestDatabase) => writeFileSync(join(database.directory, 'key'), `${TOKEN}\n`), 'key'],
    [
      'a file with a header in it',
      (database: TestDatabase) => writeFileSync(join(database.directory, 'key'), `Bearer ${TOKEN}`),
      'key',
    ],
    ['standard input', () => undefined, '-'],
  ])('the catalogue is asked of the backend, with a token from %s', async (_name, prepare, file) => {
    const database = filled();
    prepare(database);
    const { url, tokens } = await backend();
    const words = ['--from', 'live', '--token-file', file, '--remove', '--yes'];
    const result = await sync(database, words, {
      directory: database.directory,
      environment: { MODELGATE_UPSTREAM_URL: url },
      input: () => Readable.from([TOKEN.slice(0, 5), `${TOKEN.slice(5)}\n`]),
    });
    expect(result.code).toBe(0);
    expect(result.stdout.split('\n').slice(0, 3)).toEqual([
      'acme, compared with the running backend:',
      '+ live-1',
      '- gone',
    ]);
    expect(new Set(tokens())).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(`${result.stdout}${result.stderr}`).not.toContain(TOKEN);
    expect(active(database)).toEqual(['live-1', 'on', 'vendor/*']);
  });

  test.each([
    [['--from', 'live'], 'Where is the backend?'],
    [['--from', 'live', '--url', 'http://127.0.0.1:9'], '--token-file FILE names a file'],
    [
      ['--from', 'live', '--url', 'http://127.0.0.1:9', '--token-file', 'absent'],
      'The file absent is not there (ENOENT)',
    ],
    [['--from', 'live', '--url', 'http://127.0.0.1:9', '--token-file', '.'], 'The file . cannot be read (EISDIR)'],
    [['--from', 'live', '--url', 'http://127.0.0.1:9', '--token-file', '-'], 'Standard input is empty'],
    [
      ['--from', 'live', '--url', 'http://127.0.0.1:9', '--token-file', 'webui.db'],
      'The file webui.db holds something else',
    ],
    [
      ['--from', 'live', '--url', 'ftp://backend'],
      'its scheme is neither http nor https; expected one such as http://open-webui:8080.',
    ],
    [['--from', 'live', '--url', 'http://backend/path'], 'it has more than scheme, host and port;'],
    [['--from', 'live', '--url', 'http://user:pass@backend'], 'it carries credentials;'],
    [['--url', 'http://backend'], '--url means nothing without --from live'],
    [['--token-file', 'key', '--from', 'config'], '--token-file means nothing without --from live'],
    [['--from', 'elsewhere'], 'expected one of table, config, live'],
  ])('%j is refused in a sentence', async (words, said) => {
    const database = filled();
    const result = await sync(database, [...words, '--yes'], { directory: database.directory });
    expect(result).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(said) as string });
  });

  test('the gate in front is distinguished from the backend', async () => {
    await using gate = await startTestGate();
    writeFileSync(join(gate.database.directory, 'token'), await gate.token('adm'));
    const words = ['--from', 'live', '--token-file', 'token', '--dry-run', '--url'];
    const at = { directory: gate.database.directory };
    expect(await sync(gate.database, [...words, gate.url], at)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Ask the backend itself and not the gate') as string,
    });
    const { code, stdout } = await sync(gate.database, [...words, gate.backend.url], at);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\+ F$/m);
  });
});

test('hostile ids are shown harmlessly and stored exactly, or left out', async () => {
  const database = databaseOfTest();
  database.grant('acme', 'on');
  for (const [key, value] of Object.entries(HOSTILE)) {
    database.addModel({ id: value });
    database.grant('acme', `${value} (${key})`);
  }
  const shown = await sync(database, ['--yes', '--remove']);
  expect(shown.code).toBe(0);
  expectHarmless(shown, Infinity);
  const stored = active(database);
  const usable = Object.values(HOSTILE).filter((id) => id.length <= 1_024 && !/[\u0000-\u001f\u007f]/.test(id));
  expect(stored.toSorted()).toEqual(usable.toSorted());
});
