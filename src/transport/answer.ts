/** Answers that the gate gives by itself, and how a connection ends with one. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { HeaderLines } from './exchange.ts';
import { fieldOf } from './headers.ts';

/**
 * Sends a complete answer, JSON unless `headers` say otherwise. Never throws: a client that has left, or an answer
 * already begun, makes it a no-op.
 *
 * @param body for HEAD only its length is sent
 * @returns whether the answer was sent
 */
export function sendAnswer(
  outgoing: ServerResponse,
  status: number,
  headers: HeaderLines,
  body: string | Buffer,
): boolean {
  if (outgoing.headersSent || outgoing.destroyed || outgoing.writableEnded) return false;
  // RFC 9110 15.5.9: what comes after a request that did not arrive in time cannot be told from its rest.
  if (status === 408) closeAfterAnswer(outgoing.req, outgoing);
  else closeIfUnread(outgoing.req, outgoing);
  const lines = [...headers];
  if (fieldOf(headers, 'content-type') === undefined) lines.push('content-type', 'application/json');
  if (status !== 204 && status !== 304) lines.push('content-length', String(Buffer.byteLength(body)));
  outgoing.writeHead(status, lines);
  outgoing.end(body);
  return true;
}

/** The same as bytes, for a connection that Node has no response object for (broken requests, upgrades, CONNECT). */
export function rawAnswer(status: number, headers: HeaderLines, body: string): string {
  const lines = [...headers];
  if (fieldOf(headers, 'content-type') === undefined) lines.push('content-type', 'application/json');
  lines.push('date', new Date().toUTCString(), 'content-length', String(Buffer.byteLength(body)));
  return rawHead(status, [...lines, 'connection', 'close']) + body;
}

/** @returns status line, header lines, and the empty line after them */
export function rawHead(status: number, lines: HeaderLines): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  for (let index = 0; index + 1 < lines.length; index += 2) head += `${lines[index]}: ${lines[index + 1]}\r\n`;
  return `${head}\r\n`;
}

/** Refuses an upgrade: the answer, then the end of the connection. Never throws. */
export function refuseUpgrade(socket: Duplex, status: number, headers: HeaderLines, body: string): void {
  if (socket.destroyed || !socket.writable) return;
  // Once the bytes are out there is nothing to wait for: an upgrade request has no body.
  socket.end(rawAnswer(status, headers, body), () => socket.destroy());
}

// A close with unread bytes becomes a reset, which takes the answer away from the client (RFC 9112 9.6). So the write
// side closes first, and what comes in is dropped for a while.

/** How long a client may go on sending after it was answered. */
const LINGER_MS = 2_000;
/** A body of at most this length is read and dropped, so that the connection can serve the next request. */
const DROPPED_BODY_BYTES = 64 * 1024;
/** And within this time of the answer. */
const DROPPING_MS = 20_000;

const closing = new WeakSet<Socket>();

/** True once the last answer of this connection is on its way: further requests on it are not served. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket);
}

/** Bytes that the request declares to follow: 0 without a body, `Infinity` for a chunked one. */
export function declaredBytes(incoming: IncomingMessage): number {
  if (incoming.headers['transfer-encoding'] !== undefined) return Infinity;
  const declared = incoming.headers['content-length'];
  return declared === undefined ? 0 : Number(declared);
}

/** Call before the headers of an answer are written while the request's body may not have been read to its end. */
export function closeIfUnread(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (incoming.complete) return;
  const declared = declaredBytes(incoming);
  if (declared === 0) return;
  if (declared <= DROPPED_BODY_BYTES && incoming.headers.expect === undefined) outgoing.once('finish', dropBody);
  else closeAfterAnswer(incoming, outgoing);
}

/** Node drops the rest as it comes, however slowly that is. */
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

/** `Connection: close` on the answer. The client may finish sending; what it sends is dropped. */
export function closeAfterAnswer(incoming: IncomingMessage, outgoing: ServerResponse): void {
  outgoing.shouldKeepAlive = false;
  const { socket } = outgoing;
  if (socket === null || closing.has(socket)) return;
  closing.add(socket);
  // Node calls it once the answer is out; its own closes both sides at once.
  socket.destroySoon = () => {
    incoming.resume();
    linger(socket);
  };
}

/** Sends `last`, closes the write side, drops what comes, and destroys the socket when the client is done or slow. */
export function linger(socket: Socket, last?: string): void {
  closing.add(socket);
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
  if (last === undefined) socket.end();
  else socket.end(last);
}
