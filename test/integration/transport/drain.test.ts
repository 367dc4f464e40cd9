import { once } from 'node:events';
import { type ServerResponse, createServer } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { parseAnswer, requestText } from '../../support/gate/raw-connection.ts';
import type { Relay } from '../../support/gate/relay.ts';
import { closing, connectTo, relayTo } from '../../support/gate/transport.ts';
import {
  closed,
  listening,
  startRecordingUpstream,
  startScriptedUpstream,
  startUpstream,
} from '../../support/upstream/upstreams.ts';
import { until, withTimeout } from '../../support/process/with-timeout.ts';

const HANDSHAKE =
  'GET /ws/x HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

test('a running answer is finished, with Connection: close, and nothing new is accepted', async () => {
  let answer: ServerResponse | undefined;
  const relay = await relayTo(await startUpstream((_incoming, outgoing) => (answer = outgoing)));
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await until(() => answer !== undefined, 2_000, 'the upstream to be asked');
  const drained = relay.downstream.drain(5_000);
  await until(() => !relay.downstream.server.listening, 1_000, 'the listener to close');
  const late = connect(relay.port, '127.0.0.1');
  await withTimeout(once(late, 'error'), 2_000, 'a new connection to be refused');
  answer?.end('finished');
  const text = parseAnswer(await client.closes());
  expect(text.body).toBe('finished');
  expect(text.field('connection')).toBe('close');
  expect(await withTimeout(drained, 1_000, 'the drain')).toBe(0);
});

test('a stream that began before is finished and its connection closed', async () => {
  let answer: ServerResponse | undefined;
  const backend = await startUpstream((_incoming, outgoing) => {
    answer = outgoing;
    outgoing.write('data: 1\n\n');
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await client.receives('data: 1');
  const drained = relay.downstream.drain(5_000);
  answer?.write('data: 2\n\n');
  await client.receives('data: 2');
  answer?.end('data: 3\n\n');
  expect(parseAnswer(await client.closes()).body).toContain('data: 3');
  expect(await withTimeout(drained, 1_000, 'the drain')).toBe(0);
});

test('a kept connection is closed, after one more answer where a request is on its way', async () => {
  const relay = await relayTo(await startRecordingUpstream());
  const request = 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n';
  const clients = await Promise.all([1, 2, 3].map(() => connectTo(relay, request)));
  for (const client of clients) await client.receives('ok');
  const drained = relay.downstream.drain(60_000);
  await until(() => !relay.downstream.server.listening, 1_000, 'the listener to close');
  clients[0]?.send(request);
  await sleep(100);
  clients[1]?.send(request);
  const texts = await Promise.all(clients.map((client) => client.closes()));
  expect(texts.map((text) => text.match(/connection: (?:close|keep-alive)/gi))).toEqual([
    ['Connection: keep-alive', 'Connection: close'],
    ['Connection: keep-alive', 'Connection: close'],
    ['Connection: keep-alive'],
  ]);
  expect(await withTimeout(drained, 1_000, 'the drain')).toBe(0);
});

test('idle connections are closed soon', async () => {
  const relay = await relayTo(await startRecordingUpstream());
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await client.receives('ok');
  await until(() => relay.downstream.running() === 0, 1_000, 'the answer to end');
  expect(await withTimeout(relay.downstream.drain(60_000), 5_000, 'the drain')).toBe(0);
  await client.closes();
});

test('what does not end within the limit is cut and counted', async () => {
  const backend = await startUpstream((_incoming, outgoing) => void outgoing.write('data: 1\n\n'));
  const relay = await relayTo(backend);
  const client = await connectTo(relay, requestText('GET /x'));
  await client.receives('data: 1');
  expect(await withTimeout(relay.downstream.drain(100), 2_000, 'the drain')).toBe(1);
  expect(await client.closes(1_000)).not.toContain('\r\n0\r\n\r\n');
});

test('a drain that is only announced goes on accepting, and each answer ends its connection', async () => {
  const relay = await relayTo(await startRecordingUpstream());
  const kept = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await kept.receives('ok');
  relay.downstream.announceDrain();
  kept.send('GET /y HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  const late = await connectTo(relay, 'GET /z HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  expect((await kept.closes()).match(/connection: (close|keep-alive)/gi)).toEqual([
    'Connection: keep-alive',
    'Connection: close',
  ]);
  expect(parseAnswer(await late.closes())).toMatchObject({ status: 200, body: 'ok' });
});

describe('tunnels', () => {
  /** RFC 6455 5.2: the last frame, not masked, with 1012 in it. */
  const RESTART = Buffer.from([0x88, 2 + 'restarting'.length, 1012 >> 8, 1012 & 0xff, ...Buffer.from('restarting')]);
  const joined = (port: number) =>
    connectTo({ port }, HANDSHAKE).then(async (client) => {
      await client.receives('\r\n\r\n');
      return client;
    });
  const behindHead = (text: string) => text.slice(text.indexOf('\r\n\r\n') + 4);

  test('end with 1012, and the close frame of the client goes on to the backend', async () => {
    const { relay, server } = await relayToSockets();
    const backendSide = once(server, 'connection').then(([socket]: WebSocket[]) => socket);
    const client = await openSocket(relay);
    const ended = Promise.all([once(client, 'close'), once((await backendSide) ?? client, 'close')]);
    expect(await withTimeout(relay.downstream.drain(60_000), 5_000, 'the drain')).toBe(0);
    const codes = (await ended).map(([code, reason]: unknown[]) => [code, String(reason)]);
    expect(codes).toEqual([
      [1012, 'restarting'],
      [1012, 'restarting'],
    ]);
  });

  test('end behind the frame that is on its way, however long it takes, and nothing more of the backend comes', async () => {
    const backend = await startScriptedUpstream(`${ACCEPTED}\x82\x7e\x01\x00begun`, 'open');
    const relay = await relayTo(backend);
    const client = await joined(relay.port);
    await client.receives('begun');
    const drained = relay.downstream.drain(5_000);
    const [socket] = backend.sockets;
    const rest = 'x'.repeat(256 - 'begun'.length);
    await sleep(100);
    socket?.write(rest.slice(0, 100));
    await client.receives(rest.slice(0, 100));
    expect(behindHead(client.received())).toHaveLength(4 + 105);
    socket?.write(`${rest.slice(100)}\x81\x04next`);
    await client.receives(RESTART.toString('latin1'));
    expect(behindHead(client.received())).toBe(`\x82\x7e\x01\x00begun${rest}${RESTART.toString('latin1')}`);
    // a client that says nothing to it is not waited for
    await withTimeout(drained, 4_000, 'the drain');
    await client.closes(1_000);
    await until(() => socket?.destroyed === true, 3_000, 'the upstream socket to close');
  });

  test('of a backend that has said goodbye itself get no second one', async () => {
    const goodbye = '\x88\x02\x03\xe8';
    const relay = await relayTo(await startScriptedUpstream(`${ACCEPTED}${goodbye}`, 'open'));
    const client = await joined(relay.port);
    await client.receives(goodbye);
    await withTimeout(relay.downstream.drain(5_000), 4_000, 'the drain');
    expect(behindHead(await client.closes())).toBe(goodbye);
  });

  test('with messages under way end with whole messages alone', async () => {
    const { relay, server } = await relayToSockets();
    server.on('connection', (socket) => {
      let sent = 0;
      const more = setInterval(() => {
        const message = Buffer.alloc(1 + ((sent * 7919) % 60_000), sent % 251);
        socket.send(message, { binary: true });
        // in pieces, between which a close frame may stand (RFC 6455 5.4)
        for (const fin of [false, false, true]) socket.send(Buffer.alloc(30_000, sent % 251), { binary: true, fin });
        sent += 1;
      }, 5);
      socket.on('close', () => clearInterval(more));
    });
    const clients = await Promise.all(Array.from({ length: 8 }, () => openSocket(relay)));
    let received = 0;
    const seen = clients.map((client) => {
      const faults: string[] = [];
      client.on('error', (error) => faults.push(error.message));
      client.on('message', (data: Buffer) => {
        received += 1;
        if (data.some((byte) => byte !== data[0])) faults.push('bytes of two messages in one');
      });
      return once(client, 'close').then(([code]: number[]) => ({ code, faults }));
    });
    await until(() => received > 100, 10_000, 'messages');
    await relay.downstream.drain(10_000);
    expect(new Set((await Promise.all(seen)).map((one) => JSON.stringify(one)))).toEqual(
      new Set([JSON.stringify({ code: 1012, faults: [] })]),
    );
  });

  test('do not all end at once', async () => {
    const { relay } = await relayToSockets();
    const clients = await Promise.all(Array.from({ length: 40 }, () => openSocket(relay)));
    const ends = clients.map((client) => once(client, 'close').then(() => performance.now()));
    await relay.downstream.drain(10_000);
    const times = (await Promise.all(ends)).sort((one, other) => one - other);
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(1_000);
    const largest = Math.max(...times.map((time) => times.filter((other) => Math.abs(other - time) < 150).length));
    expect(largest).toBeLessThan(20);
  });

  test('that do not end within the limit are cut', async () => {
    const relay = await relayTo(await startScriptedUpstream(`${ACCEPTED}\x82\x7e\x01\x00begun`, 'open'));
    const client = await joined(relay.port);
    await client.receives('begun');
    await withTimeout(relay.downstream.drain(200), 1_500, 'the drain');
    expect(behindHead(await client.closes(1_000))).toBe('\x82\x7e\x01\x00begun');
  });
});

/** A relay in front of a WebSocket server that says nothing by itself. */
async function relayToSockets() {
  const http = createServer();
  const server = new WebSocketServer({ server: http });
  const port = await listening(http);
  const close = (): Promise<void> => {
    for (const client of server.clients) client.terminate();
    return closed(http);
  };
  const relay = await relayTo({ origin: `http://127.0.0.1:${port}`, close });
  return { relay, server };
}

async function openSocket({ port }: Relay): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/x`);
  closing({ close: () => socket.terminate() });
  await withTimeout(once(socket, 'open'), 3_000, 'the socket to open');
  return socket;
}
