/** Requests sent ahead of their answers (RFC 9112 9.3.2): what is wrong with one of them takes no answer from another. */
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { Relay } from '../../support/gate/relay.ts';
import { connectTo, relayTo } from '../../support/gate/transport.ts';
import { startRecordingUpstream, type RecordingUpstream } from '../../support/upstream/upstreams.ts';
import { until } from '../../support/process/with-timeout.ts';

interface Bed {
  readonly relay: Relay;
  readonly backend: RecordingUpstream;
  /** Answers of the backend that the test gives. */
  readonly due: ServerResponse[];
}

/** A backend that has begun each answer, or not, and ends it when the test says so. */
async function startBed(begins: boolean, limits: { headersTimeoutMs?: number } = {}): Promise<Bed> {
  const due: ServerResponse[] = [];
  const backend = await startRecordingUpstream((_incoming, outgoing) => {
    if (begins) outgoing.write('begun ');
    due.push(outgoing);
  });
  return { backend, due, relay: await relayTo(backend, { limits }) };
}

const CHAT = 'POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}';
const LONG_CHAT = `POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n${' '.repeat(100_000)}`;
const CHUNKED_CHAT = 'POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n';
const SECOND = 'GET /second HTTP/1.1\r\nHost: a\r\n\r\n';
const UPGRADE =
  'GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

describe.each([
  ['has begun', true],
  ['has not begun', false],
])('behind a request whose answer %s', (_when, begins) => {
  test.each([
    ['one byte', CHAT, 'X', [400]],
    ['one byte, after a long body', LONG_CHAT, 'X', [400]],
    ['one byte, after a body in chunks', CHUNKED_CHAT, 'X', [400]],
    ['garbage', CHAT, '\x16\x03\x01\r\n\r\n', [400]],
    ['a request without a target', CHAT, 'GET \r\n\r\n', [400]],
    ['a request with too large a head', CHAT, `GET /x HTTP/1.1\r\nX-A: ${'a'.repeat(70_000)}\r\n\r\n`, [431]],
    [
      'a request with a broken body',
      CHAT,
      'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      [400],
    ],
    ['a request of another version', CHAT, `GET /x HTTP/2.0\r\nHost: a\r\n\r\n${SECOND}`, [505]],
    ['a request without Host', CHAT, `GET /x HTTP/1.1\r\n\r\n${SECOND}`, [400]],
    ['an expectation', CHAT, 'POST /x HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na', [417]],
    ['CONNECT', CHAT, `CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n${SECOND}`, [405]],
    ['another request and one byte', CHAT, `${SECOND}X`, [200, 400]],
    ['an upgrade and one byte', CHAT, `${UPGRADE}X`, [200]],
  ])('%s is answered after it', async (_name, first, rest, statuses) => {
    const { relay, backend, due } = await startBed(begins);
    const client = await connectTo(relay, first + rest);
    for (const [index, status] of [200, ...statuses].entries()) {
      if (status !== 200) break;
      await until(() => due.length > index, 2_000, `request ${index} to arrive`);
      due[index]?.end(`answer ${index};`);
    }
    const text = await client.closes();
    expect(text.match(/HTTP\/1\.1 (\d+)/g)).toEqual([200, ...statuses].map((status) => `HTTP/1.1 ${status}`));
    expect(text).toContain('answer 0;');
    expect(text.indexOf('answer 0;')).toBeLessThan(text.lastIndexOf('HTTP/1.1'));
    expect(backend.requests[0]?.url).toBe('/first');
    expect(relay.outcomes).toEqual(['200', ...statuses].filter((one) => String(one) === '200').map(String));
    await until(() => relay.downstream.running() === 0, 1_000, 'every exchange to end');
  });

  test('a request that does not go on is answered after it, with 408', async () => {
    const { relay, due } = await startBed(begins, { headersTimeoutMs: 200 });
    const client = await connectTo(relay, `${CHAT}GET /sec`);
    await until(() => due.length === 1, 2_000, 'the request to arrive');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(client.received()).not.toContain('408');
    // Once it was late it is not served, even if it comes.
    client.send('ond HTTP/1.1\r\nHost: a\r\n\r\n');
    due[0]?.end('answer 0;');
    const text = await client.closes();
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 408']);
    expect(text).toContain('answer 0;');
    expect(due).toHaveLength(1);
  });

  test('more garbage while it is served changes nothing', async () => {
    const { relay, due } = await startBed(begins);
    const client = await connectTo(relay, `${CHAT}X`);
    await until(() => due.length === 1, 2_000, 'the request to arrive');
    for (let round = 0; round < 20; round += 1) {
      client.send('Y'.repeat(1_000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    due[0]?.end('answer 0;');
    const text = await client.closes();
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
  });

  test.each(['half-closes', 'leaves', 'resets'])('a client that sends garbage and %s is let go', async (how) => {
    const { relay, due } = await startBed(begins);
    const client = await connectTo(relay, `${CHAT}X`);
    await until(() => due.length === 1, 2_000, 'the request to arrive');
    if (how === 'half-closes') client.socket.end();
    else if (how === 'leaves') client.close();
    else client.socket.resetAndDestroy();
    await until(() => due[0]?.destroyed === true, 1_000, 'the upstream to be told');
    await until(() => relay.outcomes.length === 1, 1_000, 'the exchange to end');
    expect(relay.outcomes).toEqual(['client gone']);
  });

  test('one byte is not answered where the connection was to end anyway', async () => {
    for (const head of ['POST /first HTTP/1.1\r\nHost: a\r\nConnection: close', 'POST /first HTTP/1.0']) {
      const { relay, due } = await startBed(begins);
      const client = await connectTo(relay, `${head}\r\nContent-Length: 2\r\n\r\n{}X`);
      await until(() => due.length === 1, 2_000, 'the request to arrive');
      due[0]?.end('answer 0;');
      const text = await client.closes();
      expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200']);
      expect(text).toContain('answer 0;');
    }
  });
});

test('a long answer before CONNECT reaches a client that reads late', async () => {
  const size = 20_000_000;
  const backend = await startRecordingUpstream((_incoming, outgoing) => outgoing.end(Buffer.alloc(size, 'x')));
  const relay = await relayTo(backend);
  const client = await connectTo(relay);
  client.socket.pause();
  client.send(`${CHAT}CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n`);
  await until(() => backend.requests.length === 1, 2_000, 'the request to arrive');
  await new Promise((resolve) => setTimeout(resolve, 100));
  client.socket.resume();
  const text = await client.closes();
  expect(text.length).toBeGreaterThan(size);
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 405']);
});

test('garbage behind an answer that was given is answered at once', async () => {
  const relay = await relayTo(await startRecordingUpstream());
  const client = await connectTo(relay, CHAT);
  await client.receives('ok');
  client.send('X');
  const text = await client.closes();
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
});
