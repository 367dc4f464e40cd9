/** Backends for tests of the transport: one that records what it was asked, one that answers with given bytes. */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Server as TcpServer, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { withTimeout } from '../process/with-timeout.ts';

export interface RecordedRequest {
  readonly method: string;
  readonly url: string;
  /** Lower-case names in the order received; repeated fields stay apart. */
  readonly fields: readonly (readonly [string, string])[];
  body: string;
  all(name: string): string[];
  has(name: string): boolean;
}

export interface RecordingUpstream {
  readonly origin: string;
  readonly port: number;
  readonly server: Server;
  readonly requests: RecordedRequest[];
  last(): RecordedRequest;
  close(): Promise<void>;
}

/** Records each request, reads its body, then calls `answer` (default: 200 with `ok`). */
export async function startRecordingUpstream(answer: RequestListener = answerOk): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = [];
  // more than the gate lets through: what is too large is the gate's to say
  const server = createServer({ maxHeaderSize: 256 * 1024 }, (incoming, outgoing) => {
    const request = record(incoming);
    requests.push(request);
    const parts: Buffer[] = [];
    incoming.on('error', () => undefined);
    incoming.on('data', (chunk: Buffer) => parts.push(chunk));
    incoming.on('end', () => {
      request.body = Buffer.concat(parts).toString('latin1');
      answer(incoming, outgoing);
    });
  });
  const port = await listening(server);
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    server,
    requests,
    last() {
      const request = requests.at(-1);
      if (request === undefined) throw new Error('the upstream was not asked');
      return request;
    },
    close: () => closed(server),
  };
}

/** A server of Node's with a handler of the test's own, nothing read and nothing recorded. */
export async function startUpstream(
  handler: RequestListener,
): Promise<{ origin: string; port: number; server: Server; close(): Promise<void> }> {
  const server = createServer(handler);
  const port = await listening(server);
  return { origin: `http://127.0.0.1:${port}`, port, server, close: () => closed(server) };
}

export interface ByteUpstream {
  readonly origin: string;
  readonly port: number;
  /** Connections in the order they came. */
  readonly sockets: Socket[];
  /** Everything that came in, per connection, latin-1. */
  readonly texts: string[];
  close(): Promise<void>;
}

/** Speaks TCP: `talk` is called with each connection once a whole request head has come in. */
export async function startByteUpstream(talk: (socket: Socket, head: string) => void): Promise<ByteUpstream> {
  const sockets: Socket[] = [];
  const texts: string[] = [];
  const server = createTcpServer((socket) => {
    const index = sockets.push(socket) - 1;
    texts.push('');
    let started = false;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      const text = (texts[index] ?? '') + chunk.toString('latin1');
      texts[index] = text;
      if (started || !text.includes('\r\n\r\n')) return;
      started = true;
      talk(socket, text);
    });
  });
  const port = await listening(server);
  return {
    origin: `http://127.0.0.1:${port}`,
    port,
    sockets,
    texts,
    async close() {
      for (const socket of sockets) socket.destroy();
      await closed(server);
    },
  };
}

/** An upstream that sends `bytes` and then closes, resets, or keeps the connection open. */
export function startScriptedUpstream(
  bytes: string,
  then: 'close' | 'reset' | 'open' = 'close',
): Promise<ByteUpstream> {
  return startByteUpstream((socket) => {
    socket.write(Buffer.from(bytes, 'latin1'), () => {
      if (then === 'close') socket.end();
      else if (then === 'reset') socket.resetAndDestroy();
    });
  });
}

export async function listening(server: Server | TcpServer): Promise<number> {
  await withTimeout(
    new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)),
    5_000,
    'the server to listen',
  );
  return (server.address() as AddressInfo).port;
}

export function closed(server: Server | TcpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
}

function answerOk(_incoming: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.writeHead(200, { 'content-type': 'text/plain' });
  outgoing.end('ok');
}

function record(incoming: IncomingMessage): RecordedRequest {
  const { rawHeaders, method = '', url = '' } = incoming;
  const fields: [string, string][] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    fields.push([(rawHeaders[index] ?? '').toLowerCase(), rawHeaders[index + 1] ?? '']);
  }
  const all = (name: string) => fields.filter(([key]) => key === name).map(([, value]) => value);
  return { method, url, fields, body: '', all, has: (name) => all(name).length > 0 };
}
