/** A WebSocket handshake with the upstream, and two sockets joined, the client's held back until its first message was judged. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Receiver } from 'ws';
import { ClientGone, GatewayError } from '../errors.ts';
import { ignore } from './answer.ts';
import type { Forwarded, HeaderLines } from './exchange.ts';
import { exchange } from './forward.ts';
import { FrameBounds, closeFrame } from './frames.ts';
import { fieldOf } from './headers.ts';
import type { Upstream } from './upstream.ts';

declare module 'ws' {
  // `ws` 8 exports it without documenting it, so that its types leave it out
  interface Receiver extends Writable {
    on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): this;
    on(event: 'conclude' | 'ping' | 'pong' | 'error', listener: () => void): this;
  }
  const Receiver: new (options: { isServer: boolean; maxPayload: number; maxFragments: number }) => Receiver;
}

/** Sees the client's bytes until its verdict; `refuse` closes both sides with 1008, as does a gate that throws. */
type ClientFrameGate = (bytes: Buffer) => 'more' | 'pass' | 'refuse' | Promise<'pass' | 'refuse'>;

/** RFC 6455 1.3 */
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** A client may not send before 101 (RFC 6455 4.1); what comes nevertheless is kept up to here. */
const MAX_EARLY_BYTES = 64 * 1024;
const EXTENSIONS = 'sec-websocket-extensions';

/**
 * Resolves when both sockets have ended. A gated connection has no WebSocket extensions.
 * @param request its response is that of `responseOn`. @throws GatewayError while nothing was sent; ClientGone
 */
export async function tunnel(upstream: Upstream, request: Forwarded, head: Buffer, gate?: ClientFrameGate) {
  const { outgoing, credentialEdit } = request;
  const { socket: client } = outgoing.req;
  if (client.destroyed) throw new ClientGone();
  if (gate !== undefined) {
    request.credentialEdit = { ...credentialEdit, remove: new Set([...credentialEdit.remove, EXTENSIONS]) };
  }
  const ready = readEarly(client, head);
  let joined: Promise<boolean> | undefined;
  const onUpgrade = (lines: HeaderLines, socket: Duplex): Error | undefined => {
    const fault = findHandshakeFault(outgoing.req, lines, gate !== undefined);
    if (fault !== undefined) return fault;
    ready();
    joined = joinSockets(client, socket, gate, upstream.idleTimeoutMs);
    return undefined;
  };
  const { status, truncated } = await exchange(upstream, request, { onUpgrade }, null);
  if (truncated) throw new GatewayError('upstream_unreachable');
  return { status, refused: (await joined) === true };
}

/** Reading is what makes a client that leaves be noticed. @returns what gives back the bytes that were read */
function readEarly(client: Socket, head: Buffer): () => void {
  const early = [head];
  let size = head.length;
  const keep = (chunk: Buffer): void => {
    early.push(chunk);
    size += chunk.length;
    if (size > MAX_EARLY_BYTES) client.pause();
  };
  const leave = (): void => void client.destroy();
  client.on('data', keep).on('end', leave);
  return function ready() {
    client.off('data', keep).off('end', leave).pause();
    if (size > 0) client.unshift(Buffer.concat(early));
  };
}

/** RFC 6455 4.1: what a client must check before it takes 101 for an answer; we are that client. */
function findHandshakeFault(incoming: IncomingMessage, lines: HeaderLines, isGated: boolean): Error | undefined {
  const key = `${incoming.headers['sec-websocket-key'] ?? ''}${HANDSHAKE_GUID}`;
  const isOurs = fieldOf(lines, 'sec-websocket-accept') === createHash('sha1').update(key).digest('base64');
  const isExtended = isGated && fieldOf(lines, EXTENSIONS) !== undefined;
  return isOurs && !isExtended ? undefined : new GatewayError('upstream_invalid');
}

const GRACE_MS = 2_000;

/** @returns once both sockets are gone, whether the gate refused */
async function joinSockets(client: Socket, upstream: Duplex, gate: ClientFrameGate | undefined, idleTimeoutMs: number) {
  const cut = (): void => {
    client.destroy();
    upstream.destroy();
  };
  const sides = [[client, upstream] as const, [upstream, client] as const];
  for (const [side, other] of sides) {
    // No delay for small frames; a peer that vanished without a word is found by the kernel
    if (side instanceof Socket) side.setNoDelay(true).setKeepAlive(true, 30_000).setTimeout(idleTimeoutMs, cut);
    // WebSocket has no half-closed state: one end ends both, after what is on its way
    side.on('end', () => endSoon(other)).on('close', () => endSoon(other));
    side.on('error', ignore);
  }
  const gone = Promise.allSettled(sides.map(([side]) => finished(side)));
  pipeFrames(upstream, client, cut);
  const verdict = gate === undefined ? 'pass' : await firstVerdict(client, gate);
  if (verdict === 'pass') client.pipe(upstream);
  else if (verdict === 'refuse') {
    upstream.unpipe(client);
    // RFC 6455 7.4.1: a violation of policy
    refuse(client, closeFrame(1008, 'not permitted', 'client'));
    refuse(upstream, closeFrame(1008, 'not permitted', 'server'));
  }
  await gone;
  return verdict === 'refuse';
}

function endSoon(socket: Duplex): void {
  if (socket.destroyed) return;
  if (!socket.writableEnded) socket.end();
  const timer = setTimeout(() => socket.destroy(), GRACE_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** "Service Restart" in IANA's registry of close codes: the client comes again. */
const RESTART_FRAME = closeFrame(1012, 'restarting', 'client');
const restarts = new WeakMap<Duplex, () => void>();

/** Ends a tunnel with 1012 after the frame that is on its way to the client. A client whose handshake still runs is cut. */
export function restartTunnel(client: Duplex): void {
  const restart = restarts.get(client);
  if (restart === undefined) client.destroy();
  else restart();
}

function pipeFrames(upstream: Duplex, client: Socket, cut: () => void): void {
  const bounds = new FrameBounds();
  const follow = (chunk: Buffer): void => {
    for (let at = 0; at < chunk.length;) at = bounds.pass(chunk, at);
  };
  const close = (): void => {
    if (!bounds.isClosing && client.writable) client.write(RESTART_FRAME);
    // the client's own close frame goes on to the backend, which then ends the connection
    const timer = setTimeout(cut, GRACE_MS);
    client.once('close', () => clearTimeout(timer));
  };
  const passFrame = (chunk: Buffer): void => {
    client.write(chunk.subarray(0, bounds.pass(chunk)));
    if (!bounds.isBetween) return;
    upstream.off('data', passFrame);
    close();
  };
  restarts.set(client, () => {
    restarts.set(client, () => undefined);
    upstream.off('data', follow).unpipe(client);
    if (bounds.isBetween) close();
    else upstream.on('data', passFrame);
    upstream.resume();
  });
  upstream.on('data', follow).pipe(client);
}

function refuse(socket: Duplex, closeFrame: Buffer): void {
  if (socket.writable) socket.end(closeFrame);
  socket.resume();
  endSoon(socket);
}

const GATE_MS = 30_000;
const MAX_GATED_BYTES = 256 * 1024;

/** What was read goes back to a client that may pass. */
async function firstVerdict(client: Duplex, gate: ClientFrameGate): Promise<'pass' | 'refuse' | 'gone'> {
  const { promise, resolve } = Promise.withResolvers<'pass' | 'refuse' | 'gone'>();
  const held: Buffer[] = [];
  let size = 0;
  const take = async (chunk: Buffer): Promise<void> => {
    client.pause();
    held.push(chunk);
    size += chunk.length;
    const verdict = size > MAX_GATED_BYTES ? 'refuse' : await gate(chunk);
    if (verdict === 'more') client.resume();
    else resolve(verdict);
  };
  const listen = (chunk: Buffer): void => void take(chunk).catch(() => resolve('refuse'));
  client
    .on('data', listen)
    .once('end', () => resolve('gone'))
    .once('close', () => resolve('gone'));
  client.resume();
  const timer = setTimeout(resolve, GATE_MS, 'refuse');
  const verdict = await promise;
  clearTimeout(timer);
  client.off('data', listen);
  if (verdict === 'pass') client.unshift(Buffer.concat(held));
  return verdict;
}

/** Pings and pongs before the first message; a client that sends more has no message. */
const MAX_CONTROL_FRAMES = 16;

/** A close instead of a first message passes; what breaks RFC 6455 5 and 8.1, or has extensions, does not. */
export function gateFirstMessage(
  judge: (text: string) => boolean | Promise<boolean>,
  maxBytes = 64 * 1024,
): ClientFrameGate {
  const receiver = new Receiver({ isServer: true, maxPayload: maxBytes, maxFragments: maxBytes });
  let verdict: ReturnType<ClientFrameGate> = 'more';
  let controlFrames = 0;
  const decide = (made: () => ReturnType<ClientFrameGate>): void => {
    if (verdict === 'more') verdict = made();
  };
  const onControlFrame = (): void => {
    if (++controlFrames > MAX_CONTROL_FRAMES) decide(() => 'refuse');
  };
  receiver
    .on('message', (data, isBinary) => decide(() => (isBinary ? 'refuse' : verdictOf(judge(data.toString())))))
    .on('conclude', () => decide(() => 'pass'))
    .on('ping', onControlFrame)
    .on('pong', onControlFrame)
    .on('error', ignore);
  return function firstMessageGate(bytes) {
    // a copy: the receiver unmasks in place, and upstream go the bytes that came
    receiver.write(Buffer.from(bytes));
    // the event `error` comes only in the next turn
    if (receiver.errored !== null) decide(() => 'refuse');
    return verdict;
  };
}

function verdictOf(permitted: boolean | Promise<boolean>): 'pass' | 'refuse' | Promise<'pass' | 'refuse'> {
  if (typeof permitted !== 'boolean') return permitted.then((late) => (late ? 'pass' : 'refuse'));
  return permitted ? 'pass' : 'refuse';
}
