/** A client that only looks alive holds nothing for long. */
import { expect, test } from 'vitest';
import { parseAnswer, rawRequest, requestText } from '../../support/raw-connection.ts';
import { connectTo, relayTo } from '../../support/transport.ts';
import { startByteUpstream, startRecordingUpstream, startUpstream } from '../../support/upstreams.ts';
import { until } from '../../support/with-timeout.ts';

const IMPATIENT = { headersTimeoutMs: 200, idleTimeoutMs: 300, keepAliveTimeoutMs: 300 };

test('headers that do not end are answered with 408 and cut', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.send('GET /x HTTP/1.1\r\nHost: gate.test\r\nX-Slow: ');
  const answer = parseAnswer(await client.closes(4_000));
  expect(answer.status).toBe(408);
  expect(answer.field('connection')).toBe('close');
  expect(JSON.parse(answer.body)).toMatchObject({ code: 'request_timeout' });
});

test('headers that drip are cut all the same', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.send('GET /x HTTP/1.1\r\nHost: gate.test\r\n');
  const drip = setInterval(() => client.send('X-A: b\r\n'), 20);
  try {
    expect(parseAnswer(await client.closes(4_000)).status).toBe(408);
  } finally {
    clearInterval(drip);
  }
});

test('a connection on which nothing is ever sent is closed', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay);
  await client.closes(4_000);
});

test.each([
  ['short', 1_000],
  ['long', 1_000_000],
])('a %s body that stops coming is answered with 408 and cut', async (_name, length) => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.send(`POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: ${length}\r\n\r\nabc`);
  const answer = parseAnswer(await client.closes(4_000));
  expect(answer.status).toBe(408);
  expect(relay.outcomes).toEqual(['request_timeout']);
});

test('a short body that stops coming occupies no upstream connection', async () => {
  const backend = await startByteUpstream(() => undefined);
  const relay = await relayTo(backend, { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.send('POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1000\r\n\r\nabc');
  await client.closes(4_000);
  expect(backend.sockets).toHaveLength(0);
});

test('a client that takes no byte of its answer is cut, and the upstream is told', async () => {
  let gone = false;
  const backend = await startUpstream((_incoming, outgoing) => {
    outgoing.on('close', () => (gone = true));
    const block = Buffer.alloc(1024 * 1024);
    const more = () => {
      while (outgoing.write(block));
      outgoing.once('drain', more);
    };
    more();
  });
  const relay = await relayTo(backend, { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.socket.pause();
  client.send(requestText('GET /x'));
  await until(() => gone, 5_000, 'the upstream to be told');
  await until(() => relay.outcomes.length === 1, 1_000, 'the exchange to end');
  expect(relay.outcomes).toEqual(['client gone']);
});

test('a client that waits for a slow answer is not cut', async () => {
  const backend = await startUpstream((_incoming, outgoing) => {
    setTimeout(() => outgoing.end('at last'), 900);
  });
  const relay = await relayTo(backend, { limits: IMPATIENT });
  expect((await rawRequest(relay.port, requestText('GET /x'))).body).toBe('at last');
});

test('an upload that the upstream holds up is not the fault of the client', async () => {
  const backend = await startUpstream((incoming, outgoing) => {
    let size = 0;
    incoming.pause();
    incoming.on('data', (chunk: Buffer) => (size += chunk.length));
    incoming.pause();
    incoming.on('end', () => outgoing.end(String(size)));
    setTimeout(() => incoming.resume(), 900);
  });
  const relay = await relayTo(backend, { limits: IMPATIENT });
  const client = await connectTo(relay);
  const size = 20_000_000;
  client.send(requestText('POST /x', [`Content-Length: ${size}`]));
  client.send(Buffer.alloc(size));
  expect(parseAnswer(await client.closes()).body).toBe(String(size));
});

test('an idle connection is closed after its keep-alive time', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay);
  client.send('GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  expect(parseAnswer(await client.closes(4_000)).status).toBe(200);
});
