/** While the database is locked for a moment, a request is decided once more: what it began before is not in its way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { readTargetInto } from '../../../src/openwebui/match.ts';
import { createChatOrder } from '../../../src/openwebui/saved-chats.ts';
import { createSurfaceDecider } from '../../../src/openwebui/decide-surface.ts';
import { createJudge } from '../../../src/enforcement/judge.ts';
import { createReading } from '../../../src/reading/reading.ts';
import { toUserId } from '../../../src/policy/principal.ts';
import { databaseOfTest, openStore } from '../../support/database/opened-store.ts';
import { sampleScope } from '../../support/gate/sample-scope.ts';

test('a question that writes the name of a lost model again does not wait for its own save', async () => {
  const database = databaseOfTest({ era: '0.12.4' });
  database.addUser({ id: 'ann' });
  database.addMember('acme', 'ann');
  database.grant('acme', 'A');
  const question = { id: 'q', role: 'user', content: 'x', models: ['F'] };
  database.addChat({ id: 'old', user: 'ann', chat: { models: ['F'], history: { messages: { q: question } } } });
  using opened = await openStore(database);
  const order = createChatOrder();
  const judge = createJudge({ adminAccess: 'organization', directConnections: 'refuse', mediaModels: 'any' });
  const body = Buffer.from(JSON.stringify({ model: 'A', messages: [], chat_id: 'old', user_message: question }));
  const reading = createReading();
  onTestFinished(() => reading.close());
  const bodies = { read: () => Promise.resolve(body) };
  const parts = { store: opened.store, judge, order, reading, bodies, maxBodyBytes: body.length };
  const { decide } = createSurfaceDecider({ ...parts, payerOf: () => 'ann' });
  /** Has every save of the chat ended? */
  const isQuiet = () => Promise.race([order.quietly('old', () => Promise.resolve(true)), sleep(200, false)]);

  const scope = sampleScope({ url: '/api/chat/completions' });
  readTargetInto(scope);
  const user = await opened.next().user(toUserId('ann'));
  if (user === undefined) throw new Error('ann is not known');
  scope.principal = user;
  expect(await decide(scope)).toMatchObject({ effect: 'permit' });
  expect(await isQuiet()).toBe(false);
  // it would wait ten seconds, and be refused
  expect(await decide(scope)).toMatchObject({ effect: 'permit' });
  expect(await isQuiet()).toBe(false);
  scope.endSave?.(true);
  expect(await isQuiet()).toBe(true);
});
