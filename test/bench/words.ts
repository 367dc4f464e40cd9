/** Both ends of many streams in one process, so that one clock tells how long a word was under way. */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

export const WORD_EVERY_MS = 500;
/** Streams are served in slices, so that words come evenly and not all at once. */
const SLICE_MS = 10;
const SLICES = WORD_EVERY_MS / SLICE_MS;
/** Connections opened at once; the backlog of a listener is 511. */
const OPENED_AT_ONCE = 100;

export interface WordBackend extends AsyncDisposable {
  readonly url: string;
}

/** Answers every POST with a stream of events, each of which says when it was sent. */
export async function startWordBackend(): Promise<WordBackend> {
  const slices = Array.from({ length: SLICES }, () => new Set<ServerResponse>());
  let next = 0;
  const server = createServer((incoming, outgoing) => {
    if (incoming.method === 'GET') return void outgoing.end('{}');
    const slice = slices[(next += 1) % SLICES] ?? new Set();
    incoming.resume();
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    slice.add(outgoing);
    outgoing.on('close', () => slice.delete(outgoing));
  });
  let at = 0;
  let sentAt = performance.now();
  const timer = setInterval(() => {
    // a timer that was late makes up for it, as a provider would
    for (; performance.now() - sentAt >= SLICE_MS; sentAt += SLICE_MS) {
      for (const outgoing of slices[(at += 1) % SLICES] ?? []) outgoing.write(`data: ${performance.now()} word\n\n`);
    }
  }, SLICE_MS);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

export class WordClients {
  /** Milliseconds from a word sent by the backend to the word read here. */
  delays: number[] = [];
  broken = 0;
  readonly #url: URL;
  readonly #request: string;
  readonly #sockets: Socket[] = [];
  #closing = false;

  constructor(url: URL, token: string, chat: string) {
    this.#url = url;
    const body = chat.replace('"stream":false', '"stream":true');
    const head = ['POST /api/chat/completions HTTP/1.1', 'Host: gate.test', `Authorization: Bearer ${token}`];
    head.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`);
    this.#request = `${head.join('\r\n')}\r\n\r\n${body}`;
  }

  get running(): number {
    return this.#sockets.filter((socket) => !socket.destroyed).length;
  }

  /** @returns once every stream has said its first word */
  async open(count: number): Promise<void> {
    while (this.#sockets.length < count) {
      const wave = Math.min(OPENED_AT_ONCE, count - this.#sockets.length);
      await Promise.all(Array.from({ length: wave }, () => this.#openOne()));
    }
  }

  forget(): void {
    this.delays = [];
  }

  close(): void {
    this.#closing = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  #openOne(): Promise<void> {
    const socket = connect(Number(this.#url.port), this.#url.hostname);
    this.#sockets.push(socket);
    socket.write(this.#request);
    return new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => {
        if (!this.#closing) this.broken += 1;
        reject(new Error('a stream was closed'));
      });
      socket.on('data', (bytes: Buffer) => {
        const now = performance.now();
        for (const [, sentAt] of bytes.toString('latin1').matchAll(WORD)) {
          this.delays.push(now - Number(sentAt));
          resolve();
        }
      });
    });
  }
}

const WORD = /data: ([\d.]+) word/g;
