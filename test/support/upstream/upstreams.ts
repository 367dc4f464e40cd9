/** Upstreams for tests: a recorder with an answer of the test's own, and sockets that send given bytes. */
import { type IncomingMessage, type RequestListener, type Server, type ServerResponse, createServer } from 'node:http';
import { type AddressInfo, type Server as TcpServer, type Socket, createServer as createTcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { modelsNamed } from '../gate/models-named.ts';
import { withTimeout } from '../process/with-timeout.ts';

/** One request as it came. What is read of the body is empty until the body has ended. */
export class RecordedRequest {
  readonly method: string;
  /** The request target, exactly as it came. */
  readonly url: string;
  /** Name, value, name, value. */
  readonly rawHeaders: readonly string[];
  bytes: Buffer = Buffer.alloc(0);

  constructor({ method = '', url = '', rawHeaders }: IncomingMessage) {
    this.method = method;
    this.url = url;
    this.rawHeaders = rawHeaders;
  }

  /** Without its query. */
  get path(): string {
    return this.url.replace(/\?.*$/s, '');
  }

  /** The body as latin-1: one character a byte. */
  get body(): string {
    return this.bytes.toString('latin1');
  }

  /** The body parsed, or its text where it is no JSON. */
  get json(): unknown {
    const text = this.bytes.toString('utf8');
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  }

  /** Each model id that the body or the path names, without repeats. */
  get models(): readonly string[] {
    return modelsNamed(this.path, this.json);
  }

  /** @param name in lower case @returns the value of each line of that name */
  all(name: string): string[] {
    return this.rawHeaders.filter((_value, at) => at % 2 === 1 && this.rawHeaders[at - 1]?.toLowerCase() === name);
  }

  has(name: string): boolean {
    return this.all(name).length > 0;
  }
}

export interface Upstream extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly origin: string;
  readonly port: number;
  readonly server: Server;
  close(): Promise<void>;
}

export interface RecordingUpstream extends Upstream {
  /** Oldest first; a request is in it as soon as its head has come. */
  readonly requests: RecordedRequest[];
  last(): RecordedRequest;
  /** Every model id that was asked for, in order of first mention, without repeats. */
  asked(): string[];
  /** Forgets what was recorded. */
  reset(): void;
  /** The first whole request that fits, of those recorded and those to come; fails after `ms`. */
  arrival(fits: (request: RecordedRequest) => boolean, ms?: number): Promise<RecordedRequest>;
  /** What is posted from now on is recorded at once, and answered when the function is called that this returns. */
  hold(): () => void;
}

/** Called when the body has ended. */
export type Answer = (incoming: IncomingMessage, outgoing: ServerResponse, request: RecordedRequest) => unknown;

const answerOk: Answer = (_incoming, outgoing) => outgoing.writeHead(200, { 'content-type': 'text/plain' }).end('ok');

/** Records each request, reads its body, then calls `answer` (default: 200 with `ok`). */
export async function startRecordingUpstream(answer: Answer = answerOk): Promise<RecordingUpstream> {
  const requests: RecordedRequest[] = [];
  const waiting = new Set<(request: RecordedRequest) => void>();
  let held: Promise<undefined> | undefined;
  const upstream = await startUpstream((incoming, outgoing) => {
    const request = new RecordedRequest(incoming);
    requests.push(request);
    const parts: Buffer[] = [];
    incoming.on('error', () => undefined);
    incoming.on('data', (chunk: Buffer) => parts.push(chunk));
    incoming.on('end', () => {
      request.bytes = Buffer.concat(parts);
      for (const see of waiting) see(request);
      if (held === undefined || request.method !== 'POST') void answer(incoming, outgoing, request);
      else void held.then(() => answer(incoming, outgoing, request));
    });
  });
  return {
    ...upstream,
    requests,
    last() {
      const request = requests.at(-1);
      if (request === undefined) throw new Error('the upstream was not asked');
      return request;
    },
    asked: () => [...new Set(requests.flatMap(({ models }) => models))],
    reset: () => void requests.splice(0),
    arrival(fits, ms = 10_000) {
      const known = requests.find(fits);
      if (known !== undefined) return Promise.resolve(known);
      const { promise, resolve } = Promise.withResolvers<RecordedRequest>();
      const see = (request: RecordedRequest) => void (fits(request) && resolve(request));
      waiting.add(see);
      return withTimeout(promise, ms, 'a request arrives at the provider').finally(() => waiting.delete(see));
    },
    hold() {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      held = promise;
      return () => {
        held = undefined;
        resolve(undefined);
      };
    },
  };
}

/** A server of Node's with a handler of the test's own, nothing read and nothing recorded. @param port 0 is any */
export async function startUpstream(handler: RequestListener, port = 0): Promise<Upstream> {
  // more than the gate lets through: what is too large is the gate's to say
  const server = createServer({ maxHeaderSize: 256 * 1024 }, handler);
  const bound = await listening(server, port);
  const close = () => closed(server);
  return { origin: `http://127.0.0.1:${bound}`, port: bound, server, close, [Symbol.asyncDispose]: close };
}

export interface SlowUpstream extends Upstream {
  /** The next request for `/slow`, whose answer has begun and is never ended by the upstream itself. */
  held(): Promise<ServerResponse>;
}

/** Answers with the path, but for `/slow`, whose answer the test ends. @param port 0 is any */
export async function startSlowUpstream(port = 0): Promise<SlowUpstream> {
  const waiting: ((response: ServerResponse) => void)[] = [];
  const upstream = await startUpstream(({ url = '' }, outgoing) => {
    if (url !== '/slow') return void outgoing.end(`backend ${url}`);
    outgoing.writeHead(200, { 'content-type': 'text/plain' }).write('begun');
    waiting.shift()?.(outgoing);
  }, port);
  return {
    ...upstream,
    held: () => withTimeout(new Promise((resolve) => waiting.push(resolve)), 10_000, 'a request for /slow'),
  };
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

/** @param port 0 is any @returns the port @throws the listener's own error, such as EADDRINUSE */
export async function listening(server: Server | TcpServer, port = 0): Promise<number> {
  const listens = new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(port, '127.0.0.1', resolve),
  );
  await withTimeout(listens, 5_000, 'the server to listen');
  return (server.address() as AddressInfo).port;
}

export function closed(server: Server | TcpServer): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
}

export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** One piece after the other, with a gap between them, for as long as the caller listens. */
export async function writeSlowly(response: ServerResponse, pieces: Iterable<string>, gapMs: number): Promise<void> {
  for (const piece of pieces) {
    if (response.destroyed) return;
    response.write(piece);
    if (gapMs > 0) await sleep(gapMs);
  }
  response.end();
}
