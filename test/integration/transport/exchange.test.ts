/** What goes through unchanged, what is rewritten, and what a failing upstream is to the client. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../../src/errors.ts';
import { sendAnswer } from '../../../src/transport/answer.ts';
import { readBody } from '../../../src/transport/body.ts';
import { createDownstream } from '../../../src/transport/listener.ts';
import { parseAnswer, rawRequest, requestText } from '../../support/gate/raw-connection.ts';
import { NOTHING_THERE, closing, connectTo, relayTo } from '../../support/gate/transport.ts';
import {
  listening,
  startByteUpstream,
  startRecordingUpstream,
  startScriptedUpstream,
  startUpstream,
} from '../../support/upstream/upstreams.ts';
import { freePort } from '../../support/process/ports.ts';
import { until, withTimeout } from '../../support/process/with-timeout.ts';

describe('answers', () => {
  test('repeated Set-Cookie lines survive, in order', async () => {
    const relay = await relayTo(
      await startScriptedUpstream(
        'HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: y\r\nset-cookie: b=2, c\r\nContent-Length: 0\r\n\r\n',
      ),
    );
    const answer = await rawRequest(relay.port, requestText('GET /x'));
    expect(answer.headers.filter(([name]) => name === 'set-cookie')).toEqual([
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2, c'],
    ]);
  });

  test.each([301, 302, 303, 307, 308])('%i is passed on, not followed', async (status) => {
    const backend = await startRecordingUpstream((_incoming, outgoing) => {
      outgoing.writeHead(status, { location: '/elsewhere', 'set-cookie': 'a=1' });
      outgoing.end();
    });
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('GET /x'));
    expect([answer.status, answer.field('location'), answer.field('set-cookie')]).toEqual([
      status,
      '/elsewhere',
      'a=1',
    ]);
    expect(backend.requests).toHaveLength(1);
  });

  test.each([
    ['in UTF-8', 'caf\u00c3\u00a9.pdf'],
    ['in Latin-1', 'caf\u00e9.pdf'],
  ])('the name of a file %s passes byte for byte, wherever the length stands', async (_coding, name) => {
    const disposition = `Content-Disposition: attachment; filename="${name}"`;
    for (const lines of [`Content-Length: 2\r\n${disposition}`, `${disposition}\r\nContent-Length: 2`]) {
      const relay = await relayTo(await startScriptedUpstream(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\nok`));
      const answer = await rawRequest(relay.port, requestText('GET /x'));
      expect([answer.status, answer.field('content-disposition')]).toEqual([200, `attachment; filename="${name}"`]);
      expect([answer.field('content-length'), answer.body]).toEqual(['2', 'ok']);
    }
  });

  test('a coded body passes byte for byte', async () => {
    const backend = await startRecordingUpstream((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'text/plain' });
      outgoing.end(Buffer.from([0x1f, 0x8b, 0, 255]));
    });
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('GET /x', ['Accept-Encoding: gzip, br']));
    expect(Buffer.from(answer.body, 'latin1')).toEqual(Buffer.from([0x1f, 0x8b, 0, 255]));
    expect(answer.field('content-encoding')).toBe('gzip');
    expect(backend.last().all('accept-encoding')).toEqual(['gzip, br']);
  });

  test('x-request-id is ours on both sides', async () => {
    const backend = await startRecordingUpstream((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'x-request-id': 'the-upstreams' });
      outgoing.end();
    });
    const relay = await relayTo(backend);
    const answer = await rawRequest(relay.port, requestText('GET /x', ['X-Request-Id: the-clients']));
    expect(answer.headers.filter(([name]) => name === 'x-request-id')).toEqual([['x-request-id', 'relay-request']]);
    expect(backend.last().all('x-request-id')).toEqual(['relay-request']);
  });
});

describe('requests', () => {
  test.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'M-SEARCH'])(
    '%s goes through with its body, short or long',
    async (method) => {
      const backend = await startRecordingUpstream();
      const relay = await relayTo(backend);
      for (const size of [0, 5, 200_000]) {
        const body = 'x'.repeat(size);
        await rawRequest(relay.port, requestText(`${method} /x`, [`Content-Length: ${size}`], body));
        expect([backend.last().method, backend.last().body.length]).toEqual([method, size]);
      }
      const chunked = `5\r\nabcde\r\n0\r\n\r\n`;
      await rawRequest(relay.port, requestText(`${method} /x`, ['Transfer-Encoding: chunked'], chunked));
      expect(backend.last().body).toBe('abcde');
    },
  );

  test('a field with an underscore is dropped, since a backend may read it as the one with a hyphen', async () => {
    const backend = await startRecordingUpstream();
    const relay = await relayTo(backend);
    await rawRequest(relay.port, requestText('GET /x', ['X_Forwarded_For: 6.6.6.6', 'X-Fine: 1']));
    expect(backend.last().has('x_forwarded_for')).toBe(false);
    expect(backend.last().has('x-fine')).toBe(true);
  });

  test('the edit removes every copy of a field and adds its own', async () => {
    const backend = await startRecordingUpstream();
    const relay = await relayTo(backend, {
      edit: { remove: new Set(['authorization', 'cookie']), add: ['authorization', 'Bearer judged'] },
    });
    await rawRequest(
      relay.port,
      requestText('GET /x', ['AUTHORIZATION: Bearer a', 'authorization: Bearer b', 'Cookie: token=c', 'cookie: d=e']),
    );
    expect(backend.last().all('authorization')).toEqual(['Bearer judged']);
    expect(backend.last().has('cookie')).toBe(false);
  });

  test('what an untrusted client says about itself is replaced', async () => {
    const backend = await startRecordingUpstream();
    const relay = await relayTo(backend);
    await rawRequest(
      relay.port,
      requestText('GET /x', [
        'X-Forwarded-For: 6.6.6.6',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Host: evil.test',
        'X-Forwarded-Prefix: /evil',
        'X-Real-IP: 6.6.6.6',
        'Forwarded: for=6.6.6.6',
      ]),
    );
    const last = backend.last();
    expect(last.all('x-forwarded-for')).toEqual(['127.0.0.1']);
    expect(last.all('x-forwarded-proto')).toEqual(['http']);
    expect(last.all('x-forwarded-host')).toEqual(['gate.test']);
    expect(last.has('x-real-ip')).toBe(false);
    expect(last.has('forwarded')).toBe(false);
    expect(last.has('x-forwarded-prefix')).toBe(false);
  });

  test('what a trusted proxy says is extended', async () => {
    const backend = await startRecordingUpstream();
    const trustedProxies = [{ address: '127.0.0.0', prefix: 8, family: 'ipv4' as const }];
    const relay = await relayTo(backend, { trustedProxies });
    await rawRequest(
      relay.port,
      requestText('GET /x', [
        'X-Forwarded-For: 1.2.3.4',
        'X-Forwarded-For: 10.0.0.1',
        'X-Forwarded-Proto: https',
        'X-Forwarded-Host: chat.test',
        'X-Real-IP: 1.2.3.4',
        'Forwarded: for=1.2.3.4',
      ]),
    );
    const last = backend.last();
    expect(last.all('x-forwarded-for')).toEqual(['1.2.3.4, 10.0.0.1, 127.0.0.1']);
    expect(last.all('x-forwarded-proto')).toEqual(['https']);
    expect(last.all('x-forwarded-host')).toEqual(['chat.test']);
    expect(last.all('x-real-ip')).toEqual(['1.2.3.4']);
    expect(last.all('forwarded')).toEqual(['for=1.2.3.4, for=127.0.0.1']);
  });

  test('requests sent ahead of their answers are served one after the other, in order', async () => {
    const waiting: (() => void)[] = [];
    const backend = await startRecordingUpstream((incoming, outgoing) => {
      const answer = () => outgoing.end(`answer to ${incoming.url ?? ''};`);
      if (incoming.url === '/other') answer();
      else waiting.push(answer);
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay);
    const ahead = Array.from({ length: 5 }, (_value, index) => `GET /${index} HTTP/1.1\r\nHost: a\r\n\r\n`).join('');
    client.send(ahead + requestText('GET /last'));
    for (let served = 1; served <= 6; served += 1) {
      await until(() => waiting.length === served, 2_000, `request ${served} to arrive`);
      // A whole exchange on another connection: time enough for the next one to come too early.
      await rawRequest(relay.port, requestText('GET /other'));
      expect(waiting).toHaveLength(served);
      waiting.at(-1)?.();
    }
    const text = await client.closes();
    expect(text.match(/answer to [^;]+/g)).toEqual(
      ['0', '1', '2', '3', '4', 'last'].map((target) => `answer to /${target}`),
    );
  });
});

describe('a failing upstream', () => {
  test('that is not there is 502 at once', async () => {
    const relay = await relayTo(NOTHING_THERE);
    const startedAt = performance.now();
    expect((await rawRequest(relay.port, requestText('POST /x', ['Content-Length: 2'], 'ab'))).status).toBe(502);
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(relay.outcomes).toEqual(['upstream_unreachable']);
    expect(await relay.upstream.findProblem()).toMatch(/^it refuses the connection: .* \(ECONNREFUSED\)$/);
  });

  test('that comes back is used again at once', async () => {
    const port = await freePort();
    const first = await startUpstream((_incoming, outgoing) => outgoing.end('first'), port);
    const relay = await relayTo({ origin: first.origin, close: () => undefined });
    expect((await rawRequest(relay.port, requestText('GET /x'))).body).toBe('first');
    await first.close();
    expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(502);
    closing(await startUpstream((_incoming, outgoing) => outgoing.end('second'), port));
    expect((await rawRequest(relay.port, requestText('GET /x'))).body).toBe('second');
    expect(await relay.upstream.findProblem()).toBeUndefined();
  });

  test('that does not answer is 504, and its connection is dropped', async () => {
    const backend = await startByteUpstream(() => undefined);
    const relay = await relayTo(backend, { timeouts: { responseTimeoutMs: 300 } });
    expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(504);
    await until(() => backend.sockets[0]?.destroyed === true, 2_000, 'the connection to be dropped');
    expect(relay.outcomes).toEqual(['upstream_timeout']);
  });

  test('that falls silent inside its answer is cut off after the idle time', async () => {
    const relay = await relayTo(
      await startByteUpstream((socket) =>
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n'),
      ),
      { timeouts: { idleTimeoutMs: 300 } },
    );
    const client = await connectTo(relay, requestText('GET /x'));
    expect(await client.closes()).not.toContain('\r\n0\r\n\r\n');
    expect(relay.outcomes).toEqual(['truncated']);
  });

  test('whose answers take long in all but never pause is not cut off', async () => {
    const backend = await startUpstream((_incoming, outgoing) => {
      let count = 0;
      const tick = setInterval(() => {
        count += 1;
        outgoing.write(`${count} `);
        if (count < 20) return;
        clearInterval(tick);
        outgoing.end();
      }, 100);
    });
    const relay = await relayTo(backend, {
      timeouts: { idleTimeoutMs: 1_500, responseTimeoutMs: 1_500 },
      limits: { idleTimeoutMs: 1_500 },
    });
    expect((await rawRequest(relay.port, requestText('GET /x'))).body).toMatch(/^1 2 .* 19 20 $/);
  });

  test('that cannot be connected to is 502 after the connect time', async () => {
    // A documentation address (RFC 5737): routers drop what goes there, or refuse it at once.
    const relay = await relayTo(
      { origin: 'http://192.0.2.1:9', close: () => undefined },
      { timeouts: { connectTimeoutMs: 300 } },
    );
    expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(502);
  });
});

describe('a rewritten answer', () => {
  test('is given whole, in one call, whatever pieces it came in', async () => {
    const bodies: string[] = [];
    const backend = await startUpstream((_incoming, outgoing) => {
      outgoing.write('one ');
      setImmediate(() => outgoing.end('two'));
    });
    const relay = await relayTo(backend, {
      rewrite: (answer) => {
        bodies.push(answer.body.toString());
        return { ...answer, status: 201, body: Buffer.from('changed') };
      },
    });
    const answer = await rawRequest(relay.port, requestText('GET /x'));
    expect(bodies).toEqual(['one two']);
    expect([answer.status, answer.body, answer.field('content-length')]).toEqual([201, 'changed', '7']);
  });

  test('may take its time, also after the upstream was cut off for sending too much', async () => {
    const block = Buffer.alloc(1024 * 1024);
    const backend = await startUpstream((incoming, outgoing) => {
      if (incoming.url === '/short') return void outgoing.end('short');
      const more = () => {
        while (outgoing.write(block));
        outgoing.once('drain', more);
      };
      more();
    });
    const relay = await relayTo(backend, {
      rewrite: async (answer) => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return { ...answer, body: Buffer.from(`length ${answer.body.length}`) };
      },
    });
    expect((await rawRequest(relay.port, requestText('GET /short'))).body).toBe('length 5');
    expect((await rawRequest(relay.port, requestText('GET /long'))).body).toBe('length 0');
    expect(relay.outcomes).toEqual(['200', '200']);
  });

  test.each([
    ['an error of ours', new GatewayError('policy_unavailable'), 503],
    ['anything else', new TypeError('a bug'), 500],
  ])('that fails with %s, at once or late, says so', async (_name, error, status) => {
    for (const late of [false, true]) {
      const relay = await relayTo(await startRecordingUpstream(), {
        rewrite: () => {
          if (late) return Promise.reject(error);
          throw error;
        },
      });
      expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(status);
    }
  });

  test('whose client leaves meanwhile is not sent', async () => {
    let proceed: (() => void) | undefined;
    const relay = await relayTo(await startRecordingUpstream(), {
      rewrite: (answer) => new Promise((resolve) => (proceed = () => resolve(answer))),
    });
    const client = await connectTo(relay, requestText('GET /x'));
    await until(() => proceed !== undefined, 2_000, 'the rewrite to be asked');
    client.close();
    await until(() => relay.outcomes.length === 1, 2_000, 'the exchange to end');
    proceed?.();
    expect(relay.outcomes).toEqual(['client gone']);
  });

  test('that is cut is an error of the upstream, not an answer', async () => {
    const relay = await relayTo(await startScriptedUpstream('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'), {
      rewrite: (answer) => answer,
    });
    expect((await rawRequest(relay.port, requestText('GET /x'))).status).toBe(502);
  });

  test('to HEAD has no body, and the length of the rewritten one', async () => {
    const relay = await relayTo(await startScriptedUpstream('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n'), {
      rewrite: (answer) => ({ ...answer, body: Buffer.from('[]') }),
    });
    const answer = await rawRequest(relay.port, requestText('HEAD /x'));
    expect([answer.status, answer.body, answer.field('content-length')]).toEqual([200, '', '2']);
  });

  test('beyond 64 MB counts as unreadable: the rewrite is given an empty body', async () => {
    const block = Buffer.alloc(1024 * 1024);
    const backend = await startUpstream((_incoming, outgoing) => {
      const more = () => {
        while (outgoing.write(block));
        outgoing.once('drain', more);
      };
      more();
    });
    const relay = await relayTo(backend, {
      rewrite: (answer) => ({ ...answer, body: Buffer.from(`length ${answer.body.length}`) }),
    });
    expect((await rawRequest(relay.port, requestText('GET /x'))).body).toBe('length 0');
  });

  test.each([
    ['one page has', ['/endless']],
    ['all pages together have', ['/40mb', '/40mb', '/40mb']],
  ])(
    'that asks for further pages fails where %s more than 64 MB, and what still comes is cut off',
    async (_n, pages) => {
      const block = Buffer.alloc(1024 * 1024);
      let open = 0;
      let sent = 0;
      const backend = await startUpstream((incoming, outgoing) => {
        if (incoming.url === '/x') return void outgoing.end('first');
        open += 1;
        outgoing.once('close', () => (open -= 1));
        let left = incoming.url === '/40mb' ? 40 : Infinity;
        const more = () => {
          while (left > 0) {
            left -= 1;
            sent += 1;
            if (!outgoing.write(block)) return void outgoing.once('drain', more);
          }
          outgoing.end();
        };
        more();
      });
      const relay = await relayTo(backend, {
        async rewrite(answer, ask) {
          for (const page of pages) await ask(page);
          return answer;
        },
      });
      const answer = await rawRequest(relay.port, requestText('GET /x'));
      expect([answer.status, answer.body]).toEqual([502, expect.stringContaining('more than 64 MB')]);
      await until(() => open === 0, 2_000, 'the backend to be cut off');
      expect(sent).toBeLessThan(100);
    },
  );
});

describe('answers of our own', () => {
  async function serve(handle: Parameters<typeof createDownstream>[0]['handle']): Promise<{ port: number }> {
    const downstream = createDownstream({
      handle,
      upgrade: (_incoming, socket) => socket.destroy(),
      mayUpgrade: () => false,
    });
    const port = await listening(downstream.server);
    closing({ close: async () => void (await downstream.drain(0)) });
    return { port };
  }

  test('leave the connection open when a short body was not read', async () => {
    const gate = await serve((_incoming, outgoing) => void sendAnswer(outgoing, 401, [], '{}'));
    const client = await connectTo(gate, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc');
    client.send(requestText('GET /y'));
    const text = await client.closes();
    expect(text.match(/HTTP\/1.1 401/g)).toHaveLength(2);
  });

  test.each([
    ['long', 'Content-Length: 1000000'],
    ['chunked', 'Transfer-Encoding: chunked'],
    ['awaited', 'Expect: 100-continue\r\nContent-Length: 3'],
  ])('close it when a %s body was not read', async (_name, line) => {
    const gate = await serve((_incoming, outgoing) => void sendAnswer(outgoing, 401, [], '{}'));
    const client = await connectTo(gate, `POST /x HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n`);
    const answer = parseAnswer(await client.closes());
    expect([answer.status, answer.field('connection'), answer.body]).toEqual([401, 'close', '{}']);
  });

  test('reach a client that goes on sending: the connection ends with a close, not with a reset', async () => {
    const gate = await serve((_incoming, outgoing) => void sendAnswer(outgoing, 413, [], '{"detail":"too large"}'));
    const socket = connect({ port: gate.port, host: '127.0.0.1', allowHalfOpen: true });
    closing({ close: () => void socket.destroy() });
    const errors: Error[] = [];
    socket.on('error', (error) => errors.push(error));
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const ended = once(socket, 'end');
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n');
    await withTimeout(ended, 3_000, 'the answer to end');
    expect(parseAnswer(text).status).toBe(413);
    for (let index = 0; index < 20; index += 1) {
      await new Promise((resolve) => socket.write(Buffer.alloc(100_000), resolve));
    }
    const closedAt = once(socket, 'close');
    socket.end();
    await withTimeout(closedAt, 3_000, 'the connection to be closed');
    expect(errors).toEqual([]);
  });

  test('are the last on a connection whose body was not read, whatever comes after it', async () => {
    const served: string[] = [];
    const gate = await serve((incoming, outgoing) => {
      served.push(incoming.url ?? '');
      sendAnswer(outgoing, 401, [], '{}');
    });
    const socket = connect({ port: gate.port, host: '127.0.0.1', allowHalfOpen: true });
    closing({ close: () => void socket.destroy() });
    socket.on('error', () => undefined).resume();
    const ended = once(socket, 'end');
    socket.write('POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    await withTimeout(ended, 3_000, 'the answer to end');
    socket.write(`3\r\nabc\r\n0\r\n\r\n${requestText('GET /second')}`);
    await rawRequest(gate.port, requestText('GET /other'));
    expect(served).toEqual(['/first', '/other']);
  });

  test('are not sent twice, nor to a client that has left', async () => {
    const results: boolean[] = [];
    const gate = await serve((_incoming, outgoing) => {
      results.push(sendAnswer(outgoing, 200, [], '{}'), sendAnswer(outgoing, 500, [], '{}'));
      outgoing.on('close', () => results.push(sendAnswer(outgoing, 500, [], '{}')));
    });
    await rawRequest(gate.port, requestText('GET /x'));
    await until(() => results.length === 3, 1_000, 'the third try');
    expect(results).toEqual([true, false, false]);
  });

  describe('after reading a body', () => {
    async function reading(maxBytes: number): Promise<{ port: number; results: string[] }> {
      const results: string[] = [];
      const gate = await serve((_incoming, outgoing) => {
        readBody(outgoing, maxBytes).then(
          (body) => {
            results.push(`read ${body.length}`);
            sendAnswer(outgoing, 200, [], '{}');
          },
          (error: unknown) => {
            results.push(error instanceof Error ? ('code' in error ? String(error.code) : '') || error.name : '');
            sendAnswer(outgoing, 413, [], '{}');
          },
        );
      });
      return { port: gate.port, results };
    }

    test.each([
      ['with a length', 'Content-Length: 5', 'abcde'],
      ['in chunks', 'Transfer-Encoding: chunked', '2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n'],
    ])('%s within the bound', async (_name, line, body) => {
      const gate = await reading(5);
      expect((await rawRequest(gate.port, requestText('POST /x', [line], body))).status).toBe(200);
      expect(gate.results).toEqual(['read 5']);
    });

    test.each([
      ['a declared length', 'Content-Length: 6', ''],
      ['what came', 'Transfer-Encoding: chunked', '3\r\nabc\r\n3\r\ndef\r\n'],
      ['a declared length that is awaited', 'Expect: 100-continue\r\nContent-Length: 6', ''],
    ])('%s beyond the bound is refused without reading on', async (_name, line, body) => {
      const gate = await reading(5);
      const client = await connectTo(gate, `POST /x HTTP/1.1\r\nHost: a\r\n${line}\r\n\r\n${body}`);
      const text = await client.receives('413');
      expect(text).not.toContain('100 Continue');
      expect(gate.results).toEqual(['body_too_large']);
    });

    test('a client that leaves in the middle is gone', async () => {
      const gate = await reading(50);
      const client = await connectTo(gate, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
      await until(() => client.socket.bytesWritten > 0, 1_000, 'the request to be sent');
      client.socket.end();
      await until(() => gate.results.length === 1, 2_000, 'the reader to be told');
      expect(gate.results).toEqual(['ClientGone']);
    });
  });
});
