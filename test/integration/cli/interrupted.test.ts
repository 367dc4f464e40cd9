/**
 * Ctrl-C and SIGTERM in the middle of a command: it stops soon, whole or not at all, and its exit code says which. Real
 * processes, because a signal is heard only where the event loop runs, and SQLite works without it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type CommandResult, runCommand } from '../../support/process/command.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { MAIN, startModelgate } from '../../support/gate/gate-process.ts';
import { until, withTimeout } from '../../support/process/with-timeout.ts';

/** So many that each command works for some tenths of a second. */
const USERS = 60_000;

/** Outside of WAL mode, where a transaction that has begun to write shows itself by its journal. */
let backend: TestDatabase;
let guided: TestDatabase;
beforeAll(() => {
  backend = createDatabase({ era: '0.6.18', organizationTables: 'none' });
  guided = createDatabase({ era: '0.6.18' });
  for (const database of [backend, guided]) {
    database.addUsers(USERS);
    database.addModel({ id: 'model' });
  }
  guided.grant('acme', 'model');
}, 60_000);
afterAll(() => {
  backend.close();
  guided.close();
});

/** A file of the test's own. */
function copyOf({ path, directory }: TestDatabase, name: string): string {
  const copy = join(directory, `${name}.db`);
  copyFileSync(path, copy);
  onTestFinished(() => rmSync(copy));
  return copy;
}

const IN_ACME = ['--org', 'acme'];
const ADD_ALL = ['member', 'add', '--all', ...IN_ACME];

/** What no command that was stopped may change. */
const stateOf = (path: string): unknown => {
  const sql = new Database(path);
  try {
    const tables = ['organization_members', 'organization_models'].map((table) =>
      sql.prepare('SELECT count(*) FROM sqlite_schema WHERE name = ?').pluck().get(table) === 1
        ? sql.prepare(`SELECT count(*) FROM ${table}`).pluck().get()
        : 'absent',
    );
    return [sql.pragma('integrity_check', { simple: true }), ...tables];
  } finally {
    sql.close();
  }
};

describe.each([
  ['member add --all', () => guided, ADD_ALL],
  ['init', () => backend, ['init', ...IN_ACME]],
  ['migrate', () => backend, ['migrate', ...IN_ACME, '--name', 'Acme', '--backup-dir', '.']],
] as const)('%s that is stopped while it writes', (name, database, words) => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s has changed nothing, and says so', { timeout: 30_000 }, async (signal, code) => {
    const path = copyOf(database(), `${name.replaceAll(/\W+/g, '-')}-${signal}`);
    const before = stateOf(path);
    // one that reads keeps the commit from being over before the signal comes
    const reader = new Database(path, { readonly: true });
    reader.exec('BEGIN; SELECT count(*) FROM sqlite_schema');
    const command = startModelgate([...words, '--database', path], {}, dirname(path));
    await until(() => existsSync(`${path}-journal`), 15_000, 'the transaction has begun to write');
    command.kill(signal);
    const ended = await command.ended().finally(() => reader.close());
    expect({ code: ended.code, stdout: ended.stdout }).toEqual({ code, stdout: '' });
    expect(ended.stderr).toMatch(/modelgate: Stopped\. Nothing was changed\.\n$/);
    // a process that may only read could not roll back what a killed process leaves behind
    expect(existsSync(`${path}-journal`)).toBe(false);
    expect(stateOf(path)).toEqual(before);
  });
});

/** Runs a command that is stopped by its first bar of progress, which it draws in the middle of its work. */
function stopInTheMiddle(words: readonly string[]): Promise<CommandResult> {
  const stopping = new AbortController();
  const onError = (text: string): void => (text.includes('%') ? stopping.abort() : undefined);
  return runCommand(words, { screen: { error: true }, stop: stopping.signal, onError });
}

describe('a command that reads', () => {
  test.each([[['report', '--csv']], [['report']], [['bench-queries', '--iterations', '20000']]])(
    '%j stops in the middle, and prints nothing by half',
    async (words) => {
      const path = copyOf(guided, 'reads');
      await runCommand([...ADD_ALL, '--database', path]);
      const { code, stdout, stderr } = await stopInTheMiddle([...words, '--database', path]);
      expect({ code, stdout }).toEqual({ code: 130, stdout: '' });
      expect(stderr).toMatch(/Stopped\. Nothing was changed\.\n$/);
    },
  );

  test('leaves no process waiting that has not read its output', { timeout: 30_000 }, async () => {
    const path = copyOf(guided, 'unread');
    await runCommand([...ADD_ALL, '--database', path]);
    const child = spawn(process.execPath, [MAIN, 'report', '--csv', '--database', path], {
      env: {},
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'exit');
    // a pipe takes 64 KB, and the report has megabytes
    await withTimeout(once(child.stdout, 'readable'), 15_000, 'the first lines of the report');
    child.kill('SIGINT');
    expect(await withTimeout(ended, 10_000, 'the end of the report')).toEqual([130, null]);
  });
});

test('a backup that is stopped leaves no file of its own beside the database', { timeout: 30_000 }, async () => {
  using database = createDatabase();
  database.addUser({ id: 'ada' });
  database.sql.close();
  const words = ['backup', join(database.directory, 'backups'), '--database', database.path];
  expect(await stopInTheMiddle(words)).toMatchObject({ code: 130, stdout: '' });
  expect(readdirSync(database.directory).toSorted()).toEqual(['backups', 'webui.db']);
  expect(readdirSync(join(database.directory, 'backups'))).toEqual([]);
});
