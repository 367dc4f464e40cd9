/** Pages that are damaged behind a header that is not: the state of the store says what requests meet. */
import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import { initialize } from '../../../src/store/initialize.ts';
import { type DatabaseOptions, type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { type OpenedStore, openStore } from '../../support/database/opened-store.ts';

let database: TestDatabase;
let opened: OpenedStore;
afterEach(() => {
  opened[Symbol.dispose]();
  database.close();
});

async function start(options: DatabaseOptions, users = 0): Promise<void> {
  database = createDatabase(options);
  for (const id of ['ada', 'zoe']) database.addMember('acme', database.addUser({ id }));
  database.sql.transaction(() => {
    for (let index = 0; index < users; index += 1) database.addMember('acme', database.addUser({ id: `m-${index}` }));
  })();
  database.grant('acme', 'granted');
  database.addModel({ id: 'preset', base: 'granted' });
  initialize(database.sql);
  // what stands in a log would be read in place of the file
  database.sql.pragma('wal_checkpoint(TRUNCATE)');
  opened = await openStore(database.path, { maxStaleMs: 1_000 });
}

const pageSize = () => Number(database.sql.pragma('page_size', { simple: true }));

/** Writes past SQLite, as a bad disk does. */
function damage(page: number): void {
  copyFileSync(database.path, `${database.path}.good`);
  const file = openSync(database.path, 'r+');
  writeSync(file, Buffer.alloc(pageSize(), 0x7f), 0, pageSize(), (page - 1) * pageSize());
  closeSync(file);
}
const mend = () => copyFileSync(`${database.path}.good`, database.path);

/** What a request meets, once nothing of before may be served any more. */
async function ask(user: string, afterMs = 2_000): Promise<string> {
  opened.clock.advance(afterMs);
  try {
    return await opened.effect(user, 'preset');
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  }
}

describe.each(['user', 'organization_members', 'organization_models', 'model'])(
  'where the table %s is damaged',
  (table) => {
    test.each(['0.6.18', '0.12.4'] as const)(
      'requests of %s are refused, and that is said until it is mended',
      async (era) => {
        await start({ era });
        expect(await ask('ada')).toBe('permit');
        expect(await opened.store.health()).toMatchObject({ readable: true, problem: undefined });
        const root = database.sql.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').pluck().get(table);
        damage(Number(root));
        // the last good state serves for a moment
        expect(await ask('ada', 100)).toBe('permit');
        expect(await opened.store.health()).toMatchObject({ readable: false });
        await ask('ada', 700);
        expect(await ask('ada')).toBe('policy_unavailable');
        const health = await opened.store.health();
        expect(health).toMatchObject({ readable: false });
        expect(health.problem).toMatch(/^SQLITE_CORRUPT\w*: the file is damaged/);
        for (let time = 0; time < 50; time += 1) {
          await ask('ada', 200);
          await opened.store.health();
        }
        expect((await opened.store.health()).readable).toBe(false);
        expect((await opened.store.health()).ageMs).toBeGreaterThan(8_000);
        expect(opened.warnings.filter((line) => line.includes('cannot be read'))).toHaveLength(1);
        mend();
        expect(await ask('ada')).toBe('permit');
        expect(await opened.store.health()).toMatchObject({ readable: true, problem: undefined });
        expect(opened.warnings.filter((line) => line.includes('readable again'))).toHaveLength(1);
      },
    );
  },
);

test('a damaged file is reported before any request has met it', async () => {
  await start({ era: '0.6.18' });
  const root = database.sql.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_user_1'");
  damage(Number(root.pluck().get()));
  opened.clock.advance(2_000);
  expect(await opened.store.health()).toMatchObject({ readable: false });
});

test('one damaged page of many is reported for a while, and takes no other user out of service', async () => {
  await start({ era: '0.6.18' }, 2_000);
  database.sql.prepare('UPDATE "user" SET name = ? WHERE id = ?').run('the needle', 'm-1000');
  damage(Math.floor(readFileSync(database.path).indexOf('the needle') / pageSize()) + 1);
  expect(await ask('m-1000')).toBe('policy_unavailable');
  expect(await ask('ada')).toBe('permit');
  expect(await opened.store.health()).toMatchObject({ readable: true });
  expect((await opened.store.health()).problem).toMatch(/^a part of the database cannot be read: SQLITE_CORRUPT/);
  for (let time = 0; time < 10; time += 1) await ask('m-1000');
  expect(opened.warnings.filter((line) => line.includes('a part of'))).toHaveLength(1);
  await opened.look();
  opened.clock.advance(120_000);
  expect((await opened.store.health()).problem).toBeUndefined();
  expect(await opened.next().user(toUserId('ada'))).toBeDefined();
});

test('a damaged table of presets takes no other answer away, however long it lasts', async () => {
  await start({});
  const root = database.sql.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'model'").pluck().get();
  damage(Number(root));
  let known = 0;
  for (let second = 0; second < 10; second += 1) {
    opened.clock.advance(1_000);
    await opened.store.health();
    // a look that was refused is tried again after a pause
    opened.clock.advance(100);
    const user = await Promise.resolve(opened.next().user(toUserId('ada'))).catch(() => undefined);
    known += user === undefined ? 0 : 1;
  }
  expect(known).toBe(10);
  expect((await opened.store.health()).readable).toBe(false);
});

test('a file that cannot be opened is not initialized', async () => {
  await start({});
  writeFileSync(database.path, Buffer.alloc(20 * 4_096, 0x7f));
  for (let second = 0; second < 20; second += 1) await ask('ada', 1_000);
  const health = await opened.store.health();
  expect(health).toMatchObject({ readable: false });
  expect(health.problem).not.toContain('could not be made');
  expect(opened.warnings.filter((line) => line.includes('initialized'))).toEqual([]);
});
