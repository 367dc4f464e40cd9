/** A save of a chat at one gate, and a run of that chat at another one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { createChatOrder } from '../../src/openwebui/saved-chats.ts';
import { openStore } from '../support/database/opened-store.ts';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import { pooledServerOfSuite } from '../support/pooled-server.ts';
import { ROLE, execute } from '../support/postgres.ts';
import { until } from '../support/process/with-timeout.ts';

const suite = pooledServerOfSuite();

/** What each of two gates knows of one database. @param hasTable whether their role may make one */
async function twoGates(hasTable = true) {
  const database = await suite.server.createDatabase();
  onTestFinished(() => database[Symbol.asyncDispose]());
  const policy = policyOf(database);
  await policy.initialize();
  if (!hasTable) {
    await policy.run('DROP TABLE modelgate_chat_saves');
    await execute(
      suite.server.url(database.name, 'postgres'),
      `REVOKE CREATE ON SCHEMA public FROM PUBLIC, ${ROLE}`,
      `ALTER SCHEMA public OWNER TO postgres`,
      `GRANT USAGE ON SCHEMA public TO ${ROLE}`,
    );
  }
  const orderAt = async (url: string) => {
    const opened = await openStore(addressOf(url));
    onTestFinished(() => opened.store.close());
    return createChatOrder({ shared: opened.store.saves });
  };
  return { policy, one: await orderAt(database.url), other: await orderAt(suite.pooler.url(database.name)) };
}

/** Counts how often it was read. */
function counter() {
  const read = { times: 0, now: () => Promise.resolve(++read.times) };
  return read;
}

test('the run waits for the end of the save, and one of another chat does not', async () => {
  const { one, other } = await twoGates();
  const end = await one.begin('chat');
  const read = counter();
  const reading = other.quietly('chat', read.now);
  await expect(other.quietly('another', () => Promise.resolve('read'))).resolves.toBe('read');
  await sleep(200);
  expect(read.times).toBe(0);
  end(true);
  await expect(reading).resolves.toBeGreaterThan(0);
});

test('the run reads again where a save has begun and ended meanwhile', async () => {
  const { one, other } = await twoGates();
  const read = counter();
  const begun = Promise.withResolvers<undefined>();
  const ended = Promise.withResolvers<undefined>();
  const reading = other.quietly('chat', async () => {
    begun.resolve(undefined);
    await ended.promise;
    return read.now();
  });
  await begun.promise;
  (await one.begin('chat'))(true);
  // it is written without waiting
  await expect.poll(async () => one.quietly('chat', () => Promise.resolve(true))).toBe(true);
  ended.resolve(undefined);
  await expect(reading).resolves.toBe(2);
});

test('a save whose client has left, or whose gate was killed, is one that the backend may still write', async () => {
  const { policy, one, other } = await twoGates();
  (await one.begin('left'))(false);
  await one.begin('killed');
  const read = counter();
  const waiting = ['left', 'killed'].map((chat) => other.quietly(chat, read.now));
  await sleep(200);
  expect(read.times).toBe(0);
  // it is written without waiting
  const ofLeft = `SELECT FROM modelgate_chat_saves WHERE chat_id = 'left' AND ends_at < now() + interval '1 minute'`;
  await until(async () => (await policy.run(ofLeft)).rowCount === 1, 10_000, 'the client is known to have left');
  // its time is over
  await policy.run(`UPDATE modelgate_chat_saves SET ends_at = now() - interval '1 hour'`);
  await expect(Promise.all(waiting)).resolves.toHaveLength(2);
  await one.begin('next');
  const { rows } = await policy.run('SELECT chat_id FROM modelgate_chat_saves');
  expect(rows).toEqual([{ chat_id: 'next' }]);
});

test('a save ends also where the database did not take the word of it at first', async () => {
  const { policy, one, other } = await twoGates();
  const end = await one.begin('chat');
  await policy.run('ALTER TABLE modelgate_chat_saves RENAME TO saves_away');
  end(true);
  await sleep(300);
  await policy.run('ALTER TABLE saves_away RENAME TO modelgate_chat_saves');
  await expect(other.quietly('chat', () => Promise.resolve('read'))).resolves.toBe('read');
});

test('without the table, which a role may lack the right to make, each gate knows its own saves alone', async () => {
  const { one, other } = await twoGates(false);
  const end = await one.begin('chat');
  await expect(other.quietly('chat', () => Promise.resolve('read'))).resolves.toBe('read');
  const read = counter();
  const waiting = one.quietly('chat', read.now);
  await sleep(100);
  expect(read.times).toBe(0);
  end(true);
  await expect(waiting).resolves.toBe(1);
});
