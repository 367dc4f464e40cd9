/** What modelgate writes, read by the programs of those who use it. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backUp } from '../../src/upkeep/backup.ts';
import { shellCommand } from '../../src/backend-file/text.ts';
import { runCommand } from '../support/process/command.ts';
import { ERAS, createDatabase } from '../support/database/database.ts';
import { HOSTILE } from '../support/gate/hostile-values.ts';
import { distributionsOf } from '../support/database/measured-queries.ts';
import { openStore } from '../support/database/opened-store.ts';
import { ledgerOfTest } from '../support/database/ledger.ts';
import { operationOn } from '../support/database/operation.ts';
import { askPython } from './python.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

describe('Python', () => {
  test('counts a distribution of measurements as we do', async () => {
    // thousandths of what is measured are cut off: of hours they are no more than rounding
    const time = fc.double({ min: 0, max: 1e8, noNaN: true });
    for (const length of [2, 3, ...fc.sample(fc.integer({ min: 4, max: 400 }), 20)]) {
      const samples = fc.sample(fc.array(time, { minLength: length, maxLength: length }), 9);
      const found = (await distributionsOf(samples)).map(({ times_ms }) => times_ms!);
      const expected = askPython<(typeof found)[0]>(
        'quantiles.py',
        samples.map((values) => ({ values })),
      );
      for (const [at, own] of found.entries()) {
        for (const figure of ['min', 'max', 'avg', 'median', 'p95', 'p99'] as const) {
          expect(own[figure] / 1e6).toBeCloseTo(expected[at]![figure] / 1e6, 8);
        }
      }
    }
  });

  test('reads hostile values whole from a report in CSV, formulas behind an apostrophe', async () => {
    using database = createDatabase();
    for (const [key, value] of Object.entries({ ...HOSTILE, formula: '=cmd|calc', at: '@SUM(1)', minus: '-1+1' })) {
      database.addUser({ id: key, role: 'admin', email: value, name: value });
      database.addModel({ id: `model ${key}`, name: value });
      database.addMember(value, key);
      database.grant(value, `model ${key}`);
    }
    const { stdout } = await runCommand(['report', '--csv', '--database', database.path]);
    const [rows = []] = askPython<string[][]>('read_csv.py', [{ csv: stdout }]);
    const emails = rows.slice(1).map(([email]) => email);
    expect(emails.toSorted()).toEqual([...Object.values(HOSTILE), "'=cmd|calc", "'@SUM(1)", "'-1+1"].toSorted());
  });

  test('opens a database with our tables in its own SQLite', async () => {
    using database = createDatabase({ organizationTables: 'none', journalMode: 'delete' });
    database.addUser({ id: 'root', role: 'admin' });
    database.addUser({ id: 'ada' });
    database.addModel({ id: 'openai/gpt-4o' });
    (await openStore(database.path, { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true }))[
      Symbol.dispose
    ]();
    const code =
      'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute("PRAGMA integrity_check").fetchone()[0], ' +
      'c.execute("SELECT count(*) FROM user_model_access_report").fetchone()[0])';
    expect(execFileSync('python3', ['-c', code, database.path], { encoding: 'utf8' }).trim()).toBe('ok 2');
  });
});

test('bash reads a command to be pasted word for word', () => {
  const readByBash = (words: readonly string[]): readonly string[] => {
    const script = `printf '%s\\0' ${shellCommand(...words)}`;
    const options = { encoding: 'utf8', env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' } } as const;
    return execFileSync('bash', ['-c', script], options).split('\0').slice(0, -1);
  };
  const words = fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { minLength: 1, maxLength: 20 });
  const sendable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();
  fc.assert(
    fc.property(words, (all) => {
      const sent = [...all.filter(sendable), "\u001b'\\n\u200b", '$x`y`', '\n', '-n', '\u{e0041}\\'];
      expect(readByBash(sent)).toEqual(sent);
    }),
    { numRuns: 20 },
  );
});

test.each(ERAS)('gzip finds nothing wrong with a backup of %s', async (era) => {
  using database = createDatabase({ era });
  const directory = join(database.directory, 'backups');
  const { path } = await backUp(operationOn(database.path), { directory, now: new Date(), onStep: () => undefined });
  execFileSync('gzip', ['--test', path], { stdio: 'pipe' });
});

/** Mounting a small file system of its own takes root. */
test.each([
  ['', '2500k', 0],
  [', its ledger too', '4m', 2],
])('a backup on a full disk%s is thrown away, and deletes nothing', (_what, size, megabytesOfLedger) => {
  const { path: ledger, connection } = ledgerOfTest();
  connection.exec('CREATE TABLE ballast (bytes BLOB)');
  for (let at = 0; at < megabytesOfLedger; at++) {
    connection.prepare('INSERT INTO ballast VALUES (?)').run(randomBytes(2 ** 20));
  }
  using database = createDatabase({ organizationTables: 'none' });
  database.run('CREATE TABLE ballast (bytes BLOB)');
  database.run('INSERT INTO ballast VALUES (?)', randomBytes(2 ** 20));
  database.sql.pragma('wal_checkpoint(TRUNCATE)');
  const folder = join(database.directory, 'small');
  mkdirSync(folder);
  // room for the copy alone: the compressed file beside it fills the disk
  const script = `mount -t tmpfs -o size=$5 none "$1" && touch "$1/webui_20200101_000000.db.gz" || exit
    "$2" "$3" backup "$1" --keep 1d --database "$4" 2>&1
    echo "code $?"; ls -A "$1"`;
  const words = ['-m', 'sh', '-c', script, 'sh', folder, process.execPath, MAIN, database.path, size];
  const shown = execFileSync('unshare', words, {
    encoding: 'utf8',
    env: { ...process.env, MODELGATE_USAGE_DATABASE: ledger },
  });
  expect(shown).toMatch(
    /small cannot be written: the disk is full \(ENOSPC\)\. Nothing was changed\. Free some space first\./,
  );
  expect(shown).toMatch(/code 1\nwebui_20200101_000000\.db\.gz\n$/);
});
