/** undici's `upgrade` hands over the socket only after 101, and keeps the bytes that came with it. */
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { ClientGone, GatewayError } from '../errors.ts';
import { ignore, rawHead } from './answer.ts';
import type { TransportScope } from './exchange.ts';
import { fieldOf, requestLines, responseLines } from './headers.ts';
import { type ClientFrameGate, joinSockets } from './tunnel.ts';
import { MAX_INTERIM, type Upstream, toGatewayError } from './upstream.ts';

type TunnelScope = Pick<TransportScope, 'incoming' | 'target' | 'credentialEdit' | 'requestId' | 'answerEdits'>;

interface ClientSocket {
  readonly socket: Duplex;
  readonly head: Buffer;
  /** Such a connection has no WebSocket extensions. */
  readonly gate: ClientFrameGate | undefined;
}

interface TunnelOutcome {
  readonly status: number;
  readonly refused: boolean;
}

/** RFC 6455 1.3 */
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** A client may not send before 101 (RFC 6455 4.1); what comes nevertheless is kept up to here. */
const MAX_EARLY_BYTES = 64 * 1024;
const EXTENSIONS = 'sec-websocket-extensions';

/** Resolves when both sockets have ended. @throws GatewayError while nothing was sent; ClientGone */
export async function tunnel(upstream: Upstream, scope: TunnelScope, client: ClientSocket): Promise<TunnelOutcome> {
  const { incoming, target, requestId, credentialEdit: edit } = scope;
  if (client.socket.destroyed) throw new ClientGone();
  const { rawHeaders, httpVersion, socket } = incoming;
  const remove = client.gate === undefined ? edit.remove : new Set([...edit.remove, EXTENSIONS]);
  const facts = { rawHeaders, httpVersion, peer: upstream.peerOf(socket), requestId, via: upstream.via };
  const kind = { method: 'GET', streamed: false, rewritten: false };
  const headers = requestLines({ ...facts, ...kind, edit: { remove, add: edit.add } });
  const handshake = new Handshake(upstream, scope, client);
  upstream.pool.dispatch({ path: target, method: 'GET', headers, upgrade: 'websocket' }, handshake);
  return handshake.outcome.promise;
}

class Handshake implements Dispatcher.DispatchHandler {
  readonly #upstream: Upstream;
  readonly #scope: TunnelScope;
  readonly #gate: ClientFrameGate | undefined;
  readonly #socket: Duplex;
  readonly outcome = Promise.withResolvers<TunnelOutcome>();
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #status = 0;
  #interim = 0;
  readonly #early: Buffer[] = [];
  #earlyBytes = 0;

  constructor(upstream: Upstream, scope: TunnelScope, { socket, head, gate }: ClientSocket) {
    this.#upstream = upstream;
    this.#scope = scope;
    this.#gate = gate;
    this.#socket = socket;
    if (head.length > 0) this.#keepEarly(head);
    // Reading is what makes a client that leaves be noticed.
    this.#socket.on('data', this.#keepEarly).on('end', this.#leave).on('close', this.#leave);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new ClientGone());
  }

  onRequestUpgrade(_: unknown, status: number, headers: IncomingHttpHeaders, upstream: Duplex): void {
    const gate = this.#gate;
    const lines = this.#linesOf(status, headers);
    upstream.on('error', ignore);
    const failure = this.#settled
      ? new ClientGone()
      : findHandshakeFault(this.#scope.incoming, lines, gate !== undefined);
    if (failure !== undefined) {
      upstream.destroy();
      this.#fail(failure);
      return;
    }
    this.#settle();
    const client = this.#socket;
    client.write(rawHead(101, [...lines, 'upgrade', 'websocket', 'connection', 'Upgrade']), 'latin1');
    const { idleTimeoutMs } = this.#upstream;
    void joinSockets({ client, upstream, early: this.#early, gate, idleTimeoutMs }).then((refused) =>
      this.outcome.resolve({ status, refused }),
    );
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) {
      this.#interim += 1;
      if (status < 102 || this.#interim > MAX_INTERIM) controller.abort(new GatewayError('upstream_invalid'));
      return;
    }
    this.#status = status;
    this.#socket.write(rawHead(status, [...this.#linesOf(status, headers), 'connection', 'close']), 'latin1');
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#socket.write(chunk)) return;
    controller.pause();
    this.#socket.once('drain', () => controller.resume());
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    this.#settle();
    const socket = this.#socket;
    socket.resume();
    socket.end(() => socket.destroy());
    this.outcome.resolve({ status: this.#status, refused: false });
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#fail(error);
  }

  #linesOf(status: number, headers: IncomingHttpHeaders): string[] {
    return responseLines(headers, status, this.#scope.requestId, this.#scope.answerEdits);
  }

  #fail(error: Error): void {
    if (this.#settled) return;
    this.#settle();
    const socket = this.#socket;
    // A refusal without length ends with the connection: only a reset shows that it was cut
    if (this.#status !== 0 && socket instanceof Socket) socket.resetAndDestroy();
    else if (this.#status !== 0) socket.destroy();
    this.outcome.reject(error instanceof ClientGone ? error : toGatewayError(error, this.#upstream.maxHeaderBytes));
  }

  readonly #keepEarly = (chunk: Buffer): void => {
    this.#early.push(chunk);
    this.#earlyBytes += chunk.length;
    if (this.#earlyBytes > MAX_EARLY_BYTES) this.#socket.pause();
  };

  readonly #leave = (): void => {
    if (this.#settled) return;
    this.#fail(new ClientGone());
    this.#socket.destroy();
    this.#controller?.abort(new ClientGone());
  };

  #settle(): void {
    this.#settled = true;
    this.#socket.off('data', this.#keepEarly).off('end', this.#leave).off('close', this.#leave).on('error', ignore);
  }
}

/** RFC 6455 4.1: what a client must check before it takes 101 for an answer; we are that client. */
function findHandshakeFault(incoming: IncomingMessage, lines: readonly string[], gated: boolean): Error | undefined {
  const key = `${incoming.headers['sec-websocket-key'] ?? ''}${HANDSHAKE_GUID}`;
  const isOurs = fieldOf(lines, 'sec-websocket-accept') === createHash('sha1').update(key).digest('base64');
  const isExtended = gated && fieldOf(lines, EXTENSIONS) !== undefined;
  return isOurs && !isExtended ? undefined : new GatewayError('upstream_invalid');
}
