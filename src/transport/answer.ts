/** Which requests are refused by their raw lines, what the gate answers by itself, and how a connection ends with that. */
import { type IncomingMessage, STATUS_CODES, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { ALLOWED_METHODS, type ErrorCode, GatewayError } from '../errors.ts';
import type { HeaderLines } from './exchange.ts';
import { connectionOptions, fieldOf } from './headers.ts';

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

/** Up to this length head and body leave as one string: half the work of two buffers. */
export const JOINED_BYTES = 16 * 1024;

/** Latin-1 is the one coding in which a string is the bytes themselves. */
export function endWith(outgoing: ServerResponse, body?: Buffer): void {
  if (body === undefined || body.length === 0) outgoing.end();
  else if (body.length <= JOINED_BYTES) outgoing.end(body.toString('latin1'), 'latin1');
  else outgoing.end(body);
}

/** Where there is no request, and so no response. */
function rawAnswer(status: number, headers: HeaderLines, body: string): string {
  const lines = [...framed(status, headers, body), 'date', new Date().toUTCString(), 'connection', 'close'];
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  for (let index = 0; index + 1 < lines.length; index += 2) head += `${lines[index]}: ${lines[index + 1]}\r\n`;
  return `${head}\r\n${body}`;
}

/** For the error of a socket: its 'close' follows, and is listened to. */
export const ignore = (): void => undefined;

/** A response on a connection that Node has let go of, for an upgrade or CONNECT: the connection ends with it. */
export function responseOn(incoming: IncomingMessage): ServerResponse {
  const { socket } = incoming;
  const outgoing = new ServerResponse(incoming);
  outgoing.shouldKeepAlive = false;
  // A body without a length ends with the connection
  outgoing.removeHeader('transfer-encoding');
  outgoing.assignSocket(socket);
  socket.on('drain', () => outgoing.emit('drain'));
  outgoing.on('error', ignore).once('finish', () => {
    socket.resume();
    socket.end(() => socket.destroy());
  });
  return outgoing;
}

// A close with unread bytes becomes a reset, which takes the answer away from the client (RFC 9112 9.6): the write side
// closes first.

const LINGER_MS = 2_000;
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

function closeAfterAnswer(outgoing: ServerResponse): void {
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
  const give = (
    to: ServerResponse | Socket,
    { status, code, headers }: Pick<GatewayError, 'status' | 'headers'> & { readonly code?: ErrorCode },
    body: string,
  ): void => {
    const incoming = to instanceof ServerResponse ? to.req : undefined;
    const lines = Object.entries(headers).flat();
    ownAnswerEdit?.(lines, status, incoming);
    if (to instanceof Socket) linger(to, rawAnswer(status, lines, body));
    else if (!sendAnswer(to, status, lines, body)) return;
    answered?.({ status, code, incoming });
  };
  return {
    /** @param to the connection itself where what came is no request */
    error(to: ServerResponse | Socket, error: GatewayError): void {
      if (to instanceof ServerResponse) to.shouldKeepAlive = false;
      give(to, error, JSON.stringify({ detail: error.message, code: error.code }));
    },
    /** To an OPTIONS request that goes no further (RFC 9110 9.3.7). */
    options: (outgoing: ServerResponse) => give(outgoing, { status: 204, headers: { allow: ALLOWED_METHODS } }, ''),
  };
}

/** @returns Node's word for what is wrong with the bytes of a client, as a row of the error table */
export function toFault(nodeCode: string | undefined, maxHeaderBytes: number): GatewayError {
  if (nodeCode === 'ERR_HTTP_REQUEST_TIMEOUT') return new GatewayError('request_timeout');
  if (nodeCode === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return new GatewayError('body_too_large');
  if (nodeCode !== 'HPE_HEADER_OVERFLOW') return new GatewayError('request_malformed');
  const remedy = 'Delete the cookies of this site, or use a shorter address.';
  return new GatewayError('headers_too_large', { detail: `${beyondHeaderLimit(maxHeaderBytes)} ${remedy}` });
}

// Node's `headers` joins or drops repeated names, and what two readers understand differently is a way around either.

/** Longest head of a message, as in Open WebUI: the cookies of a sign-in by OAuth grow with the groups of the user. */
export const MAX_HEADER_BYTES = 64 * 1024;

export function beyondHeaderLimit(maxHeaderBytes: number): string {
  const size = maxHeaderBytes % 1024 === 0 ? `${maxHeaderBytes / 1024} KB` : `${maxHeaderBytes} bytes`;
  return `They have more than ${size} (MODELGATE_MAX_HEADER).`;
}

export const MAX_FIELDS = 100;

/** Any other would ask us to delete a field that the backend relies on. */
const CONNECTION_OPTIONS: ReadonlySet<string> = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings']);
type RequestHead = Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'rawHeaders'>;
/** A registered name or IPv4 address, or a bracketed IPv6 address; an optional port. */
const AUTHORITY = /^(?:[a-z\d._-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;

/** RFC 9112 3.2 (Host), 6.1 and 6.3 (framing); RFC 9110 7.6.1 (Connection), 9.3.8 (TRACE), 15.6.6 (version). */
export function findMalformation(incoming: RequestHead): GatewayError | undefined {
  const { method = '', url = '', httpVersion, rawHeaders } = incoming;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return fault('version_not_supported', `The request line says HTTP/${httpVersion}, or no version.`);
  }
  if (method === 'TRACE' || method === 'CONNECT') return fault('method_not_allowed', `${method} is refused.`);
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    const lines = rawHeaders.length / 2;
    return fault('headers_too_large', `There are ${lines} lines; at most ${MAX_FIELDS} are accepted.`);
  }
  if (!url.startsWith('/') && !(url === '*' && method === 'OPTIONS')) {
    return malformed('The request target must be a path.');
  }
  let [hosts, framings] = [0, 0];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    const value = rawHeaders[index + 1] ?? '';
    if (name === 'host') {
      hosts += 1;
      if (!AUTHORITY.test(value)) return malformed('The Host field is not a host name with an optional port.');
    } else if (name === 'content-length') {
      framings += 1;
      if (!/^\d{1,15}$/.test(value)) return malformed('The Content-Length field is not a number.');
    } else if (name === 'transfer-encoding') {
      framings += 1;
      if (value.toLowerCase() !== 'chunked') return malformed('The only Transfer-Encoding served here is chunked.');
      if (httpVersion !== '1.1') return malformed('HTTP/1.0 has no Transfer-Encoding.');
    } else if (name === 'connection') {
      const odd = connectionOptions(value).find((option) => !CONNECTION_OPTIONS.has(option));
      if (odd !== undefined) return malformed('The Connection field names an option that is not served here.');
    }
  }
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) return malformed('Exactly one Host field is needed.');
  if (framings > 1) return malformed('The length of the body is given more than once.');
  return undefined;
}

/** Whether the request asks for a WebSocket and for nothing else (RFC 6455 4.2.1): GET, no body, one known protocol. */
export function asksForWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
  if (method !== 'GET' || httpVersion !== '1.1' || hasBody) return false;
  // Node joins lines of one name: of two protocols neither is the whole value
  const isOne = headers.upgrade?.trim().toLowerCase() === 'websocket';
  return isOne && connectionOptions(headers.connection ?? '').includes('upgrade');
}

const fault = (code: ErrorCode, detail: string): GatewayError => new GatewayError(code, { detail });
const malformed = (detail: string): GatewayError => fault('request_malformed', detail);
