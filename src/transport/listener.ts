/**
 * The downstream side: Node's HTTP server with every size and time bounded. It lets through only requests that two
 * readers cannot understand differently (`request-rules.ts`) and answers the rest itself.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ALLOWED_METHODS, ERRORS, GatewayError } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { rawAnswer, refuseUpgrade, sendAnswer } from './answer.ts';
import type { AnswerEdit } from './answer-edit.ts';
import { awaitContinue } from './body.ts';
import type { HeaderLines } from './exchange.ts';
import { isClosing, linger } from './linger.ts';
import { asksForWebSocket, findMalformation } from './request-rules.ts';
import { Traffic } from './traffic.ts';

export interface DownstreamLimits {
  /** Until the request line and headers are there. */
  readonly headersTimeoutMs: number;
  /** Longest silence of a client that has to send its body, or to take its answer. */
  readonly idleTimeoutMs: number;
  /** How long an idle connection is kept; longer than the front proxy keeps its side, so that it closes first. */
  readonly keepAliveTimeoutMs: number;
  readonly maxHeaderBytes: number;
}

export const DEFAULT_LIMITS: DownstreamLimits = {
  headersTimeoutMs: 20_000,
  idleTimeoutMs: 60_000,
  keepAliveTimeoutMs: 75_000,
  maxHeaderBytes: 16 * 1024,
};

/** An answer that no stage gives. */
export interface OwnAnswer {
  readonly status: number;
  readonly code?: ErrorCode | undefined;
  /** Absent where the bytes were no request. */
  readonly incoming?: IncomingMessage;
}

export interface DownstreamOptions {
  /** Called once per request, never for one that was answered here. */
  readonly handle: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** Called instead for a request that two readers could understand differently; without it the answer is plain JSON. */
  readonly refuse?: (incoming: IncomingMessage, outgoing: ServerResponse, error: GatewayError) => void;
  /** Called for WebSocket requests that `mayUpgrade` lets through; `head` is what came with the request. */
  readonly upgrade: (incoming: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Whether this path is a socket path. Elsewhere `Upgrade` is dropped and the request served as an ordinary one. */
  readonly mayUpgrade: (incoming: IncomingMessage) => boolean;
  /** Applied to the answers that are given here, without `handle`; any other answer is edited by whoever gives it. */
  readonly answerEdit?: AnswerEdit;
  /** Told of every request that was answered here, without `handle`: nobody else will see it. */
  readonly answered?: (own: OwnAnswer) => void;
  readonly limits?: Partial<DownstreamLimits>;
}

export interface Downstream {
  readonly server: Server;
  /** Answers that have not ended yet. */
  running(): number;
  /**
   * Stops accepting, lets running requests end (their connections close then) and closes tunnels once nothing else
   * runs. After `limitMs` what is left is destroyed.
   *
   * @returns how many requests were cut
   */
  drain(limitMs: number): Promise<number>;
}

export function createDownstream(options: DownstreamOptions): Downstream {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const traffic = new Traffic();
  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(5_000, Math.max(20, Math.floor(limits.headersTimeoutMs / 4))),
    insecureHTTPParser: false,
    requireHostHeader: false,
    shouldUpgradeCallback: (incoming) =>
      asksForWebSocket(incoming.method ?? '', incoming.httpVersion, incoming.rawHeaders) &&
      options.mayUpgrade(incoming),
  });
  server.timeout = limits.idleTimeoutMs;
  server.on('connection', (socket) => {
    traffic.connect(socket);
  });
  server.on('request', (incoming, outgoing) => {
    accept(traffic, options, incoming, outgoing);
  });
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    awaitContinue(incoming);
    accept(traffic, options, incoming, outgoing);
  });
  server.on('checkExpectation', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    answerError(options, outgoing, 'expectation_failed');
    options.answered?.({ ...told('expectation_failed'), incoming });
  });
  server.on('connect', (incoming: IncomingMessage, socket: Duplex) => {
    socket.on('error', ignore);
    refuseOnSocket(options, incoming, socket, 'method_not_allowed', ALLOW);
  });
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    acceptUpgrade(traffic, options, incoming, socket, head);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    answerBroken(traffic, options, error, socket);
  });
  return { server, running: () => traffic.running, drain: (limitMs) => traffic.drain(server, limitMs) };
}

function accept(
  traffic: Traffic,
  options: DownstreamOptions,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): void {
  if (isClosing(incoming.socket)) return;
  // Requests sent ahead of their answers are served one after the other: one connection, one exchange.
  if (outgoing.socket === null) {
    outgoing.once('socket', () => accept(traffic, options, incoming, outgoing));
    return;
  }
  traffic.add(incoming.socket, outgoing);
  // An upgrade that we do not speak: what stands behind it may be in another protocol (RFC 9110 7.8, RFC 9931)
  if (incoming.headers.upgrade !== undefined) outgoing.shouldKeepAlive = false;
  outgoing.on('timeout', onSilence).on('error', ignore);
  const { method = '', url = '', httpVersion, rawHeaders } = incoming;
  const malformation = findMalformation(method, url, httpVersion, rawHeaders);
  if (malformation !== undefined) {
    const { code, detail } = malformation;
    // What the client sends next may be read differently than it was meant.
    outgoing.shouldKeepAlive = false;
    if (options.refuse === undefined) answerError(options, outgoing, code, detail);
    else options.refuse(incoming, outgoing, new GatewayError(code, { detail }));
  } else if (method === 'OPTIONS' && isFinalRecipient(incoming)) {
    sendAnswer(outgoing, 204, ownLines(options, 204, ALLOW), '');
    options.answered?.({ status: 204, incoming });
  } else options.handle(incoming, outgoing);
}

function acceptUpgrade(
  traffic: Traffic,
  options: DownstreamOptions,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  socket.on('error', ignore);
  traffic.addTunnel(socket);
  const { method = '', url = '', httpVersion, rawHeaders } = incoming;
  const malformation = findMalformation(method, url, httpVersion, rawHeaders);
  // An upgrade behind a request that is still being answered would write into that answer.
  if (traffic.answerOn(socket) !== undefined || isClosing(incoming.socket)) socket.destroy();
  else if (malformation !== undefined) {
    refuseOnSocket(options, incoming, socket, malformation.code, [], malformation.detail);
  } else if (traffic.draining) {
    refuseOnSocket(options, incoming, socket, 'draining', ['retry-after', '1']);
  } else options.upgrade(incoming, socket, head);
}

/**
 * Node's `timeout` of a connection in use. A client that takes nothing is cut; one that sends nothing is told by the
 * reader of its body; waiting for the upstream is neither. With no listener here Node would destroy the socket.
 */
function onSilence(this: ServerResponse): void {
  const { socket } = this;
  if (socket === null) return;
  if (socket.writableLength > 0) socket.destroy();
  else socket.setTimeout(socket.timeout ?? 0);
}

/** The connection ends with such an answer. */
function answerError(options: DownstreamOptions, outgoing: ServerResponse, code: ErrorCode, detail?: string): void {
  outgoing.shouldKeepAlive = false;
  const { status } = ERRORS[code];
  const lines = ownLines(options, status, code === 'method_not_allowed' ? ALLOW : []);
  sendAnswer(outgoing, status, lines, errorBody(code, detail));
}

function refuseOnSocket(
  options: DownstreamOptions,
  incoming: IncomingMessage,
  socket: Duplex,
  code: ErrorCode,
  own: HeaderLines,
  detail?: string,
): void {
  const { status } = ERRORS[code];
  refuseUpgrade(socket, status, ownLines(options, status, own), errorBody(code, detail));
  options.answered?.({ ...told(code), incoming });
}

const told = (code: ErrorCode): OwnAnswer => ({ status: ERRORS[code].status, code });

const ALLOW: HeaderLines = ['allow', ALLOWED_METHODS];

function ownLines({ answerEdit }: DownstreamOptions, status: number, own: HeaderLines = []): string[] {
  const lines = [...own];
  answerEdit?.(lines, status);
  return lines;
}

function errorBody(code: ErrorCode, detail?: string): string {
  const { text } = ERRORS[code];
  return JSON.stringify({ detail: detail === undefined ? text : `${text} ${detail}`, code });
}

/** RFC 9110 7.6.2: we are the last to see an OPTIONS request with no forwards left, or one about the server as a whole. */
function isFinalRecipient(incoming: IncomingMessage): boolean {
  return incoming.url === '*' || incoming.headers['max-forwards'] === '0';
}

function answerBroken(
  traffic: Traffic,
  options: DownstreamOptions,
  error: NodeJS.ErrnoException,
  socket: Duplex,
): void {
  if (socket.destroyed || !(socket instanceof Socket) || isClosing(socket)) return;
  const begun = traffic.answerOn(socket)?.headersSent === true;
  if (begun || error.code === 'ECONNRESET' || error.code === 'EPIPE' || !socket.writable) {
    socket.destroy();
    return;
  }
  const code = brokenCode(error.code);
  const { status } = ERRORS[code];
  linger(socket, rawAnswer(status, ownLines(options, status), errorBody(code)));
  options.answered?.(told(code));
}

function brokenCode(code: string | undefined): ErrorCode {
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  return code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW' ? 'body_too_large' : 'request_malformed';
}

function ignore(): void {
  // The socket's error; whoever waits for this exchange learns of it by 'close'.
}
