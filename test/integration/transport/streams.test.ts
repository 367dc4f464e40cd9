/** Bytes go through as they come, both ways, and no more of them are held than fit the buffers. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parseAnswer, requestText } from '../../support/gate/raw-connection.ts';
import type { RelayReport } from '../../support/gate/relay-process.ts';
import { closing, connectTo, relayTo } from '../../support/gate/transport.ts';
import { startUpstream } from '../../support/upstream/upstreams.ts';
import { until, untilStill, withTimeout } from '../../support/process/with-timeout.ts';

const HALF_A_GIGABYTE = 512 * 1024 ** 2;
const BLOCK = Buffer.alloc(256 * 1024, 'x');

interface ForkedRelay {
  readonly port: number;
  /** The most memory that it has had so far beyond what it had at its start. */
  growth(): number;
}

async function forkRelay(upstream: string): Promise<ForkedRelay> {
  const script = fileURLToPath(new URL('../../support/gate/relay-process.ts', import.meta.url));
  const child = fork(script, [upstream], { execArgv: [] });
  closing({ close: () => void child.kill('SIGKILL') });
  const [report] = (await withTimeout(once(child, 'message'), 10_000, 'the relay to start')) as [RelayReport];
  let highest = report.rssBytes;
  child.on('message', ({ rssBytes }: RelayReport) => (highest = Math.max(highest, rssBytes)));
  return { port: report.port, growth: () => highest - report.rssBytes };
}

/** Writes `bytes` in blocks, waiting for room; returns what was written when it is all out or the sink has gone. */
async function pour(sink: Writable, bytes: number): Promise<void> {
  for (let written = 0; written < bytes; written += BLOCK.length) if (!sink.write(BLOCK)) await once(sink, 'drain');
  sink.end();
}

test('an event leaves as it comes, and each one before the next is made', async () => {
  let next: (() => void) | undefined;
  const backend = await startUpstream((_incoming, outgoing) => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    outgoing.flushHeaders();
    let count = 0;
    next = () => {
      count += 1;
      if (count <= 5) outgoing.write(`data: ${count}\n\n`);
      else outgoing.end('data: [DONE]\n\n');
    };
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay, requestText('GET /x'));
  await client.receives('text/event-stream');
  for (let count = 1; count <= 5; count += 1) {
    next?.();
    await client.receives(`data: ${count}\n\n`);
  }
  next?.();
  expect(parseAnswer(await client.closes()).body).toBe(
    'data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\ndata: 5\n\ndata: [DONE]\n\n',
  );
});

test('an upload reaches the upstream as it comes', async () => {
  const seen: string[] = [];
  const backend = await startUpstream((incoming, outgoing) => {
    incoming.on('data', (chunk: Buffer) => seen.push(chunk.toString()));
    incoming.on('end', () => outgoing.end('done'));
  });
  const relay = await relayTo(backend);
  const client = await connectTo(relay, requestText('POST /x', ['Transfer-Encoding: chunked']));
  for (const part of ['one', 'two', 'six']) {
    client.send(`3\r\n${part}\r\n`);
    await until(() => seen.join('').includes(part), 2_000, `"${part}" to arrive`);
  }
  client.send('0\r\n\r\n');
  expect(parseAnswer(await client.closes()).body).toBe('done');
});

test('half a gigabyte down and half a gigabyte up pass with flat memory', async () => {
  let uploaded = 0;
  const backend = closing(
    await startUpstream((incoming, outgoing) => {
      if (incoming.method === 'GET') {
        outgoing.writeHead(200, { 'content-length': String(HALF_A_GIGABYTE) });
        void pour(outgoing, HALF_A_GIGABYTE);
        return;
      }
      incoming.on('data', (chunk: Buffer) => (uploaded += chunk.length));
      incoming.on('end', () => outgoing.end(String(uploaded)));
    }),
  );
  const relay = await forkRelay(backend.origin);
  const { port } = relay;
  const download = request({ port, path: '/down' }).end();
  const [answer] = (await once(download, 'response')) as [IncomingMessage];
  let downloaded = 0;
  answer.on('data', (chunk: Buffer) => (downloaded += chunk.length));
  await once(answer, 'end');
  expect(downloaded).toBe(HALF_A_GIGABYTE);

  const upload = request({ port, path: '/up', method: 'POST', headers: { 'content-length': HALF_A_GIGABYTE } });
  const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
  await pour(upload, HALF_A_GIGABYTE);
  const [receipt] = await answered;
  receipt.resume();
  expect(receipt.statusCode).toBe(200);
  expect(uploaded).toBe(HALF_A_GIGABYTE);
  expect(relay.growth()).toBeGreaterThan(0);
  expect(relay.growth()).toBeLessThan(100 * 1024 * 1024);
}, 90_000);

test('an upstream does not get ahead of a client that stops reading, nor loses a byte of it', async () => {
  const total = 64 * 1024 * 1024;
  let sent = 0;
  const backend = await startUpstream((_incoming, outgoing) => {
    const more = () => {
      while (sent < total) {
        sent += BLOCK.length;
        if (!outgoing.write(BLOCK)) {
          outgoing.once('drain', more);
          return;
        }
      }
      outgoing.end();
    };
    more();
  });
  const relay = await relayTo(backend);
  const download = request({ port: relay.port, path: '/x' }).end();
  const [answer] = (await once(download, 'response')) as [IncomingMessage];
  answer.pause();
  await untilStill(() => sent, 'the upstream to be held up');
  expect(sent).toBeLessThan(32 * 1024 * 1024);
  let received = 0;
  answer.on('data', (chunk: Buffer) => (received += chunk.length));
  answer.resume();
  await once(answer, 'end');
  expect(received).toBe(total);
});

test('a client does not get ahead of an upstream that stops reading', async () => {
  let release: (() => void) | undefined;
  let received = 0;
  const backend = await startUpstream((incoming, outgoing) => {
    incoming.on('data', (chunk: Buffer) => (received += chunk.length));
    incoming.pause();
    release = () => incoming.resume();
    incoming.on('end', () => outgoing.end(String(received)));
  });
  const relay = await relayTo(backend);
  const total = 64 * 1024 * 1024;
  const upload = request({ port: relay.port, path: '/x', method: 'POST', headers: { 'content-length': total } });
  const answered = once(upload, 'response') as Promise<[IncomingMessage]>;
  const poured = pour(upload, total);
  await until(() => release !== undefined && upload.writableNeedDrain, 3_000, 'the upload to be held up');
  const written = () => upload.socket?.bytesWritten ?? 0;
  await untilStill(written, 'the client to be held up');
  expect(written()).toBeLessThan(32 * 1024 * 1024);
  release?.();
  await poured;
  const [answer] = await answered;
  answer.resume();
  expect(received).toBe(total);
});

test('three hundred event streams run side by side and none is held up', async () => {
  const streams = new Set<{ write(text: string): boolean; end(): unknown }>();
  const backend = await startUpstream((_incoming, outgoing) => {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    outgoing.write('data: 0\n\n');
    streams.add(outgoing);
  });
  const relay = await relayTo(backend);
  const clients = await Promise.all(Array.from({ length: 300 }, () => connectTo(relay)));
  for (const client of clients) client.send(requestText('GET /x'));
  await Promise.all(clients.map((client) => client.receives('data: 0')));
  for (const stream of streams) stream.write('data: 1\n\n');
  await Promise.all(clients.map((client) => client.receives('data: 1')));
  for (const stream of streams) stream.end();
  await Promise.all(clients.map((client) => client.closes()));
  expect(relay.outcomes.filter((outcome) => outcome === '200')).toHaveLength(300);
});
