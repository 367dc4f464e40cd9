/** A chat takes one of its user's places until its answer has ended, whichever way that happens. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { type TestGate, startTestGate } from '../../support/gate/gate.ts';
import { openConnection, requestText } from '../../support/gate/raw-connection.ts';
import { closing } from '../../support/gate/transport.ts';
import { startUpstream } from '../../support/upstream/upstreams.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';

const PLACES = 3;

type Ending = keyof typeof ENDINGS;
/** What the backend does with a chat that asks for it by this word. */
const ENDINGS = {
  whole: (outgoing: ServerResponse) => void outgoing.end('{"whole":true}'),
  stream: (outgoing: ServerResponse) => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    outgoing.write('data: one\n\n');
    setImmediate(() => outgoing.end('data: [DONE]\n\n'));
  },
  'no content': (outgoing: ServerResponse) => void outgoing.writeHead(204).end(),
  'not modified': (outgoing: ServerResponse) => void outgoing.writeHead(304).end(),
  failure: (outgoing: ServerResponse) => void outgoing.writeHead(500).end('{"detail":"no"}'),
  'reset at once': (outgoing: ServerResponse) => void outgoing.socket?.resetAndDestroy(),
  'reset in the stream': (outgoing: ServerResponse) => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    outgoing.write('data: one\n\n', () => outgoing.socket?.resetAndDestroy());
  },
  'no answer': () => undefined,
  'silence in the stream': (outgoing: ServerResponse) => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    outgoing.write('data: one\n\n');
  },
  'not HTTP': (outgoing: ServerResponse) => void outgoing.socket?.end('garbage\r\n\r\n'),
};
/** Those that the gate ends by a timeout, which is long enough here for all places to be taken. */
const SLOW: readonly Ending[] = ['no answer', 'silence in the stream'];

let gate: TestGate;
let token: string;
/** Answers that the backend holds, by the id that the client gave. */
const held = new Map<string, ServerResponse>();
let arrived: (id: string) => void = () => undefined;

function answerAsAsked(incoming: IncomingMessage, outgoing: ServerResponse): void {
  const parts: Buffer[] = [];
  outgoing.on('error', () => undefined);
  incoming.on('error', () => undefined).on('data', (part: Buffer) => parts.push(part));
  incoming.on('end', () => {
    const { ending, id } = JSON.parse(Buffer.concat(parts).toString()) as { ending?: Ending; id: string };
    held.set(id, outgoing);
    arrived(id);
    if (ending !== undefined) ENDINGS[ending](outgoing);
  });
}

beforeAll(async () => {
  const upstream = await startUpstream(answerAsAsked);
  gate = await startTestGate({
    MODELGATE_UPSTREAM_URL: upstream.origin,
    MODELGATE_LIMIT_CONCURRENT_CHATS: String(PLACES),
    MODELGATE_LIMIT_USER: 'off',
    MODELGATE_LIMIT_CHAT: 'off',
    MODELGATE_RESPONSE_TIMEOUT: '3s',
    MODELGATE_IDLE_TIMEOUT: '3s',
  });
  token = await gate.token('ann');
  return async () => upstream.close();
});
afterAll(async () => gate[Symbol.asyncDispose]());
beforeEach(() => held.clear());

const ask = (more: object, init: RequestInit = {}): Promise<Response> =>
  gate.ask('ann', '/api/chat/completions', { model: 'A', messages: [], ...more }, init);

/** Never rejects. @returns the status of an answer that came whole */
async function settled(answer: Promise<Response>): Promise<number | undefined> {
  try {
    const whole = await answer;
    await whole.text();
    return whole.status;
  } catch {
    return undefined;
  }
}

const running = async (): Promise<string | undefined> =>
  (await gate.figures()).find((line) => line.startsWith('modelgate_invocations_in_flight'));

/** All places can be taken, and not one more. */
async function expectAllFree(): Promise<void> {
  await expect.poll(running).toBe('modelgate_invocations_in_flight 0');
  await expectAllFreeForAnn();
  await expect.poll(running).toBe('modelgate_invocations_in_flight 0');
}

async function expectAllFreeForAnn(): Promise<void> {
  const ids = Array.from({ length: PLACES }, (_, index) => `place ${index}`);
  const waiting = new Set(ids);
  const seen = new Promise<void>((resolve) => {
    arrived = (id) => {
      waiting.delete(id);
      if (waiting.size === 0) resolve();
    };
  });
  const answers = ids.map((id) => ask({ id }));
  await withTimeout(seen, 5_000, 'all places to be taken');
  arrived = () => undefined;
  const refused = await ask({ id: 'one too many' });
  expect([refused.status, refused.headers.get('ratelimit'), refused.headers.get('retry-after')]).toEqual([
    429,
    '"concurrent-chats";r=0',
    '2',
  ]);
  expect(held.has('one too many')).toBe(false);
  for (const id of ids) held.get(id)?.end('{}');
  expect(await Promise.all(answers.map(settled))).toEqual(ids.map(() => 200));
}

test('as many as there are places are served at the same time, and not one more', expectAllFree);

describe('a place is free again after', () => {
  test.each(Object.keys(ENDINGS) as Ending[])('an answer that ends with: %s', async (ending) => {
    await Promise.all(Array.from({ length: PLACES }, (_, index) => settled(ask({ ending, id: `${ending} ${index}` }))));
    await expectAllFree();
  });

  test('a client that left before the answer began', async () => {
    const leaving = new AbortController();
    const reached = new Promise<void>((resolve) => {
      arrived = () => resolve();
    });
    const answers = Array.from({ length: PLACES }, (_, index) =>
      settled(ask({ id: `left ${index}` }, { signal: leaving.signal })),
    );
    await withTimeout(reached, 5_000, 'the chat to arrive');
    leaving.abort();
    await Promise.all(answers);
    await expectAllFree();
    expect(gate.lines.some((line) => line['status'] === 499)).toBe(true);
  });

  test('a client that left in the middle of the stream', async () => {
    const leaving = new AbortController();
    const answer = await ask({ ending: 'silence in the stream', id: 'leaves' }, { signal: leaving.signal });
    await answer.body?.getReader().read();
    leaving.abort();
    await expectAllFree();
  });

  test('a client that resets its connection while its body is still going up', async () => {
    const connection = await openConnection(gate.port);
    const head = requestText('POST /api/chat/completions', [`Authorization: Bearer ${token}`, 'Content-Length: 500']);
    connection.send(`${head}{"model":"A",`);
    connection.socket.resetAndDestroy();
    await expectAllFree();
  });

  test('a request that was denied, or could not be read', async () => {
    for (let request = 0; request < PLACES + 1; request += 1) {
      expect((await ask({ model: 'F' })).status).toBe(403);
      expect((await gate.ask('ann', '/api/chat/completions', undefined, { method: 'POST', body: '{' })).status).toBe(
        400,
      );
    }
    await expectAllFree();
  });

  test('any mixture of these', { timeout: 120_000 }, async () => {
    const chats = fc.array(
      fc.record({
        ending: fc.constantFrom(...(Object.keys(ENDINGS) as Ending[]).filter((ending) => !SLOW.includes(ending))),
        leavesAfterMs: fc.option(fc.integer({ min: 0, max: 20 })),
      }),
      { minLength: 1, maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(chats, async (mixture) => {
        const answers = mixture.map(({ ending, leavesAfterMs }, index) => {
          const signal = leavesAfterMs === null ? null : AbortSignal.timeout(leavesAfterMs);
          return settled(ask({ ending, id: `mixture ${index}` }, { signal }));
        });
        await Promise.all(answers);
        await expect.poll(running).toBe('modelgate_invocations_in_flight 0');
      }),
      { numRuns: 25, seed: 26 },
    );
    await expectAllFree();
  });
});

test('chats of another user take no place of mine, and a saved chat takes none at all', async () => {
  // they end by the timeout
  const answers = Array.from({ length: PLACES }, (_, index) =>
    settled(gate.ask('bob', '/api/chat/completions', { model: 'F', messages: [], id: `bob ${index}` })),
  );
  expect(await settled(gate.ask('bob', '/api/v1/chats/new', { id: 'saved', ending: 'whole' }))).toBe(200);
  await expectAllFreeForAnn();
  await Promise.all(answers);
});

test('draining waits for the chats that run, and cuts what is left: every place is free then', async () => {
  const upstream = closing(await startUpstream(answerAsAsked));
  const draining = await startTestGate({ MODELGATE_UPSTREAM_URL: upstream.origin, MODELGATE_DRAIN_TIMEOUT: '100ms' });
  onTestFinished(() => draining[Symbol.asyncDispose]());
  const reached = new Promise<void>((resolve) => {
    arrived = () => resolve();
  });
  const cut = settled(
    draining.ask('ann', '/api/chat/completions', {
      model: 'A',
      messages: [],
      ending: 'silence in the stream',
      id: 'cut',
    }),
  );
  await withTimeout(reached, 5_000, 'the chat to arrive');
  expect(await draining.figures()).toContain('modelgate_invocations_in_flight 1');
  expect(await draining.gate.drain()).toBe(1);
  await cut;
  await expect.poll(() => draining.figures()).toContain('modelgate_invocations_in_flight 0');
});

test('a voice call takes a place from its first frame until its socket closes', async () => {
  const calls = await startTestGate({ MODELGATE_LIMIT_CONCURRENT_CHATS: '1', MODELGATE_LIMIT_CHAT: '2/1h' });
  onTestFinished(() => calls[Symbol.asyncDispose]());
  const sockets = new WebSocketServer({ server: calls.backend.server, perMessageDeflate: false });
  sockets.on('connection', (socket) => socket.on('message', () => socket.send('heard')));
  const frame = JSON.stringify({ type: 'auth', token: await calls.token('ann'), model_id: 'A' });
  const call = async () => {
    const socket = new WebSocket(`${calls.url.replace('http', 'ws')}/api/v1/audio/realtime`);
    await withTimeout(once(socket, 'open'), 5_000, 'the call to open');
    const outcome = Promise.race([
      once(socket, 'message').then(() => 'heard'),
      once(socket, 'close').then(([code]) => code as number),
    ]);
    socket.send(frame);
    return { socket, outcome: await withTimeout(outcome, 5_000, 'an outcome') };
  };
  const first = await call();
  expect(first.outcome).toBe('heard');
  expect(await calls.figures()).toContain('modelgate_invocations_in_flight 1');
  expect((await call()).outcome).toBe(1008);
  expect((await calls.ask('ann', '/api/chat/completions', { model: 'A', messages: [] })).status).toBe(429);
  first.socket.terminate();
  await expect.poll(() => calls.figures()).toContain('modelgate_invocations_in_flight 0');
  const second = await call();
  second.socket.terminate();
  await expect.poll(() => calls.figures()).toContain('modelgate_invocations_in_flight 0');
  expect([second.outcome, (await call()).outcome]).toEqual(['heard', 1008]);
  await expect
    .poll(() => calls.lines.map((line) => line['limit']).filter(Boolean))
    .toEqual([...['concurrent-chats', 'concurrent-chats'], 'chat']);
});
