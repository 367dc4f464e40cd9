/** What RFC 9110 and 9112 ask of an intermediary: each duty is seen on the wire, on both sides. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { type RawConnection, parseAnswer, rawRequest, requestText } from '../../support/gate/raw-connection.ts';
import type { Relay, RelayOptions } from '../../support/gate/relay.ts';
import {
  startByteUpstream,
  startRecordingUpstream,
  startScriptedUpstream,
  startUpstream,
  type RecordingUpstream,
} from '../../support/upstream/upstreams.ts';
import { NOTHING_THERE, connectTo, relayTo } from '../../support/gate/transport.ts';
import { AT_ONCE_MS, until, withTimeout } from '../../support/process/with-timeout.ts';

async function recording(options: Partial<RelayOptions> = {}): Promise<{ relay: Relay; backend: RecordingUpstream }> {
  const backend = await startRecordingUpstream();
  return { relay: await relayTo(backend, options), backend };
}

/** The whole answer to one GET when the upstream says exactly `bytes`. */
async function answerTo(
  bytes: string,
  then: 'close' | 'reset' | 'open' = 'close',
  options: Partial<RelayOptions> = {},
) {
  const relay = await relayTo(await startScriptedUpstream(bytes, then), options);
  const text = await (await connectTo(relay, requestText('GET /x'))).closes();
  return {
    text,
    relay,
    get answer() {
      return parseAnswer(text);
    },
  };
}

/** The answer to these bytes, of which none may reach the upstream. */
async function refusalOf(bytes: string) {
  const { relay, backend } = await recording();
  const answer = parseAnswer(await (await connectTo(relay, bytes)).closes());
  expect(backend.requests).toHaveLength(0);
  return answer;
}

describe('Connection and what it lists', () => {
  test('Connection itself goes no further', async () => {
    const { relay, backend } = await recording();
    await rawRequest(relay.port, requestText('GET /x', ['X-Kept: 1']));
    expect(backend.last().all('connection')).toEqual(['keep-alive']);
    expect(backend.last().all('x-kept')).toEqual(['1']);
  });
});

describe('a client deletes nothing that the next hop trusts', () => {
  test.each(['Authorization', 'Cookie', 'X-Forwarded-For', 'X-Hop', 'Content-Length'])(
    'Connection: %s is refused with 400',
    async (name) => {
      const answer = await refusalOf(requestText('GET /x', [`Connection: keep-alive, ${name}`, `${name}: 0`]));
      expect(answer.status).toBe(400);
      expect(answer.field('connection')).toBe('close');
    },
  );
});

test('hop-by-hop request fields are dropped', async () => {
  const { relay, backend } = await recording();
  const names = ['Keep-Alive', 'Proxy-Connection', 'TE', 'Proxy-Authorization', 'Upgrade', 'HTTP2-Settings'];
  await rawRequest(relay.port, requestText('GET /x', [...names.map((name) => `${name}: x`), 'Trailer: X-Later']));
  for (const name of [...names, 'Trailer']) expect(backend.last().has(name.toLowerCase())).toBe(false);
});

test('hop-by-hop and nominated response fields are dropped', async () => {
  const { answer } = await answerTo(
    'HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=9\r\n' +
      'Upgrade: h2c\r\nTrailer: X-T\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok',
  );
  for (const name of ['x-hop', 'proxy-authenticate', 'keep-alive', 'upgrade', 'trailer']) {
    expect(answer.field(name)).toBeUndefined();
  }
  expect(answer.field('x-end')).toBe('1');
  expect(answer.body).toBe('ok');
});

describe('Via', () => {
  test('is added to what is there already', async () => {
    const { relay, backend } = await recording();
    await rawRequest(relay.port, requestText('GET /x', ['Via: 1.0 fred']));
    expect(backend.last().all('via')).toEqual([`1.0 fred, 1.1 ${relay.upstream.via}`]);
  });

  test('ends a loop with 508', async () => {
    const { relay, backend } = await recording();
    const via = `Via: 1.1 a, 1.1 ${relay.upstream.via}, 1.1 b`;
    expect((await rawRequest(relay.port, requestText('GET /x', [via]))).status).toBe(508);
    expect(backend.requests).toHaveLength(0);
  });
});

describe('conflicting lengths', () => {
  test.each([
    ['two different lengths', 'Content-Length: 3\r\nContent-Length: 5'],
    ['two equal lengths', 'Content-Length: 3\r\nContent-Length: 3'],
    ['a list of lengths', 'Content-Length: 3, 3'],
    ['a signed length', 'Content-Length: +3'],
    ['a length and chunked', 'Content-Length: 3\r\nTransfer-Encoding: chunked'],
    ['chunked and a length', 'Transfer-Encoding: chunked\r\nContent-Length: 3'],
  ])('a request with %s gets 400 and the connection ends', async (_name, lines) => {
    expect((await refusalOf(`POST /x HTTP/1.1\r\nHost: gate.test\r\n${lines}\r\n\r\nabcde`)).status).toBe(400);
  });

  test.each([
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 5'],
    ['a length and chunked', 'Content-Length: 3\r\nTransfer-Encoding: chunked'],
    ['a length that is no number', 'Content-Length: 3x'],
  ])('an answer with %s becomes 502 and its connection is dropped', async (_name, lines) => {
    const backend = await startScriptedUpstream(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nabcde`, 'open');
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('GET /x'));
    expect(answer.status).toBe(502);
    await until(() => backend.sockets[0]?.destroyed === true, 2_000, 'the upstream connection to be dropped');
    expect(relay.outcomes).toEqual(['upstream_invalid']);
  });
});

describe('Transfer-Encoding', () => {
  test.each(['', ' ', 'identity', 'gzip, chunked', 'chunked, chunked', 'xchunked', 'chunked;a=b'])(
    '"%s" gets 400',
    async (coding) => {
      expect(
        (
          await refusalOf(
            `POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding:${coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
          )
        ).status,
      ).toBe(400);
    },
  );

  test('an empty one beside a length gets 400', async () => {
    expect(
      (await refusalOf('POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding:\r\nContent-Length: 3\r\n\r\nabc'))
        .status,
    ).toBe(400);
  });

  test('a chunked body is framed anew, never copied', async () => {
    const { relay, backend } = await recording();
    await rawRequest(
      relay.port,
      requestText('POST /x', ['Transfer-Encoding: Chunked'], '3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'),
    );
    expect(backend.last().body).toBe('abcde');
    expect(backend.last().all('transfer-encoding')).toEqual(['chunked']);
  });

  test('a broken chunk gets 400 and the process goes on', async () => {
    const { relay } = await recording();
    const client = await connectTo(
      relay,
      'POST /x HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc',
    );
    expect(parseAnswer(await client.closes()).status).toBe(400);
    expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(200);
  });
});

describe('folded and broken fields of an answer', () => {
  test.each([
    ['a folded field', 'X-A: one\r\n two'],
    ['a control byte', 'X-A: a\x01b'],
    ['a zero byte', 'X-A: a\x00b'],
    ['a bare line feed', 'X-A: a\nX-B: b'],
    ['a space before the colon', 'X-A : b'],
  ])('%s becomes 502', async (_name, line) => {
    const { text, relay } = await answerTo(`HTTP/1.1 200 OK\r\n${line}\r\nContent-Length: 2\r\n\r\nok`);
    expect(parseAnswer(text).status).toBe(502);
    expect(relay.outcomes).toEqual(['upstream_invalid']);
  });

  test('latin-1 values pass as they are', async () => {
    const { answer } = await answerTo('HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nContent-Length: 2\r\n\r\nok');
    expect(answer.field('x-a')).toBe('caf\xe9');
  });
});

describe('Expect', () => {
  test('100 is sent when the body is wanted, and Expect goes no further', async () => {
    const { relay, backend } = await recording();
    const client = await connectTo(relay, requestText('POST /x', ['Expect: 100-continue', 'Content-Length: 3']));
    await client.receives('HTTP/1.1 100 Continue\r\n\r\n');
    expect(backend.requests).toHaveLength(0);
    client.send('abc');
    expect(parseAnswer(await client.closes()).status).toBe(200);
    expect(backend.last().body).toBe('abc');
    expect(backend.last().has('expect')).toBe(false);
  });

  test('the client is not asked for a long body while the upstream cannot be reached', async () => {
    const relay = await relayTo(NOTHING_THERE);
    const client = await connectTo(relay, requestText('POST /x', ['Expect: 100-continue', 'Content-Length: 300000']));
    const text = await client.closes();
    expect(text).not.toContain('100 Continue');
    expect(parseAnswer(text).status).toBe(502);
  });

  test('any other expectation gets 417', async () => {
    const answer = await refusalOf(requestText('POST /x', ['Expect: tea', 'Content-Length: 3'], 'abc'));
    expect(answer.status).toBe(417);
  });
});

describe('interim answers', () => {
  test.each(['100 Continue', '102 Processing', '103 Early Hints', '110 Odd'])('%s is swallowed', async (interim) => {
    const { text } = await answerTo(
      `HTTP/1.1 ${interim}\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`,
    );
    expect(text).toMatch(/^HTTP\/1.1 200 /);
    expect(parseAnswer(text).body).toBe('ok');
  });

  test.each([1, 2, 5, 9, 11, 12, 13, 26])('several kinds of them are, in packets of %i bytes', async (size) => {
    const bytes =
      'HTTP/1.1 100 Continue\r\nX-A: HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nX-A: HTTP/1.1 100 OK\r\nContent-Length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n';
    const backend = await startByteUpstream((socket) => {
      socket.setNoDelay(true);
      const sendFrom = (at: number) => {
        if (at < bytes.length) socket.write(bytes.slice(at, at + size), () => setImmediate(sendFrom, at + size));
      };
      sendFrom(0);
    });
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('GET /x'));
    expect([answer.status, answer.field('x-a')]).toEqual([200, 'HTTP/1.1 100 OK']);
    expect(answer.body).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  });

  test('100 is passed over on every request of a connection, also while the body goes up, and no byte of a body is changed', async () => {
    const backend = await startByteUpstream((socket) => {
      const answer = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n');
      socket.write('HTTP/1.1 100 Continue\r\n\r\n', answer);
      socket.on('data', () => socket.write('HTTP/1.1 100 Continue\r\n\r\n', answer));
    });
    const relay = await relayTo(backend);
    for (let round = 0; round < 3; round += 1) {
      const answer = await rawRequest(relay.port, requestText('GET /x'));
      expect([answer.status, answer.body]).toEqual([200, 'HTTP/1.1 100 Continue\r\n\r\n']);
    }
    expect(backend.sockets).toHaveLength(1);
    const upload = await rawRequest(
      relay.port,
      requestText('POST /x', ['Content-Length: 100000'], 'x'.repeat(100_000)),
    );
    expect(upload.status).toBe(200);
  });

  test('more than a hundred are no answer to a handshake either', async () => {
    const relay = await relayTo(
      await startScriptedUpstream('HTTP/1.1 100 Continue\r\n\r\n'.repeat(101) + ACCEPTED, 'open'),
    );
    const client = await connectTo(relay, HANDSHAKE);
    expect(parseAnswer(await client.closes()).status).toBe(502);
  });

  test('100 before the answer to a handshake is passed over too', async () => {
    const backend = await startScriptedUpstream(`HTTP/1.1 100 Continue\r\n\r\n${ACCEPTED}hello`, 'open');
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    expect(await client.receives('hello')).toMatch(/^HTTP\/1.1 101 /);
  });

  test('103 is passed on where the front knows it, with its links and nothing else', async () => {
    const { text } = await answerTo(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Other: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      'close',
      { timeouts: { earlyHints: 'forward' } },
    );
    expect(text).toMatch(/^HTTP\/1\.1 103 [^\r]*\r\nlink: <\/a>; rel=preload\r\n\r\nHTTP\/1\.1 200 /i);
  });

  test('more than a hundred are no answer', async () => {
    const { answer } = await answerTo('HTTP/1.1 102 Processing\r\n\r\n'.repeat(101) + 'HTTP/1.1 200 OK\r\n\r\n');
    expect(answer.status).toBe(502);
  });

  test('fifty are borne', async () => {
    const { answer } = await answerTo(
      'HTTP/1.1 102 Processing\r\n\r\n'.repeat(50) + 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
    expect(answer.status).toBe(200);
  });
});

describe('answers without a body', () => {
  test('HEAD keeps the length and has no body; the connection goes on', async () => {
    const { relay, backend } = await recording();
    const client = await connectTo(relay, 'HEAD /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
    await client.receives('\r\n\r\n');
    client.send(requestText('GET /y'));
    const text = await client.closes();
    expect(text.match(/HTTP\/1.1 200/g)).toHaveLength(2);
    expect(text.split('\r\n\r\n')[1]).toMatch(/^HTTP/);
    expect(backend.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  test('HEAD passes on the Content-Length of what GET would give', async () => {
    const backend = await startRecordingUpstream((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-length': '12345' });
      outgoing.end();
    });
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('HEAD /x'));
    expect(answer.field('content-length')).toBe('12345');
    expect(answer.body).toBe('');
  });

  test.each([204, 304])('body bytes after %i are discarded and the upstream connection with them', async (status) => {
    const backend = await startScriptedUpstream(`HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\nhello`, 'open');
    const relay = await relayTo(backend);
    const client = await connectTo(relay, requestText('GET /x'));
    const answer = parseAnswer(await client.closes());
    expect(answer.status).toBe(status);
    expect(answer.body).toBe('');
    expect(answer.field('transfer-encoding')).toBeUndefined();
    await until(() => backend.sockets[0]?.destroyed === true, 2_000, 'the upstream connection to be dropped');
  });

  test('204 has no Content-Length', async () => {
    const { answer } = await answerTo('HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n');
    expect(answer.field('content-length')).toBeUndefined();
  });
});

describe('trailers', () => {
  test('of an answer are dropped with their announcement', async () => {
    const { text } = await answerTo(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n',
    );
    expect(text).not.toMatch(/x-sum/i);
    expect(parseAnswer(text).body).toBe('ok');
  });

  test('of a request are dropped', async () => {
    const { relay, backend } = await recording();
    await rawRequest(
      relay.port,
      requestText('POST /x', ['Transfer-Encoding: chunked', 'Trailer: X-Sum'], '2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n'),
    );
    expect(backend.last().body).toBe('ok');
    expect(backend.last().has('trailer')).toBe(false);
  });
});

describe('an answer without length', () => {
  test('is chunked anew and ends with a clean close', async () => {
    const { answer } = await answerTo('HTTP/1.1 200 OK\r\n\r\nas long as it lasts');
    expect(answer.field('transfer-encoding')).toBe('chunked');
    expect(answer.body).toBe('as long as it lasts');
  });

  test('does not look complete when it ends with a reset', async () => {
    const backend = await startByteUpstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\nas long as');
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, requestText('GET /x'));
    await client.receives('as long as');
    backend.sockets[0]?.resetAndDestroy();
    const text = await client.closes();
    expect(text).not.toContain('\r\n0\r\n\r\n');
    expect(relay.outcomes).toEqual(['truncated']);
  });
});

describe('a cut answer does not look complete', () => {
  test.each([
    ['with a length', 'Content-Length: 100\r\n\r\nabc', 'close'],
    ['with a length, by a reset', 'Content-Length: 100\r\n\r\nabc', 'reset'],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'close'],
    ['in the middle of a chunk', 'Transfer-Encoding: chunked\r\n\r\n30\r\nabc', 'close'],
  ] as const)('%s: the connection is destroyed at once', async (_name, rest, then) => {
    const backend = await startByteUpstream((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${rest}`);
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
    await client.receives('abc');
    if (then === 'close') backend.sockets[0]?.end();
    else backend.sockets[0]?.resetAndDestroy();
    const text = await client.closes(1_000);
    expect(text).not.toContain('\r\n0\r\n\r\n');
    expect(relay.outcomes).toEqual(['truncated']);
  });
});

describe('an upstream that dies behind the head of its answer', () => {
  const heads = [
    ['with a short length', 'Content-Length: 100\r\n\r\n', 502],
    ['with a long length', 'Content-Length: 100000\r\n\r\n', 200],
    ['in chunks', 'Transfer-Encoding: chunked\r\n\r\n', 200],
    ['in chunks, the first of which is broken', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n', 200],
    ['of an event stream', 'Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n', 200],
  ] as const;
  test.each(
    heads.flatMap(([name, rest, status]) =>
      (['in one packet', 'at once', 'by a reset', 'later'] as const).map((how) => [name, how, rest, status] as const),
    ),
  )('%s, %s: the client learns of it', async (_name, how, rest, status) => {
    const backend = await startByteUpstream((socket) => {
      const head = `HTTP/1.1 200 OK\r\n${rest}`;
      if (how === 'in one packet') socket.end(head);
      else socket.write(head, () => (how === 'later' ? setTimeout(() => socket.end(), 50) : die(socket, how)));
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, requestText('GET /x'));
    const text = await client.closes();
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    // A head without the end of its body is the visible cut.
    if (status === 200) expect(text).toMatch(/\r\n\r\n$/);
    expect(text).not.toContain('\r\n0\r\n\r\n');
    expect(relay.outcomes).toEqual([status === 200 ? 'truncated' : 'upstream_unreachable']);
  });

  function die(socket: Socket, how: 'at once' | 'by a reset'): void {
    if (how === 'at once') socket.end();
    else socket.resetAndDestroy();
  }
});

describe('an HTTP/1.0 client', () => {
  test('gets a chunked answer without its framing', async () => {
    const relay = await relayTo(
      await startScriptedUpstream('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
    );
    const answer = await rawRequest(relay.port, 'GET /x HTTP/1.0\r\nHost: gate.test\r\n\r\n');
    expect(answer.field('transfer-encoding')).toBeUndefined();
    expect(answer.body).toBe('ok');
  });

  test('sees a reset where a chunked answer was cut', async () => {
    const backend = await startByteUpstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay);
    const failed = once(client.socket, 'error');
    client.send('GET /x HTTP/1.0\r\n\r\n');
    await client.receives('abc');
    backend.sockets[0]?.end();
    const [error] = (await withTimeout(failed, 2_000, 'the reset')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });
});

describe('an answer while the body is still coming', () => {
  test('is delivered, reading stops, and the connection ends', async () => {
    const backend = await startByteUpstream((socket) => {
      socket.pause();
      socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig');
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, 'POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 100000000\r\n\r\n');
    const sending = setInterval(() => client.send(Buffer.alloc(64 * 1024)), 5);
    try {
      const answer = parseAnswer(await client.receives('big'));
      expect(answer.status).toBe(413);
      expect(answer.field('connection')).toBe('close');
      expect(relay.outcomes).toEqual(['413']);
      await client.closes();
    } finally {
      clearInterval(sending);
    }
  });

  test('does not stop an upload that the upstream goes on reading', async () => {
    const backend = await startUpstream((incoming, outgoing) => {
      outgoing.writeHead(200);
      outgoing.write('begun ');
      let size = 0;
      incoming.on('data', (chunk: Buffer) => (size += chunk.length));
      incoming.on('end', () => outgoing.end(`read ${size}`));
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, 'POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 200000\r\n\r\n');
    client.send(Buffer.alloc(100_000));
    await client.receives('begun');
    client.send(Buffer.alloc(100_000));
    expect(parseAnswer(await client.closes()).body).toBe('begun read 200000');
  });
});

describe.each([
  ['a client that leaves during an event stream', 'stream'],
  ['a client that leaves before the headers', 'silent'],
] as const)('%s', (_name, kind) => {
  test('ends the exchange with the upstream at once', async () => {
    let told: Promise<unknown[]> | undefined;
    const backend = await startUpstream((_incoming, outgoing) => {
      told = once(outgoing, 'close');
      if (kind === 'stream') {
        outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
        outgoing.write('data: one\n\n');
      }
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
    if (kind === 'stream') await client.receives('data: one');
    await leave(client, relay, () => told);
  });
});

/** @param told set once the upstream is asked, and resolved when it hears that the client has gone */
async function leave(client: RawConnection, relay: Relay, told: () => Promise<unknown[]> | undefined): Promise<void> {
  await until(() => told() !== undefined, 2_000, 'the upstream to be asked');
  client.close();
  await withTimeout(told() ?? Promise.reject(new Error('not asked')), AT_ONCE_MS, 'the upstream to hear of it');
  await until(() => relay.outcomes.length === 1, 1_000, 'the exchange to end');
  expect(relay.outcomes).toEqual(['client gone']);
}

test('a client that leaves during its upload ends the exchange with the upstream at once', async () => {
  let told: Promise<unknown[]> | undefined;
  const backend = await startUpstream((incoming) => {
    incoming.resume();
    incoming.on('error', () => undefined);
    told = new Promise((resolve) => incoming.on('close', () => resolve([])));
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay, 'POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1000000\r\n\r\n');
  client.send(Buffer.alloc(100_000));
  await leave(client, relay, () => told);
});

test('a client that half-closes before the answer loses it, and the upstream sees that it has left', async () => {
  let told: Promise<unknown[]> | undefined;
  const backend = await startUpstream((_incoming, outgoing) => {
    told = once(outgoing, 'close');
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  await until(() => told !== undefined, 2_000, 'the upstream to be asked');
  client.socket.end();
  await client.closes(2_000);
  await withTimeout(told ?? Promise.reject(new Error('not asked')), 2_000, 'the upstream to be told');
});

describe('nothing is sent twice', () => {
  test.each(['GET', 'POST'])('a %s whose connection dies without an answer is 502 after one try', async (method) => {
    const backend = await startByteUpstream((socket) => socket.destroy());
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText(`${method} /x`, ['Content-Length: 2'], 'ab'));
    expect(answer.status).toBe(502);
    expect(backend.sockets).toHaveLength(1);
  });
});

describe('path and query go through byte for byte', () => {
  test.each(['/a//b', '/a/../b', '/%2e%2e/b', '/a%2Fb?x=%20&&y=+;', '/a?b?c', '/~!$&()*,;=:@-._', '/a|b"<>^`{}'])(
    '%s',
    async (target) => {
      const { relay, backend } = await recording();
      await rawRequest(relay.port, requestText(`GET ${target}`));
      expect(backend.last().url).toBe(target);
    },
  );
});

describe('absolute form', () => {
  test.each(['http://gate.test/x', 'https://other.test/x', 'gate.test:80', 'x'])('%s gets 400', async (target) => {
    const { relay, backend } = await recording();
    expect((await rawRequest(relay.port, requestText(`GET ${target}`))).status).toBe(400);
    expect(backend.requests).toHaveLength(0);
  });
});

describe('Host', () => {
  test.each([
    ['missing', []],
    ['empty', ['Host:']],
    ['repeated', ['Host: a', 'Host: b']],
    ['repeated and equal', ['Host: a', 'Host: a']],
    ['with a path', ['Host: a/b']],
    ['with user information', ['Host: u@a']],
    ['a list', ['Host: a, b']],
    ['with a space', ['Host: a b']],
    ['with an odd port', ['Host: a:8x']],
    ['with a question mark', ['Host: a?b']],
  ])('%s gets 400 and the connection ends', async (_name, hosts) => {
    expect((await refusalOf(['GET /x HTTP/1.1', ...hosts, '', ''].join('\r\n'))).status).toBe(400);
  });

  test('goes through as it came', async () => {
    const { relay, backend } = await recording();
    await rawRequest(relay.port, requestText('GET /x'));
    expect(backend.last().all('host')).toEqual(['gate.test']);
  });
});

describe('sizes of headers', () => {
  const requestsOf = (kilobytes: number): [name: string, bytes: string][] => {
    const fields = Array.from({ length: kilobytes }, (_value, index) => `X-${index}: ${'a'.repeat(1_000)}`);
    const text = 'a'.repeat(kilobytes * 1_000);
    return [
      ['cookies', requestText('GET /x', [`Cookie: a=${text}`])],
      ['fields', requestText('GET /x', fields)],
      ['a query', requestText(`GET /x?${text}`)],
      ['a path', requestText(`GET /${text}`)],
    ];
  };

  test.each(requestsOf(66))(
    'a request with 66 KB of %s gets 431, which says the limit and what to do',
    async (_name, bytes) => {
      const answer = await refusalOf(bytes);
      expect(answer.status).toBe(431);
      expect(answer.field('connection')).toBe('close');
      expect(answer.field('content-type')).toBe('application/json');
      expect(JSON.parse(answer.body)).toEqual({
        detail:
          'The request line and its headers are larger than this gateway accepts. They have more than 64 KB (MODELGATE_MAX_HEADER). ' +
          'Delete the cookies of this site, or use a shorter address.',
        code: 'headers_too_large',
      });
    },
  );

  test.each(requestsOf(60))('a request with 60 KB of %s passes', async (_name, bytes) => {
    const { relay, backend } = await recording();
    expect((await rawRequest(relay.port, bytes)).status).toBe(200);
    const { url, rawHeaders } = backend.last();
    expect(url.length + JSON.stringify(rawHeaders).length).toBeGreaterThan(60_000);
  });

  test('the limit is whatever it is set to', async () => {
    const { relay } = await recording({ limits: { maxHeaderBytes: 9_000 } });
    const answer = await rawRequest(relay.port, requestText('GET /x', [`Cookie: a=${'a'.repeat(10_000)}`]));
    expect(answer.status).toBe(431);
    expect(answer.body).toContain('more than 9000 bytes');
    expect((await rawRequest(relay.port, requestText('GET /x', [`X-A: ${'a'.repeat(8_000)}`]))).status).toBe(200);
  });

  test('a request with 101 fields gets 431', async () => {
    const { relay, backend } = await recording();
    const fields = Array.from({ length: 99 }, (_value, index) => `X-${index}: a`);
    const answer = await rawRequest(relay.port, requestText('GET /x', fields));
    expect(answer.status).toBe(431);
    expect(answer.body).toContain('There are 101 lines; at most 100 are accepted.');
    expect(backend.requests).toHaveLength(0);
  });

  /** As a sign-in by OAuth: one large token in several cookies of the 4 KB that browsers keep. */
  const withCookies = (bytes: number, head = 'HTTP/1.1 302 Found') => {
    const lines = Array.from(
      { length: bytes / 4_000 },
      (_value, index) => `Set-Cookie: c${index}=${'a'.repeat(3_985)}`,
    );
    return [head, ...lines, 'Location: /', 'Content-Length: 0', '', ''].join('\r\n');
  };

  test.each([16_000, 32_000, 60_000])('an answer with %i bytes of cookies passes', async (bytes) => {
    const { answer } = await answerTo(withCookies(bytes));
    expect(answer.status).toBe(302);
    expect(answer.headers.filter(([name]) => name === 'set-cookie')).toHaveLength(bytes / 4_000);
  });

  test('an answer with 68 KB becomes 502, which says what was too large', async () => {
    const { text, relay } = await answerTo(withCookies(68_000));
    const answer = parseAnswer(text);
    expect(answer.status).toBe(502);
    expect(answer.body).toContain('headers are larger than this gateway accepts. They have more than 64 KB');
    expect(relay.outcomes).toEqual(['upstream_headers_too_large']);
  });

  test('so are the two answers to a handshake', async () => {
    for (const [bytes, status] of [
      [60_000, 101],
      [68_000, 502],
    ] as const) {
      const lines = withCookies(bytes, '').slice(2).replace('Content-Length: 0\r\n\r\n', '');
      const relay = await relayTo(
        await startScriptedUpstream(ACCEPTED.replace('\r\n\r\n', `\r\n${lines}\r\n`), 'open'),
      );
      const client = await connectTo(relay, HANDSHAKE);
      const text = await client.receives('\r\n\r\n');
      expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      if (status === 502) expect(text).toContain('headers are larger');
    }
  });

  test('an answer with 101 fields becomes 502, which says how many are accepted', async () => {
    const fields = Array.from({ length: 101 }, (_value, index) => `X-${index}: a\r\n`).join('');
    const { answer } = await answerTo(`HTTP/1.1 200 OK\r\n${fields}\r\n`);
    expect(answer.status).toBe(502);
    expect(answer.body).toContain('more than 100 lines');
  });
});

describe('Upgrade to what we do not speak', () => {
  test.each([
    ['GET', 'h2c', '/ws/x'],
    ['GET', 'websocket', '/elsewhere'],
    ['POST', 'websocket', '/ws/x'],
    ['GET', 'foo', '/x'],
    ['GET', 'websocket, h2c', '/ws/x'],
  ])('%s with Upgrade: %s on %s is an ordinary request', async (method, protocol, path) => {
    const { relay, backend } = await recording();
    const body = method === 'POST' ? ['Content-Length: 3'] : [];
    const client = await connectTo(
      relay,
      [
        `${method} ${path} HTTP/1.1`,
        'Host: gate.test',
        'Connection: Upgrade, HTTP2-Settings',
        `Upgrade: ${protocol}`,
        'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
        ...body,
        '',
        method === 'POST' ? 'abc' : '',
      ].join('\r\n'),
    );
    // The connection ends with the answer: what stands behind such a request may be meant in the other protocol
    const answer = parseAnswer(await client.closes());
    expect(answer.status).toBe(200);
    expect(backend.requests.map(({ url }) => url)).toEqual([path]);
    const [first] = backend.requests;
    expect(first?.has('upgrade')).toBe(false);
    expect(first?.has('http2-settings')).toBe(false);
    expect(first?.all('connection')).toEqual(['keep-alive']);
    expect(first?.body).toBe(method === 'POST' ? 'abc' : '');
  });
});

const HANDSHAKE = [
  'GET /ws/socket HTTP/1.1',
  'Host: gate.test',
  'Connection: keep-alive, Upgrade',
  'Upgrade: WebSocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '',
  '',
].join('\r\n');
const ACCEPTED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

describe('a refused upgrade', () => {
  test('is relayed with status and body, and the connection ends', async () => {
    const backend = await startScriptedUpstream(
      'HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nnope',
      'open',
    );
    const relay = await relayTo(backend);
    const client = await connectTo(relay, HANDSHAKE);
    const answer = parseAnswer(await client.closes());
    expect(answer.status).toBe(403);
    expect(answer.body).toBe('nope');
    expect(answer.field('x-hop')).toBeUndefined();
    expect(answer.field('connection')).toBe('close');
    expect(relay.outcomes).toEqual(['403']);
  });
});

test('bytes in the same packet as 101 or as the request are kept', async () => {
  const backend = await startScriptedUpstream(`${ACCEPTED}hello from upstream`, 'open');
  const relay = await relayTo(backend);
  const client = await connectTo(relay, `${HANDSHAKE}hello from client`);
  expect(await client.receives('hello from upstream')).toMatch(/^HTTP\/1.1 101 /);
  await until(() => backend.texts[0]?.includes('hello from client') === true, 2_000, 'the early bytes to arrive');
});

describe('TRACE, CONNECT and Max-Forwards', () => {
  test.each(['TRACE /x', 'CONNECT gate.test:443'])('%s gets 405', async (line) => {
    const answer = await refusalOf(requestText(line, ['Cookie: token=secret']));
    expect(answer.status).toBe(405);
    expect(answer.field('allow')).toContain('GET');
  });

  test('OPTIONS counts Max-Forwards down, other methods leave it', async () => {
    const { relay, backend } = await recording();
    await rawRequest(relay.port, requestText('OPTIONS /x', ['Max-Forwards: 3']));
    expect(backend.last().all('max-forwards')).toEqual(['2']);
    await rawRequest(relay.port, requestText('GET /x', ['Max-Forwards: 3']));
    expect(backend.last().all('max-forwards')).toEqual(['3']);
  });

  test('OPTIONS with no forwards left is answered here', async () => {
    const { relay, backend } = await recording();
    expect((await rawRequest(relay.port, requestText('OPTIONS /x', ['Max-Forwards: 0']))).status).toBe(204);
    expect((await rawRequest(relay.port, requestText('OPTIONS *'))).status).toBe(204);
    expect(backend.requests).toHaveLength(0);
  });
});

describe('Date and Age', () => {
  test('Date is added when absent and untouched when present, Age too', async () => {
    const without = await answerTo('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    expect(parseAnswer(without.text).field('date')).toMatch(/GMT$/);
    const given = 'Sun, 06 Nov 1994 08:49:37 GMT';
    const with_ = await answerTo(`HTTP/1.1 200 OK\r\nDate: ${given}\r\nAge: 7\r\nContent-Length: 2\r\n\r\nok`);
    const answer = parseAnswer(with_.text);
    expect(answer.headers.filter(([name]) => name === 'date')).toEqual([['date', given]]);
    expect(answer.field('age')).toBe('7');
  });
});

test('a rewritten answer is a transformation', async () => {
  const backend = await startRecordingUpstream((_incoming, outgoing) => {
    outgoing.writeHead(200, {
      'content-type': 'application/json',
      etag: '"v1"',
      'accept-ranges': 'bytes',
      digest: 'sha-256=x',
      'content-md5': 'x',
      'cache-control': 'public, max-age=60',
      'set-cookie': ['a=1', 'b=2'],
    });
    outgoing.end('["a","b"]');
  });
  const relay = await relayTo(backend, { rewrite: (answer) => ({ ...answer, body: Buffer.from('["a"]') }) });
  const answer = await rawRequest(
    relay.port,
    requestText('GET /x', ['If-None-Match: "v1"', 'Range: bytes=0-1', 'Accept-Encoding: gzip']),
  );
  expect(answer.body).toBe('["a"]');
  expect(answer.field('content-length')).toBe('5');
  for (const name of ['etag', 'accept-ranges', 'digest', 'content-md5']) expect(answer.field(name)).toBeUndefined();
  expect(answer.field('cache-control')).toBe('private, no-store');
  expect(answer.headers.filter(([name]) => name === 'set-cookie')).toHaveLength(2);
  expect(backend.last().has('if-none-match')).toBe(false);
  expect(backend.last().has('range')).toBe(false);
  expect(backend.last().all('accept-encoding')).toEqual(['identity']);
});

// the second of margin is the product's: a busy machine may take it
test('an idle upstream connection is given up before uvicorn would close it', { retry: 2 }, async () => {
  const server = createServer((_incoming, outgoing) => outgoing.end('ok'));
  server.keepAliveTimeout = 0;
  let connections = 0;
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const relay = await relayTo({
    origin: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
  await rawRequest(relay.port, requestText('GET /x'));
  await rawRequest(relay.port, requestText('GET /x'));
  expect(connections).toBe(1);
  const idle = () =>
    new Promise<number>((resolve, reject) => {
      server.getConnections((error, count) => {
        if (error) reject(error);
        else resolve(count);
      });
    });
  await until(async () => (await idle()) === 0, 4_900, 'the connection to be given up');
});

describe('versions of HTTP that are not served', () => {
  test.each([
    ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505],
    ['HTTP/2.0 with a body', 'POST / HTTP/2.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nab', 505],
    [
      'HTTP/2.0 that expects something',
      'POST / HTTP/2.0\r\nHost: a\r\nExpect: tea\r\nContent-Length: 2\r\n\r\nab',
      505,
    ],
    ['HTTP/2.0 to the server itself', 'OPTIONS * HTTP/2.0\r\nHost: a\r\n\r\n', 505],
    ['an upgrade in HTTP/2.0', HANDSHAKE.replace('HTTP/1.1', 'HTTP/2.0'), 505],
    ['HTTP/0.9', 'GET / HTTP/0.9\r\nHost: a\r\n\r\n', 505],
    ['HTTP/0.9 with a coding', 'POST / HTTP/0.9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n', 505],
    ['no version', 'GET /\r\n\r\n', 505],
    ['no version, and fields', 'GET /\r\nHost: a\r\n\r\n', 505],
    ['no version, and a body', 'POST /\r\nHost: a\r\nContent-Length: 2\r\n\r\nab', 505],
    ['no version and a bare line feed', 'GET /\n\n', 400],
    ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: a\r\n\r\n', 400],
    ['HTTP/1.10', 'GET / HTTP/1.10\r\nHost: a\r\n\r\n', 400],
    ['HTTP/3.0', 'GET / HTTP/3.0\r\nHost: a\r\n\r\n', 400],
    ['HTTP/2', 'GET / HTTP/2\r\nHost: a\r\n\r\n', 400],
    ['http/1.1', 'GET / http/1.1\r\nHost: a\r\n\r\n', 400],
    ['a space behind the version', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400],
    ['HTTP/1.0 with a coding', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n', 400],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['a preface in HTTP/1.1', 'PRI * HTTP/1.1\r\nHost: a\r\n\r\n', 400],
  ])('%s goes no further', async (_name, bytes, status) => {
    const { relay, backend } = await recording();
    const client = await connectTo(relay, bytes);
    const answer = parseAnswer(await client.closes());
    expect(answer.status).toBe(status);
    expect(answer.field('connection')).toBe('close');
    expect(backend.requests).toHaveLength(0);
  });

  test('the refusal says which version was found and which is served', async () => {
    const { relay } = await recording();
    const { body } = await rawRequest(relay.port, 'GET / HTTP/2.0\r\nHost: a\r\n\r\n');
    expect(JSON.parse(body)).toEqual({
      detail: 'This version of HTTP is not served here. Use HTTP/1.1. The request line says HTTP/2.0, or no version.',
      code: 'version_not_supported',
    });
  });
});
