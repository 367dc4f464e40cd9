import { statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { checkFileSystem } from '../../../src/diagnosis/file.ts';
import { checkWriteAheadLog, readWalState } from '../../../src/diagnosis/journal.ts';
import { noteCompanions, openForReading } from '../../../src/store/database.ts';
import { createHealthyDatabase } from '../../support/database/diagnosis.ts';
import { openOtherProcess } from '../../support/process/other-process.ts';

const MB = 1024 ** 2;
const READER = { pid: 42, program: 'python3', holds: 'read' } as const;

test('what waits for a checkpoint is what SQLite says, before and after one that a reader holds back', async () => {
  using database = createHealthyDatabase();
  await using other = await openOtherProcess();
  database.sql.close();
  await other.run(database.path, 'PRAGMA wal_autocheckpoint = 0; UPDATE "user" SET info = hex(randomblob(20000))');
  const state = readWalState(database.path)!;
  expect(state.bytes).toBe(statSync(`${database.path}-wal`).size);
  // a frame is a header of 24 bytes and a page; the log begins with 32
  expect(state.pendingBytes).toBe(((state.bytes - 32) / (4096 + 24)) * 4096);
  await other.run(database.path, 'PRAGMA wal_checkpoint(PASSIVE)');
  expect(readWalState(database.path)).toEqual({ bytes: state.bytes, pendingBytes: 0 });
});

test('there is none where the file is closed', () => {
  using database = createHealthyDatabase();
  database.sql.close();
  expect(readWalState(database.path)).toBeUndefined();
});

test.each([
  [undefined, [], 'ok', 'Empty'],
  [{ bytes: 4 * MB, pendingBytes: 0 }, [], 'ok', '4.0 MB, none of which waits for a checkpoint'],
  [{ bytes: 70 * MB, pendingBytes: 65 * MB }, [READER], 'warning', 'reading now: python3 (process 42)'],
  [{ bytes: 300 * MB, pendingBytes: 0 }, [], 'warning', 'never cut down'],
  [{ bytes: MB, pendingBytes: undefined }, [], 'unknown', 'is not known'],
  [{ bytes: 70 * MB, pendingBytes: undefined }, [], 'warning', 'no process has the file open'],
])('%o with %o is %s', (state, holders, status, words) => {
  const found = checkWriteAheadLog(state, holders);
  expect(found.status).toBe(status);
  expect(found.finding).toContain(words);
});

test.each([
  [0x6969, 'NFS'],
  // statfs gives the type as a signed number on some systems
  [0xff534d42 | 0, 'CIFS'],
  [0x0102_1997, '9p'],
])('a file system of type %i is said to be %s', (type, name) => {
  expect(checkFileSystem('/data/webui.db', type)).toMatchObject([
    { status: 'warning', finding: expect.stringContaining(name) as string },
  ]);
});

test('a local file system is not mentioned', () => expect(checkFileSystem('/data/webui.db', 0xef53)).toEqual([]));

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
