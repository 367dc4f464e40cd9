/** What `doctor` finds about the file itself; each fault is made for real. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { checkDatabaseFile } from '../../../src/diagnosis/file.ts';
import { diagnose } from '../../../src/diagnosis/diagnosis.ts';
import { asNobody } from '../../support/process/as-nobody.ts';
import { createDatabase } from '../../support/database/database.ts';
import {
  NOTHING_SET,
  createHealthyDatabase,
  faults,
  findingsOf,
  withName,
  onlyFault,
  stateOf,
} from '../../support/database/diagnosis.ts';
import { operationOn } from '../../support/database/operation.ts';

describe('the file', () => {
  test('that is not there', async () => {
    const findings = await diagnose({ ...NOTHING_SET, operation: operationOn('/nowhere/webui.db', 0) });
    expect(faults(findings)).toEqual(['problem file']);
    expect(findings.at(-1)?.finding).toContain('There is no file at /nowhere/webui.db');
  });

  test('that is no database', async () => {
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
    expect(findings.map(({ name }) => name).slice(-4)).toEqual(['tables', 'journal mode', 'locks', 'integrity']);
    expect(withName(findings, 'tables')[0]?.finding).toContain('no database of Open WebUI');
  });

  test.each([
    [0o644, 'user'],
    [0o664, 'in group'],
  ])('that every user may read (%i), with its companions', async (mode, gate) => {
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
    // as it is pasted: no user for whom the file was meant is locked out
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

  test('in a folder that every user may write to', async () => {
    using database = createHealthyDatabase();
    chmodSync(database.directory, 0o777);
    const found = await onlyFault(database, 'warning folder');
    expect(found.remedy).toBe(`\`chmod o-w ${database.directory}\``);
  });

  test('with backups beside it that others may read', async () => {
    using database = createHealthyDatabase();
    for (const name of ['webui.db.backup.20250101_030000', 'webui_20250101_030000.db.gz', 'webui_notes.txt']) {
      writeFileSync(join(database.directory, name), '', { mode: 0o644 });
    }
    writeFileSync(join(database.directory, 'webui_20250102_030000.db.gz'), '', { mode: 0o600 });
    const found = await onlyFault(database, 'warning backups');
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
    const found = await onlyFault(database, 'problem integrity');
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
    expect(stages).toContain('copy');
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
