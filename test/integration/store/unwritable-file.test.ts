/** Enrolment where the file takes no row: it costs the membership, and not the request. */
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase } from '../../support/database/database.ts';
import { ENROL, createEnrollingDatabase } from '../../support/database/enrolling.ts';
import { openStore } from '../../support/database/opened-store.ts';
import { asNobody } from '../../support/process/as-nobody.ts';
import { type OtherProcess, openOtherProcess } from '../../support/process/other-process.ts';

let other: OtherProcess;
beforeAll(async () => void (other = await openOtherProcess()));
afterAll(() => other.close());

test('a database that is locked costs the membership and not the request, and is tried again later', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database, ENROL);
  await other.run(database.path, 'BEGIN IMMEDIATE');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toHaveLength(1);
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toHaveLength(1);
  await other.run(database.path, 'ROLLBACK');
  opened.clock.advance(5_001);
  expect(await opened.effect('ada', 'granted')).toBe('permit');
  await other.release(database.path);
});

test('a read-only database costs the membership and not the request', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database, ENROL);
  chmodSync(database.path, 0o444);
  chmodSync(database.directory, 0o755);
  expect(await asNobody(() => opened.reason('ada', 'granted'))).toBe('no_organization');
});

test('a full disk costs the membership and not the request, is reported as what it is, and counted', async () => {
  using database = createDatabase({ era: '0.6.18', organizationTables: 'none' });
  database.sql.exec(`CREATE TABLE organization_members (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT,
    organization_id TEXT, user_id TEXT, role TEXT, is_active INTEGER DEFAULT 1, joined_at INTEGER)`);
  const lastNumber = (number: string) =>
    database.run(`INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq)
      VALUES (1, 'organization_members', ${number})`);
  for (const id of ['first', 'ada', 'eve']) database.addUser({ id });
  database.addMember('acme', 'first');
  using opened = await openStore(database, ENROL);
  const { store, clock } = opened;
  database.grant('acme', 'granted');
  expect((await store.health()).writeProblem).toBeUndefined();
  // there is no number left, which SQLite reports with the very code of a full disk
  lastNumber('9223372036854775807');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  const FULL = /SQLITE_FULL: the disk is full/;
  expect(opened.warnings.filter((warning) => warning.includes('could not be enrolled'))).toMatchObject([
    expect.stringMatching(FULL),
  ]);
  clock.advance(12_000);
  expect(await store.health()).toMatchObject({ readable: true, writeProblem: expect.stringMatching(FULL) as string });
  expect((await store.health()).writeProblem).toMatch(/^a new user could not be enrolled 12 s ago: /);
  expect(store.figures().writeErrors).toEqual([{ write: 'enrolment', code: 'SQLITE_FULL', count: 1 }]);
  // no user who could be enrolled may have come since
  clock.advance(3_600_000);
  expect((await store.health()).writeProblem).toBeUndefined();
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect((await store.health()).writeProblem).toMatch(FULL);
  lastNumber('10');
  clock.advance(6_000);
  expect(await opened.effect('eve', 'granted')).toBe('permit');
  expect((await store.health()).writeProblem).toBeUndefined();
});

test('a lock is no trouble with writing', async () => {
  using database = createEnrollingDatabase();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database, ENROL);
  await other.run(database.path, 'BEGIN IMMEDIATE');
  expect(await opened.reason('ada', 'granted')).toBe('no_organization');
  expect((await opened.store.health()).writeProblem).toBeUndefined();
  expect(opened.store.figures().writeErrors).toMatchObject([{ code: 'SQLITE_BUSY' }]);
  await other.release(database.path);
});
