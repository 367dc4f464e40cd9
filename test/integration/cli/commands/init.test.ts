import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SCHEMA_OBJECTS } from '../../../../src/store/schema.ts';
import { ERAS, type DatabaseOptions, type TestDatabase } from '../../../support/database/database.ts';
import { AS_NOBODY } from '../../../support/process/as-nobody.ts';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import { databaseOfTest } from '../../../support/database/opened-store.ts';
import { runModelgate, startModelgate } from '../../../support/gate/gate-process.ts';
import { createMaiTables } from '../../../support/database/mai-tables.ts';
import { openOtherProcess } from '../../../support/process/other-process.ts';

function untouched(options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest({ organizationTables: 'none', ...options });
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'ada' });
  database.addUser({ id: 'pen', role: 'pending' });
  database.addModel({ id: 'gpt-4o' });
  return database;
}

interface Report {
  readonly objects: readonly { kind: string; name: string; state: string; failure: string | null }[];
  readonly made: number;
  readonly failed: number;
  readonly organization: string | null;
  readonly linked_users: number;
  readonly linked_models: number;
}

const init = ({ path }: TestDatabase, ...words: string[]) => runCommand(['init', '--database', path, ...words]);
const initialized = ({ path }: TestDatabase, words: string[] = [], environment: Record<string, string> = {}) =>
  askCommand<Report>(['init', '--database', path, ...words], { environment });
const count = (database: TestDatabase, table: string) =>
  database.sql.prepare(`SELECT count(*) FROM ${table}`).pluck().get();

describe.each(ERAS)('init on a database of %s', (era) => {
  test('makes what is missing and says what, and a second time nothing', async () => {
    const database = untouched({ era });
    const first = await init(database);
    expect(first).toMatchObject({ code: 0, stderr: '' });
    for (const { kind, name } of SCHEMA_OBJECTS)
      expect(first.stdout).toMatch(new RegExp(`^${kind} +${name} +made$`, 'm'));
    expect(first.stdout).toMatch(/\n\n18 made\.\n$/);
    const version = database.sql.pragma('data_version', { simple: true });
    const second = await init(database);
    expect(second).toMatchObject({ code: 0, stderr: '' });
    expect(second.stdout.match(/ present$/gm)).toHaveLength(SCHEMA_OBJECTS.length);
    expect(second.stdout).toMatch(/\n\nNothing was missing: 18 there already\.\n$/);
    expect(database.sql.pragma('data_version', { simple: true })).toBe(version);
  });

  test('makes the rest beside the tables of the guide', async () => {
    const database = untouched({ era, organizationTables: 'guide' });
    const { objects, made, failed } = await initialized(database);
    expect({ made, failed }).toEqual({ made: 12, failed: 0 });
    expect(objects.filter(({ state }) => state === 'present').map(({ name }) => name)).toEqual([
      'organization_models',
      'organization_members',
      'idx_org_members_user_active',
      'idx_org_members_org_active',
      'idx_org_models_org_active',
      'idx_org_models_org_model',
    ]);
  });
});

describe('init with an organization', () => {
  test.each([
    ['of the command line', ['--org', 'acme', '--name', 'Acme'], {}],
    ['of the command line without a name', ['--org', 'acme'], {}],
    ['of the environment', [], { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' }],
  ])('%s links users and models once', async (_, words, environment) => {
    const database = untouched();
    expect(await initialized(database, words, environment)).toMatchObject({
      organization: 'acme',
      linked_users: 2,
      linked_models: 1,
    });
    database.run("DELETE FROM organization_members WHERE user_id = 'ada'");
    database.addModel({ id: 'later' });
    expect(await initialized(database, words, environment)).toMatchObject({
      made: 0,
      linked_users: 0,
      linked_models: 0,
    });
    expect([count(database, 'organization_members'), count(database, 'organization_models')]).toEqual([1, 1]);
  });

  test('says whom it has linked', async () => {
    const database = untouched();
    expect((await init(database, '--org', 'acme')).stdout).toContain('Linked to acme: 2 users and 1 model.\n');
    expect((await init(database, '--org', 'acme')).stdout).toContain('nothing was linked');
  });

  test('says what it has not linked', async () => {
    const database = untouched({ organizationTables: 'guide' });
    for (const id of ['*', 'gpt-*']) database.addModel({ id });
    database.addModel({ id: 'own', owner: 'ada' });
    database.addMember('globex', 'ada');
    expect(await initialized(database, ['--org', 'acme'])).toMatchObject({
      linked_users: 1,
      linked_models: 1,
      left_out_users: 1,
      left_out_unusable: 2,
      left_out_of_users: 1,
    });
    database.run("DELETE FROM organization_models WHERE organization_id = 'acme'");
    database.run("DELETE FROM organization_members WHERE organization_id = 'acme'");
    expect((await init(database, '--org', 'acme')).stdout.split('\n').slice(-7)).toEqual([
      'Linked to acme: 1 user and 1 model.',
      '1 user not linked, because another organization has a row of theirs. To add all users:',
      `  modelgate member add --all --org acme --database ${database.path}`,
      '2 models not linked, because a grant would read the id as a pattern, or no request can name it: "*", "gpt-*".',
      '1 model not linked, because a user who is no admin has made it: "own". To allow one all the same:',
      `  modelgate model allow ID --database ${database.path}`,
      '',
    ]);
  });

  test.each([
    [['--name', 'Acme'], /--org ID says which/],
    [['--org', ''], /--org needs the id/],
  ])('%j is wrong use: code 2, and nothing is made', async (words, said) => {
    const database = untouched();
    expect(await init(database, ...words)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(said) as string,
    });
    expect(database.sql.prepare("SELECT name FROM sqlite_schema WHERE name LIKE '%organization%'").all()).toEqual([]);
  });
});

describe('init beside what others have made', () => {
  test("keeps mAI's tables and view as they are", async () => {
    const database = untouched({ era: '0.6.18' });
    createMaiTables(database);
    const view = database.sql.prepare("SELECT sql FROM sqlite_schema WHERE name = 'user_available_models'").pluck();
    const before = view.get();
    const { objects, failed } = await initialized(database, ['--org', 'acme']);
    expect(failed).toBe(0);
    expect(objects.find(({ name }) => name === 'user_available_models')?.state).toBe('present');
    expect(view.get()).toBe(before);
  });

  test('says what could not be made and why: code 1', async () => {
    const database = untouched();
    database.sql.exec(`
      CREATE TABLE organization_models (organization_id, model_id);
      CREATE TABLE organization_members (organization_id, user_id);
      INSERT INTO organization_models VALUES ('acme', 'twice'), ('acme', 'twice');`);
    const { code, stdout, stderr } = await init(database);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^index +idx_org_members_user_active +failed: .*no such column: is_active/m);
    expect(stdout).toMatch(/^index +idx_org_models_org_model +failed: .*UNIQUE constraint failed/m);
    expect(stdout).toMatch(/^trigger +modelgate_organization_models_insert +made$/m);
    expect(stderr).toMatch(/^modelgate: 4 objects could not be made\./);
    const { code: again, stdout: json } = await init(database, '--json');
    expect(again).toBe(1);
    expect(JSON.parse(json)).toMatchObject({ made: 0, failed: 4 });
  });

  test('says that the gate cannot use tables without the columns that it needs', async () => {
    const database = untouched();
    database.sql.exec('CREATE TABLE organization_members (member TEXT, team TEXT)');
    const { code, stderr } = await init(database);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'The gate cannot use this file: table organization_members has no column organization_id.\n',
    );
  });
});

describe('init on a file that is not what it should be ends with code 1 and a sentence', () => {
  const folder = () => {
    const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
    return {
      directory,
      path: join(directory, 'webui.db'),
      [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
    };
  };
  const tried = (path: string) => runCommand(['init', '--database', path]);

  test('where there is none, and makes none', async () => {
    using place = folder();
    expect(await tried(place.path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('There is no file at') as string,
    });
    expect(readdirSync(place.directory)).toEqual([]);
  });

  test('where the backend has never run', async () => {
    using place = folder();
    writeFileSync(place.path, '');
    expect((await tried(place.path)).stderr).toContain('A backend that has never run must be started once.');
    expect(readFileSync(place.path)).toHaveLength(0);
  });

  test('where it is that of a release that is not known', async () => {
    const database = untouched();
    database.sql.exec('ALTER TABLE model RENAME COLUMN base_model_id TO base');
    expect((await tried(database.path)).stderr).toContain('in a shape that this version does not know');
  });

  test('where another process holds the lock for longer than it waits, and says that it waits', async () => {
    const database = untouched({ era: '0.6.18' });
    await using other = await openOtherProcess();
    await other.run(database.path, 'BEGIN IMMEDIATE');
    const { code, stderr } = await init(database, '--wait', '1500ms');
    expect(code).toBe(1);
    expect(stderr.split('\n')).toEqual([
      expect.stringMatching(/holds the lock of .*: waiting for it\.$/),
      expect.stringMatching(
        /is locked by another process \(SQLITE_BUSY\)\. Nothing was changed\. Try again, or wait longer/,
      ),
      '',
    ]);
    await other.run(database.path, 'COMMIT');
  });

  test('where SQLite may not make its files beside a file in WAL mode', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
    const database = untouched({ era: '0.12.4', directory });
    try {
      database.sql.close();
      chmodSync(database.path, 0o444);
      chmodSync(directory, 0o555);
      const refused = await startModelgate(['org', 'list', '--database', database.path], {}, '/', AS_NOBODY).ended();
      const { uid } = statSync(directory);
      expect(refused.stderr).toContain(`may not do so in ${directory}, of mode 555 (SQLITE_READONLY_DIRECTORY)`);
      expect(refused.stderr).toContain(`Run it as user ${uid}, who owns that folder`);
    } finally {
      chmodSync(directory, 0o755);
      rmSync(directory, { recursive: true });
    }
  });

  test('where it may not be written, unless nothing is missing', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'modelgate-'));
    const database = untouched({ era: '0.6.18', directory });
    try {
      chmodSync(database.path, 0o444);
      chmodSync(directory, 0o555);
      const words = ['init', '--database', database.path];
      const refused = await startModelgate(words, {}, '/', AS_NOBODY).ended();
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toMatch(/may not be written \(SQLITE_READONLY.*run it as the owner of the file/);
      chmodSync(directory, 0o755);
      await runCommand(words);
      expect((await startModelgate(words, {}, '/', AS_NOBODY).ended()).stdout).toContain('Nothing was missing');
    } finally {
      chmodSync(directory, 0o755);
      rmSync(directory, { recursive: true });
    }
  });
});

test('several inits and a starting gate at once make everything once', async () => {
  const database = untouched({ era: '0.6.18' });
  database.addUsers(300);
  const environment = {
    OPENROUTER_EXTERNAL_USER: 'acme',
    ORGANIZATION_NAME: 'Acme',
    DATABASE_URL: `sqlite:///${database.path}`,
  };
  const gate = startModelgate(['serve'], {
    ...environment,
    MODELGATE_HOST: '127.0.0.1',
    MODELGATE_PORT: '0',
    MODELGATE_ADMIN_PORT: '0',
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    WEBUI_SECRET_KEY: 'a-secret-for-tests-only',
  });
  try {
    const ended = await Promise.all([1, 2, 3].map(() => runModelgate(['init', '--json'], environment)));
    await gate.line('modelgate listens');
    expect(ended.map(({ code }) => code)).toEqual([0, 0, 0]);
    const reports = ended.map(({ stdout }) => JSON.parse(stdout) as Report);
    // the first process has made all of it: one of them or the gate
    expect(reports.filter(({ made }) => made > 0).map(({ made, linked_users }) => [made, linked_users])).toEqual(
      reports.every(({ made }) => made === 0) ? [] : [[SCHEMA_OBJECTS.length, 302]],
    );
    expect([count(database, 'organization_members'), count(database, 'organization_models')]).toEqual([302, 1]);
  } finally {
    gate.kill('SIGKILL');
    await gate.ended();
  }
});
