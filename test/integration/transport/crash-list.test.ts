/** Inputs that end or hang the proxy libraries of Node, or could: each is followed by a request that must be served. */
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { openConnection, parseAnswer, rawRequest, requestText } from '../../support/gate/raw-connection.ts';
import type { Relay } from '../../support/gate/relay.ts';
import { connectTo, relayTo } from '../../support/gate/transport.ts';
import { startByteUpstream, startRecordingUpstream, startScriptedUpstream } from '../../support/upstream/upstreams.ts';
import { until } from '../../support/process/with-timeout.ts';

const HANDSHAKE = requestText('GET /ws/x', [
  'Upgrade: websocket',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Connection: Upgrade',
]).replace('Connection: close\r\n', '');
const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

async function answers(relay: Relay): Promise<boolean> {
  const client = await openConnection(relay.port);
  try {
    client.send(requestText('OPTIONS *'));
    return parseAnswer(await client.closes()).status === 204;
  } finally {
    client.close();
  }
}

describe('what a client may send', () => {
  test.each([
    ['a GET with Trailer', requestText('GET /x', ['Trailer: x']), 200],
    ['a GET with Trailer and TE', requestText('GET /x', ['Trailer: x', 'TE: trailers']), 200],
    ['a header called __proto__', requestText('GET /x', ['__proto__: x', 'constructor: y']), 200],
    ['an odd Upgrade', requestText('GET /x', ['Upgrade: \t,;=']), 200],
    ['a latin-1 header', requestText('GET /x', ['X-A: caf\xe9']), 200],
    ['a POST without a length', requestText('POST /x'), 200],
    [
      'a DELETE with a chunked body',
      requestText('DELETE /x', ['Transfer-Encoding: chunked'], '1\r\na\r\n0\r\n\r\n'),
      200,
    ],
    ['a GET with a body', requestText('GET /x', ['Content-Length: 3'], 'abc'), 200],
    ['an empty line first', `\r\n${requestText('GET /x')}`, 200],
    ['garbage', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n', 400],
    ['HTTP/2 with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['a control byte in a header', requestText('GET /x', ['X-A: a\x01b']), 400],
    ['a space before the colon', requestText('GET /x', ['X-A : b']), 400],
    ['a folded header', requestText('GET /x', ['X-A: a\r\n b']), 400],
    ['a lower-case method', requestText('get /x'), 400],
  ])('%s', async (_name, bytes, status) => {
    const relay = await relayTo(await startRecordingUpstream());
    const client = await connectTo(relay, bytes);
    expect(parseAnswer(await client.closes()).status).toBe(status);
    expect(await answers(relay)).toBe(true);
  });

  test('the beginning of a request, then a reset', async () => {
    const relay = await relayTo(await startRecordingUpstream());
    for (const bytes of ['G', 'GET /x HTTP/1.1\r\nHost:', requestText('POST /x', ['Content-Length: 5'], 'ab')]) {
      const client = await connectTo(relay, bytes);
      client.socket.resetAndDestroy();
    }
    expect(await answers(relay)).toBe(true);
  });

  test('random bytes, two hundred times', async () => {
    const relay = await relayTo(await startRecordingUpstream());
    for (let round = 0; round < 200; round += 1) {
      const client = await openConnection(relay.port);
      const start = round % 2 === 0 ? '' : 'POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
      client.send(Buffer.concat([Buffer.from(start), randomBytes(64), Buffer.from('\r\n\r\n')]));
      client.socket.end();
      await client.closes();
    }
    expect(await answers(relay)).toBe(true);
  });
});

describe('what an upstream may answer', () => {
  test.each([
    ['status 099', 'HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok', 502],
    ['status 000', 'HTTP/1.1 000 X\r\n\r\n', 502],
    ['status 999', 'HTTP/1.1 999 X\r\nContent-Length: 2\r\n\r\nok', 999],
    ['status 1000', 'HTTP/1.1 1000 X\r\n\r\n', 502],
    ['101 without a request for it', 'HTTP/1.1 101 X\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n', 502],
    ['101 without Upgrade', 'HTTP/1.1 101 X\r\n\r\n\x81\x00', 502],
    ['100 without a request for it', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 200],
    ['100 and nothing else', 'HTTP/1.1 100 Continue\r\n\r\n', 502],
    ['100 a hundred and one times', 'HTTP/1.1 100 X\r\n\r\n'.repeat(101) + 'HTTP/1.1 200 OK\r\n\r\n', 502],
    ['102 fifty times', 'HTTP/1.1 102 X\r\n\r\n'.repeat(50) + 'HTTP/1.1 200 OK\r\n\r\nok', 200],
    ['a latin-1 header', 'HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\n\r\nok', 200],
    ['an odd reason', 'HTTP/1.1 200 caf\xe9 \t\r\n\r\nok', 200],
    ['no reason', 'HTTP/1.1 200\r\n\r\nok', 200],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nok', 200],
    ['HTTP/0.9', 'hello', 502],
    ['nothing', '', 502],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-', 502],
    ['a broken chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', undefined],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok', 502],
    ['two codings', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', 502],
    ['a length that is too large', 'HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok', 502],
    ['a header called __proto__', 'HTTP/1.1 200 OK\r\n__proto__: x\r\nconstructor: y\r\n\r\nok', 200],
  ])('%s', async (_name, bytes, status) => {
    const relay = await relayTo(await startScriptedUpstream(bytes));
    const client = await connectTo(relay, requestText('GET /x'));
    const text = await client.closes();
    if (status !== undefined) expect(parseAnswer(text).status).toBe(status);
    expect(relay.outcomes).toHaveLength(1);
    expect(await answers(relay)).toBe(true);
  });

  test('chunks with Trailer to an HTTP/1.0 client', async () => {
    const relay = await relayTo(
      await startScriptedUpstream(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n',
      ),
    );
    const answer = await rawRequest(relay.port, 'GET /x HTTP/1.0\r\n\r\n');
    expect(answer.body).toBe('ok');
    expect(await answers(relay)).toBe(true);
  });

  test('more bytes than its length says: the answer is whole and the rest reaches no other request', async () => {
    const backend = await startScriptedUpstream(
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother',
      'open',
    );
    const relay = await relayTo(backend);
    expect((await rawRequest(relay.port, requestText('GET /one'))).body).toBe('ok');
    expect((await rawRequest(relay.port, requestText('GET /two'))).body).toBe('ok');
    expect(backend.sockets).toHaveLength(2);
  });

  test('a reset right after 101', async () => {
    const backend = await startByteUpstream((socket) => {
      socket.write(ACCEPTED, () => socket.resetAndDestroy());
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    await client.closes();
    await until(() => relay.outcomes.length === 1, 3_000, 'the tunnel to end');
    expect(await answers(relay)).toBe(true);
  });

  test('random bytes, a hundred times', async () => {
    const starts = ['', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n'];
    let round = 0;
    const backend = await startByteUpstream((socket) => {
      round += 1;
      socket.end(Buffer.concat([Buffer.from(starts[round % 3] ?? ''), randomBytes(200)]));
    });
    const relay = await relayTo(backend);
    for (let index = 0; index < 100; index += 1) {
      const client = await openConnection(relay.port, requestText('GET /x'));
      await client.closes();
    }
    expect(relay.outcomes).toHaveLength(100);
    expect(await answers(relay)).toBe(true);
  });
});

describe('clients that leave at an odd moment', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7])('after %i turns of the event loop', async (turns) => {
    const backend = await startByteUpstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      socket.end('5\r\nhello\r\n0\r\n\r\n');
    });
    const relay = await relayTo(backend);
    for (const head of [requestText('GET /x'), requestText('POST /x', ['Content-Length: 100000'], 'abc')]) {
      const client = await connectTo(relay, head);
      for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      if (turns % 2 === 0) client.close();
      else client.socket.resetAndDestroy();
      await client.closes();
    }
    expect(await answers(relay)).toBe(true);
    await until(() => relay.downstream.running() === 0, 3_000, 'every exchange to end');
  });
});
