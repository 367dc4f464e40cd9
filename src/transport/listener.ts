/** Node's HTTP server with every size and time bounded; it refuses what two readers may read differently. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ListenAddress } from '../config/schema.ts';
import { GatewayError } from '../errors.ts';
import {
  MAX_HEADER_BYTES,
  type OwnAnswerOptions,
  type OwnAnswers,
  asksForWebSocket,
  createOwnAnswers,
  findMalformation,
  ignore,
  isClosing,
  responseOn,
  toFault,
} from './answer.ts';
import { awaitContinue } from './body.ts';
import { Traffic } from './traffic.ts';

/** @throws the system's error (`EADDRINUSE`, …) where it cannot listen */
export async function listenOn(server: Server, { host, port }: ListenAddress) {
  server.listen(port, host);
  await once(server, 'listening');
  // a TCP server that listens has no other kind of address
  const { port: bound } = server.address() as AddressInfo;
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`, port: bound };
}

const DEFAULT_LIMITS = {
  headersTimeoutMs: 20_000,
  /** Longest silence of a client that has to send, or to take. */
  idleTimeoutMs: 60_000,
  /** Longer than the front proxy keeps its side, so that the proxy closes first. */
  keepAliveTimeoutMs: 75_000,
  maxHeaderBytes: MAX_HEADER_BYTES,
};

interface DownstreamOptions extends OwnAnswerOptions {
  readonly handle: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  /** Without it the answer to a malformed request is plain JSON. */
  readonly refuse?: (incoming: IncomingMessage, outgoing: ServerResponse, error: GatewayError) => void;
  /** Gets a response that ends the connection. */
  readonly upgrade: (incoming: IncomingMessage, outgoing: ServerResponse, head: Buffer) => void;
  /** Elsewhere `Upgrade` is dropped and the request served as an ordinary one. */
  readonly mayUpgrade: (incoming: IncomingMessage) => boolean;
  readonly limits?: Partial<typeof DEFAULT_LIMITS>;
}

type Parts = DownstreamOptions & { readonly traffic: Traffic; readonly own: OwnAnswers };

/** @returns a server that does not listen yet */
export function createDownstream(options: DownstreamOptions) {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const traffic = new Traffic();
  const own = createOwnAnswers(options);
  const parts: Parts = { ...options, traffic, own };
  const server = createServer({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(5_000, Math.max(20, Math.floor(limits.headersTimeoutMs / 4))),
    insecureHTTPParser: false,
    requireHostHeader: false,
    // Behind a request that is still being answered it would write into that answer: there it is an ordinary one.
    shouldUpgradeCallback: (incoming) =>
      asksForWebSocket(incoming) && traffic.lastOn(incoming.socket) === undefined && options.mayUpgrade(incoming),
  });
  server.timeout = limits.idleTimeoutMs;
  const receive = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    if (traffic.expect(incoming.socket, outgoing)) accept(parts, incoming, outgoing);
  };
  server
    .on('connection', (socket) => traffic.connect(socket))
    .on('request', receive)
    .on('checkContinue', (incoming, outgoing) => {
      awaitContinue(incoming);
      receive(incoming, outgoing);
    })
    .on('checkExpectation', (incoming, outgoing) => {
      if (traffic.expect(incoming.socket, outgoing)) own.error(outgoing, new GatewayError('expectation_failed'));
    })
    .on('connect', (incoming, socket) => {
      keepGoing(traffic, socket);
      traffic.breakOff(socket, () => own.error(responseOn(incoming), new GatewayError('method_not_allowed')));
    })
    .on('upgrade', (incoming, socket, head) => acceptUpgrade(parts, incoming, socket, head))
    .on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (socket instanceof Socket) answerBroken(parts, error.code, socket, limits.maxHeaderBytes);
    });
  return {
    server,
    running: () => traffic.running,
    announceDrain: () => traffic.announceDrain(),
    drain: (limitMs: number) => traffic.drain(server, limitMs),
  };
}

function accept(parts: Parts, incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (isClosing(incoming.socket) || outgoing.headersSent) return;
  // Requests sent ahead of their answers are served one after the other: one connection, one exchange.
  if (outgoing.socket === null) {
    outgoing.once('socket', () => accept(parts, incoming, outgoing));
    return;
  }
  parts.traffic.add(incoming.socket, outgoing);
  // An upgrade that we do not speak: what follows it may be in another protocol (RFC 9110 7.8, RFC 9931)
  if (incoming.headers.upgrade !== undefined) outgoing.shouldKeepAlive = false;
  outgoing.on('timeout', onSilence).on('error', ignore);
  const malformation = findMalformation(incoming);
  if (malformation !== undefined) {
    // What the client sends next may be read differently than it was meant.
    outgoing.shouldKeepAlive = false;
    if (parts.refuse === undefined) parts.own.error(outgoing, malformation);
    else parts.refuse(incoming, outgoing, malformation);
  } else if (incoming.method === 'OPTIONS' && isFinalRecipient(incoming)) parts.own.options(outgoing);
  else parts.handle(incoming, outgoing);
}

function acceptUpgrade(
  { traffic, own, upgrade }: Parts,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): void {
  socket.on('error', ignore);
  traffic.addTunnel(socket);
  const fault = findMalformation(incoming) ?? (traffic.draining ? new GatewayError('draining') : undefined);
  if (isClosing(incoming.socket)) socket.destroy();
  else if (fault !== undefined) own.error(responseOn(incoming), fault);
  else upgrade(incoming, responseOn(incoming), head);
}

/** A client that takes nothing is cut. With no listener Node would destroy the socket, also while it waits for the upstream. */
function onSilence(this: ServerResponse): void {
  const { socket } = this;
  if (socket === null) return;
  if (socket.writableLength > 0) socket.destroy();
  else socket.setTimeout(socket.timeout ?? 0);
}

/** RFC 9110 7.6.2: we are the last to see an OPTIONS request with no forwards left, or one about the server as a whole. */
const isFinalRecipient = ({ url, headers }: IncomingMessage): boolean => url === '*' || headers['max-forwards'] === '0';

function answerBroken({ traffic, own }: Parts, code: string | undefined, socket: Socket, maxHeaderBytes: number): void {
  if (socket.destroyed || isClosing(socket)) return;
  const last = traffic.lastOn(socket);
  const fault = () => toFault(code, maxHeaderBytes);
  // A client that ends the connection before its answer loses it.
  const hasLeft = code === 'ECONNRESET' || code === 'EPIPE' || (last !== undefined && socket.readableEnded);
  if (hasLeft || !socket.writable) socket.destroy();
  else if (last === undefined || last.req.complete) traffic.breakOff(socket, () => own.error(socket, fault()));
  // What is broken is the body of the last request: if others are before it, its answer waits for its turn.
  else if (last.socket === null) own.error(last, fault());
  else if (last.headersSent) socket.destroy();
  else own.error(socket, fault());
}

/** Node lets go of a connection with a CONNECT, also where answers are still due on it: this does what Node would. */
function keepGoing(traffic: Traffic, socket: Duplex): void {
  socket.on('error', ignore);
  socket.on('drain', () => traffic.answerOn(socket)?.emit('drain'));
  socket.once('end', () => socket.destroy()).once('timeout', () => socket.destroy());
  socket.resume();
}
