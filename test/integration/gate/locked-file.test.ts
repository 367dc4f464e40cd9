/**
 * Up to 0.8.12 the backend keeps its file in DELETE mode, where each of its commits locks every reader out for a moment,
 * and it commits with nearly every request: a lock must cost a request time, never its answer.
 */
import { describe, expect, test } from 'vitest';
import type { TestGate } from '../../support/gate.ts';
import { startTestGate } from '../../support/gate.ts';

const HELD_MS = 200;
const chat = (model: string) => ({ model, stream: false, messages: [{ role: 'user', content: 'Who?' }] });

/** Holds the file as the end of a long commit does, while `ask` is under way. */
async function whileLocked<T>({ database }: TestGate, ask: () => Promise<T>): Promise<T> {
  database.sql.exec('BEGIN EXCLUSIVE');
  const release = setTimeout(() => database.sql.exec('COMMIT'), HELD_MS);
  try {
    return await ask();
  } finally {
    clearTimeout(release);
    if (database.sql.inTransaction) database.sql.exec('COMMIT');
  }
}

describe('while the backend holds the lock for a moment', () => {
  test('the first list of a user is whole', async () => {
    await using gate = await startTestGate({}, '0.6.18');
    const answer = await whileLocked(gate, () => gate.ask('ann', '/api/models'));
    expect(answer.status).toBe(200);
    const { data } = (await answer.json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id).sort()).toEqual(['A', 'acme/one']);
  });

  test('the first chat of a user is answered, and a forbidden one refused', async () => {
    await using gate = await startTestGate({}, '0.6.18');
    const permitted = await whileLocked(gate, () => gate.ask('ann', '/api/chat/completions', chat('A')));
    expect(permitted.status).toBe(200);
    const refused = await whileLocked(gate, () => gate.ask('bob', '/api/chat/completions', chat('A')));
    expect(refused.status).toBe(403);
    expect(gate.ran()).toEqual(['A']);
  });

  test('a grant withdrawn just before bites', async () => {
    await using gate = await startTestGate({}, '0.6.18');
    expect((await gate.ask('ann', '/api/chat/completions', chat('A'))).status).toBe(200);
    gate.database.withdraw('acme', 'A');
    gate.database.sql.exec('BEGIN EXCLUSIVE; COMMIT');
    expect((await gate.ask('ann', '/api/chat/completions', chat('A'))).status).toBe(403);
  });
});

test('a lock that does not end makes a list fail with 503 and a date to come back, never empty', async () => {
  await using gate = await startTestGate({}, '0.6.18');
  gate.database.sql.exec('BEGIN EXCLUSIVE');
  const answer = await gate.ask('ann', '/api/models');
  gate.database.sql.exec('COMMIT');
  expect(answer.status).toBe(503);
  expect(answer.headers.get('retry-after')).toBe('2');
});
