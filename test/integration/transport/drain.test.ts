import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { parseAnswer, requestText } from '../../support/gate/raw-connection.ts';
import { connectTo, relayTo } from '../../support/gate/transport.ts';
import { startRecordingUpstream, startScriptedUpstream, startUpstream } from '../../support/upstream/upstreams.ts';
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

test('idle connections are closed at once', async () => {
  const relay = await relayTo(await startRecordingUpstream());
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await client.receives('ok');
  await until(() => relay.downstream.running() === 0, 1_000, 'the answer to end');
  expect(await withTimeout(relay.downstream.drain(5_000), 1_000, 'the drain')).toBe(0);
  await client.closes(1_000);
});

test('what does not end within the limit is cut and counted', async () => {
  const backend = await startUpstream((_incoming, outgoing) => void outgoing.write('data: 1\n\n'));
  const relay = await relayTo(backend);
  const client = await connectTo(relay, requestText('GET /x'));
  await client.receives('data: 1');
  expect(await withTimeout(relay.downstream.drain(100), 2_000, 'the drain')).toBe(1);
  expect(await client.closes(1_000)).not.toContain('\r\n0\r\n\r\n');
});

test('tunnels are closed once no request runs', async () => {
  const backend = await startScriptedUpstream(ACCEPTED, 'open');
  const relay = await relayTo(backend);
  const client = await connectTo(relay, HANDSHAKE);
  await client.receives('101');
  expect(await withTimeout(relay.downstream.drain(5_000), 1_000, 'the drain')).toBe(0);
  await client.closes(1_000);
  await until(() => backend.sockets[0]?.destroyed === true, 3_000, 'the upstream socket to close');
});
