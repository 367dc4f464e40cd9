/** The whole of `doctor` on real files: what it finds where nothing is wrong, and how it ends. */
import { readdirSync, renameSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { diagnose } from '../../../src/diagnosis/diagnosis.ts';
import { ERAS } from '../../support/database/database.ts';
import {
  NOTHING_SET,
  createHealthyDatabase,
  faults,
  findingsOf,
  withName,
  onlyFault,
  stateOf,
} from '../../support/database/diagnosis.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';

describe('a file with nothing wrong', () => {
  test.each(ERAS)('of %s has no problem and no warning, and is left as it was', async (era) => {
    using database = createHealthyDatabase({ era });
    database.sql.close();
    const before = stateOf(database);
    const findings = await findingsOf(database);
    expect(faults(findings)).toEqual([]);
    expect(findings.map(({ name }) => name)).toEqual([
      ...['settings', 'file', 'permissions', 'folder', 'tables', 'release', 'admins', 'upgrade', 'index use'],
      ...['statistics', 'foreign rows', 'journal mode', ...(era === '0.12.4' ? ['write-ahead log'] : [])],
      ...['locks', 'integrity'],
    ]);
    expect(stateOf(database)).toEqual(before);
  });

  test.each(ERAS)('with the tables of mAI, on %s, has one warning: the view that an operator can drop', async (era) => {
    using database = createHealthyDatabase({ era, mai: true });
    const found = await onlyFault(database, 'warning upgrade');
    expect(found.remedy).toContain('DROP VIEW "user_available_models";');
    expect(found.remedy).toContain("mAI's own start");
  });

  test('that a backend writes to meanwhile keeps its -wal and -shm', async () => {
    using database = createHealthyDatabase();
    await using backend = await openOtherProcess();
    database.sql.close();
    await backend.run(database.path, 'UPDATE "user" SET name = \'seen by the backend\'');
    const before = stateOf(database);
    expect(before.files).toEqual(['webui.db', 'webui.db-shm', 'webui.db-wal']);
    expect(faults(await findingsOf(database))).toEqual([]);
    expect(stateOf(database)).toEqual(before);
  });

  test('is not read whole with --quick', async () => {
    using database = createHealthyDatabase();
    expect(withName(await findingsOf(database, { quick: true }), 'integrity')).toEqual([]);
  });
});

test('Ctrl-C ends it', async () => {
  using database = createHealthyDatabase();
  database.sql.close();
  const signal = AbortSignal.abort();
  const operation = { path: database.path, patience: { longestMs: 0, signal, say: () => undefined } };
  await expect(diagnose({ ...NOTHING_SET, operation })).rejects.toThrow('Stopped. Nothing was changed.');
  expect(readdirSync(database.directory)).toEqual(['webui.db']);
});

test('a file that another process moves away in between costs findings, not the command', async () => {
  using database = createHealthyDatabase();
  let moved = false;
  const findings = await findingsOf(database, {
    onProgress: () => {
      if (!moved) renameSync(database.path, `${database.path}.away`);
      moved = true;
    },
  });
  expect(findings.some(({ name, status }) => name === 'locks' && status !== 'ok')).toBe(true);
});
