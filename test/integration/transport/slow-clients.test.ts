/** A client that only looks alive holds nothing for long. */
import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { parseAnswer, rawRequest, requestText } from '../../support/gate/raw-connection.ts';
import { sendAnswer } from '../../../src/transport/answer.ts';
import { createDownstream } from '../../../src/transport/listener.ts';
import { closing, connectTo, relayTo } from '../../support/gate/transport.ts';
import {
  listening,
  startByteUpstream,
  startRecordingUpstream,
  startUpstream,
} from '../../support/upstream/upstreams.ts';
import { until } from '../../support/process/with-timeout.ts';

const IMPATIENT = { idleTimeoutMs: 300, keepAliveTimeoutMs: 300 };
/** Too much so for a client whose first bytes are to arrive. */
const MOST_IMPATIENT = { ...IMPATIENT, headersTimeoutMs: 200 };

test('headers that do not end are answered with 408 and cut', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: MOST_IMPATIENT });
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\nX-Slow: ');
  const answer = parseAnswer(await client.closes(4_000));
  expect(answer.status).toBe(408);
  expect(answer.field('connection')).toBe('close');
  expect(JSON.parse(answer.body)).toMatchObject({ code: 'request_timeout' });
});

test('headers that drip are cut all the same', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: MOST_IMPATIENT });
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n');
  const drip = setInterval(() => client.send('X-A: b\r\n'), 20);
  try {
    expect(parseAnswer(await client.closes(4_000)).status).toBe(408);
  } finally {
    clearInterval(drip);
  }
});

test('a connection on which nothing is ever sent is closed', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: MOST_IMPATIENT });
  const client = await connectTo(relay);
  await client.closes(4_000);
});

test.each([
  ['short', 1_000],
  ['long', 1_000_000],
])('a %s body that stops coming is answered with 408 and cut', async (_name, length) => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay, `POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: ${length}\r\n\r\nabc`);
  const answer = parseAnswer(await client.closes(4_000));
  expect(answer.status).toBe(408);
  expect(relay.outcomes).toEqual(['request_timeout']);
});

test('a short body that stops coming occupies no upstream connection', async () => {
  const backend = await startByteUpstream(() => undefined);
  const relay = await relayTo(backend, { limits: IMPATIENT });
  const client = await connectTo(relay, 'POST /x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 1000\r\n\r\nabc');
  await client.closes(4_000);
  expect(backend.sockets).toHaveLength(0);
});

/**
 * The clock of the gate, which this process shares; what the sockets themselves wait for goes by the real one, and so does
 * the test's own deadline.
 */
function stopTheClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
}

const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe('with the times that an operator does not change, a client that', () => {
  const POST = 'POST /x HTTP/1.1\r\nHost: gate.test\r\n';
  test.each([
    ['sends no byte of a short body', `${POST}Content-Length: 1000\r\n\r\n`],
    ['sends one byte of a short body', `${POST}Content-Length: 1000\r\n\r\na`],
    ['sends no byte of a long body', `${POST}Content-Length: 100000\r\n\r\n`],
    ['sends one byte of a long body', `${POST}Content-Length: 100000\r\n\r\na`],
    ['sends no chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n`],
    ['sends one chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n`],
    ['sends half a chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n10\r\na`],
    ['sends no last chunk', `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n`],
    ['was told to continue and does not', `${POST}Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n`],
    ['was told to continue with a short body', `${POST}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n`],
  ])('%s is cut after twenty seconds, like one that drips', async (_name, bytes) => {
    const backend = await startByteUpstream(() => undefined);
    const relay = await relayTo(backend);
    const client = await connectTo(relay);
    stopTheClock();
    client.send(bytes);
    await turns();
    vi.advanceTimersByTime(19_000);
    await turns();
    expect(client.received().replace('HTTP/1.1 100 Continue\r\n\r\n', '')).toBe('');
    const ended = once(client.socket, 'end');
    vi.advanceTimersByTime(1_100);
    await ended;
    const answer = parseAnswer(client.received());
    expect(answer.status).toBe(408);
    expect(answer.body).toContain('stood still');
    expect(relay.outcomes).toEqual(['request_timeout']);
    // The upstream is not kept waiting either.
    vi.useRealTimers();
    await until(
      () => backend.sockets.every(({ destroyed }) => destroyed),
      2_000,
      'the upstream connection to be dropped',
    );
  });

  test('has sent much and then nothing is cut after a minute', async () => {
    let received = 0;
    const backend = await startUpstream((incoming) => {
      incoming.on('data', (chunk: Buffer) => (received += chunk.length)).on('error', () => undefined);
    });
    const relay = await relayTo(backend);
    const client = await connectTo(relay);
    stopTheClock();
    client.send(`${POST}Content-Length: 100000000\r\n\r\n`);
    // Worth more than a minute at the slowest pace, and so little that the upstream never makes the client wait
    client.send(Buffer.alloc(50_000));
    while (received < 50_000) await turns();
    vi.advanceTimersByTime(59_000);
    await turns();
    expect(client.received()).toBe('');
    const ended = once(client.socket, 'end');
    vi.advanceTimersByTime(1_100);
    await ended;
    expect(parseAnswer(client.received()).status).toBe(408);
  });

  test('waits for an upstream that takes nothing is not cut, and has its twenty seconds again once that goes on', async () => {
    let release: (() => void) | undefined;
    const backend = await startUpstream((incoming, outgoing) => {
      incoming.pause();
      release = () => {
        incoming.resume();
        incoming.on('end', () => outgoing.end('read'));
      };
    });
    const relay = await relayTo(backend, { timeouts: { responseTimeoutMs: 3_600_000 } });
    const client = await connectTo(relay);
    stopTheClock();
    const size = 20_000_000;
    client.send(requestText('POST /x', [`Content-Length: ${size}`]));
    client.send(Buffer.alloc(size - 1));
    for (let last = -1; client.socket.bytesWritten !== last; await turns(200)) last = client.socket.bytesWritten;
    vi.advanceTimersByTime(600_000);
    await turns();
    expect(client.received()).toBe('');
    expect(relay.outcomes).toEqual([]);
    const drained = once(client.socket, 'drain');
    release?.();
    await drained;
    await turns(200);
    vi.advanceTimersByTime(19_000);
    await turns();
    expect(client.received()).toBe('');
    const ended = once(client.socket, 'end');
    client.send('x');
    await ended;
    expect(parseAnswer(client.received()).body).toBe('read');
  });

  test.each([
    ['never sends it', ''],
    ['lets it drip', 'x'],
  ])('was refused before its short body was read, and %s, is cut after twenty seconds', async (_name, drop) => {
    const downstream = createDownstream({
      handle: (_incoming, outgoing) => void sendAnswer(outgoing, 401, [], '{}'),
      upgrade: (_incoming, socket) => socket.destroy(),
      mayUpgrade: () => false,
    });
    const port = await listening(downstream.server);
    closing({ close: async () => void (await downstream.drain(0)) });
    const client = await connectTo({ port });
    stopTheClock();
    client.send(`${POST}Content-Length: 1000\r\n\r\n`);
    await turns();
    expect(parseAnswer(client.received()).status).toBe(401);
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    for (let second = 0; second < 20; second += 1) {
      expect(client.socket.destroyed).toBe(false);
      if (drop !== '') client.send(drop);
      await turns(5);
      vi.advanceTimersByTime(1_000);
    }
    await closed;
  });
});

test('a client that takes no byte of its answer is cut, and so is the connection to the upstream', async () => {
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
    setTimeout(() => incoming.resume(), 1_500);
  });
  const relay = await relayTo(backend, { limits: { idleTimeoutMs: 1_000 } });
  const client = await connectTo(relay);
  const size = 20_000_000;
  client.send(requestText('POST /x', [`Content-Length: ${size}`]));
  client.send(Buffer.alloc(size));
  expect(parseAnswer(await client.closes()).body).toBe(String(size));
});

test('an idle connection is closed after its keep-alive time', async () => {
  const relay = await relayTo(await startRecordingUpstream(), { limits: IMPATIENT });
  const client = await connectTo(relay, 'GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n');
  expect(parseAnswer(await client.closes(4_000)).status).toBe(200);
});
