/** What goes through the committed edge: TLS, HTTP/2, chats, streams, sockets, uploads. */
import { once } from 'node:events';
import type { IncomingMessage, RequestListener } from 'node:http';
import { connect as connectHttp2, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { request } from 'node:https';
import { connect as connectTls, type SecureVersion } from 'node:tls';
import { Server as SocketServer } from 'socket.io';
import { io } from 'socket.io-client';
import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { chat } from '../support/gate/attacks.ts';
import { NGINX_BINARIES, edgeOfSuite, edgeProcess, startEdge } from '../support/gate/edge.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { askOnce } from '../support/gate/https-client.ts';
import { testConfiguration } from '../support/gate/nginx-process.ts';
import { closed, startUpstream } from '../support/upstream/upstreams.ts';
import { withTimeout } from '../support/process/with-timeout.ts';

describe.each(NGINX_BINARIES)('through %s', (binary) => {
  const gate = gateOfSuite({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
  beforeAll(() => {
    const sockets = new SocketServer(gate.backend.server, { path: '/ws/socket.io/', destroyUpgrade: false });
    sockets.on('connection', (socket) => {
      socket.on('echo', (value: unknown, acknowledge: (value: unknown) => void) => acknowledge(value));
    });
    return () => sockets.close();
  });
  const edge = edgeOfSuite(() => ({ gate: gate.url, binary }));
  beforeEach(() => gate.backend.reset());

  const bearer = async (user: string) => ({ authorization: `Bearer ${await gate.token(user)}` });
  const ask = async (user: string, path: string, body?: object) =>
    askOnce(`${edge.url}${path}`, {
      headers: await bearer(user),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  /** The backend's own listeners step aside for the next request. */
  const answerNext = (listener: RequestListener): void => {
    const { server } = gate.backend;
    const before = server.listeners('request') as RequestListener[];
    server.removeAllListeners('request');
    server.once('request', listener);
    onTestFinished(() => {
      server.removeAllListeners('request');
      for (const one of before) server.on('request', one);
    });
  };

  test('nginx has nothing to say against the configuration', async () => {
    const { code, output } = await testConfiguration(edgeProcess({ gate: gate.url, binary }));
    expect(output).not.toMatch(/warn|emerg|error/);
    expect(code).toBe(0);
  });

  test('nor while it starts', () => expect(edge.errors()).not.toMatch(/\[(?:warn|emerg|crit|alert)\]/));

  describe('TLS', () => {
    const handshake = async (version: SecureVersion): Promise<string | null> => {
      const socket = connectTls({
        port: edge.port,
        host: '127.0.0.1',
        minVersion: version,
        maxVersion: version,
        // else our own side would not even offer the old ones
        ciphers: 'DEFAULT@SECLEVEL=0',
        ALPNProtocols: ['h2', 'http/1.1'],
      });
      onTestFinished(() => void socket.destroy());
      await withTimeout(once(socket, 'secureConnect'), 15_000, 'a handshake');
      return `${socket.getProtocol()} ${socket.alpnProtocol}`;
    };

    test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s is spoken, and HTTP/2 in it', async (version) => {
      expect(await handshake(version)).toBe(`${version} h2`);
    });

    test.each(['TLSv1', 'TLSv1.1'] as const)('%s is refused by nginx', async (version) => {
      await expect(handshake(version)).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
    });

    test('a client without it is redirected to it, method and path kept', async () => {
      const answer = await askOnce(`${edge.plainUrl}/api/chat/completions?a=%2F`, {
        headers: { host: 'mai.test' },
        body: '{}',
      });
      expect([answer.status, answer.field('location')]).toEqual([308, 'https://mai.test/api/chat/completions?a=%2F']);
      expect(gate.backend.received).toEqual([]);
    });
  });

  describe('HTTP/2', () => {
    const open = async (): Promise<ClientHttp2Session> => {
      const session = connectHttp2(edge.url);
      onTestFinished(() => session.destroy());
      await withTimeout(once(session, 'connect'), 15_000, 'a session');
      return session;
    };
    const send = async (session: ClientHttp2Session, path: string, user: string, body?: object) => {
      const stream = session.request({
        ':path': path,
        ':method': body === undefined ? 'GET' : 'POST',
        'content-type': 'application/json',
        ...(await bearer(user)),
      });
      stream.end(body === undefined ? undefined : JSON.stringify(body));
      const [headers] = (await withTimeout(once(stream, 'response'), 10_000, 'an answer')) as [IncomingHttpHeaders];
      const parts = (await stream.toArray()) as Buffer[];
      return { status: headers[':status'], text: Buffer.concat(parts).toString('utf8') };
    };

    test('one connection carries a permitted chat, a refused one and a list at the same time', async () => {
      const session = await open();
      const [permitted, refused, list] = await Promise.all([
        send(session, '/api/chat/completions', 'ann', chat('A')),
        send(session, '/api/chat/completions', 'ann', chat('F')),
        send(session, '/api/models', 'bob'),
      ]);
      expect([permitted.status, refused.status, list.status]).toEqual([200, 403, 200]);
      expect((JSON.parse(list.text) as { data: { id: string }[] }).data.map(({ id }) => id)).toEqual(['F']);
      expect(gate.ran()).toEqual(['A']);
    });

    test('the backend learns the host that the client named', async () => {
      await send(await open(), '/api/version', 'ann');
      const { rawHeaders } = gate.backend.received.at(-1)!; // it was just asked
      const at = rawHeaders.findIndex((name) => name.toLowerCase() === 'x-forwarded-host');
      expect(rawHeaders[at + 1]).toBe(`127.0.0.1:${edge.port}`);
    });
  });

  test('a permitted chat is answered, a refused one comes back as the gate said it', async () => {
    const permitted = await ask('ann', '/api/chat/completions', chat('A'));
    expect([permitted.status, permitted.body]).toEqual([200, expect.stringContaining('assistant')]);
    const refused = await ask('ann', '/openai/chat/completions', chat('F'));
    expect(refused.status).toBe(403);
    expect(JSON.parse(refused.body)).toMatchObject({ error: { code: 'model_not_permitted', param: 'model' } });
    expect(refused.field('x-request-id')).toBeTruthy();
    expect(gate.ran()).toEqual(['A']);
  });

  test.each([
    ['ann', ['A', 'acme/one']],
    ['bob', ['F']],
    ['dan', []],
  ])('%s sees the models of the own organizations', async (user, expected) => {
    const { data } = JSON.parse((await ask(user, '/api/models')).body) as { data: { id: string }[] };
    expect(data.map(({ id }) => id).sort()).toEqual(expected);
  });

  test.each(['/api/chat/completions', '/openai/chat/completions'])(
    'each event of %s is there before the backend sends the next',
    async (path) => {
      const steps = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()] as const;
      onTestFinished(() => steps.forEach(({ resolve }) => resolve(undefined)));
      answerNext((_incoming, outgoing) => {
        // a backend that asks nginx to wait is not obeyed
        const headers = { 'content-type': 'text/event-stream', 'x-accel-buffering': 'yes' };
        outgoing.writeHead(200, headers).write('data: first\n\n');
        void steps[0].promise.then(() => outgoing.write('data: second\n\n'));
        void steps[1].promise.then(() => outgoing.end('data: third\n\n'));
      });
      const answer = await fetch(`${edge.url}${path}`, {
        method: 'POST',
        headers: { ...(await bearer('ann')), 'content-type': 'application/json' },
        body: JSON.stringify(chat('A', { stream: true })),
        signal: AbortSignal.timeout(20_000),
      });
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      const next = async (label: string) => (await withTimeout(reader.read(), 10_000, label)).value;
      expect(await next('the first event')).toBe('data: first\n\n');
      steps[0].resolve(undefined);
      expect(await next('the second event')).toBe('data: second\n\n');
      steps[1].resolve(undefined);
      expect(await next('the third event')).toBe('data: third\n\n');
      await reader.cancel();
    },
  );

  test('what is known of a file is there before the rest of it', async () => {
    const held = Promise.withResolvers<undefined>();
    onTestFinished(() => held.resolve(undefined));
    answerNext((_incoming, outgoing) => {
      // with a length, where a buffering nginx waits until its buffer is full
      outgoing.writeHead(200, { 'content-length': '10', 'x-accel-buffering': 'yes' }).write('first');
      void held.promise.then(() => outgoing.end('after'));
    });
    const answer = await fetch(`${edge.url}/api/v1/files/1/content`, {
      headers: await bearer('ann'),
      signal: AbortSignal.timeout(20_000),
    });
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    expect((await withTimeout(reader.read(), 10_000, 'the first bytes')).value).toBe('first');
    held.resolve(undefined);
    expect((await withTimeout(reader.read(), 10_000, 'the rest')).value).toBe('after');
  });

  test('a client that leaves a stream ends it at the backend too', async () => {
    const left = Promise.withResolvers<undefined>();
    answerNext((_incoming, outgoing) => {
      outgoing.on('close', () => left.resolve(undefined));
      outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n');
    });
    const leaving = new AbortController();
    const answer = await fetch(`${edge.url}/api/chat/completions`, {
      method: 'POST',
      headers: { ...(await bearer('ann')), 'content-type': 'application/json' },
      body: JSON.stringify(chat('A', { stream: true })),
      signal: leaving.signal,
    });
    await withTimeout(answer.body!.getReader().read(), 10_000, 'the first event');
    leaving.abort();
    await withTimeout(left.promise, 10_000, 'the backend to be told');
  });

  test.each(['websocket', 'polling'])('Socket.IO connects by %s and is answered', async (transport) => {
    const socket = io(edge.url, {
      path: '/ws/socket.io',
      transports: [transport],
      reconnection: false,
      forceNew: true,
      auth: { token: await gate.token('ann') },
    });
    onTestFinished(() => void socket.close());
    const echoed: unknown = await socket.timeout(15_000).emitWithAck('echo', { said: 'grüß dich' });
    expect(echoed).toEqual({ said: 'grüß dich' });
    expect(socket.io.engine.transport.name).toBe(transport);
  });

  test('a socket whose handshake carries 16 KB of cookies, both ways, is opened', async () => {
    const calls = new WebSocketServer({ noServer: true });
    const cookie = `a=${'a'.repeat(16_000)}`;
    let received: string | undefined;
    calls.on('headers', (lines, { headers }) => {
      received = headers.cookie;
      for (let index = 0; index < 4; index += 1) lines.push(`Set-Cookie: c${index}=${'a'.repeat(4_000)}`);
    });
    const onUpgrade = (...[incoming, socket, head]: Parameters<WebSocketServer['handleUpgrade']>) => {
      if (incoming.url !== '/api/v1/audio/realtime?cookies') return;
      calls.handleUpgrade(incoming, socket, head, (call) => call.send('open'));
    };
    gate.backend.server.on('upgrade', onUpgrade);
    onTestFinished(() => void gate.backend.server.off('upgrade', onUpgrade));
    const socket = new WebSocket(`${edge.url.replace('https', 'wss')}/api/v1/audio/realtime?cookies`, {
      headers: { cookie },
      maxHeaderSize: 64 * 1024,
    });
    onTestFinished(() => socket.terminate());
    const upgraded = once(socket, 'upgrade') as Promise<[IncomingMessage]>;
    const [{ headers }] = await withTimeout(upgraded, 10_000, 'the handshake');
    expect(headers['set-cookie']).toHaveLength(4);
    expect(received).toBe(cookie);
  });

  test('a voice call is put through to a model of their own, and cut for another one', async () => {
    const calls = new WebSocketServer({ noServer: true });
    const onUpgrade = (...[incoming, socket, head]: Parameters<WebSocketServer['handleUpgrade']>) => {
      if (incoming.url !== '/api/v1/audio/realtime') return;
      calls.handleUpgrade(incoming, socket, head, (call) => call.on('message', () => call.send('heard')));
    };
    gate.backend.server.on('upgrade', onUpgrade);
    onTestFinished(() => void gate.backend.server.off('upgrade', onUpgrade));
    const call = async (model: string): Promise<unknown> => {
      const socket = new WebSocket(`${edge.url.replace('https', 'wss')}/api/v1/audio/realtime`);
      onTestFinished(() => socket.terminate());
      await withTimeout(once(socket, 'open'), 10_000, 'the call to open');
      const outcome = Promise.race([once(socket, 'message'), once(socket, 'close')]);
      socket.send(JSON.stringify({ type: 'auth', token: await gate.token('ann'), model_id: model }));
      const [first] = (await withTimeout(outcome, 10_000, 'an outcome')) as [Buffer | number];
      return Buffer.isBuffer(first) ? first.toString() : first;
    };
    expect(await call('A')).toBe('heard');
    expect(await call('F')).toBe(1008);
  });

  test('an upload reaches the backend while it is still being sent', async () => {
    const arrived = Promise.withResolvers<undefined>();
    let bytes = 0;
    answerNext((incoming, outgoing) => {
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        arrived.resolve(undefined);
      });
      incoming.on('end', () => outgoing.end('{}'));
    });
    const part = Buffer.alloc(256 * 1024, 'x');
    const parts = 32;
    const outgoing = request(`${edge.url}/api/v1/files/`, {
      method: 'POST',
      agent: false,
      headers: {
        ...(await bearer('ann')),
        'content-type': 'application/octet-stream',
        'content-length': part.length * parts,
      },
    });
    onTestFinished(() => void outgoing.destroy());
    const answered = once(outgoing, 'response') as Promise<[{ statusCode: number }]>;
    outgoing.write(part);
    await withTimeout(arrived.promise, 10_000, 'the first bytes at the backend');
    for (let sent = 1; sent < parts; sent += 1) outgoing.write(part);
    outgoing.end();
    const [{ statusCode }] = await withTimeout(answered, 20_000, 'the answer');
    expect([statusCode, bytes]).toEqual([200, part.length * parts]);
  });

  test('connections to the gate are kept and used again, and hold for requests of different clients', async () => {
    let connections = 0;
    const upstream = await startUpstream((_incoming, outgoing) => void outgoing.end('ok'));
    upstream.server.on('connection', () => (connections += 1));
    onTestFinished(() => closed(upstream.server));
    await using other = await startEdge({ gate: upstream.origin, binary });
    for (let turn = 0; turn < 12; turn += 1) {
      expect((await askOnce(`${other.url}/api/version`, turn % 2 ? { body: '{}' } : {})).body).toBe('ok');
    }
    expect(connections).toBe(1);
  });
});
