import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { SCHEMA_OBJECTS } from '../../../src/store/schema.ts';
import { AS_NOBODY } from '../../support/process/as-nobody.ts';
import { askCommand, runCommand } from '../../support/process/command.ts';
import { type TestDatabase, createDatabase, foreign, written } from '../../support/database/database.ts';
import { startModelgate } from '../../support/gate/gate-process.ts';
import { until } from '../../support/process/with-timeout.ts';
import { startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const run = promisify(execFile);
const ORG = ['--org', 'mai_client_acme', '--name', 'Acme "& Co" $1'];

/** A deployment that never met modelgate. */
function deployment(): TestDatabase {
  const database = createDatabase({ organizationTables: 'none' });
  database.addUser({ id: 'root', role: 'admin' });
  for (let user = 0; user < 13; user++) database.addUser({ id: `u${user}`, role: user === 0 ? 'banned' : 'user' });
  for (const id of ['p1', 'p2']) database.addUser({ id, role: 'pending' });
  for (let model = 0; model < 9; model++) database.addModel({ id: `m${model}`, active: model === 0 ? 0 : 1 });
  database.addModel({ id: 'preset', base: 'm1' });
  return database;
}
const on = (database: TestDatabase, ...words: string[]) => [...words, '--database', database.path];

/** As `made` has them, in the order in which they are missing. */
const madeObjects = () =>
  SCHEMA_OBJECTS.map(({ kind, name }, at) => `${(at === 0 ? 'objects made' : '').padEnd(20)}${kind} ${name}`);

describe('migrate', () => {
  test('--dry-run prints the plan in words, and changes nothing', async () => {
    using database = deployment();
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    const before = readFileSync(database.path);
    const { code, stdout, stderr } = await runCommand(on(database, 'migrate', ...ORG, '--dry-run'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      [
        'A migration of all users and models to Acme "& Co" $1 (mai_client_acme) would do this. Nothing was changed: this is a dry run.',
        '',
        'users joined        14 (1 as admin, 1 banned, whom the gate refuses all the same)',
        'models linked       9 (1 switched off as in the backend)',
        'users left out      2 (2 pending)',
        'presets not linked  1: a preset follows its base model',
        ...madeObjects(),
        '',
      ].join('\n'),
    );
    expect(readFileSync(database.path).equals(before)).toBe(true);
    expect(readdirSync(database.directory).filter((name) => name.includes('backup'))).toEqual([]);
  });

  test('says what it does not link, and who will be in two organizations', async () => {
    using database = deployment();
    for (const id of ['*', 'b*']) database.addModel({ id });
    database.addModel({ id: 'own', owner: 'u1' });
    await runCommand(on(database, 'init'));
    database.addMember('globex', 'u1');
    const { stdout } = await runCommand(on(database, 'migrate', ...ORG, '--dry-run'));
    expect(stdout.split('\n').slice(2, 6)).toEqual([
      'users joined        14 (1 as admin, 1 banned, whom the gate refuses all the same, 1 members of another organization, and then of both)',
      'models linked       9 (1 switched off as in the backend)',
      'users left out      2 (2 pending)',
      'presets not linked  1: a preset follows its base model',
    ]);
    expect(stdout).toContain(
      '2 models not linked, because a grant would read the id as a pattern, or no request can name it: "*", "b*".\n' +
        '1 model not linked, because a user who is no admin has made it: "own". To allow one all the same:\n' +
        `  modelgate model allow ID --database ${database.path}\n`,
    );
    const json = await runCommand(on(database, 'migrate', ...ORG, '--json'));
    expect(JSON.parse(json.stdout)).toMatchObject({
      users: { joined_elsewhere: 1 },
      models: { linked: 9, left_out_unusable: 2, left_out_of_users: 1 },
    });
  });

  test('ends with what it did, the backup, and the two lines for .env', async () => {
    using database = deployment();
    const { code, stdout, stderr } = await runCommand(on(database, 'migrate', ...ORG));
    expect(code).toBe(0);
    const [backup] = readdirSync(database.directory).filter((name) => /^webui\.db\.backup\.\d{8}_\d{6}$/.test(name));
    expect(stderr).toBe(`modelgate: Backed up and checked: ${join(database.directory, backup!)}\n`);
    expect(stdout).toMatch(/^Migrated all users and models to /);
    expect(stdout).toContain('\nusers joined        14 (1 as admin');
    expect(stdout).toContain('\nmembers now         14\nmodels now          9\n');
    expect(stdout.split('\n').slice(-3)).toEqual([
      'OPENROUTER_EXTERNAL_USER=mai_client_acme',
      'ORGANIZATION_NAME="Acme \\"& Co\\" \\$1"',
      '',
    ]);
    const again = await runCommand(on(database, 'migrate', ...ORG));
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toMatch(/^Nothing to do: .* Nothing was changed, and no backup was needed\.\n/);
    expect(readdirSync(database.directory).filter((name) => name.includes('.backup.'))).toEqual([backup]);
  });

  test('prints lines that a shell reads back', async () => {
    using database = deployment();
    const { environment } = await askCommand<{ environment: Record<string, string> }>(
      on(database, 'migrate', ...ORG, '--dry-run'),
    );
    const { stdout } = await runCommand(on(database, 'migrate', ...ORG));
    const file = join(database.directory, 'lines.env');
    writeFileSync(file, stdout.split('\n').slice(-3).join('\n'));
    const { stdout: read } = await run('sh', [
      '-c',
      '. "$0"; printf "%s|%s" "$OPENROUTER_EXTERNAL_USER" "$ORGANIZATION_NAME"',
      file,
    ]);
    expect(read).toBe(`${environment['OPENROUTER_EXTERNAL_USER']}|${environment['ORGANIZATION_NAME']}`);
  });

  test.each([
    [['--org', '', '--name', 'A'], '--org is empty.'],
    [
      ['--org', ' a', '--name', 'A'],
      '--org: there is a space at one of its ends; expected the id of the organization, at most 256 characters.',
    ],
    [
      ['--org', 'a', '--name', 'A\u001b[31m'],
      '--name: it contains control characters; expected the name of the organization, at most 256 characters.',
    ],
    [
      ['--org', 'a'.repeat(257), '--name', 'A'],
      '--org: it is longer than 256 characters; expected the id of the organization, at most 256 characters.',
    ],
  ])('%j is wrong use', async (words, sentence) => {
    using database = deployment();
    expect(await runCommand(on(database, 'migrate', ...words))).toEqual({
      code: 2,
      stdout: '',
      stderr: `modelgate: ${sentence} Nothing was changed.\n`,
    });
  });

  test('of a file that may not be written makes no backup of it', async () => {
    using database = deployment();
    database.sql.close();
    const folder = join(database.directory, 'open');
    mkdirSync(folder);
    for (const path of [database.directory, folder]) chmodSync(path, 0o777);
    chmodSync(database.path, 0o444);
    const words = ['migrate', ...ORG, '--database', database.path, '--backup-dir', folder];
    const { code, stderr } = await runAsNobody(...words);
    expect(code).toBe(1);
    expect(stderr).toMatch(/webui\.db may not be used \(EACCES\)\. Nothing was changed\./);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('says why there is no backup, and does nothing without one', async () => {
    using database = deployment();
    const folder = join(database.directory, 'missing', 'volume');
    const { code, stderr } = await runCommand(on(database, 'migrate', ...ORG, '--backup-dir', folder));
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /There is no folder .*missing to make .*volume in\. Nothing was changed\. Is the volume mounted\?/,
    );
    expect(
      database.sql.prepare("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'organization%'").pluck().get(),
    ).toBe(0);
  });
});

describe('backup', () => {
  test('prints where it is, how large, and what was deleted', async () => {
    using database = deployment();
    const folder = join(database.directory, 'backups');
    mkdirSync(folder);
    writeFileSync(join(folder, 'webui_20200101_000000.db.gz'), '');
    const { code, stdout, stderr } = await runCommand(on(database, 'backup', 'backups', '--keep', '30d'), {
      directory: database.directory,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^backup {4}\/.*\/backups\/webui_\d{8}_\d{6}\.db\.gz\nsize {6}[\d.]+ KB, [\d.]+ [KM]B unpacked\nverified {2}integrity ok, 16 users, 10 models, 0 memberships, 0 grants\ntime {6}\d+\.\d s\ndeleted {3}1 backup older than 30 days:\n {10}\/.*webui_20200101_000000\.db\.gz\n$/,
    );
  });

  test.each(['0d', '23h', '1m'])('--keep %s would delete the backups of today, and is refused', async (keep) => {
    using database = deployment();
    const folder = join(database.directory, 'backups');
    mkdirSync(folder);
    writeFileSync(join(folder, 'webui_20200101_000000.db.gz'), '');
    const { code, stderr } = await runCommand(on(database, 'backup', folder, '--keep', keep));
    expect(code).toBe(2);
    expect(stderr).toContain('Expected a day or more, such as 1d or 30d.');
    expect(existsSync(join(folder, 'webui_20200101_000000.db.gz'))).toBe(true);
  });

  test('says as JSON what it did', async () => {
    using database = deployment();
    const folder = join(database.directory, 'backups');
    const made = await askCommand<Record<string, unknown>>(on(database, 'backup', folder));
    expect(made).toMatchObject({
      users: 16,
      models: 10,
      made_directory: true,
      deleted: [],
      not_deleted: [],
      complaints: [],
    });
    expect(existsSync(String(made['path']))).toBe(true);
  });

  test.each<[string, (database: TestDatabase) => [directory: string, path: string], RegExp]>([
    ['a file for a folder', ({ path }) => [path, path], /is not a folder\. Nothing was changed/],
    [
      'a missing volume',
      ({ directory, path }) => [join(directory, 'a/b'), path],
      /Is the volume mounted\? Else make it:\n {2}mkdir -p \//,
    ],
    ['no database', ({ directory }) => [directory, join(directory, 'none.db')], /There is no file at .*none\.db/],
    [
      'text for a database',
      ({ directory }) => [directory, written(join(directory, 'text.db'), 'no database')],
      /is not a SQLite database/,
    ],
    ['the database of another program', ({ directory }) => [directory, foreign(directory)], /no table "user"/],
  ])('(%s) fails with one sentence', async (_what, make, sentence) => {
    using database = deployment();
    const [directory, path] = make(database);
    const { code, stdout, stderr } = await runCommand(['backup', directory, '--database', path]);
    const isMissing = !existsSync(path) || !lstatSync(directory, { throwIfNoEntry: false })?.isDirectory();
    expect({ code, stdout }).toEqual({ code: isMissing ? 2 : 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(
      stderr
        .trimEnd()
        .split('\n')
        .filter((line) => !line.startsWith('  ')),
    ).toHaveLength(1);
  });

  test('into a folder that may not be written says who runs', async () => {
    using database = deployment();
    database.sql.close();
    const folder = join(database.directory, 'closed');
    mkdirSync(folder, { mode: 0o555 });
    for (const path of [database.directory, database.path]) chmodSync(path, 0o777);
    const { code, stderr } = await runAsNobody('backup', folder, '--database', database.path);
    expect(code).toBe(1);
    expect(stderr).toMatch(/closed may not be used \(EACCES\)\. Nothing was changed\. This command runs as user \d+;/);
  });

  test('ends at Ctrl-C, and leaves nothing behind', async () => {
    using database = deployment();
    database.run('CREATE TABLE ballast (bytes BLOB)');
    for (let row = 0; row < 24; row++) database.run('INSERT INTO ballast VALUES (?)', randomBytes(2 ** 20));
    const folder = join(database.directory, 'backups');
    const command = startModelgate(on(database, 'backup', folder));
    await until(() => existsSync(folder) && readdirSync(folder).length > 0, 15_000, 'the copy has begun');
    command.kill('SIGINT');
    expect(await command.ended()).toEqual({
      code: 130,
      stdout: '',
      stderr: 'modelgate: Stopped. Nothing was changed.\n',
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('restore', () => {
  test('needs a terminal to ask at, or --yes', async () => {
    using database = deployment();
    const { code, stderr } = await runCommand(on(database, 'restore', database.path));
    expect(code).toBe(2);
    expect(stderr).toBe('modelgate: Not a terminal, so it cannot be confirmed. Add --yes. Nothing was changed.\n');
  });

  test('is refused while a backend answers at MODELGATE_UPSTREAM_URL', async () => {
    using database = deployment();
    const backup = join(database.directory, 'backup.db');
    copyFileSync(database.path, backup);
    database.sql.close();
    await using backend = await startRecordingUpstream();
    const environment = { MODELGATE_UPSTREAM_URL: backend.origin };
    const { code, stderr } = await runCommand(on(database, 'restore', backup, '--yes'), { environment });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^modelgate: The backend at http:\/\/127\.0\.0\.1:\d+ answers \(status 200\), so it is running\. Nothing was changed\./,
    );
  });

  test('says as JSON what it did, and what it kept', async () => {
    using database = deployment();
    const backup = join(database.directory, 'backup.db');
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    copyFileSync(database.path, backup);
    database.sql.close();
    const done = await askCommand<Record<string, unknown>>(on(database, 'restore', backup, '--yes'));
    expect(done).toMatchObject({ restored: database.path, from: backup, users: 16, complaints: [] });
    expect(existsSync(String(done['replaced']))).toBe(true);
  });
});

describe('maintain', () => {
  test('prints sizes before and after, and its steps on standard error', async () => {
    using database = deployment();
    const { code, stdout, stderr } = await runCommand(on(database, 'maintain'));
    expect(code).toBe(0);
    expect(stderr).toMatch(/^modelgate: ANALYZE: .*\nmodelgate: Checkpoint: .*\n$/);
    expect(stdout).toMatch(
      /^SIZE OF {5,}BEFORE {2,}AFTER\nfile .*\ngaps in it .*\nlog \(-wal\) .* 0\.0 KB\n\nstatistics refreshed, log emptied in \d+\.\d s; journal mode wal, untouched\n/,
    );
  });

  test('says as JSON what it did', async () => {
    using database = deployment();
    const { code, stdout } = await runCommand(on(database, 'maintain', '--vacuum', '--json'));
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      journal_mode: 'wal',
      analyzed: true,
      vacuumed: true,
      checkpoint: { busy: false },
      after: { free_bytes: 0, wal_bytes: 0 },
    });
  });
});

/** Root may write everywhere, so tests that run as root run this as another user. */
const runAsNobody = (...words: string[]) => startModelgate(words, {}, '/', AS_NOBODY).ended();
