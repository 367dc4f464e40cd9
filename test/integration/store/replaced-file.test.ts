/** Another content at the path of the database, put there in any way: the next request is judged by what stands there. */
import {
  closeSync,
  copyFileSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import type { ModelId } from '../../../src/policy/grant.ts';
import { initializeWhereIncomplete } from '../../../src/store/initialize.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { databaseOfTest, openStore, patterns, type OpenedStore } from '../../support/database/opened-store.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

const JOURNAL_MODES = ['delete', 'wal'] as const;

/** Ways to put `bytes` where `path` is. */
const WAYS: Record<string, (path: string, bytes: Buffer) => void> = {
  cp: writeFileSync,
  'cp -p': (path, bytes) => {
    const { atime, mtime } = statSync(path);
    writeFileSync(path, bytes);
    utimesSync(path, atime, mtime);
  },
  'rsync --inplace': (path, bytes) => {
    const file = openSync(path, 'r+');
    writeSync(file, bytes, 0, bytes.length, 0);
    closeSync(file);
  },
  mv: (path, bytes) => {
    writeFileSync(`${path}.new`, bytes);
    renameSync(`${path}.new`, path);
  },
  'rm and cp': (path, bytes) => {
    unlinkSync(path);
    writeFileSync(path, bytes);
  },
};

/** What may be changed in a copy between two looks; `granted` was granted to ada before. */
const CHANGES: Record<string, (sql: Database.Database) => void> = {
  'a grant is withdrawn': (sql) => sql.exec('UPDATE organization_models SET is_active = 0'),
  'a grant is another one': (sql) => sql.exec("UPDATE organization_models SET model_id = 'another'"),
  'a membership is withdrawn': (sql) => sql.exec('UPDATE organization_members SET is_active = 0'),
  'a role is taken': (sql) => sql.exec(`UPDATE "user" SET role = 'pending'`),
  'a preset has another base': (sql) => sql.exec("UPDATE model SET base_model_id = 'forbidden'"),
  'an API key is gone': (sql) => sql.exec('UPDATE "user" SET api_key = NULL'),
  'a grant is withdrawn and no counter knows': (sql) => unseen(sql, 'UPDATE organization_models SET is_active = 0'),
  'the tables stand elsewhere in the file': (sql) => {
    unseen(sql, "UPDATE organization_models SET model_id = 'another'");
    sql.exec('DROP TABLE ballast; VACUUM');
  },
};

/** Changes the tables without their triggers. */
function unseen(sql: Database.Database, statement: string): void {
  const triggers = sql.prepare<[], Trigger>("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all();
  const drop = triggers.map(({ name }) => `DROP TRIGGER ${name}`);
  sql.exec([...drop, statement, ...triggers.map((trigger) => trigger.sql)].join(';'));
}

interface Trigger {
  readonly name: string;
  readonly sql: string;
}

/** A changed copy of the file, as SQLite leaves it when it is closed. */
function changedCopy(database: TestDatabase, change: (sql: Database.Database) => void): Buffer {
  const path = join(database.directory, 'copy.db');
  copyFileSync(database.path, path);
  const copy = new Database(path);
  copy.pragma('journal_mode = delete');
  change(copy);
  copy.close();
  const bytes = readFileSync(path);
  rmSync(path);
  return bytes;
}

/**
 * With the change counter of the file that stands there, its schema's version and its journal mode: SQLite itself sees
 * no change (file format 1.3).
 */
function inDisguise(path: string, bytes: Buffer): Buffer {
  const current = readFileSync(path);
  const copy = Buffer.from(bytes);
  for (const [from, to] of HEADER_FIELDS) current.copy(copy, from, from, to);
  return copy;
}

const HEADER_FIELDS = [
  [18, 20],
  [24, 28],
  [40, 44],
  [92, 96],
] as const;

/** Everything that the gate tells of the file. */
async function told(opened: OpenedStore): Promise<unknown> {
  const view = opened.next();
  const ada = await view.user(toUserId('ada'));
  return {
    role: ada?.role,
    key: await view.userOfApiKey('sk-ada'),
    grants: ada === undefined ? [] : patterns(await view.grantsOf(ada)),
    base: (await view.preset('preset' as ModelId))?.base,
    granted: await view.isGrantedAnywhere('granted' as ModelId),
  };
}

/** What a gate would tell that has just been started. */
async function toldAfresh(path: string): Promise<unknown> {
  using opened = await openStore(path);
  return await told(opened);
}

describe.each(JOURNAL_MODES)('another content of the file (%s)', (journalMode) => {
  let database: TestDatabase;
  let opened: OpenedStore;

  // one file for all cases: each of them leaves it as it was
  beforeAll(async () => {
    database = createDatabase({ era: '0.6.18', journalMode, organizationTables: 'none' });
    database.sql.exec('CREATE TABLE ballast (a, b UNIQUE)');
    initializeWhereIncomplete(database.path, 1_000);
    database.addUser({ id: 'ada', apiKey: 'sk-ada' });
    database.addModel({ id: 'preset', base: 'granted' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'granted');
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    opened = await openStore(database.path);
    expect(await told(opened)).toMatchObject({ grants: ['acme: granted'], role: 'user', key: 'ada', base: 'granted' });
  });

  afterAll(() => {
    opened[Symbol.dispose]();
    database.close();
  });

  const cases = Object.keys(WAYS).flatMap((way) => Object.keys(CHANGES).map((change) => ({ way, change })));

  test.each(cases)('$way: $change', async ({ way, change }) => {
    const put = (bytes: Buffer) => WAYS[way]?.(database.path, bytes);
    const original = readFileSync(database.path);
    const changed = changedCopy(database, CHANGES[change] ?? (() => undefined));
    const before = await told(opened);
    for (const bytes of [changed, original, inDisguise(database.path, changed)]) {
      put(bytes);
      const now = await told(opened);
      expect(now).toEqual(await toldAfresh(database.path));
      if (bytes === original) expect(now).toEqual(before);
      else expect(now).not.toEqual(before);
    }
    put(inDisguise(database.path, original));
    expect(await told(opened)).toEqual(before);
    put(original);
  });

  test('back and forth as fast as it goes, with one change counter and one size', async () => {
    const original = readFileSync(database.path);
    const bare = changedCopy(database, (sql) => sql.exec('UPDATE organization_models SET is_active = 0'));
    const changed = inDisguise(database.path, bare);
    expect(changed).toHaveLength(original.length);
    const wrong: number[] = [];
    for (let round = 0; round < 200; round++) {
      writeFileSync(database.path, round % 2 === 0 ? changed : original);
      if ((await opened.effect('ada', 'granted')) !== (round % 2 === 0 ? 'deny' : 'permit')) wrong.push(round);
    }
    expect(wrong).toEqual([]);
    writeFileSync(database.path, original);
  });

  test('another installation, with as many changes behind it', async () => {
    const original = readFileSync(database.path);
    const other = databaseOfTest({ era: '0.6.18', journalMode: 'delete' });
    other.addUser({ id: 'ada', apiKey: 'sk-ada' });
    other.addModel({ id: 'preset', base: 'granted' });
    initializeWhereIncomplete(other.path, 1_000);
    other.addMember('acme', 'ada');
    other.grant('acme', 'another');
    copyFileSync(other.path, database.path);
    expect(await toldAfresh(database.path)).toMatchObject({ grants: ['acme: another'] });
    expect(await opened.grants('ada')).toEqual(['acme: another']);
    writeFileSync(database.path, original);
  });
});

test('a backup from before modelgate, copied over the file, is initialized again', async () => {
  const database = databaseOfTest({ era: '0.6.18', organizationTables: 'none' });
  database.addUser({ id: 'ada' });
  database.addModel({ id: 'granted' });
  const backup = readFileSync(database.path);
  using opened = await openStore(database.path, { organization: { id: 'acme', name: 'Acme' } });
  database.withdraw('acme', 'granted');
  expect(await opened.effect('ada', 'granted')).toBe('deny');
  writeFileSync(database.path, backup);
  opened.clock.advance(6_000);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  expect(await opened.store.health()).toMatchObject({ readable: true, missing: [] });
});

test('what no trigger has counted is seen a second later', async () => {
  const database = databaseOfTest({ era: '0.12.4', journalMode: 'wal' });
  database.addUser({ id: 'ada' });
  database.addMember('acme', 'ada');
  database.grant('acme', 'granted');
  using opened = await openStore(database.path);
  opened.clock.advance(5_000);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  opened.clock.advance(5_000);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  const version = Number(database.sql.pragma('schema_version', { simple: true }));
  database.sql.unsafeMode();
  database.sql.transaction(() => {
    unseen(database.sql, 'UPDATE organization_models SET is_active = 0');
    database.sql.pragma(`schema_version = ${version}`);
  })();
  await opened.look();
  opened.clock.advance(1_000);
  expect(await opened.effect('ada', 'granted')).toBe('deny');
});

describe('the companions of WAL mode', () => {
  let other: OtherProcess;
  beforeAll(async () => void (other = await openOtherProcess()));
  afterAll(() => other.close());

  test('are watched beside the file itself, where the path is a symbolic link', async () => {
    const database = databaseOfTest({ era: '0.12.4', journalMode: 'wal' });
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'granted');
    const link = join(database.directory, 'linked.db');
    symlinkSync(database.path, link);
    using opened = await openStore(link);
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    database.sql.close();
    for (const companion of ['-wal', '-shm']) rmSync(`${database.path}${companion}`);
    await other.run(database.path, 'UPDATE organization_models SET is_active = 0');
    expect(await opened.effect('ada', 'granted')).toBe('deny');
    await other.release(database.path);
  });

  test('a checkpoint, which writes the file, changes nothing and makes nothing that an operator has removed', async () => {
    const database = databaseOfTest({ era: '0.12.4', journalMode: 'wal' });
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'granted');
    using opened = await openStore(database.path);
    database.run('DROP VIEW user_model_access_report');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    opened.clock.advance(10_000);
    database.sql.pragma('wal_checkpoint(TRUNCATE)');
    expect(await opened.effect('ada', 'granted')).toBe('permit');
    opened.clock.advance(10_000);
    expect(await opened.store.health()).toMatchObject({
      missing: ['view user_model_access_report'],
      problem: undefined,
    });
  });
});
