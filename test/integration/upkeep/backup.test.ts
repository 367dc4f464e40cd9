import { randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { backUp } from '../../../src/upkeep/backup.ts';
import { copyLive } from '../../../src/upkeep/copy.ts';
import { createPartial, discard } from '../../../src/upkeep/files.ts';
import { type TestDatabase, ERAS, createDatabase, foreign } from '../../support/database/database.ts';
import { ledgerOfTest } from '../../support/database/ledger.ts';
import { operationOn } from '../../support/database/operation.ts';
import { startWriting, wholeCommits } from '../../support/process/writing-process.ts';

const NOW = new Date(2026, 0, 31, 3, 0, 0);
const NAME = 'webui_20260131_030000.db.gz';
const DAY_MS = 86_400_000;

const folderOf = (database: TestDatabase): string => join(database.directory, 'backups');
const backUpOf = (database: TestDatabase, options: Partial<Parameters<typeof backUp>[1]> = {}) =>
  backUp(operationOn(database.path), { directory: folderOf(database), now: NOW, onStep: () => undefined, ...options });

/** Opens what is inside of a compressed backup. */
function unpacked(path: string): Database.Database {
  const plain = `${path}.unpacked`;
  writeFileSync(plain, gunzipSync(readFileSync(path)));
  return new Database(plain, { readonly: true });
}

/** Makes the file large enough for a copy to take its time, and for another process to write meanwhile. */
function enlarge(database: TestDatabase, megabytes: number): void {
  database.run('CREATE TABLE ballast (bytes BLOB)');
  for (let index = 0; index < megabytes; index++) database.run('INSERT INTO ballast VALUES (?)', randomBytes(2 ** 20));
}

/** A copy of one moment, while `commits` were written. */
function expectWholeCommits(path: string, commits: number): void {
  const copy = unpacked(path);
  const held = wholeCommits(copy);
  expect(held).toBeGreaterThan(0);
  expect(held).toBeLessThanOrEqual(commits);
  expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
  copy.close();
}

describe.each(ERAS)('a backup of a database of %s', (era) => {
  test('is a gzip file of the name of the guide, for its owner alone, that holds everything', async () => {
    using database = createDatabase({ era });
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'gpt-4o');
    const made = await backUpOf(database);
    expect(made).toMatchObject({
      path: join(folderOf(database), NAME),
      made_directory: true,
      ...{ users: 1, models: 0, members: 1, grants: 1 },
      deleted: [],
    });
    expect(statSync(made.path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folderOf(database))).toEqual([NAME]);
    const copy = unpacked(made.path);
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
    for (const table of ['user', 'organization_members', 'organization_models', 'sqlite_schema']) {
      const rows = (sql: Database.Database) => sql.prepare(`SELECT * FROM "${table}"`).all();
      expect(rows(copy)).toEqual(rows(database.sql));
    }
    copy.close();
  });

  test('holds whole transactions of a backend that writes all the time', async () => {
    using database = createDatabase({ era });
    enlarge(database, 12);
    await using writer = await startWriting(database.path);
    const { path } = await backUpOf(database);
    const { commits, failures } = await writer.stop();
    expect(failures).toEqual([]);
    expectWholeCommits(path, commits);
  });

  test('leaves the journal mode and the file as they are', async () => {
    using database = createDatabase({ era });
    const mode = database.sql.pragma('journal_mode', { simple: true });
    const version = database.sql.pragma('data_version', { simple: true });
    await backUpOf(database);
    expect(database.sql.pragma('journal_mode', { simple: true })).toBe(mode);
    expect(database.sql.pragma('data_version', { simple: true })).toBe(version);
  });
});

describe('a backup', () => {
  test('never replaces one of the same second', async () => {
    using database = createDatabase();
    await backUpOf(database);
    const before = readFileSync(join(folderOf(database), NAME));
    const { path } = await backUpOf(database);
    expect(path).toBe(join(folderOf(database), 'webui_20260131_030000-2.db.gz'));
    expect(readFileSync(join(folderOf(database), NAME)).equals(before)).toBe(true);
  });

  test('of a file that a killed backend has left with a hot journal holds what was committed', async () => {
    using database = createDatabase({ era: '0.6.18' });
    database.run('CREATE TABLE big (text TEXT)');
    database.sql.transaction(() => {
      for (let row = 0; row < 2_000; row++) database.run('INSERT INTO big VALUES (?)', 'committed'.repeat(50));
    })();
    const path = join(database.directory, 'killed.db');
    database.sql.pragma('cache_size = 5');
    database.sql.exec("BEGIN; UPDATE big SET text = 'never committed'");
    for (const companion of ['', '-journal']) copyFileSync(`${database.path}${companion}`, `${path}${companion}`);
    database.sql.exec('ROLLBACK');
    expect(() => new Database(path, { readonly: true }).prepare('SELECT * FROM big').get()).toThrow(/readonly/);
    const made = await backUp(operationOn(path), {
      directory: folderOf(database),
      now: NOW,
      onStep: () => undefined,
    });
    const copy = unpacked(made.path);
    expect(copy.prepare("SELECT count(*) FROM big WHERE text LIKE 'committed%'").pluck().get()).toBe(2_000);
    copy.close();
  });

  test('waits politely for a lock, and says so once', async () => {
    using database = createDatabase({ era: '0.6.18' });
    database.sql.exec('BEGIN EXCLUSIVE');
    const operation = operationOn(database.path);
    const made = backUp(operation, { directory: folderOf(database), now: NOW, onStep: () => undefined });
    while (operation.said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    database.sql.exec('COMMIT');
    await expect(made).resolves.toMatchObject({ path: join(folderOf(database), NAME) });
    expect(operation.said).toEqual([`Another process holds the lock of ${database.path}: waiting for it.`]);
  });

  test.each(['copy', 'check', 'compress', 'verify'] as const)(
    'that is stopped while it is at %s leaves nothing behind',
    async (at) => {
      using database = createDatabase();
      enlarge(database, 6);
      const operation = operationOn(database.path);
      const stopped = backUp(operation, {
        directory: folderOf(database),
        now: NOW,
        keepMs: 1,
        onStep: (step) => (step === at ? operation.stop() : undefined),
      });
      await expect(stopped).rejects.toThrow('Stopped. Nothing was changed.');
      expect(readdirSync(folderOf(database))).toEqual([]);
    },
  );

  test('of a damaged database is no backup, and deletes none', async () => {
    using database = createDatabase({ journalMode: 'delete' });
    mkdirSync(folderOf(database));
    writeFileSync(join(folderOf(database), 'webui_20200101_000000.db.gz'), 'the last good one');
    const root = database.sql.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'chat'").pluck().get() as number;
    const bytes = readFileSync(database.path);
    bytes.fill(0xee, (root - 1) * 4096, root * 4096);
    const path = join(database.directory, 'damaged.db');
    writeFileSync(path, bytes);
    await expect(
      backUp(operationOn(path), { directory: folderOf(database), now: NOW, keepMs: DAY_MS, onStep: () => undefined }),
    ).rejects.toThrow(/is damaged.*Nothing was changed/);
    expect(readdirSync(folderOf(database))).toEqual(['webui_20200101_000000.db.gz']);
  });

  test('of rows that break a rule of their table is good, and says so', async () => {
    using database = createDatabase({ journalMode: 'delete' });
    database.sql.unsafeMode(true);
    database.run('CREATE TABLE ruled (value TEXT)');
    database.run('INSERT INTO ruled VALUES (NULL)');
    database.sql.pragma('writable_schema = on');
    database.run("UPDATE sqlite_schema SET sql = 'CREATE TABLE ruled (value TEXT NOT NULL)' WHERE name = 'ruled'");
    database.sql.pragma('writable_schema = off');
    const { complaints } = await backUpOf(database);
    expect(complaints).toEqual(['NULL value in ruled.value']);
  });
});

describe('a copy of a file outside of WAL mode', () => {
  test('is made under a read lock where another process commits at every step, and only then', async () => {
    using database = createDatabase({ era: '0.6.18' });
    enlarge(database, 10);
    database.run('CREATE TABLE commits (n INTEGER)');
    database.sql.pragma('busy_timeout = 0');
    let locked = 0;
    const commit = () => {
      try {
        database.run('INSERT INTO commits VALUES (1)');
      } catch (error) {
        expect(String(error)).toMatch(/locked/);
        locked += 1;
      }
    };
    const count = (sql: Database.Database) => sql.prepare('SELECT count(*) FROM commits').pluck().get();
    const target = createPartial(join(database.directory, 'copy.db'));
    const read = await copyLive(operationOn(database.path), target, count, commit);
    expect(locked).toBeGreaterThan(0);
    const copy = new Database(target, { readonly: true });
    expect(count(copy)).toBe(read);
    expect(copy.pragma('integrity_check', { simple: true })).toBe('ok');
    copy.close();
    commit();
    expect(count(database.sql)).toBe(Number(read) + 1);
  });
});

describe('old backups', () => {
  const files = [
    'webui_20260101_000000.db.gz',
    'webui_20260101_000000-2.db.gz',
    'webui_20260129_030000.db.gz',
    'webui_20991231_235959.db.gz',
    'webui_20260101_000000.db',
    'webui_20261301_000000.db.gz',
    'other_20260101_000000.db.gz',
    'webui_20260101_000000.db.gz.asc',
    'notes.gz',
  ];

  test('are deleted by the age that their name says, and nothing else is touched', async () => {
    using database = createDatabase();
    const folder = folderOf(database);
    mkdirSync(folder);
    for (const file of files) writeFileSync(join(folder, file), '');
    for (const file of files) utimesSync(join(folder, file), 0, 0);
    mkdirSync(join(folder, 'webui_20250101_000000.db.gz'));
    const { deleted } = await backUpOf(database, { keepMs: 7 * DAY_MS });
    expect(deleted).toEqual(
      ['webui_20260101_000000-2.db.gz', 'webui_20260101_000000.db.gz'].map((file) => join(folder, file)),
    );
    expect(readdirSync(folder).toSorted()).toEqual([NAME, 'webui_20250101_000000.db.gz', ...files.slice(2)].toSorted());
  });

  test('never include the newest good one, even where the clock has gone wrong', async () => {
    using database = createDatabase();
    // the second is as if the clock had gone on for years since the name was chosen
    for (const keepMs of [0, -1_000 * DAY_MS]) {
      const { path, deleted } = await backUpOf(database, { keepMs, directory: `${folderOf(database)} ${keepMs}` });
      expect({ deleted, there: existsSync(path) }).toEqual({ deleted: [], there: true });
    }
  });
});

describe('the ledger beside it', () => {
  const USAGE = NAME.replace('webui', 'usage');

  test('is copied too: of one moment, while the gate writes, for its owner alone, with the same moment in its name', async () => {
    using database = createDatabase();
    const { path: ledger, connection } = ledgerOfTest();
    connection.exec('CREATE TABLE ballast (bytes BLOB)');
    for (let index = 0; index < 12; index++) {
      connection.prepare('INSERT INTO ballast VALUES (?)').run(randomBytes(2 ** 20));
    }
    await using writer = await startWriting(ledger);
    const made = await backUpOf(database, { ledger });
    const { commits, failures } = await writer.stop();
    expect(failures).toEqual([]);
    const path = join(folderOf(database), USAGE);
    expect(made.ledger).toMatchObject({ path, calls: 0, complaints: [], bytes: statSync(path).size });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folderOf(database)).toSorted()).toEqual([USAGE, NAME]);
    expectWholeCommits(path, commits);
  });

  test('has the number of its own backup where others of that second are there', async () => {
    using database = createDatabase();
    const { path: ledger } = ledgerOfTest();
    await backUpOf(database);
    const { path, ledger: usage } = await backUpOf(database, { ledger });
    expect([path, usage?.path].map((made) => basename(made ?? ''))).toEqual([
      'webui_20260131_030000-2.db.gz',
      'usage_20260131_030000-2.db.gz',
    ]);
  });

  test.each<[string, (path: string) => void, RegExp]>([
    ['damaged', (path) => damageTable(path, 'usage_slot'), /usage\.db is damaged.*Nothing was changed/],
    ['of something else', (path) => copyFileSync(foreign(dirname(path)), path), /is no ledger of modelgate/],
    ['text', (path) => writeFileSync(path, 'no database'), /usage\.db is not a SQLite database/],
  ])('is %s: there is no backup at all, and none is deleted', async (_what, spoil, sentence) => {
    using database = createDatabase();
    const { path, connection } = ledgerOfTest();
    connection.close();
    spoil(path);
    mkdirSync(folderOf(database));
    writeFileSync(join(folderOf(database), 'webui_20200101_000000.db.gz'), 'the last good one');
    await expect(backUpOf(database, { ledger: path, keepMs: DAY_MS })).rejects.toThrow(sentence);
    expect(readdirSync(folderOf(database))).toEqual(['webui_20200101_000000.db.gz']);
  });

  test('is deleted together with its backup', async () => {
    using database = createDatabase();
    const { path: ledger } = ledgerOfTest();
    const old = { now: new Date(2026, 0, 1), ledger };
    const first = await backUpOf(database, old);
    const { deleted } = await backUpOf(database, { keepMs: DAY_MS, ledger });
    expect(deleted).toEqual([first.ledger?.path, first.path]);
    expect(readdirSync(folderOf(database)).toSorted()).toEqual([USAGE, NAME]);
  });
});

/** Overwrites the first page of a table. */
function damageTable(path: string, table: string): void {
  const connection = new Database(path);
  connection.pragma('journal_mode = delete');
  const page = Number(connection.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').pluck().get(table));
  connection.close();
  const bytes = readFileSync(path);
  bytes.fill(0xee, (page - 1) * 4096, page * 4096);
  writeFileSync(path, bytes);
}

describe('what killed commands have left', () => {
  test('is taken away by the next one, and what others are writing is not', async () => {
    using database = createDatabase();
    const folder = folderOf(database);
    mkdirSync(folder);
    const mine = createPartial(join(folder, 'webui_20260101_000000.db'));
    discard(mine);
    const [, machine] = /modelgate-([0-9a-f]{8})-/.exec(mine) ?? [];
    const ended = join(folder, `.webui_20260101_000000.db.modelgate-${machine}-4194304`);
    const running = join(folder, `.webui_20260101_000000.db.modelgate-${machine}-1`);
    const elsewhere = join(folder, '.webui_20260101_000000.db.modelgate-00000000-4194304');
    const forgotten = join(folder, '.webui_20260102_000000.db.gz.modelgate-00000000-7');
    for (const path of [mine, ended, `${ended}-wal`, running, elsewhere, forgotten]) writeFileSync(path, 'half');
    utimesSync(forgotten, 0, 0);
    await backUpOf(database);
    expect(hostname()).not.toBe('');
    expect(readdirSync(folder).toSorted()).toEqual(
      [NAME, running, elsewhere].map((path) => path.split('/').at(-1)).toSorted(),
    );
  });
});
