/** Answers that the gate gives by itself, and how a connection ends with one. */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ALLOWED_METHODS, type ErrorCode, GatewayError } from '../errors.ts';
import type { HeaderLines } from './exchange.ts';
import { fieldOf } from './headers.ts';
import { beyondHeaderLimit } from './request-rules.ts';

/** Never throws. @returns false where the client has left, or an answer has begun */
export function sendAnswer(
  outgoing: ServerResponse,
  status: number,
  headers: HeaderLines,
  body: string | Buffer,
): boolean {
  if (outgoing.headersSent || outgoing.destroyed || outgoing.writableEnded) return false;
  // RFC 9110 15.5.9: bytes after a request that did not arrive in time may be its rest.
  if (status === 408) closeAfterAnswer(outgoing);
  else closeIfUnread(outgoing);
  outgoing.writeHead(status, framed(status, headers, body));
  outgoing.end(body);
  return true;
}

function framed(status: number, headers: HeaderLines, body: string | Buffer): string[] {
  const lines = [...headers];
  if (fieldOf(headers, 'content-type') === undefined) lines.push('content-type', 'application/json');
  if (status !== 204 && status !== 304) lines.push('content-length', String(Buffer.byteLength(body)));
  return lines;
}

const rawAnswer = (status: number, headers: HeaderLines, body: string): string =>
  rawHead(status, [...framed(status, headers, body), 'date', new Date().toUTCString(), 'connection', 'close']) + body;

export function rawHead(status: number, lines: HeaderLines): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  for (let index = 0; index + 1 < lines.length; index += 2) head += `${lines[index]}: ${lines[index + 1]}\r\n`;
  return `${head}\r\n`;
}

/** Refuses an upgrade, and ends the connection. Never throws. */
export function refuseUpgrade(socket: Duplex, status: number, headers: HeaderLines, body: string): void {
  if (socket.destroyed || !socket.writable) return;
  socket.end(rawAnswer(status, headers, body), () => socket.destroy());
}

// A close with unread bytes becomes a reset, which takes the answer away from the client (RFC 9112 9.6): the write side
// closes first.

const LINGER_MS = 2_000;
/** A body up to this length is read and dropped, so that the connection can serve the next request. */
const DROPPED_BODY_BYTES = 64 * 1024;
const DROPPING_MS = 20_000;

const closing = new WeakSet<Socket>();

/** True once the last answer of this connection is on its way. */
export const isClosing = (socket: Socket): boolean => closing.has(socket);

/** Bytes that the request declares: 0 without a body, `Infinity` for a chunked one. */
export function declaredBytes({ headers }: IncomingMessage): number {
  if (headers['transfer-encoding'] !== undefined) return Infinity;
  const declared = headers['content-length'];
  return declared === undefined ? 0 : Number(declared);
}

/** Call before the headers of an answer are written while the request's body may not be read to its end. */
export function closeIfUnread(outgoing: ServerResponse): void {
  const { req: incoming } = outgoing;
  if (incoming.complete) return;
  const declared = declaredBytes(incoming);
  if (declared === 0) return;
  if (declared <= DROPPED_BODY_BYTES && incoming.headers.expect === undefined) outgoing.once('finish', dropBody);
  else closeAfterAnswer(outgoing);
}

function dropBody(this: ServerResponse): void {
  const { req } = this;
  const { socket } = req;
  if (req.complete) return;
  const timer = setTimeout(() => socket.destroy(), DROPPING_MS);
  const finish = () => {
    clearTimeout(timer);
    socket.off('close', finish);
  };
  req.once('close', finish);
  socket.once('close', finish);
}

/** `Connection: close` on the answer; what the client still sends is dropped. */
export function closeAfterAnswer(outgoing: ServerResponse): void {
  outgoing.shouldKeepAlive = false;
  const { socket, req: incoming } = outgoing;
  if (socket === null || closing.has(socket)) return;
  closing.add(socket);
  // Node calls it once the answer is out; its own closes both sides at once.
  socket.destroySoon = () => {
    incoming.resume();
    linger(socket);
  };
}

/** Closes the write side, drops what comes, and destroys the socket when the client is done or slow. */
function linger(socket: Socket, last?: string): void {
  closing.add(socket);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  if (last === undefined) socket.end();
  else socket.end(last);
}

export interface OwnAnswer {
  readonly status: number;
  readonly code?: ErrorCode | undefined;
  readonly incoming?: Pick<IncomingMessage, 'method' | 'url'> | undefined;
}

export interface OwnAnswerOptions {
  /** Adds lines; without a request where the bytes were none. */
  readonly ownAnswerEdit?: (lines: string[], status: number, incoming: IncomingMessage | undefined) => void;
  readonly answered?: (own: OwnAnswer) => void;
}

export type OwnAnswers = ReturnType<typeof createOwnAnswers>;

/** @returns the listener's own answers; each ends its connection, but for `options` */
export function createOwnAnswers({ ownAnswerEdit, answered }: OwnAnswerOptions) {
  const linesFor = (status: number, own: Readonly<Record<string, string>>, incoming?: IncomingMessage): string[] => {
    const lines = Object.entries(own).flat();
    ownAnswerEdit?.(lines, status, incoming);
    return lines;
  };
  const give = (
    { status, code, message, headers }: GatewayError,
    incoming: IncomingMessage | undefined,
    send: (status: number, lines: string[], body: string) => unknown,
  ): void => {
    const isSent = send(status, linesFor(status, headers, incoming), JSON.stringify({ detail: message, code }));
    if (isSent !== false) answered?.({ status, code, incoming });
  };
  return {
    error(outgoing: ServerResponse, error: GatewayError): void {
      outgoing.shouldKeepAlive = false;
      give(error, outgoing.req, (...answer) => sendAnswer(outgoing, ...answer));
    },
    errorOnSocket(incoming: IncomingMessage, socket: Duplex, error: GatewayError): void {
      give(error, incoming, (...answer) => refuseUpgrade(socket, ...answer));
    },
    broken(socket: Socket, error: GatewayError): void {
      give(error, undefined, (...answer) => linger(socket, rawAnswer(...answer)));
    },
    /** To an OPTIONS request that goes no further (RFC 9110 9.3.7). */
    options(outgoing: ServerResponse): void {
      sendAnswer(outgoing, 204, linesFor(204, { allow: ALLOWED_METHODS }, outgoing.req), '');
      answered?.({ status: 204, incoming: outgoing.req });
    },
  };
}

/** @returns Node's word for what is wrong with the bytes of a client, as a row of the error table */
export function toFault(nodeCode: string | undefined, maxHeaderBytes: number): GatewayError {
  if (nodeCode === 'ERR_HTTP_REQUEST_TIMEOUT') return new GatewayError('request_timeout');
  if (nodeCode === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return new GatewayError('body_too_large');
  if (nodeCode !== 'HPE_HEADER_OVERFLOW') return new GatewayError('request_malformed');
  // The parser stops at the limit, so that the real length is not known
  const remedy = 'Delete the cookies of this site, or use a shorter address.';
  return new GatewayError('headers_too_large', { detail: `${beyondHeaderLimit(maxHeaderBytes)} ${remedy}` });
}
