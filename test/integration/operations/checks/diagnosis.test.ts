/** Each fault is made for real in a file that is otherwise whole, and `doctor` must find it, and nothing else. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkDatabaseFile } from '../../../../src/diagnosis/file.ts';
import type { Finding } from '../../../../src/diagnosis/finding.ts';
import { diagnose } from '../../../../src/diagnosis/diagnosis.ts';
import { maintain } from '../../../../src/upkeep/maintenance.ts';
import { asNobody } from '../../../support/process/as-nobody.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { ERAS, createDatabase } from '../../../support/database/database.ts';
import {
  NOTHING_SET,
  createHealthyDatabase,
  faults,
  findingsOf,
  withName,
} from '../../../support/database/diagnosis.ts';
import { operationOn } from '../../../support/database/operation.ts';
import type { OtherProcess } from '../../../support/process/other-process.ts';
import { openOtherProcess } from '../../../support/process/other-process.ts';
import { GUIDE_REPORT_VIEW } from '../../../support/database/guide-sql.ts';

/** Every byte of the file and the names of what lies beside it. */
const stateOf = ({ path, directory }: Pick<TestDatabase, 'path' | 'directory'>) => ({
  bytes: readFileSync(path).toString('base64'),
  files: readdirSync(directory).toSorted(),
});

async function only(database: TestDatabase, fault: string, options = {}): Promise<Finding> {
  const findings = await findingsOf(database, options);
  expect(faults(findings)).toEqual([fault]);
  return findings.find(({ status }) => status !== 'ok')!;
}

describe('a file with nothing wrong', () => {
  test.each(ERAS)('of %s has no problem and no warning, and is left as it was', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    const before = stateOf(database);
    const findings = await findingsOf(database);
    expect(faults(findings)).toEqual([]);
    expect(findings.map(({ name }) => name)).toEqual([
      ...['settings', 'file', 'permissions', 'folder', 'tables', 'release', 'admins', 'upgrade', 'index use'],
      ...['statistics', 'foreign rows', 'journal mode', ...(era === '0.12.4' ? ['write-ahead log'] : [])],
      ...['locks', 'integrity'],
    ]);
    expect(stateOf(database)).toEqual(before);
  });

  test.each(ERAS)('with the tables of mAI, on %s, has one warning: the view that an operator can drop', async (era) => {
    using database = createHealthyDatabase({ era, mai: true });
    const found = await only(database, 'warning upgrade');
    expect(found.remedy).toContain('DROP VIEW "user_available_models";');
    expect(found.remedy).toContain("mAI's own start");
  });

  test('that a backend writes to meanwhile keeps its -wal and -shm', async () => {
    using database = createHealthyDatabase();
    await using backend = await openOtherProcess();
    database.sql.close();
    await backend.run(database.path, 'UPDATE "user" SET name = \'seen by the backend\'');
    const before = stateOf(database);
    expect(before.files).toEqual(['webui.db', 'webui.db-shm', 'webui.db-wal']);
    expect(faults(await findingsOf(database))).toEqual([]);
    expect(stateOf(database)).toEqual(before);
  });

  test('is not read whole with --quick', async () => {
    using database = createHealthyDatabase();
    expect(withName(await findingsOf(database, { quick: true }), 'integrity')).toEqual([]);
  });
});

describe('the file', () => {
  test('that is not there', async () => {
    const findings = await diagnose({ ...NOTHING_SET, operation: operationOn('/nowhere/webui.db', 0) });
    expect(faults(findings)).toEqual(['problem file']);
    expect(findings.at(-1)?.finding).toContain('There is no file at /nowhere/webui.db');
  });

  test('that is no database of anybody', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    writeFileSync(database.path, 'nothing that SQLite would read '.repeat(100));
    const findings = await findingsOf(database);
    expect(faults(findings)).toEqual(['problem file', 'unknown tables']);
    expect(findings.map(({ name }) => name)).toEqual(['settings', 'file', 'file', 'tables']);
    expect(withName(findings, 'file').at(-1)?.finding).toMatch(/is not a SQLite database \(SQLITE_NOTADB\)\.$/);
  });

  test('that belongs to another program', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    rmSync(database.path);
    const other = new Database(database.path);
    other.exec('CREATE TABLE notes (id)');
    other.close();
    const findings = await findingsOf(database);
    expect(faults(findings)).toEqual(['problem tables']);
    expect(withName(findings, 'tables')[0]?.finding).toContain('no database of Open WebUI');
  });

  test.each([
    [0o644, 'user'],
    [0o664, 'in group'],
  ])('that everybody may read (%i), with its companions', async (mode, gate) => {
    using database = createHealthyDatabase();
    const modes = { [database.path]: mode, [`${database.path}-wal`]: 0o640, [`${database.path}-shm`]: 0o604 };
    for (const [name, given] of Object.entries(modes)) chmodSync(name, given);
    const look = async () =>
      withName(
        await diagnose({ ...NOTHING_SET, quick: true, operation: operationOn(database.path, 0) }),
        'permissions',
      );
    const [found] = await look();
    expect(found).toMatchObject({ status: 'warning' });
    expect(found?.finding).toContain(`(webui.db ${mode.toString(8)}, webui.db-shm 604)`);
    expect(found?.remedy).toContain(gate);
    const command = /chmod [^`]*/.exec(found?.remedy ?? '')?.[0] ?? '';
    expect(command).toBe(`chmod o= ${database.path} ${database.path}-shm`);
    // as it is pasted: nobody whom the file was meant for is locked out
    execFileSync('sh', ['-c', command]);
    expect(statSync(database.path).mode & 0o777).toBe(mode & 0o770);
    expect(await look()).toMatchObject([{ status: 'ok', remedy: null }]);
  });

  test('that a group shares, as the README has it, is as it should be', async () => {
    using database = createHealthyDatabase();
    for (const suffix of ['', '-wal', '-shm']) chmodSync(`${database.path}${suffix}`, 0o660);
    const { gid } = statSync(database.path);
    const found = withName(
      await diagnose({ ...NOTHING_SET, quick: true, operation: operationOn(database.path, 0) }),
      'permissions',
    );
    expect(found).toMatchObject([{ status: 'ok', remedy: null }]);
    expect(found[0]?.finding).toContain(`and group ${gid} may open the file (mode 660). Right if the gate shares`);
    writeFileSync(join(database.directory, 'webui_20250101_030000.db.gz'), '', { mode: 0o600 });
    chmodSync(join(database.directory, 'webui_20250101_030000.db.gz'), 0o640);
    const findings = await diagnose({ ...NOTHING_SET, quick: true, operation: operationOn(database.path, 0) });
    expect(withName(findings, 'backups')).toEqual([]);
  });

  test('that this user may not read, or only read', () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    chmodSync(database.directory, 0o755);
    const look = (mode: number) => {
      chmodSync(database.path, mode);
      return asNobody(() => checkDatabaseFile(database.path));
    };
    const unreadable = look(process.geteuid?.() === 0 ? 0o600 : 0o000);
    expect(faults(unreadable)).toEqual(['problem file']);
    expect(unreadable[0]?.finding).toContain('may not read');
    const readable = look(process.geteuid?.() === 0 ? 0o644 : 0o444);
    expect(faults(readable)).toContain('warning file');
    expect(readable[0]?.finding).toContain('may not write');
    chmodSync(database.directory, 0o700);
  });

  test('in a folder that everybody may write to', async () => {
    using database = createHealthyDatabase();
    chmodSync(database.directory, 0o777);
    const found = await only(database, 'warning folder');
    expect(found.remedy).toBe(`\`chmod o-w ${database.directory}\``);
  });

  test('with backups beside it that others may read', async () => {
    using database = createHealthyDatabase();
    for (const name of ['webui.db.backup.20250101_030000', 'webui_20250101_030000.db.gz', 'webui_notes.txt']) {
      writeFileSync(join(database.directory, name), '', { mode: 0o644 });
    }
    writeFileSync(join(database.directory, 'webui_20250102_030000.db.gz'), '', { mode: 0o600 });
    const found = await only(database, 'warning backups');
    expect(found.finding).toContain(
      '2 backups beside the file (webui.db.backup.20250101_030000, webui_20250101_030000.db.gz)',
    );
  });

  test('that ends in the middle', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    writeFileSync(database.path, readFileSync(database.path).subarray(0, 5_000));
    const findings = await findingsOf(database);
    expect(findings.some(({ status, finding }) => status === 'problem' && /damaged/.test(finding))).toBe(true);
  });

  test('with one overwritten page', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    const page = Number(database.sql.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'note'").pluck().get());
    const size = Number(database.sql.pragma('page_size', { simple: true }));
    database.sql.close();
    const file = openSync(database.path, 'r+');
    writeSync(file, Buffer.alloc(size, 0x7f), 0, size, (page - 1) * size);
    closeSync(file);
    const found = await only(database, 'problem integrity');
    expect(found.finding).toContain('damaged');
    expect(found.remedy).toContain('modelgate restore FILE');
  });

  test('that is large and outside of WAL mode is checked as a copy, which is gone afterwards', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.exec("INSERT INTO note (id, data) VALUES ('large', zeroblob(34 * 1024 * 1024))");
    const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith('modelgate-doctor-'));
    const before = left();
    const stages = new Set<string>();
    const findings = await findingsOf(database, { onProgress: (label) => void stages.add(label) });
    expect(faults(findings)).toEqual([]);
    expect(stages).toContain('copying');
    expect(left()).toEqual(before);
  });

  test('with a journal that a killed writer has left is said to need a recovery, and does not get one', async () => {
    using database = createHealthyDatabase({ era: '0.6.18', members: 200 });
    using left = createDatabase({ era: '0.6.18' });
    left.sql.close();
    database.sql.exec('PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE "user" SET info = hex(randomblob(2000))');
    for (const suffix of ['', '-journal']) copyFileSync(`${database.path}${suffix}`, `${left.path}${suffix}`);
    database.sql.exec('ROLLBACK');
    const before = stateOf(left);
    const findings = await findingsOf(left);
    expect(faults(findings)).toEqual(['problem file', 'unknown tables']);
    expect(withName(findings, 'file').at(-1)?.finding).toContain('needs a recovery');
    expect(stateOf(left)).toEqual(before);
  });
});

describe('tables', () => {
  test('that were never made', async () => {
    using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
    database.addUser({ id: 'root', role: 'admin' });
    const found = await only(database, 'problem tables');
    expect(found).toMatchObject({
      finding: expect.stringContaining('table organization_members is missing') as string,
    });
    expect(found.remedy).toContain('modelgate init');
  });

  test('with a column of another name', async () => {
    using database = createHealthyDatabase();
    database.sql.exec('DROP VIEW user_available_models; DROP VIEW user_model_access_report');
    database.sql.exec('ALTER TABLE organization_members RENAME COLUMN organization_id TO org_id');
    const found = await only(database, 'problem tables');
    expect(found.finding).toContain('table organization_members has no column organization_id');
  });

  test.each([
    ['DROP INDEX idx_org_models_org_active', 'warning tables', 'index idx_org_models_org_active'],
    ['DROP VIEW user_model_access_report', 'warning tables', 'view user_model_access_report'],
    [
      'DROP TRIGGER modelgate_organization_members_update',
      'warning version counter',
      'a trigger is missing or changed',
    ],
    ['DELETE FROM modelgate_version', 'warning version counter', 'its table or its rows are missing'],
  ])('after %s', async (statement, fault, words) => {
    using database = createHealthyDatabase();
    database.sql.exec(statement);
    const found = await only(database, fault);
    expect(found.finding).toContain(words);
    expect(found.remedy).toContain('modelgate init');
  });

  test('with a trigger of the right name that counts nothing', async () => {
    using database = createHealthyDatabase();
    database.sql.exec(`DROP TRIGGER modelgate_organization_models_insert;
      CREATE TRIGGER modelgate_organization_models_insert AFTER INSERT ON organization_models BEGIN SELECT 1; END`);
    expect((await only(database, 'warning version counter')).finding).toContain(
      'trigger modelgate_organization_models_insert',
    );
  });

  test('without a view that the guide times: said, and the rest is proved', async () => {
    using database = createHealthyDatabase();
    database.sql.exec('DROP VIEW user_available_models');
    expect(faults(await findingsOf(database))).toEqual(['warning tables', 'unknown index use']);
  });

  test('in the middle of a migration of the backend', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.exec('ALTER TABLE model RENAME TO _alembic_tmp_model');
    expect(faults(await findingsOf(database))).toContain('problem tables');
  });
});

describe('admins', () => {
  test('none is a warning', async () => {
    using database = createHealthyDatabase();
    database.run(`UPDATE "user" SET role = 'user'`);
    expect((await only(database, 'warning admins')).finding).toContain('No user of the backend has the role admin');
  });

  test('are named, harmlessly, and no more than five', async () => {
    using database = createHealthyDatabase();
    for (let index = 0; index < 7; index++) {
      database.addUser({ id: `a${index}`, role: 'admin', email: `a\u001b[31m${index}\n@x` });
    }
    const [found] = withName(await findingsOf(database), 'admins');
    expect(found?.finding).toMatch(/^The backend has 8: .* and 3 more\.$/);
    expect(found?.finding).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe('the release', () => {
  test.each([
    ['0.6.18', 'Open WebUI 0.6.16 or later, before 0.6.23', 'd31026856c01'],
    ['0.12.4', 'Open WebUI 0.12.1 to 0.12.4', '0bd252b206fb'],
  ] as const)('of a file of %s is recognised', async (era, words, revision) => {
    using database = createHealthyDatabase({ era });
    const finding = `The file was written by ${words}.`;
    expect(withName(await findingsOf(database), 'release')).toMatchObject([{ finding, revision }]);
  });

  test('with a migration that nobody knows is a warning', async () => {
    using database = createHealthyDatabase();
    database.run("UPDATE alembic_version SET version_num = 'ffff00000000'");
    expect((await only(database, 'warning release')).finding).toContain('newer than this modelgate knows');
  });

  test('without any mark is a warning', async () => {
    using database = createHealthyDatabase();
    database.run('DELETE FROM alembic_version');
    expect((await only(database, 'warning release')).finding).toContain('no mark of a migration');
  });
});

describe('what is in the way of an upgrade', () => {
  test.each(ERAS)("the guide's view on %s, whose removal lets the migration pass", async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.exec(`DROP VIEW user_model_access_report; ${GUIDE_REPORT_VIEW}`);
    const migrate = () =>
      database.sql.exec(
        'CREATE TABLE _alembic_tmp_user AS SELECT * FROM user; DROP TABLE user; ALTER TABLE _alembic_tmp_user RENAME TO user',
      );
    database.sql.exec('BEGIN');
    expect(migrate).toThrow('error in view user_model_access_report: no such table: main.user');
    database.sql.exec('ROLLBACK');
    const found = await only(database, 'warning upgrade');
    const drop = /DROP VIEW "[^"]+";/.exec(found.remedy ?? '')?.[0] ?? '';
    using again = openAgain(database.path);
    again.sql.exec(drop);
    again.sql.exec('BEGIN');
    again.sql.exec(
      'CREATE TABLE _alembic_tmp_user AS SELECT * FROM user; DROP TABLE user; ALTER TABLE _alembic_tmp_user RENAME TO user',
    );
  });

  test.each(ERAS)('nothing after a VACUUM on %s, which writes the tables in another order', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    await maintain(operationOn(database.path), { vacuum: true, onStep: () => undefined });
    expect(faults(await findingsOf(database))).toEqual([]);
    using again = openAgain(database.path);
    for (const table of ['user', 'model']) {
      again.sql.exec(`BEGIN; CREATE TABLE _alembic_tmp AS SELECT * FROM "${table}"; DROP TABLE "${table}";
        ALTER TABLE _alembic_tmp RENAME TO "${table}"; COMMIT`);
    }
    expect(again.sql.prepare('SELECT count(*) FROM user_model_access_report').pluck().get()).toBeTypeOf('number');
  });

  test('a trigger and views on views, each named; a column that is called model is no table', async () => {
    using database = createHealthyDatabase();
    database.sql.exec(`
      CREATE VIEW "people ""all""" AS SELECT id FROM user;
      CREATE VIEW few AS SELECT id FROM "people ""all""" LIMIT 1;
      CREATE VIEW harmless AS SELECT model_id AS model, 'FROM user' AS user FROM organization_models;
      CREATE TRIGGER enrol AFTER INSERT ON organization_models BEGIN SELECT id FROM model; END;
      CREATE TRIGGER through INSTEAD OF INSERT ON harmless BEGIN SELECT id FROM model; END`);
    const { finding, remedy } = await only(database, 'warning upgrade');
    expect(finding).toContain('view people "all"');
    expect(finding).toContain('trigger enrol');
    expect(finding).toContain('trigger through');
    expect(finding).not.toContain('view harmless');
    expect(remedy).toContain('DROP VIEW "people ""all""";');
  });
});

const openAgain = (path: string) => {
  const sql = new Database(path);
  return { sql, [Symbol.dispose]: () => void sql.close() };
};

describe('index use', () => {
  test('a dropped index under many rows is a problem', async () => {
    using database = createHealthyDatabase({ members: 12_000 });
    database.sql.exec('DROP INDEX idx_org_members_user_active');
    const findings = await findingsOf(database, { quick: true });
    expect(faults(findings)).toContain('warning tables');
    const scans = withName(findings, 'index use');
    expect(scans.map(({ status }) => status)).toContain('problem');
    expect(scans.map(({ finding }) => finding).join()).toContain(
      'The query memberships reads all 12,002 rows of organization_members',
    );
    expect(scans.map(({ finding }) => finding).join()).toContain('The query user_orgs');
  });

  test('statistics that are missing, then stale, are warnings for large tables only', async () => {
    using database = createHealthyDatabase({ members: 1_500 });
    const { path } = database;
    const missing = await findingsOf(database, { quick: true });
    expect(faults(missing)).toEqual(['warning statistics']);
    expect(withName(missing, 'statistics')[0]?.finding).toContain('organization_members has 1,502 rows');
    using again = openAgain(path);
    again.sql.exec("ANALYZE; UPDATE sqlite_stat1 SET stat = '12 4 1' WHERE tbl = 'organization_members'");
    const stale = await findingsOf({ path, sql: again.sql }, { quick: true });
    expect(withName(stale, 'statistics')).toMatchObject([{ status: 'warning' }]);
    expect(withName(stale, 'statistics')[0]?.finding).toContain('had 12 rows then and has 1,502 now');
  });
});

describe('foreign rows', () => {
  test.each<[string, string]>([
    [
      "INSERT INTO organization_members (id, organization_id, user_id) VALUES ('x', 'acme', 'gone')",
      '1 memberships belong to users that the backend does not have: "gone".',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acne', 'gpt-4o')",
      '1 organizations have models and no member: "acne".',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'open*/gpt')",
      '1 grants have a * that is not at the end',
    ],
    [
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', ' gpt-4 ')",
      '1 grant has an id that is empty',
    ],
    [
      "UPDATE organization_members SET is_active = NULL WHERE user_id = 'alice'",
      '1 memberships have an is_active that is neither 0 nor 1',
    ],
    ["UPDATE organization_models SET is_active = 'true' WHERE model_id = 'gpt-4o'", '"acme gpt-4o true"'],
  ])('%s', async (statement, words) => {
    using database = createHealthyDatabase();
    database.sql.exec(statement);
    expect((await only(database, 'warning foreign rows')).finding).toContain(words);
  });

  test('that match nothing are named in the command that deletes them', async () => {
    using database = createHealthyDatabase();
    database.sql.exec(
      "INSERT INTO organization_models (id, organization_id, model_id) VALUES ('x', 'acme', 'gpt-4o-mini ')",
    );
    expect((await only(database, 'warning foreign rows')).remedy).toContain(
      "`modelgate model deny 'gpt-4o-mini ' --org acme --purge`",
    );
  });

  test('of models whose ids a grant reads as patterns, and grants that are such ids', async () => {
    using database = createHealthyDatabase();
    for (const id of ['*', 'gpt-*']) database.addModel({ id });
    database.grant('acme', 'gpt-*');
    const found = withName(await findingsOf(database, { quick: true }), 'foreign rows');
    expect(found.map(({ status, finding }) => [status, finding])).toEqual([
      [
        'warning',
        '2 rows of the backend\'s model table have an id that a grant would read as a pattern: "*", "gpt-*".',
      ],
      [
        'warning',
        '1 grants cover every model with their beginning, and are the id of one row of the backend\'s model table too: "acme gpt-*".',
      ],
    ]);
  });

  test('twice, in a table made by hand', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.sql.exec(`
      CREATE TABLE organization_members (id INTEGER PRIMARY KEY, organization_id TEXT, user_id TEXT);
      CREATE TABLE organization_models (id INTEGER PRIMARY KEY, organization_id TEXT, model_id TEXT);
      INSERT INTO organization_members (organization_id, user_id) VALUES ('acme', 'root'), ('acme', 'root');
      INSERT INTO organization_models (organization_id, model_id) VALUES ('acme', 'gpt-4o')`);
    database.addUser({ id: 'root', role: 'admin' });
    const found = withName(await findingsOf(database, { quick: true }), 'foreign rows');
    expect(found.map(({ finding }) => finding)).toEqual([
      '1 memberships stand more than once, and one that is on is enough: "acme root".',
    ]);
  });

  test("of an organization that mAI's own table does not have", async () => {
    using database = createHealthyDatabase({ mai: true });
    database.grant('other', 'gpt-4o');
    database.addMember('other', 'alice');
    const [found] = withName(await findingsOf(database), 'foreign rows');
    expect(found?.finding).toBe('1 organizations are not in mAI\'s client_organizations: "other".');
  });

  test('with hostile ids are shown in one harmless line', async () => {
    using database = createHealthyDatabase();
    database.run(
      'INSERT INTO organization_members (id, organization_id, user_id) VALUES (?, ?, ?)',
      'x',
      'acme',
      '\u001b[2J\n\u202eevil',
    );
    const { finding } = await only(database, 'warning foreign rows');
    expect(finding).not.toMatch(/[\u0000-\u001f\u202e]/);
  });
});

describe('locks', () => {
  let other: OtherProcess;
  beforeAll(async () => {
    other = await openOtherProcess();
  });
  afterAll(() => other.close());

  test.each(ERAS)('a process that holds the lock to write is named, on %s', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    await other.run(database.path, 'BEGIN IMMEDIATE');
    const findings = await findingsOf(database, { quick: true });
    await other.release(database.path);
    expect(faults(findings)).toEqual(['problem locks']);
    const [found] = withName(findings, 'locks');
    if (process.platform === 'linux') {
      const [, pid = ''] = /process (\d+)[,)]/.exec(found?.finding ?? '') ?? [];
      expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('other-process-main.ts');
      expect(found?.finding).toMatch(new RegExp(`process ${pid}, started \\d+ s ago by user ${process.getuid?.()}\\)`));
      expect(found?.remedy).toBe(`If that is not the backend, and hangs: kill ${pid}`);
    }
  });

  test('one that lets nobody even read, too: the rest is not checked', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    await other.run(database.path, 'BEGIN EXCLUSIVE');
    const findings = await findingsOf(database);
    await other.release(database.path);
    expect(faults(findings)).toEqual(['unknown file', 'unknown tables', 'problem locks']);
  });
});

test('Ctrl-C ends it', async () => {
  using database = createHealthyDatabase();
  database.sql.close();
  const signal = AbortSignal.abort();
  const operation = { path: database.path, patience: { longestMs: 0, signal, say: () => undefined } };
  await expect(diagnose({ ...NOTHING_SET, operation })).rejects.toThrow('Stopped. Nothing was changed.');
  expect(readdirSync(database.directory)).toEqual(['webui.db']);
});

test('a file that somebody moves away in between costs findings, not the command', async () => {
  using database = createHealthyDatabase();
  let moved = false;
  const findings = await findingsOf(database, {
    onProgress: () => {
      if (!moved) renameSync(database.path, `${database.path}.away`);
      moved = true;
    },
  });
  expect(findings.some(({ name, status }) => name === 'locks' && status !== 'ok')).toBe(true);
});
