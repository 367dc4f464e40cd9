import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { type KilledCommand, KILLS, killAtRandom } from '../support/process/killed-command.ts';

/** Large enough for each step of a command to take its time. */
function populated(era: '0.6.18' | '0.12.4', organizationTables: 'guide' | 'none' = 'guide'): TestDatabase {
  const database = createDatabase({ era, organizationTables });
  database.sql.transaction(() => {
    for (let user = 0; user < 2_000; user++) database.addUser({ id: `u${user}` });
    for (let model = 0; model < 50; model++) database.addModel({ id: `m${model}` });
    database.run('CREATE TABLE ballast (bytes BLOB)');
    for (let row = 0; row < 4; row++) database.run('INSERT INTO ballast VALUES (?)', randomBytes(2 ** 20));
  })();
  database.run('DELETE FROM ballast WHERE rowid = 2');
  return database;
}

const counts = (sql: Database.Database): unknown =>
  ['"user"', 'model', 'organization_members', 'organization_models', 'modelgate_version'].map((table) => {
    const name = table.replaceAll('"', '');
    const exists = sql.prepare('SELECT count(*) FROM sqlite_schema WHERE name = ?').pluck().get(name) === 1;
    return [name, exists ? sql.prepare(`SELECT count(*) FROM ${table}`).pluck().get() : 'absent'];
  });

/** Whether each row counts, and not only how many there are. */
const standing = (sql: Database.Database): unknown => [
  counts(sql),
  ...['organization_members', 'organization_models'].map((table) =>
    sql.prepare(`SELECT count(*), sum(is_active) FROM ${table} WHERE organization_id = 'acme'`).raw().get(),
  ),
];

/** An organization with members and grants, so that there is something to switch off. */
function inhabited(era: '0.6.18' | '0.12.4'): TestDatabase {
  const database = populated(era);
  database.sql.transaction(() => {
    for (let user = 0; user < 200; user++) database.addMember('acme', `u${user}`);
    for (let model = 0; model < 20; model++) database.grant('acme', `m${model}`);
  })();
  return database;
}

const many = (letter: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_none, index) => `${letter}${index}`);
const IN_ACME = ['--org', 'acme'];

const isWhole = (bytes: Buffer, directory: string): boolean => {
  const path = join(directory, 'looked-at.db');
  writeFileSync(path, bytes);
  const sql = new Database(path);
  const verdict = sql.pragma('integrity_check', { simple: true });
  sql.close();
  for (const companion of ['', '-wal', '-shm']) rmSync(`${path}${companion}`, { force: true });
  return verdict === 'ok';
};

/** What has a good name is good. */
function lookAtCopies({ directory }: TestDatabase): void {
  for (const file of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, file);
    if (/(?:^|\/)webui_.*\.db\.gz$/.test(file)) expect(isWhole(gunzipSync(readFileSync(path)), directory)).toBe(true);
    if (/(?:^|\/)webui\.db\.(?:backup|replaced)\.[\d_]+$/.test(file)) {
      expect(isWhole(readFileSync(path), directory)).toBe(true);
    }
  }
}

const on = (words: readonly string[]) => (database: TestDatabase) => [...words, '--database', database.path];

const COMMANDS: Record<string, KilledCommand> = {
  'migrate in WAL mode': {
    prepare: () => populated('0.12.4', 'none'),
    words: on(['migrate', '--org', 'acme', '--name', 'Acme']),
    state: counts,
    look: lookAtCopies,
  },
  'migrate outside of WAL mode': {
    prepare: () => populated('0.6.18', 'none'),
    words: on(['migrate', '--org', 'acme', '--name', 'Acme']),
    state: counts,
    look: lookAtCopies,
  },
  backup: {
    prepare: () => populated('0.6.18'),
    words: (database) => on(['backup', join(database.directory, 'backups'), '--keep', '1d'])(database),
    state: counts,
    look: lookAtCopies,
  },
  restore: {
    prepare() {
      const database = populated('0.12.4');
      mkdirSync(join(database.directory, 'from'));
      using old = createDatabase({ era: '0.12.4' });
      old.addUser({ id: 'old' });
      old.sql.pragma('wal_checkpoint(TRUNCATE)');
      writeFileSync(join(database.directory, 'from', 'old.gz'), gzipSync(readFileSync(old.path)));
      return database;
    },
    words: (database) => on(['restore', join(database.directory, 'from', 'old.gz'), '--yes'])(database),
    state: counts,
    whileWritten: false,
    look: lookAtCopies,
  },
  'init outside of WAL mode': {
    prepare: () => populated('0.6.18', 'none'),
    words: on(['init', ...IN_ACME, '--name', 'Acme']),
    state: counts,
  },
  'member add --all outside of WAL mode': {
    prepare: () => inhabited('0.6.18'),
    words: on(['member', 'add', '--all', ...IN_ACME]),
    state: standing,
  },
  'member remove': {
    prepare: () => inhabited('0.12.4'),
    words: on(['member', 'remove', ...many('u', 200), ...IN_ACME]),
    state: standing,
  },
  'model allow outside of WAL mode': {
    prepare: () => inhabited('0.6.18'),
    words: on(['model', 'allow', ...many('m', 50), ...many('other/', 100), ...IN_ACME]),
    state: standing,
  },
  'model deny': {
    prepare: () => inhabited('0.12.4'),
    words: on(['model', 'deny', ...many('m', 20), ...IN_ACME, '--purge']),
    state: standing,
  },
  'model sync': {
    prepare: () => inhabited('0.12.4'),
    words: on(['model', 'sync', ...IN_ACME, '--yes']),
    state: standing,
  },
  'maintain in WAL mode': { prepare: () => populated('0.12.4'), words: on(['maintain']), state: counts },
  'maintain --vacuum outside of WAL mode': {
    prepare: () => populated('0.6.18'),
    words: on(['maintain', '--vacuum']),
    state: counts,
  },
};

test.concurrent.each(Object.entries(COMMANDS))(
  '%s, killed at any point, leaves the database as before or as after',
  async (name, command) => {
    const { before, after } = await killAtRandom(command);
    if (KILLS > 5) console.info(`${name}: ${before} as before, ${after} as after`);
    expect(before + after).toBe(KILLS);
  },
  60_000 + KILLS * 30_000,
);
