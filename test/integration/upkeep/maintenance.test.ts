import { randomBytes } from 'node:crypto';
import { existsSync, statfsSync, statSync, truncateSync } from 'node:fs';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { maintain, type MaintenanceStep } from '../../../src/upkeep/maintenance.ts';
import { createDatabase } from '../../support/database/database.ts';
import { operationOn } from '../../support/database/operation.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';
import { until } from '../../support/process/with-timeout.ts';

const quietly = (vacuum = false) => ({ vacuum, onStep: () => undefined });
const GAPS = 'CREATE TABLE gaps (bytes BLOB)';

describe.each([
  ['0.6.18', 'delete'],
  ['0.12.4', 'wal'],
] as const)('maintaining a database of %s in mode %s', (era, mode) => {
  test('refreshes the statistics, and leaves the journal mode alone', async () => {
    using database = createDatabase({ era });
    for (const id of ['a', 'b', 'c']) database.addUser({ id });
    const steps: MaintenanceStep[] = [];
    const { record } = await maintain(operationOn(database.path), {
      vacuum: false,
      onStep: (step) => steps.push(step),
    });
    expect(steps).toEqual(mode === 'wal' ? ['analyze', 'checkpoint'] : ['analyze']);
    expect(record.journal_mode).toBe(mode);
    expect(database.sql.pragma('journal_mode', { simple: true })).toBe(mode);
    expect(database.sql.prepare(`SELECT DISTINCT stat FROM sqlite_stat1 WHERE tbl = 'user'`).pluck().all()).toContain(
      '3 1',
    );
  });

  test('with VACUUM gives the gaps back to the disk, while others have the file open', async () => {
    using database = createDatabase({ era });
    database.addUser({ id: 'ada' });
    database.run(GAPS);
    for (let row = 0; row < 4; row++) database.run('INSERT INTO gaps VALUES (?)', randomBytes(2 ** 20));
    database.run('DROP TABLE gaps');
    const { before, after } = (await maintain(operationOn(database.path), quietly(true))).record;
    expect(before.free_bytes).toBeGreaterThan(4 * 2 ** 20);
    expect(after).toMatchObject({ free_bytes: 0, wal_bytes: 0 });
    expect(before.bytes - after.bytes).toBeGreaterThan(4 * 2 ** 20);
    expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(database.sql.prepare('SELECT id FROM "user"').pluck().all()).toEqual(['ada']);
  });

  test('waits politely for a writer, and says so once', async () => {
    using database = createDatabase({ era });
    database.sql.exec('BEGIN IMMEDIATE');
    const operation = operationOn(database.path);
    const done = maintain(operation, quietly());
    while (operation.said.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    database.sql.exec('COMMIT');
    await expect(done).resolves.toMatchObject({ record: { journal_mode: mode } });
    expect(operation.said[0]).toMatch(/Another process holds the lock of .*: waiting for it/);
  });

  test('gives up with a sentence when the writer does not end', async () => {
    using database = createDatabase({ era });
    database.sql.exec('BEGIN IMMEDIATE');
    await expect(maintain(operationOn(database.path, 300), quietly())).rejects.toThrow(
      /is locked by another process \(SQLITE_BUSY.*Nothing was changed.*--wait/,
    );
  });
});

describe('the write-ahead log', () => {
  test('is emptied', async () => {
    using database = createDatabase();
    database.sql.pragma('wal_autocheckpoint = 0');
    for (let user = 0; user < 20; user++) database.addUser({ id: `u${user}` });
    const { before, after, checkpoint } = (await maintain(operationOn(database.path), quietly())).record;
    expect(before.wal_bytes).toBeGreaterThan(0);
    expect(after.wal_bytes).toBe(0);
    expect(checkpoint).toMatchObject({ busy: false });
    expect(database.sql.prepare('SELECT count(*) FROM "user"').pluck().get()).toBe(20);
  });

  test('that a reader holds is said to be so, with his name', async () => {
    using database = createDatabase();
    await using other = await openOtherProcess();
    await other.run(database.path, 'BEGIN; SELECT 1 FROM "user"; SELECT count(*) FROM sqlite_schema');
    database.addUser({ id: 'ada' });
    const operation = operationOn(database.path, 400);
    const { record, holders } = await maintain(operation, quietly());
    expect(record.checkpoint).toMatchObject({ busy: true });
    expect(holders.map(({ holds }) => holds)).toEqual(['read']);
    expect(operation.said.at(-1)).toMatch(/A process still reads from the log .*: waiting for a gap/);
  });
});

test('VACUUM that is stopped in the middle is rolled back at once', async () => {
  using database = createDatabase({ era: '0.6.18' });
  database.addUser({ id: 'ada' });
  database.run(GAPS);
  for (let row = 0; row < 24; row++) database.run('INSERT INTO gaps VALUES (?)', randomBytes(2 ** 20));
  const { size } = statSync(database.path);
  const operation = operationOn(database.path);
  const stopped = maintain(operation, quietly(true)).then(
    () => 'done',
    (error: unknown) => String(error),
  );
  await until(() => existsSync(`${database.path}-journal`), 15_000, 'the journal of VACUUM');
  operation.stop();
  // on a quick machine it may have been done a moment before
  expect(await stopped).toMatch(/^done$|Stopped\. Nothing was changed\./);
  // a process that may only read could not roll anything back
  const reader = new Database(database.path, { readonly: true });
  expect(reader.prepare('SELECT count(*) FROM gaps').pluck().get()).toBe(24);
  reader.close();
  expect(Math.abs(statSync(database.path).size - size)).toBeLessThan(2 ** 20);
  expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
  expect(database.sql.prepare('SELECT id FROM "user"').pluck().all()).toEqual(['ada']);
});

test('VACUUM is not begun where there is no room for it', async () => {
  using database = createDatabase({ era: '0.6.18' });
  const { bavail, bsize } = statfsSync(database.directory);
  const { size } = statSync(database.path);
  // a file with a hole: as large as what is free, and no bytes on the disk; other tests may give room back meanwhile
  truncateSync(database.path, Math.min(Math.ceil((bavail * bsize) / 4096) * 4096, 2 ** 43));
  await expect(maintain(operationOn(database.path), quietly(true))).rejects.toThrow(
    /has .* free, and VACUUM needs up to .*Nothing was changed/,
  );
  truncateSync(database.path, size);
  expect(database.sql.prepare("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'").pluck().get()).toBe(0);
});
