import Database from 'better-sqlite3';
import { expect, test, vi } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import type { PointCall } from '../../../src/store/queries.ts';
import { NotLoaded } from '../../../src/store/store-view.ts';
import { ThreadedFile } from '../../../src/store/threaded-file.ts';
import { createDatabase } from '../../support/database/database.ts';
import { openStore } from '../../support/database/opened-store.ts';
import { manualClock } from '../../support/process/clock.ts';

test('a request that meets the failed read of another one learns that it can wait', async () => {
  const database = createDatabase({ era: '0.6.18', journalMode: 'delete' });
  database.addUser({ id: 'ada' });
  const clock = manualClock();
  const loaded = vi.fn();
  const unused = () => undefined;
  const options = { path: database.path, now: clock.now, deadlineMs: 10_000, warn: unused, loaded };
  const file = new ThreadedFile(options);
  await file.start();
  const ada = toUserId('ada');

  const writer = new Database(database.path);
  writer.exec('BEGIN EXCLUSIVE');
  await file.load([{ name: 'accountOf', key: ada }]);
  writer.exec('ROLLBACK');
  writer.close();
  const before = file.failures;
  expect(file.read('accountOf', ada)).toBeUndefined();
  expect(file.failures).toBeGreaterThan(before);

  clock.advance(100);
  await file.look();
  await file.load([{ name: 'accountOf', key: ada }]);
  expect(loaded.mock.calls).toEqual([[{ name: 'accountOf', key: ada }, { role: 'user' }]]);
  await file.close();
  database.close();
});

test('a question is answered without a promise where nothing must be read', async () => {
  using database = createDatabase();
  database.addUser({ id: 'ada' });
  using opened = await openStore(database.path);
  const roleOfAda = () => opened.store.current().user(toUserId('ada'))?.role;
  opened.clock.advance(1);
  const asked = opened.store.ask(roleOfAda);
  expect(asked).toBeInstanceOf(Promise);
  expect(await asked).toBe('user');
  expect(opened.store.ask(roleOfAda)).toBe('user');
  expect(opened.store.load()).toBeUndefined();
});

test('what one request reads for long is read in parts, and others are answered in between', async () => {
  using database = createDatabase();
  database.addUser({ id: 'ada' });
  const presets = Array.from({ length: 50 }, (_none, at): PointCall => ({ name: 'preset', key: `long-${at}` }));
  for (const { key } of presets) database.addModel({ id: key, base: 'gpt', params: { system: 'x'.repeat(450_000) } });
  const loaded = vi.fn();
  const unused = () => undefined;
  const options = { path: database.path, now: () => performance.now(), deadlineMs: 10_000, warn: unused, loaded };
  const file = new ThreadedFile(options);
  await file.start();
  const order: string[] = [];
  const asked = (name: string, calls: readonly PointCall[]) => file.load(calls).then(() => order.push(name));
  await Promise.all([asked('many', presets), asked('one', [{ name: 'accountOf', key: 'ada' }])]);
  expect(order).toEqual(['one', 'many']);
  expect(loaded).toHaveBeenCalledTimes(presets.length + 1);
  await file.close();
});

test('a file that is opened while another one keeps the thread waiting is read and initialized all the same', async () => {
  using busy = createDatabase({ organizationTables: 'none' });
  using database = createDatabase({ organizationTables: 'none' });
  const holder = new Database(busy.path);
  holder.exec('BEGIN IMMEDIATE');
  const unused = () => undefined;
  const options = { now: () => performance.now(), deadlineMs: 10_000, warn: unused, loaded: unused };
  const late = new ThreadedFile({ ...options, path: busy.path });
  // to make what is missing there, SQLite waits longer for the lock
  await late.ask({ kind: 'look' }, { deadlineMs: 1 });
  const file = new ThreadedFile({ ...options, path: database.path });
  await file.start();
  expect([file.problem, file.status.missing]).toEqual([undefined, []]);
  await Promise.all([late.close(), file.close()]);
  holder.close();
});

test('what is lacking has no stack, which would take most of the time of a request with thousands of names', () => {
  const { stackTraceLimit } = Error;
  expect(new NotLoaded({ name: 'preset', key: 'gpt' }).stack).not.toMatch(/\n\s+at /);
  expect(Error.stackTraceLimit).toBe(stackTraceLimit);
});
