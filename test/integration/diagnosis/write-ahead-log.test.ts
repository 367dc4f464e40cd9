import fs, { statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { expect, test } from 'vitest';
import { checkDatabaseFile } from '../../../src/diagnosis/file.ts';
import { checkWriteAheadLog } from '../../../src/diagnosis/journal.ts';
import { noteCompanions, openForReading } from '../../../src/store/database.ts';
import { createHealthyDatabase, withName } from '../../support/database/diagnosis.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';

const MB = 1024 ** 2;
const READER = { pid: 42, program: 'python3', holds: 'read' } as const;

test.each([
  [0, [], 'ok', 'Empty'],
  [4 * MB, [], 'ok', '4.0 MB'],
  [70 * MB, [READER], 'warning', 'reading now: python3 (process 42)'],
  [300 * MB, [], 'warning', 'never cut down'],
])('%i bytes with %o is %s', (bytes, holders, status, words) => {
  const found = checkWriteAheadLog(bytes, holders);
  expect(found.status).toBe(status);
  expect(found.finding).toContain(words);
});

/** What is found about a file where statfs(2) gives this type of its file system. */
function onFileSystem(type: number) {
  using database = createHealthyDatabase();
  const { statfsSync } = fs;
  const install = (installed: unknown) => (Object.assign(fs, { statfsSync: installed }), syncBuiltinESMExports());
  install(() => ({ type }));
  try {
    return withName(checkDatabaseFile(database.path), 'file system');
  } finally {
    install(statfsSync);
  }
}

test.each([
  [0x6969, 'NFS'],
  // statfs gives the type as a signed number on some systems
  [0xff534d42 | 0, 'CIFS'],
  [0x0102_1997, '9p'],
])('a file system of type %i is said to be %s', (type, name) => {
  expect(onFileSystem(type)).toMatchObject([{ status: 'warning', finding: expect.stringContaining(name) as string }]);
});

test('a local file system is not mentioned', () => expect(onFileSystem(0xef53)).toEqual([]));

test('what a reader has made beside the file is gone after it, and what a backend has made stays', async () => {
  using database = createHealthyDatabase();
  await using backend = await openOtherProcess();
  database.sql.close();
  const look = () => {
    const tidyUp = noteCompanions(database.path);
    const connection = openForReading(database.path, 0);
    connection.prepare('SELECT count(*) FROM "user"').get();
    connection.close();
    tidyUp();
  };
  look();
  expect(statSync(`${database.path}-wal`, { throwIfNoEntry: false })).toBeUndefined();
  await backend.run(database.path, 'UPDATE "user" SET name = email');
  look();
  expect(statSync(`${database.path}-wal`).size).toBeGreaterThan(0);
});
