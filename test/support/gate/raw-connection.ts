/** A client that sends exactly the bytes it is given: what no HTTP library would let a test send. */
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { withTimeout } from '../process/with-timeout.ts';

export interface RawConnection {
  readonly socket: Socket;
  /** Everything received so far, latin-1. */
  received(): string;
  send(bytes: string | Buffer): void;
  /** Waits until what was received satisfies `condition`. */
  receives(condition: string | ((text: string) => boolean), label?: string): Promise<string>;
  /** Waits until the other side has closed; by a reset too. */
  closes(ms?: number): Promise<string>;
  close(): void;
}

export interface RawAnswer {
  readonly status: number;
  /** Lower-case names; repeated fields stay apart. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  field(name: string): string | undefined;
}

/** How long a busy machine may take for what comes at once on a quiet one. */
const PATIENCE_MS = 15_000;

/** @param bytes what it sends at once */
export async function openConnection(port: number, bytes?: string | Buffer): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  const waiting = new Set<() => void>();
  const changed = () => {
    for (const check of [...waiting]) check();
  };
  let closed = false;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    changed();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    closed = true;
    changed();
  });
  await withTimeout(once(socket, 'connect'), PATIENCE_MS, 'connect');
  const until = (holds: () => boolean, ms: number, label: string) =>
    withTimeout(
      new Promise<string>((resolve) => {
        const check = () => {
          if (!holds()) return;
          waiting.delete(check);
          resolve(text);
        };
        waiting.add(check);
        check();
      }),
      ms,
      label,
    ).catch((error: unknown) => {
      throw new Error(`${String(error)}; received ${JSON.stringify(text.slice(0, 600))}`);
    });
  const send = (more: string | Buffer) =>
    void socket.write(typeof more === 'string' ? Buffer.from(more, 'latin1') : more);
  if (bytes !== undefined) send(bytes);
  return {
    socket,
    received: () => text,
    send,
    receives: (condition, label = `to receive ${String(condition)}`) =>
      until(() => (typeof condition === 'string' ? text.includes(condition) : condition(text)), PATIENCE_MS, label),
    closes: (ms = PATIENCE_MS) => until(() => closed, ms, 'the connection to be closed'),
    close: () => socket.destroy(),
  };
}

/** Sends one request, asks for the connection to be closed unless told otherwise, and returns the whole answer. */
export async function rawRequest(port: number, bytes: string | Buffer, ms = PATIENCE_MS): Promise<RawAnswer> {
  const connection = await openConnection(port, bytes);
  try {
    return parseAnswer(await connection.closes(ms));
  } finally {
    connection.close();
  }
}

/** The request text of the given lines, `Host` and `Connection: close` included. */
export function requestText(line: string, headers: readonly string[] = [], body = ''): string {
  return [`${line} HTTP/1.1`, 'Host: gate.test', ...headers, 'Connection: close', '', body].join('\r\n');
}

/** Reads the last answer's head and body (chunked bodies joined) of what a connection received; 1xx are passed over. */
export function parseAnswer(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) throw new Error(`not an answer: ${JSON.stringify(text.slice(0, 300))}`);
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  if (status < 200 && status !== 101) return parseAnswer(text.slice(end + 4));
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const field = (name: string) => headers.find(([key]) => key === name)?.[1];
  const rest = text.slice(end + 4);
  return { status, headers, body: field('transfer-encoding') === 'chunked' ? joinChunks(rest) : rest, field };
}

function joinChunks(text: string): string {
  let joined = '';
  let rest = text;
  for (;;) {
    const lineEnd = rest.indexOf('\r\n');
    const size = parseInt(rest.slice(0, lineEnd), 16);
    if (lineEnd < 0 || !(size >= 0)) throw new Error(`a chunk is missing: ${JSON.stringify(text.slice(-100))}`);
    if (size === 0) return joined;
    if (rest.length < lineEnd + 2 + size + 2) throw new Error('a chunk is cut');
    joined += rest.slice(lineEnd + 2, lineEnd + 2 + size);
    rest = rest.slice(lineEnd + 2 + size + 2);
  }
}
