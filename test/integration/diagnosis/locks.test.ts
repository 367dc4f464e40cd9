/** What `doctor` finds about locks that another process holds. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ERAS } from '../../support/database/database.ts';
import { createHealthyDatabase, faults, findingsOf, withName } from '../../support/database/diagnosis.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

describe('locks', () => {
  let other: OtherProcess;
  beforeAll(async () => {
    other = await openOtherProcess();
  });
  afterAll(() => other.close());

  test.each(ERAS)('a process that holds the lock to write is named, on %s', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    await other.run(database.path, 'BEGIN IMMEDIATE');
    const findings = await findingsOf(database, { quick: true });
    await other.release(database.path);
    expect(faults(findings)).toEqual(['problem locks']);
    const [found] = withName(findings, 'locks');
    if (process.platform === 'linux') {
      const [, pid = ''] = /process (\d+)[,)]/.exec(found?.finding ?? '') ?? [];
      expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('other-process-main.ts');
      expect(found?.finding).toMatch(new RegExp(`process ${pid}, started \\d+ s ago by user ${process.getuid?.()}\\)`));
      expect(found?.remedy).toBe(`If that is not the backend, and hangs: kill ${pid}`);
    }
  });

  test('one that blocks readers too: the rest is not checked', async () => {
    using database = createHealthyDatabase({ era: '0.6.18' });
    database.sql.close();
    await other.run(database.path, 'BEGIN EXCLUSIVE');
    const findings = await findingsOf(database);
    await other.release(database.path);
    expect(faults(findings)).toEqual(['unknown file', 'unknown tables', 'problem locks']);
  });
});
