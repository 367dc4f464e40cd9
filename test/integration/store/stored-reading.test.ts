/** What stored objects name is read in threads: as the last commit has it, whatever happens to the file meanwhile. */
import { copyFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type StoredReading, createStoredReading } from '../../../src/store/stored-reading.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';

let database: TestDatabase;
let reading: StoredReading;
beforeEach(() => {
  database = createDatabase({ era: '0.12.4' });
  database.addUser({ id: 'ada' });
  reading = createStoredReading(database.path);
});
afterEach(async () => {
  await reading.close();
  database.close();
});

const addChat = (id: string, models: readonly string[], more: object = {}) =>
  void database.addChat({ id, user: 'ada', chat: { models, ...more } });
const namesOf = async (id: string, reader = reading) => [
  ...((await reader.chat(id, undefined, 'ada'))?.names.places.keys() ?? ['no chat']),
];
const longHistory = (messages: number, bytes: number) => ({
  history: {
    messages: Object.fromEntries(
      Array.from({ length: messages }, (_none, at) => [
        `m${at}`,
        { id: `m${at}`, parentId: `m${at - 1}`, model: 'A', content: 'x'.repeat(bytes) },
      ]),
    ),
  },
});

test('every commit of another connection is seen by the next reading', async () => {
  addChat('chat', ['one']);
  expect(await namesOf('chat')).toEqual(['one']);
  for (const model of ['two', 'three']) {
    database.run('UPDATE chat SET chat = ?', JSON.stringify({ models: [model] }));
    expect(await namesOf('chat')).toEqual([model]);
  }
  database.run('DELETE FROM chat');
  expect(await namesOf('chat')).toEqual(['no chat']);
});

test('another file that stands there now is read', async () => {
  addChat('chat', ['one']);
  expect(await namesOf('chat')).toEqual(['one']);
  using other = createDatabase({ era: '0.12.4' });
  other.addChat({ id: 'chat', user: 'ada', chat: { models: ['of the other file'] } });
  other.run('PRAGMA wal_checkpoint(TRUNCATE)');
  for (const companion of ['', '-wal', '-shm']) rmSync(`${database.path}${companion}`, { force: true });
  copyFileSync(other.path, database.path);
  expect(await namesOf('chat')).toEqual(['of the other file']);
});

test('a lock is waited for, and no other request waits with it', async () => {
  addChat('chat', ['one']);
  database.run('PRAGMA journal_mode = DELETE');
  // the thread has started
  expect(await namesOf('chat')).toEqual(['one']);
  const writer = new Database(database.path);
  writer.exec('BEGIN EXCLUSIVE');
  let isAnswered = false;
  const pending = namesOf('chat').finally(() => (isAnswered = true));
  await sleep(200);
  expect(isAnswered).toBe(false);
  writer.exec('COMMIT');
  expect(await pending).toEqual(['one']);
  writer.close();
});

test('a lock that lasts, and a file that is not there, are reported', async () => {
  database.run('PRAGMA journal_mode = DELETE');
  const writer = new Database(database.path);
  writer.exec('BEGIN EXCLUSIVE');
  await expect(namesOf('chat')).rejects.toMatchObject({ code: 'policy_unavailable' });
  writer.exec('COMMIT');
  writer.close();
  expect(await namesOf('chat')).toEqual(['no chat']);
  const nowhere = createStoredReading(`${database.path}-missing`);
  await expect(namesOf('chat', nowhere)).rejects.toMatchObject({ code: 'policy_unavailable' });
  await nowhere.close();
});

test('a long chat is read whole, and a short one does not wait for it', async () => {
  addChat('long', ['one'], longHistory(5_000, 1_000));
  addChat('short', ['two']);
  expect(await namesOf('short')).toEqual(['two']);
  const ended: string[] = [];
  const read = async (id: string) => {
    const names = await namesOf(id);
    ended.push(id);
    return names;
  };
  expect(await Promise.all(['long', 'short', 'short'].map(read))).toEqual([['one', 'A'], ['two'], ['two']]);
  expect(ended).toEqual(['short', 'short', 'long']);
});

test('a chat with more messages than can be compared is refused in words', async () => {
  addChat('endless', ['one'], longHistory(60_000, 1));
  const refused = namesOf('endless');
  await expect(refused).rejects.toMatchObject({ code: 'chat_too_complex', status: 413 });
  await expect(refused).rejects.toThrow(
    /Found 100,00\d or more names of models and ids of messages\. Allowed are 100,000\./,
  );
});
