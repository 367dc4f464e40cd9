/** The committed nginx in front of the whole gate, in front of the recording backend. */
import type { RequestListener } from 'node:http';
import { Server as SocketServer } from 'socket.io';
import { io } from 'socket.io-client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Edge, edgeProcess, startEdge } from '../support/gate/edge.ts';
import { type TestGate, startTestGate } from '../support/gate/gate.ts';
import { testConfiguration } from '../support/gate/nginx-process.ts';
import { withTimeout } from '../support/process/with-timeout.ts';

describe('behind a real nginx', () => {
  let gate: TestGate;
  let nginx: Edge;
  let sockets: SocketServer;

  beforeAll(async () => {
    gate = await startTestGate({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
    sockets = new SocketServer(gate.backend.server, { path: '/ws/socket.io/' });
    sockets.on('connection', (socket) => {
      socket.on('echo', (value: unknown, acknowledge: (value: unknown) => void) => acknowledge(value));
    });
    nginx = await startEdge({ gate: gate.url });
  });

  afterAll(async () => {
    await nginx[Symbol.asyncDispose]();
    await sockets.close();
    await gate[Symbol.asyncDispose]();
  });

  beforeEach(() => gate.backend.reset());

  const ask = async (user: string, path: string, body?: object, headers: Record<string, string> = {}) =>
    fetch(`${nginx.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        ...headers,
        authorization: `Bearer ${await gate.token(user)}`,
        'content-type': 'application/json',
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });

  const chat = (model: string, stream = false) => ({ model, stream, messages: [{ role: 'user', content: 'Who?' }] });

  /** The fields of the newest request that the backend got, lower-case names. */
  const arrived = (): Map<string, string> => {
    const { rawHeaders } = gate.backend.received.at(-1)!;
    const pairs = rawHeaders.flatMap((name, index) =>
      index % 2 === 0 ? [[name.toLowerCase(), rawHeaders[index + 1] ?? ''] as const] : [],
    );
    return new Map(pairs);
  };

  test('which has nothing to say against its configuration', async () => {
    const { code, output } = await testConfiguration(edgeProcess({ gate: gate.url }));
    expect(output).not.toMatch(/warn|emerg|error/);
    expect(code).toBe(0);
  });

  test.each([
    ['ann', ['A', 'acme/one']],
    ['bob', ['F']],
    ['dan', []],
  ])('%s sees the models of the own organizations', async (user, expected) => {
    const { data } = (await (await ask(user, '/api/models')).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id).sort()).toEqual(expected);
  });

  test('a permitted chat is answered', async () => {
    const answer = await ask('ann', '/api/chat/completions', chat('A'));
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('assistant');
    expect(gate.ran()).toEqual(['A']);
  });

  test('a refused chat comes back as the gate said it, and runs nothing', async () => {
    const answer = await ask('ann', '/openai/chat/completions', chat('F'));
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ error: { code: 'model_not_permitted', param: 'model' } });
    expect(answer.headers.get('x-request-id')).toBeTruthy();
    expect(gate.ran()).toEqual([]);
  });

  test('the first event of a stream is there while the backend still holds the second', async () => {
    const held = Promise.withResolvers<undefined>();
    const { server } = gate.backend;
    const before = server.listeners('request') as RequestListener[];
    server.removeAllListeners('request');
    server.once('request', (_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n');
      void held.promise.then(() => outgoing.end('data: second\n\n'));
    });
    try {
      const answer = await ask('ann', '/api/chat/completions', chat('A', true));
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      expect((await withTimeout(reader.read(), 5_000, 'the first event')).value).toBe('data: first\n\n');
      held.resolve(undefined);
      expect((await withTimeout(reader.read(), 5_000, 'the second event')).value).toBe('data: second\n\n');
    } finally {
      held.resolve(undefined);
      server.removeAllListeners('request');
      for (const listener of before) server.on('request', listener);
    }
  });

  test.each(['websocket', 'polling'])('Socket.IO connects by %s and is answered', async (transport) => {
    const socket = io(nginx.url, {
      path: '/ws/socket.io',
      transports: [transport],
      reconnection: false,
      forceNew: true,
      auth: { token: await gate.token('ann') },
    });
    try {
      const echoed: unknown = await socket.timeout(10_000).emitWithAck('echo', { said: 'grüß dich' });
      expect(echoed).toEqual({ said: 'grüß dich' });
      expect(socket.io.engine.transport.name).toBe(transport);
    } finally {
      socket.close();
    }
  });

  test('the backend learns the client, the scheme and the host that nginx saw', async () => {
    await ask('ann', '/api/version', undefined, { 'x-forwarded-for': '203.0.113.7' });
    const fields = arrived();
    expect(fields.get('x-forwarded-for')).toBe('127.0.0.1, 127.0.0.1');
    expect(fields.get('x-forwarded-proto')).toBe('https');
    expect(fields.get('x-forwarded-host')).toBe(`127.0.0.1:${nginx.port}`);
    expect(fields.get('x-real-ip')).toBe('127.0.0.1');
  });
});
