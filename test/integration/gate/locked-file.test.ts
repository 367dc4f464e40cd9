/**
 * Up to 0.8.12 the backend keeps its file in DELETE mode, where each of its commits locks every reader out for a moment,
 * and it commits with nearly every request: a lock must cost a request time, never its answer.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type TestGate, startTestGate } from '../../support/gate/gate.ts';

const HELD_MS = 200;
const chat = (model: string) => ({ model, stream: false, messages: [{ role: 'user', content: 'Who?' }] });

/** Holds the file as the end of a long commit does. */
function lock({ database: { sql } }: TestGate): Promise<void> {
  sql.exec('BEGIN EXCLUSIVE');
  return sleep(HELD_MS).then(() => void sql.exec('COMMIT'));
}

async function whileLocked<T>(gate: TestGate, ask: () => Promise<T>): Promise<T> {
  const released = lock(gate);
  const answer = await ask();
  await released;
  return answer;
}

/** A backend that lists all models, and first does what its own reading of the file would do: `answering`. */
async function startUpstream(answering: () => void): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer((_request, response) => {
    answering();
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ data: ['A', 'F', 'acme/one'].map((id) => ({ id, name: id })) }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
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

  test('a grant withdrawn just before is in no list, and one that was just given is', async () => {
    await using upstream = await startUpstream(() => void lock(gate));
    await using gate = await startTestGate({ MODELGATE_UPSTREAM_URL: upstream.url }, '0.6.18');
    const listed = async () => {
      const answer = await gate.ask('ann', '/api/models');
      const { data } = (await answer.json()) as { data: { id: string }[] };
      return data.map(({ id }) => id).sort();
    };
    expect(await listed()).toEqual(['A', 'acme/one']);
    gate.database.withdraw('acme', 'A');
    expect(await listed()).toEqual(['acme/one']);
    gate.database.grant('acme', 'F');
    expect(await listed()).toEqual(['F', 'acme/one']);
  });

  test('a role and an API key taken away just before are gone', async () => {
    await using upstream = await startUpstream(() => undefined);
    await using gate = await startTestGate({ MODELGATE_UPSTREAM_URL: upstream.url }, '0.6.18');
    const init = { headers: { authorization: 'Bearer sk-bob' } };
    const byKey = () => fetch(`${gate.url}/api/models`, init);
    expect((await gate.ask('ann', '/api/chat/completions', chat('A'))).status).toBe(200);
    expect((await byKey()).status).toBe(200);
    gate.database.sql.exec(`UPDATE "user" SET role = 'pending' WHERE id = 'ann'`);
    expect((await whileLocked(gate, () => gate.ask('ann', '/api/chat/completions', chat('A')))).status).toBe(403);
    gate.database.sql.exec(`UPDATE "user" SET api_key = NULL WHERE id = 'bob'`);
    expect((await whileLocked(gate, byKey)).status).toBe(401);
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
