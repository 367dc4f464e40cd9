/**
 * One HTTP exchange with the upstream: bytes in, bytes out, as they come. Nothing is retried and no redirect is
 * followed. What cannot be told to the client any more, because its answer has begun, is shown by destroying its
 * connection: a cut answer never looks complete (RFC 9112 8).
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { ClientGone, GatewayError } from '../errors.ts';
import { UploadStream, readBody } from './body.ts';
import type { ForwardOutcome, ForwardRequest } from './exchange.ts';
import { requestLines, responseLines, rewrittenLines } from './headers.ts';
import { closeAfterAnswer, closeIfUnread, declaredBytes } from './linger.ts';
import type { Upstream } from './upstream.ts';
import { toGatewayError } from './upstream-error.ts';

/** Interim answers swallowed before the upstream counts as broken. 103 is not passed: nginx before 1.29 takes it for the final one. */
const MAX_INTERIM = 100;
const MAX_FIELDS = 100;
/** A request body of at most this length is collected first: cheaper than a stream, and slow clients cost no connection. */
const COLLECTED_BYTES = 64 * 1024;
/** An answer to be rewritten that is longer counts as unreadable: the rewrite gets an empty body. */
const MAX_REWRITTEN_BYTES = 64 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * Sends the request upstream and the answer downstream.
 *
 * @returns once the answer has been handed over whole, or was cut (`truncated`)
 * @throws GatewayError `upstream_unreachable`, `upstream_timeout`, `upstream_invalid`, `loop_detected` or
 *   `request_timeout`, only while nothing has been sent, so that the caller can answer
 * @throws ClientGone when the client left; the upstream request is aborted then
 */
export function forward(upstream: Upstream, request: ForwardRequest): Promise<ForwardOutcome> {
  const { incoming, outgoing, body } = request;
  if (outgoing.destroyed) return Promise.reject(new ClientGone());
  const declared = declaredBytes(incoming);
  if (body !== undefined || declared === 0) return send(upstream, request, body ?? null);
  if (declared > COLLECTED_BYTES) return send(upstream, request, new UploadStream(incoming, outgoing));
  return readBody(incoming, outgoing, COLLECTED_BYTES).then((bytes) => send(upstream, request, bytes));
}

function send(
  upstream: Upstream,
  request: ForwardRequest,
  body: Buffer | UploadStream | null,
): Promise<ForwardOutcome> {
  return new Promise((resolve, reject) => {
    const { incoming } = request;
    const method = incoming.method ?? 'GET';
    const headers = requestLines({
      rawHeaders: incoming.rawHeaders,
      method,
      httpVersion: incoming.httpVersion,
      peer: upstream.peerOf(incoming.socket),
      edit: request.edit,
      requestId: request.requestId,
      via: upstream.via,
      streamed: body instanceof UploadStream,
      rewritten: request.rewrite !== undefined,
    });
    const exchange = new Exchange(request, body instanceof UploadStream ? body : undefined, resolve, reject);
    upstream.pool.dispatch({ path: request.target, method: method, headers, body }, exchange);
  });
}

/** The state of one exchange; undici calls its `on…` methods. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #request: ForwardRequest;
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #upload: UploadStream | undefined;
  readonly #resolve: (outcome: ForwardOutcome) => void;
  readonly #reject: (error: Error) => void;
  readonly #startedAt = performance.now();
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #interim = 0;
  #status = 0;
  #firstByteAt = 0;
  #lines: string[] = [];
  /** Bytes still to come by `Content-Length`; NaN where the upstream gave none. */
  #remaining = NaN;
  #wroteBody = false;
  #held: Buffer[] | undefined;
  #heldBytes = 0;

  constructor(
    request: ForwardRequest,
    upload: UploadStream | undefined,
    resolve: (outcome: ForwardOutcome) => void,
    reject: (error: Error) => void,
  ) {
    this.#request = request;
    this.#incoming = request.incoming;
    this.#outgoing = request.outgoing;
    this.#upload = upload;
    this.#resolve = resolve;
    this.#reject = reject;
    if (request.rewrite !== undefined) this.#held = [];
    this.#outgoing.on('close', () => {
      // Fires after every answer; an error, with its stack, is made only where one is needed.
      if (!this.#settled) this.#fail(new ClientGone());
    });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settled) controller.abort(new ClientGone());
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) {
      this.#interim += 1;
      if (status < 100 || this.#interim > MAX_INTERIM) controller.abort(new GatewayError('upstream_invalid'));
      return;
    }
    const raw = controller.rawHeaders as (string | Buffer)[];
    if (raw.length > 2 * MAX_FIELDS) {
      controller.abort(new GatewayError('upstream_invalid', { detail: `It has more than ${MAX_FIELDS} fields.` }));
      return;
    }
    if (isOddlyCoded(headers['transfer-encoding'])) {
      controller.abort(new GatewayError('upstream_invalid', { detail: 'Its Transfer-Encoding is not chunked.' }));
      return;
    }
    this.#status = status;
    this.#firstByteAt = performance.now();
    this.#lines = responseLines(raw, status, this.#request.requestId);
    if (this.#held === undefined) this.#begin();
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    if (this.#held !== undefined) {
      this.#hold(controller, this.#held, chunk);
      return;
    }
    this.#wroteBody = true;
    const outgoing = this.#outgoing;
    this.#remaining -= chunk.length;
    if (this.#remaining === 0) {
      // One write for head and body; `onResponseEnd` follows at once, the length being exact.
      outgoing.end(chunk);
    } else if (!outgoing.write(chunk)) {
      controller.pause();
      outgoing.once('drain', () => controller.resume());
    }
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    if (this.#held !== undefined) this.#sendRewritten(this.#held);
    else if (!this.#outgoing.writableEnded) this.#outgoing.end();
    this.#settle(false);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.#fail(error);
  }

  /** Sends the head. Throws where the upstream's fields cannot be sent; undici turns that into `onResponseError`. */
  #begin(): void {
    const outgoing = this.#outgoing;
    this.#closeIfUploading();
    outgoing.writeHead(this.#status, this.#lines);
    this.#remaining = contentLength(this.#lines);
    // Body bytes of the same packet are written before this runs; without any the head must not wait for them.
    process.nextTick(flushHead, this);
  }

  flushHead(): void {
    if (!this.#wroteBody && !this.#settled && !this.#outgoing.destroyed) this.#outgoing.flushHeaders();
  }

  /** An answer that comes while the body still goes up is passed on, and the connection ends with it. */
  #closeIfUploading(): void {
    if (this.#upload === undefined) closeIfUnread(this.#incoming, this.#outgoing);
    else if (!this.#incoming.complete) closeAfterAnswer(this.#incoming, this.#outgoing);
  }

  #hold(controller: Dispatcher.DispatchController, held: Buffer[], chunk: Buffer): void {
    this.#heldBytes += chunk.length;
    if (this.#heldBytes <= MAX_REWRITTEN_BYTES) {
      held.push(chunk);
      return;
    }
    this.#sendRewritten([]);
    this.#settle(false);
    controller.abort(new GatewayError('upstream_invalid'));
  }

  #sendRewritten(held: Buffer[]): void {
    const { rewrite } = this.#request;
    const [first = EMPTY] = held;
    const body = held.length > 1 ? Buffer.concat(held) : first;
    const received = { status: this.#status, headers: this.#lines, body };
    const answer = rewrite === undefined ? received : rewrite(received);
    const outgoing = this.#outgoing;
    this.#closeIfUploading();
    outgoing.writeHead(answer.status, rewrittenLines(answer.headers, answer.status, answer.body.length));
    outgoing.end(answer.body);
  }

  #settle(truncated: boolean): void {
    this.#settled = true;
    this.#upload?.destroy();
    this.#resolve({
      status: this.#outgoing.statusCode,
      upstreamStartedAt: this.#startedAt,
      firstByteAt: this.#firstByteAt,
      truncated,
    });
  }

  /** The first failure counts; what undici reports after an abort of ours is its echo. */
  #fail(error: Error): void {
    if (this.#settled) return;
    const outgoing = this.#outgoing;
    if (error instanceof ClientGone || outgoing.destroyed) {
      this.#settled = true;
      this.#upload?.destroy();
      this.#reject(error instanceof ClientGone ? error : new ClientGone({ cause: error }));
      this.#controller?.abort(error);
    } else if (outgoing.headersSent) {
      this.#settle(true);
      cut(this.#incoming, outgoing);
    } else {
      this.#settled = true;
      this.#upload?.destroy();
      this.#reject(toGatewayError(error));
    }
  }
}

/** A coding beside chunked would be left in the body while the field that names it is dropped. */
function isOddlyCoded(coding: string | string[] | undefined): boolean {
  return coding !== undefined && (typeof coding !== 'string' || coding.trim().toLowerCase() !== 'chunked');
}

function flushHead(exchange: Exchange): void {
  exchange.flushHead();
}

/** To an HTTP/1.0 client an ordinary close is the end of the body: only a reset tells it otherwise. */
function cut(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (incoming.httpVersion === '1.0') outgoing.socket?.resetAndDestroy();
  outgoing.destroy();
}

function contentLength(lines: readonly string[]): number {
  for (let index = 0; index < lines.length; index += 2) {
    const name = lines[index];
    if (name?.length === 14 && name.toLowerCase() === 'content-length') return Number(lines[index + 1]);
  }
  return NaN;
}
