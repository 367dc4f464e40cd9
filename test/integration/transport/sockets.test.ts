/** The WebSocket door: real Socket.IO, real WebSockets, and peers that keep to no protocol. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Server as SocketServer } from 'socket.io';
import { io, type Socket as SocketClient } from 'socket.io-client';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { gateFirstMessage } from '../../../src/transport/tunnel.ts';
import { parseAnswer } from '../../support/gate/raw-connection.ts';
import type { Relay, RelayOptions } from '../../support/gate/relay.ts';
import { NOTHING_THERE, closing, connectTo, relayTo } from '../../support/gate/transport.ts';
import {
  closed,
  listening,
  startByteUpstream,
  startScriptedUpstream,
  startUpstream,
} from '../../support/upstream/upstreams.ts';
import { AT_ONCE_MS, until, untilStill, withTimeout } from '../../support/process/with-timeout.ts';

const HANDSHAKE =
  'GET /ws/x HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

/** A WebSocket server that answers every message with the same message. */
async function startEcho(): Promise<{ origin: string; server: WebSocketServer; close(): Promise<void> }> {
  const http = createServer();
  const server = new WebSocketServer({ server: http });
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('message', (data, binary) => {
      socket.send(data, { binary });
    });
  });
  const port = await listening(http);
  return {
    origin: `http://127.0.0.1:${port}`,
    server,
    async close() {
      for (const client of server.clients) client.terminate();
      server.close();
      await closed(http);
    },
  };
}

async function openSocket(relay: Relay, options: object = {}): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${relay.port}/ws/x?a=b`, options);
  closing({ close: () => socket.terminate() });
  socket.on('error', () => undefined);
  await withTimeout(once(socket, 'open'), 3_000, 'the socket to open');
  return socket;
}

async function nextMessage(socket: WebSocket): Promise<Buffer> {
  const [data] = (await withTimeout(once(socket, 'message'), 5_000, 'a message')) as [Buffer];
  return data;
}

describe('Socket.IO', () => {
  async function startSocketServer(): Promise<{ origin: string; server: SocketServer; close(): Promise<void> }> {
    const http = createServer();
    const server = new SocketServer(http, { path: '/ws/socket.io/', maxHttpBufferSize: 8 * 1024 * 1024 });
    server.on('connection', (socket) => {
      socket.on('echo', (value: unknown, acknowledge: (value: unknown) => void) => {
        acknowledge(value);
      });
      socket.on('push', (count: number) => {
        for (let index = 0; index < count; index += 1) socket.emit('event', index);
      });
    });
    const port = await listening(http);
    return {
      origin: `http://127.0.0.1:${port}`,
      server,
      async close() {
        await server.close();
        await closed(http);
      },
    };
  }

  test.each([
    ['polling', ['polling']],
    ['websocket', ['websocket']],
    ['polling, then websocket', ['polling', 'websocket']],
  ])('works by %s', async (_name, transports) => {
    const backend = await startSocketServer();
    const relay = await relayTo(backend);
    const client: SocketClient = io(relay.origin, { path: '/ws/socket.io/', transports, reconnection: false });
    closing({ close: () => void client.disconnect() });
    await withTimeout(
      new Promise<void>((resolve, reject) => {
        client.on('connect', resolve);
        client.on('connect_error', reject);
      }),
      5_000,
      'the client to connect',
    );
    if (transports.length > 1 && client.io.engine.transport.name !== 'websocket') {
      await withTimeout(new Promise((resolve) => client.io.engine.once('upgrade', resolve)), 5_000, 'the upgrade');
    }
    expect(client.io.engine.transport.name).toBe(transports.at(-1));
    const binary = Buffer.alloc(1024 * 1024, 7);
    for (const value of ['text', { deep: ['ü', 1] }]) expect(await client.emitWithAck('echo', value)).toEqual(value);
    expect(Buffer.compare((await client.emitWithAck('echo', binary)) as Buffer, binary)).toBe(0);
    const events: number[] = [];
    client.on('event', (index: number) => events.push(index));
    client.emit('push', 200);
    await until(() => events.length === 200, 5_000, 'all events');
    expect(events).toEqual(Array.from({ length: 200 }, (_value, index) => index));
    client.disconnect();
    await until(() => backend.server.engine.clientsCount === 0, 3_000, 'the server to see the client leave');
  });
});

describe('a WebSocket', () => {
  test('carries text and large binary both ways', async () => {
    const relay = await relayTo(await startEcho());
    const socket = await openSocket(relay);
    socket.send('hello');
    expect((await nextMessage(socket)).toString()).toBe('hello');
    const large = Buffer.alloc(4 * 1024 * 1024, 3);
    socket.send(large);
    expect(Buffer.compare(await nextMessage(socket), large)).toBe(0);
  });

  test('keeps compression when both ends want it', async () => {
    const backend = await startEcho();
    backend.server.options.perMessageDeflate = true;
    const relay = await relayTo(backend);
    const socket = await openSocket(relay, { perMessageDeflate: true });
    expect(socket.extensions).toContain('permessage-deflate');
    socket.send('x'.repeat(10_000));
    expect((await nextMessage(socket)).toString()).toBe('x'.repeat(10_000));
  });

  test('hands the close code from one end to the other', async () => {
    const backend = await startEcho();
    const relay = await relayTo(backend);
    const socket = await openSocket(relay);
    const [server] = [...backend.server.clients];
    const seen = once(socket, 'close') as Promise<[number, Buffer]>;
    server?.close(4001, 'because');
    const [code, reason] = await withTimeout(seen, 3_000, 'the close');
    expect([code, reason.toString()]).toEqual([4001, 'because']);
    await until(() => relay.outcomes.length === 1, 3_000, 'the tunnel to end');
    expect(relay.outcomes).toEqual(['101']);
  });

  test('passes Origin, cookies and subprotocol, extends forwarding fields', async () => {
    const backend = await startEcho();
    const heads: Record<string, unknown>[] = [];
    backend.server.on('connection', (_socket, incoming) => heads.push(incoming.headers));
    const relay = await relayTo(backend);
    const socket = await openSocket(relay, { origin: 'https://chat.test', headers: { cookie: 'token=a' } });
    expect(heads[0]).toMatchObject({ origin: 'https://chat.test', cookie: 'token=a', 'x-forwarded-for': '127.0.0.1' });
    socket.close();
  });

  test('a client that vanishes takes its upstream socket with it', async () => {
    const backend = await startEcho();
    const relay = await relayTo(backend);
    const socket = await openSocket(relay);
    socket.terminate();
    await until(() => backend.server.clients.size === 0, 3_000, 'the upstream socket to close');
    await until(() => relay.outcomes.length === 1, 3_000, 'the tunnel to end');
  });

  test('an upstream that vanishes takes the client with it', async () => {
    const backend = await startEcho();
    const relay = await relayTo(backend);
    const socket = await openSocket(relay);
    const gone = once(socket, 'close');
    for (const server of backend.server.clients) server.terminate();
    await withTimeout(gone, 3_000, 'the client to be closed');
  });

  test('a receiver that stops reading holds up the sender', async () => {
    const backend = await startByteUpstream((socket) => {
      socket.write(ACCEPTED);
      socket.pause();
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    await client.receives('101');
    const block = Buffer.alloc(1024 * 1024);
    let sent = 0;
    const flood = setInterval(() => {
      if (client.socket.writableLength < block.length) {
        client.send(block);
        sent += block.length;
      }
    }, 1);
    try {
      await untilStill(() => sent, 'the client to be held up');
      expect(sent).toBeLessThan(32 * 1024 * 1024);
    } finally {
      clearInterval(flood);
    }
  });
});

test.each([10_000, 200_000])('%i bytes sent before 101 arrive once, in order', async (size) => {
  let accept: (() => void) | undefined;
  const backend = await startByteUpstream((socket) => {
    accept = () => void socket.write(ACCEPTED);
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay);
  const early = Array.from({ length: size / 10 }, (_value, index) => String(index).padStart(10, '.')).join('');
  client.send(HANDSHAKE + early);
  await until(() => accept !== undefined, 2_000, 'the upstream to be asked');
  accept?.();
  await client.receives('101');
  await until(() => backend.texts[0]?.endsWith(early.slice(-10)) === true, 3_000, 'the early bytes to arrive');
  expect(backend.texts[0]?.split('\r\n\r\n')[1]).toBe(early);
});

describe('a handshake that fails', () => {
  test.each([
    ['no Sec-WebSocket-Accept', 'HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
    ['a wrong Sec-WebSocket-Accept', ACCEPTED.replace('s3pP', 'xxxx')],
    ['101 without Upgrade', ACCEPTED.replace('Upgrade: websocket\r\n', '')],
    ['garbage', 'garbage\r\n\r\n'],
    ['a close', ''],
  ])('%s becomes 502 and leaves no socket behind', async (_name, bytes) => {
    const backend = await startScriptedUpstream(bytes, bytes === '' ? 'close' : 'open');
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    expect(parseAnswer(await client.closes()).status).toBe(502);
    await until(() => backend.sockets.every((socket) => socket.destroyed), 3_000, 'the upstream socket to close');
  });

  test('an upstream that is not there is 502', async () => {
    const relay = await relayTo(NOTHING_THERE);
    const client = await connectTo(relay, HANDSHAKE);
    expect(parseAnswer(await client.closes()).status).toBe(502);
  });

  test('an upstream that does not answer is 504', async () => {
    const backend = await startByteUpstream(() => undefined);
    const relay = await relayTo(backend, { timeouts: { responseTimeoutMs: 300 } });
    const client = await connectTo(relay, HANDSHAKE);
    expect(parseAnswer(await client.closes()).status).toBe(504);
  });

  test('an ordinary answer is relayed in chunks and ends with the connection', async () => {
    const backend = await startUpstream(() => undefined);
    backend.server.on('upgrade', (_incoming, socket) => {
      socket.end('HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n');
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    const answer = parseAnswer(await client.closes());
    expect([answer.status, answer.body]).toEqual([401, 'no']);
    expect(answer.field('transfer-encoding')).toBeUndefined();
  });

  test('a client that leaves before the answer ends the exchange with the upstream at once', async () => {
    const backend = await startByteUpstream(() => undefined);
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    await until(() => backend.texts[0]?.includes('\r\n\r\n') === true, 2_000, 'the upstream to be asked');
    const gone = once(backend.sockets[0] ?? relay.downstream.server, 'close');
    client.close();
    await withTimeout(gone, AT_ONCE_MS, 'the connection to the upstream to end');
    await until(() => relay.outcomes.length === 1, 1_000, 'the exchange to end');
    expect(relay.outcomes).toEqual(['client gone']);
  });
});

describe('half-open peers', () => {
  test.each(['client', 'upstream'])('a %s that only ends its side is let go', async (side) => {
    const backend = await startScriptedUpstream(ACCEPTED, 'open');
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    await client.receives('101');
    if (side === 'client') client.socket.end();
    else backend.sockets[0]?.end();
    await until(() => backend.sockets[0]?.destroyed === true && client.socket.destroyed, 4_000, 'both ends to be gone');
    await until(() => relay.outcomes.length === 1, 3_000, 'the tunnel to end');
  });

  test('a pair that falls silent is closed after the idle time', async () => {
    const backend = await startScriptedUpstream(ACCEPTED, 'open');
    const relay = await relayTo(backend, { timeouts: { idleTimeoutMs: 300 } });
    const client = await connectTo(relay, HANDSHAKE);
    await client.receives('101');
    await client.closes(3_000);
    await until(() => backend.sockets[0]?.destroyed === true, 1_000, 'the upstream socket to close');
  });

  test('an upgrade sent behind a request that is still being answered is an ordinary request, answered after it', async () => {
    const backend = await startUpstream(({ url = '', headers }, outgoing) => {
      outgoing.end(`answer to ${url}, upgrade ${headers.upgrade ?? 'none'};`);
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, `GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n${HANDSHAKE}`);
    const text = await client.closes();
    expect(text).not.toContain('101');
    expect(text.match(/answer to [^;]+/g)).toEqual([
      'answer to /x, upgrade none',
      expect.stringMatching(/^answer to \/ws\/.*, upgrade none$/),
    ]);
  });
});

test.each(['OPTIONS * HTTP/1.1\r\n', 'GET /x HTTP/1.1\r\nExpect: something\r\n'])(
  'an upgrade in the same packet as %j, which is answered at once, opens no tunnel into that answer',
  async (line) => {
    const backend = await startScriptedUpstream(ACCEPTED, 'open');
    const relay = await relayTo(backend);
    const client = await connectTo(relay);
    client.send(`${line}Host: gate.test\r\n\r\n${HANDSHAKE}`);
    const text = await client.closes();
    expect(text.startsWith('HTTP/1.1 ')).toBe(true);
    expect(text).not.toContain('101');
  },
);

describe('a gate in front of the first message', () => {
  const judged: string[] = [];
  const permitting: RelayOptions['gate'] = () =>
    gateFirstMessage(async (text) => {
      judged.push(text);
      await new Promise((resolve) => setImmediate(resolve));
      return text.includes('allowed');
    });

  test('lets a permitted message through, and everything after it', async () => {
    const backend = await startEcho();
    backend.server.options.perMessageDeflate = true;
    const relay = await relayTo(backend, { gate: permitting });
    const socket = await openSocket(relay, { perMessageDeflate: true });
    expect(socket.extensions).toBe('');
    const answers: string[] = [];
    socket.on('message', (data: Buffer) => answers.push(data.toString()));
    for (const text of ['{"model_id":"allowed"}', 'second', 'third']) socket.send(text);
    await until(() => answers.length === 3, 3_000, 'three answers');
    expect(answers).toEqual(['{"model_id":"allowed"}', 'second', 'third']);
  });

  test('closes both ends with 1008 on a message that is not permitted, and passes nothing on', async () => {
    const backend = await startEcho();
    const received: string[] = [];
    const ends: string[] = [];
    backend.server.on('connection', (socket) => {
      socket.on('message', (data: Buffer) => received.push(data.toString()));
      socket.on('close', (code, reason) => ends.push(`${code} ${reason.toString()}`));
    });
    const relay = await relayTo(backend, { gate: permitting });
    const socket = await openSocket(relay);
    const gone = once(socket, 'close') as Promise<[number, Buffer]>;
    socket.send('{"model_id":"other"}');
    socket.send('more');
    const [code, reason] = await withTimeout(gone, 3_000, 'the close');
    expect(`${code} ${reason.toString()}`).toBe('1008 not permitted');
    await until(() => ends.length === 1, 3_000, 'the upstream to be closed');
    expect(ends).toEqual(['1008 not permitted']);
    expect(received).toEqual([]);
    await until(() => relay.outcomes.length === 1, 4_000, 'the tunnel to end');
    expect(relay.outcomes).toEqual(['refused']);
  });

  test('joins fragments and passes over pings before it judges', async () => {
    judged.length = 0;
    const relay = await relayTo(await startEcho(), { gate: permitting });
    const socket = await openSocket(relay);
    socket.ping('are you there');
    socket.send('{"model_id":', { fin: false });
    socket.ping();
    socket.send('"allowed"}', { fin: true });
    expect((await nextMessage(socket)).toString()).toBe('{"model_id":"allowed"}');
    expect(judged).toEqual(['{"model_id":"allowed"}']);
  });

  test.each([
    ['a binary message', (socket: WebSocket) => socket.send(Buffer.from('{"model_id":"allowed"}'))],
    ['a message that is too long', (socket: WebSocket) => socket.send(`allowed${'x'.repeat(70_000)}`)],
  ])('refuses %s', async (_name, send) => {
    const relay = await relayTo(await startEcho(), { gate: permitting });
    const socket = await openSocket(relay);
    const gone = once(socket, 'close') as Promise<[number]>;
    send(socket);
    expect((await withTimeout(gone, 3_000, 'the close'))[0]).toBe(1008);
  });

  test('an upstream that insists on an extension is refused, since its bytes could not be read', async () => {
    const backend = await startScriptedUpstream(
      ACCEPTED.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'),
      'open',
    );
    const relay = await relayTo(backend, { gate: permitting });
    const client = await connectTo(relay, HANDSHAKE);
    expect(parseAnswer(await client.closes()).status).toBe(502);
  });
});
