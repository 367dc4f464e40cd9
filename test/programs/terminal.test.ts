/** What people see and answer at a terminal. */
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { startSampleBackend } from '../support/upstream/sample-backend/backend.ts';
import type { TestDatabase } from '../support/database/database.ts';
import { databaseOfTest } from '../support/database/opened-store.ts';
import { createHealthyDatabase } from '../support/database/diagnosis.ts';
import { onTerminal } from './terminal.ts';

const XTERM = { TERM: 'xterm' };

/** What is left on the screen when all that was wiped is gone. */
const leftOf = (shown: string): string => shown.split('\u001b[2K').at(-1) ?? '';

function withBallast(megabytes: number): TestDatabase {
  const database = databaseOfTest({ organizationTables: 'none' });
  database.run('CREATE TABLE ballast (bytes BLOB)');
  for (let row = 0; row < megabytes; row++) database.run('INSERT INTO ballast VALUES (?)', randomBytes(2 ** 20));
  return database;
}

test('doctor colours its marks, and its progress is gone at the end', async () => {
  const key = 'a key of more than sixteen characters';
  const database = createHealthyDatabase({ era: '0.6.18' });
  onTestFinished(() => database.close());
  database.addMember('globex', 'alice', 0);
  chmodSync(database.path, 0o600);
  const backend = await startSampleBackend({ database: database.path, secretKey: key });
  onTestFinished(() => backend.close());
  const { shown } = await onTerminal(['doctor'], {
    environment: {
      ...XTERM,
      DATABASE_URL: `sqlite:///${database.path}`,
      MODELGATE_UPSTREAM_URL: backend.url,
      WEBUI_SECRET_KEY: key,
      MODELGATE_MODE: 'report',
    },
  });
  expect(shown).toContain('\u001b[33mwarning\u001b[39m  settings');
  expect(shown).toContain('\u001b[32mok     \u001b[39m  16 checks passed: backend');
  expect(shown).toMatch(/trying the locks/);
  expect(leftOf(shown)).toMatch(/^\u001b\[33mwarning[^]*1 warning\. Exit code 0: there is no problem\.\r\n$/);
});

test('a backup shows how far each step is, and wipes it', async () => {
  const database = withBallast(8);
  const words = ['backup', join(database.directory, 'backups'), '--database', database.path];
  const { shown } = await onTerminal(words, { environment: XTERM });
  for (const step of ['copying', 'checking', 'compressing', 'comparing']) {
    expect(shown).toMatch(new RegExp(`${step} [█░]{24} \\d+ % of \\d+ MB`, 'u'));
  }
  expect(leftOf(shown)).toMatch(/^backup {4}/);
});

test('a long report shows a bar of progress, which is gone at the end', async () => {
  const database = databaseOfTest();
  database.sql.transaction(() => {
    for (let user = 0; user < 20_000; user++) database.addUser({ id: `user-${user}` });
  })();
  database.addUser({ id: 'pen', role: 'pending' });
  database.grant('acme', 'model');
  const words = ['--org', 'acme', '--database', database.path];
  const added = await onTerminal(['member', 'add', '--all', ...words], { environment: XTERM });
  expect(leftOf(added.shown)).toBe(
    'acme: 20,000 users added; 1 skipped, because they are pending or banned in the\r\nbackend.\r\n',
  );
  const { shown } = await onTerminal(['report', ...words], { environment: XTERM });
  expect(shown).toMatch(/Reading [█░]{24} \d+ % of 20,000 memberships/u);
  expect(leftOf(shown)).toMatch(/USER_EMAIL[^]*1 grant of models without a row/);
});

test.each([
  ['y\n', 0, /\r\nrestored {2}.*webui\.db\r\n/],
  ['\n', 1, /modelgate: Nothing was changed\.\r\n$/],
])('restore asks: %j ends with %i', async (keys, code, printed) => {
  const database = withBallast(1);
  database.addUser({ id: 'early' });
  const backup = join(database.directory, 'backup.db');
  database.sql.pragma('wal_checkpoint(TRUNCATE)');
  copyFileSync(database.path, backup);
  database.addUser({ id: 'late' });
  database.sql.close();
  const ended = await onTerminal(['restore', backup, '--database', database.path], { keys });
  expect(ended.code).toBe(code);
  expect(ended.shown.replaceAll('\r\n', ' ')).toMatch(
    /Put .*backup\.db \([\d.]+ [KM]B, 1 user\) in the place of .*webui\.db \(.*kept beside it\)\? \[y\/N\]/,
  );
  expect(ended.shown).toMatch(printed);
  expect(usersIn(database.path)).toEqual(code === 0 ? ['early'] : ['early', 'late']);
});

test.each([
  ['y\n', 0, true],
  ['\u0003', 130, false],
  ['\u0004', 1, false],
])('model sync asks: %j ends with %i', async (keys, code, isWritten) => {
  const database = databaseOfTest();
  for (const id of ['new', 'on']) database.addModel({ id });
  database.grant('acme', 'on');
  const ended = await onTerminal(['model', 'sync', '--org', 'acme', '--database', database.path], { keys });
  expect(ended.code).toBe(code);
  expect(ended.shown).toContain('\u001b[32m+ new\u001b[39m\r\n');
  expect(ended.shown).toMatch(isWritten ? /Written: 1 grant\.\r\n$/ : /\r\nmodelgate: Nothing was changed\.\r\n$/);
  const granted = database.sql.prepare('SELECT model_id FROM organization_models WHERE is_active = 1').pluck().all();
  expect(granted.includes('new')).toBe(isWritten);
});

function usersIn(path: string): unknown[] {
  const sql = new Database(path);
  const users = sql.prepare('SELECT id FROM "user" ORDER BY id').pluck().all();
  sql.close();
  return users;
}
