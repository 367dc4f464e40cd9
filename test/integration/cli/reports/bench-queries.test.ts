import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BenchReport } from '../../../../src/cli/commands/bench-queries.ts';
import type { TestDatabase } from '../../../support/database/database.ts';
import { createHealthyDatabase } from '../../../support/database/diagnosis.ts';
import { runCommand } from '../../../support/process/command.ts';

let database: TestDatabase;
beforeAll(() => {
  database = createHealthyDatabase();
  database.sql.close();
});
afterAll(() => database.close());

const bench = (...words: string[]) => runCommand(['bench-queries', '--database', database.path, ...words]);

test('bench-queries prints a table, says whom it asked for, and judges', async () => {
  const { code, stdout, stderr } = await bench('--iterations', '50');
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^QUERY +FROM +MIN MS +MEDIAN MS +AVG MS +P95 MS +P99 MS +MAX MS +P95 < 1 MS\n/);
  expect(stdout).toMatch(/^user_models_view +guide( +\d+\.\d{3}){6} +(?:pass|fail)$/m);
  expect(stdout).toMatch(/^whole decision +gate, uncached( +\d+\.\d{3}){6} +(?:pass|fail)$/m);
  expect(stdout).toContain('50 runs each, asking for 2 users in turn (the guide asks for one that is not there)');
  // how fast this machine is just now is none of a test's business: only that code and words agree
  expect(stdout).toMatch(code === 0 ? /Pass: 95 of 100 runs/ : /Fail: /);
});

test('its JSON has milliseconds, and passes where every query does', async () => {
  const { code, stdout } = await bench('--iterations', '20', '--user', 'alice', '--org', 'acme', '--json');
  const report = JSON.parse(stdout) as BenchReport;
  expect(report).toMatchObject({ iterations: 20, users: 1, organization: 'acme', limit_p95_ms: 1 });
  for (const { times_ms: times, pass } of report.queries) {
    expect(pass).toBe(times!.p95 < 1);
    // to a microsecond
    for (const time of Object.values(times!) as number[]) expect(time).toBe(Number(time.toFixed(3)));
  }
  expect(report.pass).toBe(report.queries.every(({ pass }) => pass));
  expect(code).toBe(report.pass ? 0 : 1);
});

test('a query that cannot run fails with what to do', async () => {
  using broken = createHealthyDatabase();
  broken.sql.exec('DROP VIEW user_available_models');
  broken.sql.close();
  const { code, stdout } = await runCommand(['bench-queries', '--database', broken.path]);
  expect(code).toBe(1);
  expect(stdout).toContain('cannot run');
  expect(stdout).toContain(': run\n  modelgate init --database ');
});

test.each([
  [['--iterations', '1'], 2, 'expected a whole number from 20'],
  [['--org', 'acne'], 1, 'No model belongs to an organization "acne"'],
  [['--user', 'mallory'], 1, 'knows no user'],
])('%j ends with %i and a sentence', async (words, code, sentence) => {
  const ended = await bench(...words);
  expect(ended).toMatchObject({ code, stdout: '' });
  expect(ended.stderr).toContain(sentence);
});
