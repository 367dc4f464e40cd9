import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AS_NOBODY } from '../../support/process/as-nobody.ts';
import { runCommand } from '../../support/process/command.ts';
import { databaseOfTest } from '../../support/database/opened-store.ts';
import { createDatabase } from '../../support/database/database.ts';
import { startModelgate } from '../../support/gate/gate-process.ts';

const database = createDatabase({ era: '0.12.4' });
beforeAll(() => {
  database.addUser({ id: 'alice' });
  database.addMember('acme', 'alice');
  writeFileSync(join(database.directory, 'text.db'), 'nothing that SQLite would read '.repeat(100));
});
afterAll(() => database.close());

/** Words in which `FILE` is the database and `DIR` its folder. */
const run = (words: readonly string[]) =>
  runCommand(words.map((word) => word.replace('FILE', database.path).replace('DIR', database.directory)));

describe('a failure with --json', () => {
  test.each<[string[], number, string]>([
    [['serv'], 2, 'misused'],
    [['report', '--wait', '5'], 2, 'misused'],
    [['member', 'add', '--org', 'acme', '--database', 'FILE'], 2, 'misused'],
    [['org', 'list'], 2, 'configuration_invalid'],
    [['org', 'list', '--database', 'DIR'], 2, 'configuration_invalid'],
    [['serve'], 2, 'configuration_invalid'],
    [['org', 'list', '--database', 'DIR/absent.db'], 2, 'no_such_file'],
    [['restore', 'DIR/absent.db', '--yes', '--database', 'FILE'], 2, 'no_such_file'],
    [['org', 'list', '--database', 'DIR/text.db'], 1, 'not_open_webui'],
    [['org', 'show', 'acmee', '--database', 'FILE'], 1, 'no_such_organization'],
    [['explain', '--user', 'alcie', '--model', 'm', '--database', 'FILE'], 1, 'no_such_user'],
  ])('%j is one document on standard output, with the same exit code and sentence', async (words, code, reason) => {
    const plain = await run(words);
    const { stdout, ...ended } = await run([...words, '--json']);
    expect(plain).toMatchObject({ code, stdout: '' });
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    expect({ ...ended, reason: error.code }).toEqual({ code, stderr: plain.stderr, reason });
    // in text an advised command has a line of its own
    const inOneLine = plain.stderr.replaceAll('`', '').replaceAll(/\s+/g, ' ').trimEnd();
    expect(inOneLine).toBe(`modelgate: ${error.message.replaceAll('`', '').replaceAll(/\s+/g, ' ')}`);
  });

  test('of a command that was stopped says so', async () => {
    const stop = AbortSignal.abort();
    const { code, stdout } = await runCommand(['org', 'list', '--json', '--database', database.path], { stop });
    expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({ code: 130, error: { code: 'stopped' } });
  });

  test('of doctor on an unknown user stands beside what was found', async () => {
    const { code, stdout } = await run(['doctor', '--user', 'alcie', '--json', '--database', 'FILE']);
    expect({ code, ...(JSON.parse(stdout) as object) }).toMatchObject({
      code: 1,
      user: null,
      error: { code: 'no_such_user', message: expect.stringContaining('"alcie"') as string },
    });
  });
});

describe('a database that is named wrongly', () => {
  test.each<[string[]]>([
    [['org', 'list']],
    [['doctor']],
    [['backup', 'backups']],
    [['model', 'sync', '--org', 'acme', '--dry-run']],
  ])('%j without one asks which', async (words) => {
    expect(await run(words)).toEqual({
      code: 2,
      stdout: '',
      stderr:
        "modelgate: Which database? Name Open WebUI's file: --database data/webui.db (or set DATABASE_URL or DATA_DIR).\n",
    });
  });

  test.each<[string[]]>([[['org', 'list']], [['doctor']]])('%j calls it as it was typed', async (words) => {
    const { stderr } = await run([...words, '--database', 'DIR']);
    expect(stderr).toContain(`--database: found "${database.directory}", which is a directory`);
    expect(stderr).not.toContain('DATABASE_URL');
  });
});

test.each([
  ['--database', ['org', 'list']],
  ['--database', ['usage']],
  ['--usage-database', ['usage']],
])('a URL in the place of a file is refused without its password: %s of %j', async (option, words) => {
  const { code, stdout, stderr } = await run([
    ...words,
    option,
    'postgresql://openwebui:a-password@postgres/openwebui',
  ]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(`${option} "postgresql://***@postgres/openwebui": expected the path of a file.`);
  expect(stderr).toContain('DATABASE_URL');
  expect(stderr).not.toContain('a-password');
});

test('a file in WAL mode whose folder is closed is reported with what SQLite needs there', async () => {
  const closed = databaseOfTest({ era: '0.12.4' });
  closed.sql.pragma('journal_mode = wal');
  closed.sql.close();
  chmodSync(closed.path, 0o644);
  chmodSync(closed.directory, 0o555);
  const { code, stdout, stderr } = await startModelgate(
    ['org', 'list', '--json', '--database', closed.path],
    {},
    '/',
    AS_NOBODY,
  ).ended();
  chmodSync(closed.directory, 0o755);
  expect({ code, error: (JSON.parse(stdout) as { error: { code: string } }).error.code }).toEqual({
    code: 1,
    error: 'not_permitted',
  });
  expect(stderr).toMatch(
    /SQLite make files beside it .*of mode 555 \(SQLITE_READONLY_DIRECTORY\)\. Nothing was changed/,
  );
});

test.each(['absent.yaml', '.'])('a file of settings that is %j is reported as that', async (file) => {
  const { code, stderr } = await run(['org', 'list', '--database', 'FILE', '--config', file]);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(/: this (?:file )?(?:is|does) /) as string,
  });
  expect(stderr).not.toContain('found');
});
