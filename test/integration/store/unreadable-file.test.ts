import { copyFileSync, renameSync, rmSync, statSync, writeFileSync, readFileSync, appendFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { type OpenedStore, openStore } from '../../support/database/opened-store.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

const MAX_STALE_MS = 30_000;
/** Longer than the pause after a failed attempt. */
const SOON_MS = 100;

let other: OtherProcess;
beforeAll(async () => void (other = await openOtherProcess()));
afterAll(() => other.close());

let database: TestDatabase;
let opened: OpenedStore;

async function start(options: Parameters<typeof createDatabase>[0]): Promise<void> {
  database = createDatabase(options);
  database.addUser({ id: 'ada' });
  database.addUser({ id: 'bob' });
  database.addMember('acme', 'ada');
  database.addMember('acme', 'bob');
  database.grant('acme', 'granted');
  opened = await openStore(database.path);
}

afterEach(async () => {
  opened[Symbol.dispose]();
  await other.release(database.path);
  database.close();
});

/** What stands for every way in which a file can fail for a while. */
const FAILURES: readonly { name: string; fail: () => Promise<void> | void; mend: () => Promise<void> | void }[] = [
  {
    name: 'locked by another process',
    fail: () => other.run(database.path, 'BEGIN EXCLUSIVE'),
    mend: () => other.run(database.path, 'ROLLBACK'),
  },
  {
    name: 'missing',
    fail: () => renameSync(database.path, `${database.path}.away`),
    mend: () => renameSync(`${database.path}.away`, database.path),
  },
  {
    name: 'overwritten with garbage',
    fail: () => {
      copyFileSync(database.path, `${database.path}.good`);
      writeFileSync(database.path, 'This is not a database at all. '.repeat(1000));
    },
    mend: () => copyFileSync(`${database.path}.good`, database.path),
  },
  {
    name: 'damaged in its pages',
    fail: () => {
      copyFileSync(database.path, `${database.path}.good`);
      const bytes = readFileSync(database.path);
      writeFileSync(database.path, bytes.fill(0xff, 100));
    },
    mend: () => copyFileSync(`${database.path}.good`, database.path),
  },
  {
    name: 'in the middle of a migration',
    fail: () => other.run(database.path, 'ALTER TABLE "user" RENAME TO user_being_rebuilt'),
    mend: () => other.run(database.path, 'ALTER TABLE user_being_rebuilt RENAME TO "user"'),
  },
];

describe.each(FAILURES)('while the file is $name', ({ fail, mend }) => {
  beforeEach(() => start({ era: '0.6.18', journalMode: 'delete' }));

  test('the last good state serves those who were seen, for as long as allowed', async () => {
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await fail();
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    opened.clock.advance(MAX_STALE_MS - 1_000);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    expect(await opened.store.health()).toMatchObject({ readable: false });
    opened.clock.advance(2_000);
    await expect(opened.effect('ada', 'granted')).rejects.toMatchObject({ code: 'policy_unavailable' });
    await mend();
  });

  test('no other user is let in', async () => {
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await fail();
    await expect(opened.effect('bob', 'granted')).rejects.toMatchObject({ code: 'policy_unavailable' });
    await mend();
  });

  test('all is well as soon as the file is, without a restart', async () => {
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    await fail();
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    opened.clock.advance(2 * MAX_STALE_MS);
    await expect(opened.effect('ada', 'granted')).rejects.toMatchObject({ code: 'policy_unavailable' });
    await mend();
    opened.clock.advance(SOON_MS);
    expect(await opened.effect('bob', 'granted')).toBe('permit');
    database.withdraw('acme', 'granted');
    expect(await opened.effect('ada', 'granted')).toBe('deny');
    expect(await opened.store.health()).toMatchObject({ readable: true, problem: undefined });
  });

  test('what is wrong is said, without a path into any row', async () => {
    await opened.look();
    await fail();
    opened.clock.advance(SOON_MS);
    expect((await opened.store.health()).problem).toMatch(/^(SQLITE_[A-Z_]+|MissingFile|UnreadableSchema): \w/);
    await mend();
  });
});

describe('a file that another process holds locked', () => {
  beforeEach(() => start({ era: '0.6.18', journalMode: 'delete' }));

  test('holds up the event loop for one busy timeout, and not for one at every request', async () => {
    await opened.effect('ada', 'granted');
    await other.run(database.path, 'BEGIN EXCLUSIVE');
    const first = await elapsed(() => opened.effect('ada', 'granted'));
    const thousand = await elapsed(async () => {
      for (let request = 0; request < 1_000; request++) await opened.effect('ada', 'granted');
    });
    // 10 ms each would be 10 s
    expect(first).toBeLessThan(2_000);
    expect(thousand).toBeLessThan(5_000);
    await other.run(database.path, 'ROLLBACK');
  });

  test('is worth a word and the readiness only when it stays so', async () => {
    await opened.look();
    await other.run(database.path, 'BEGIN EXCLUSIVE');
    await opened.look();
    expect(await opened.store.health()).toMatchObject({
      readable: true,
      problem: expect.stringContaining('SQLITE_BUSY') as string,
    });
    expect(opened.warnings.join()).not.toContain('cannot be read');
    opened.clock.advance(1_001);
    await opened.look();
    expect(await opened.store.health()).toMatchObject({ readable: false });
    expect(opened.warnings.join()).toContain('cannot be read');
    await other.run(database.path, 'ROLLBACK');
  });

  test('is no trouble while the other process only prepares to write', async () => {
    await other.run(database.path, `BEGIN IMMEDIATE; UPDATE "user" SET name = 'x'`);
    expect(await opened.effect('bob', 'granted')).toBe('permit');
    expect((await opened.store.health()).readable).toBe(true);
    await other.run(database.path, 'ROLLBACK');
  });

  test('never keeps the backend from writing', async () => {
    const view = opened.next();
    await view.grantsOf({ kind: 'user', id: toUserId('ada'), role: 'user' });
    await other.run(database.path, `PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE; UPDATE "user" SET name = 'x'; COMMIT`);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
  });
});

test('in WAL mode a writer that takes its time is not noticed at all', async () => {
  await start({ era: '0.12.4', journalMode: 'wal' });
  await other.run(database.path, `BEGIN EXCLUSIVE; UPDATE "user" SET name = 'x'`);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  expect(await opened.effect('bob', 'granted')).toBe('permit');
  expect((await opened.store.health()).readable).toBe(true);
  await other.run(database.path, 'ROLLBACK');
});

describe('another file in the place of the first one', () => {
  test.each(['delete', 'wal'] as const)('put there by a rename (%s)', async (journalMode) => {
    await start({ era: '0.12.4', journalMode });
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    using replacement = createDatabase({ era: '0.12.4', journalMode: 'delete' });
    replacement.addUser({ id: 'ada' });
    replacement.addMember('acme', 'ada');
    replacement.grant('acme', 'another');
    replacement.sql.close();
    renameSync(replacement.path, database.path);
    for (const companion of ['-wal', '-shm']) rmSync(`${database.path}${companion}`, { force: true });
    expect(await opened.grants('ada')).toEqual(['acme: another']);
  });

  test('copied over it, with the very change counter that was seen before', async () => {
    await start({ era: '0.6.18', journalMode: 'delete' });
    const twin = join(database.directory, 'twin.db');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    copyFileSync(database.path, twin);
    database.run(`UPDATE "user" SET name = 'Ada' WHERE id = 'ada'`);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    const copy = new Database(twin);
    copy.exec('UPDATE organization_models SET is_active = 0');
    copy.close();
    expect(changeCounter(twin)).toBe(changeCounter(database.path));
    const inode = statSync(database.path).ino;
    copyFileSync(twin, database.path);
    expect(statSync(database.path).ino).toBe(inode);
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });

  test('restored with the companions of WAL mode deleted under the open connection', async () => {
    await start({ era: '0.12.4', journalMode: 'wal' });
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    database.sql.close();
    for (const companion of ['-wal', '-shm']) rmSync(`${database.path}${companion}`, { force: true });
    await other.run(database.path, 'UPDATE organization_models SET is_active = 0');
    expect(await opened.effect('ada', 'granted')).toBe('deny');
  });
});

describe('a file that is not there when the gate starts', () => {
  test('is waited for, and initialized when it comes', async () => {
    await start({ era: '0.12.4' });
    opened[Symbol.dispose]();
    const late = join(database.directory, 'late.db');
    opened = await openStore(late, { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true });
    expect((await opened.store.health()).problem).toContain('no file');
    await expect(opened.effect('ada', 'granted')).rejects.toMatchObject({ code: 'policy_unavailable' });

    writeFileSync(late, '');
    opened.clock.advance(SOON_MS);
    expect((await opened.store.health()).problem).toContain('table user is missing');
    expect(statSync(late).size).toBe(0);

    const complete = createDatabase({ era: '0.12.4', journalMode: 'delete', organizationTables: 'none' });
    complete.addUser({ id: 'ada' });
    complete.addModel({ id: 'granted' });
    complete.sql.close();
    renameSync(complete.path, late);
    rmSync(complete.directory, { recursive: true });
    opened.clock.advance(6_000);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    expect(await opened.store.health()).toMatchObject({ readable: true, missing: [] });
  });
});

test('a failure and the recovery from it are each said once', async () => {
  await start({ era: '0.6.18', journalMode: 'delete' });
  await opened.look();
  renameSync(database.path, `${database.path}.away`);
  for (let request = 0; request < 200; request++) await opened.look();
  renameSync(`${database.path}.away`, database.path);
  opened.clock.advance(SOON_MS);
  for (let request = 0; request < 10; request++) await opened.look();
  const said = opened.warnings.filter((warning) => warning.includes('policy database'));
  expect(said).toHaveLength(2);
  expect(said[0]).toContain('cannot be read');
  expect(said[1]).toContain('readable again');
});

test('a journal that a killed backend left behind is not mistaken for the truth', async () => {
  await start({ era: '0.6.18', journalMode: 'delete' });
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  // the head of a journal with one page in it: SQLite calls it hot, and only a writer may roll it back
  appendFileSync(`${database.path}-journal`, hotJournalOf(database.path));
  await expect(opened.effect('bob', 'granted')).rejects.toMatchObject({ code: 'policy_unavailable' });
  database.run(`UPDATE "user" SET name = 'x'`);
  opened.clock.advance(SOON_MS);
  expect(await opened.effect('bob', 'granted')).toBe('permit');
});

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Bytes 24 to 27 of the header (SQLite file format 1.3.7). */
const changeCounter = (path: string): number => readFileSync(path).readUInt32BE(24);

/** SQLite file format 3: header of one sector, then page number, content and checksum of each record. */
function hotJournalOf(path: string): Buffer {
  const pageSize = readFileSync(path).readUInt16BE(16);
  const header = Buffer.alloc(512);
  Buffer.from('d9d505f920a163d7', 'hex').copy(header);
  header.writeUInt32BE(0, 8);
  header.writeUInt32BE(0, 12);
  header.writeUInt32BE(statSync(path).size / pageSize, 16);
  header.writeUInt32BE(512, 20);
  header.writeUInt32BE(pageSize, 24);
  return header;
}
