/** No retry, no redirect followed; a cut answer never looks complete to the client (RFC 9112 8). */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { ClientGone, GatewayError } from '../errors.ts';
import { MAX_FIELDS, closeIfUnread, ignore } from './answer.ts';
import { joined } from './body.ts';
import {
  type BufferedAnswer,
  type ExchangeEvents,
  type ForwardOutcome,
  type Forwarded,
  MAX_REWRITTEN_BYTES,
} from './exchange.ts';
import { fieldOf, responseLines, rewrittenLines } from './headers.ts';
import { MAX_INTERIM, type Upstream, createAsk, isRedirect, redirected, toGatewayError } from './upstream.ts';

/** Up to this length head and body leave as one string: half the work of two buffers. */
const JOINED_BYTES = 16 * 1024;

interface ExchangeParts {
  readonly upstream: Upstream;
  readonly request: Forwarded;
  readonly headers: string[];
  readonly events: ExchangeEvents;
}

export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly #parts: ExchangeParts;
  readonly #outgoing: ServerResponse;
  readonly outcome = Promise.withResolvers<ForwardOutcome>();
  readonly #startedAt = performance.now();
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #interim = 0;
  #status = 0;
  #firstByteAt = 0;
  #receivedAt = 0;
  #isStream = false;
  #lines: string[] = [];
  #remaining = NaN;
  #held: Buffer[] | undefined;
  #heldBytes = 0;

  constructor(parts: ExchangeParts) {
    const { request, events } = parts;
    this.#parts = parts;
    this.#outgoing = request.outgoing;
    if (request.rewrite !== undefined) this.#held = [];
    this.#outgoing.on('close', () => {
      // Fires after every answer; an error, with its stack, is made only where one is needed
      if (!this.#settled) this.#fail(new ClientGone());
      if (this.#isStream) events.onStream?.(false);
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
      else if (status === 103 && this.#parts.upstream.forwardsEarlyHints) this.#passEarlyHints(headers.link);
      return;
    }
    const fault = findFault(controller.rawHeaders as readonly unknown[], headers['transfer-encoding']);
    if (fault !== undefined) return void controller.abort(fault);
    if (this.#parts.upstream.peerOf === undefined && isRedirect(status)) return void controller.abort(redirected());
    this.#status = status;
    this.#firstByteAt = performance.now();
    this.#lines = this.#linesOf(status, headers);
    if (this.#held !== undefined) return;
    // Server-sent events (HTML Living Standard 9.2): open for as long as a model writes
    this.#isStream = !this.#settled && headers['content-type']?.startsWith('text/event-stream') === true;
    if (this.#isStream) this.#parts.events.onStream?.(true);
    this.#remaining = Number(fieldOf(this.#lines, 'content-length') ?? NaN);
    // Body bytes of the same packet leave with the head; a stream's head must not wait for the first of them.
    if (!(this.#remaining <= JOINED_BYTES)) process.nextTick(sendHead, this);
  }

  #linesOf(status: number, headers: IncomingHttpHeaders): string[] {
    const { request, upstream } = this.#parts;
    // The id that a provider has given its answer is what its support asks for
    const ownId = upstream.peerOf === undefined ? undefined : request.requestId;
    return responseLines(headers, status, ownId, request.answerEdits);
  }

  onRequestUpgrade(_: unknown, status: number, headers: IncomingHttpHeaders, socket: Duplex): void {
    socket.on('error', ignore);
    const lines = this.#linesOf(status, headers);
    const failure = this.#settled ? new ClientGone() : this.#parts.events.onUpgrade?.(lines, socket);
    if (failure !== undefined) {
      socket.destroy();
      return this.#fail(failure);
    }
    this.#outgoing.writeHead(status, [...lines, 'upgrade', 'websocket', 'connection', 'Upgrade']);
    this.#outgoing.flushHeaders();
    this.#settle(false);
  }

  /** nginx before 1.29 takes a 103 for the final answer; `Link` is all that it is for (RFC 8297 2). */
  #passEarlyHints(link: string | string[] | undefined): void {
    const outgoing = this.#outgoing;
    const isHeard = !this.#settled && !outgoing.headersSent && outgoing.req.httpVersion === '1.1';
    if (isHeard && link !== undefined) outgoing.writeInformation(103, { link });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    if (this.#held !== undefined) {
      this.#heldBytes += chunk.length;
      if (this.#heldBytes <= MAX_REWRITTEN_BYTES) this.#held.push(chunk);
      else {
        this.#rewrite([]);
        controller.abort(new GatewayError('upstream_invalid'));
      }
      return;
    }
    const outgoing = this.#outgoing;
    this.#writeHead();
    this.#remaining -= chunk.length;
    if (this.#remaining === 0) {
      // One write for head and body; `onResponseEnd` follows at once
      endWith(outgoing, chunk);
    } else if (!outgoing.write(chunk)) {
      controller.pause();
      outgoing.once('drain', () => controller.resume());
    }
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    if (this.#held !== undefined) return this.#rewrite(this.#held);
    this.#writeHead();
    if (!this.#outgoing.writableEnded) this.#outgoing.end();
    this.#settle(false);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#receivedAt === 0) this.#fail(error);
  }

  sendHead(): void {
    if (this.#settled || this.#outgoing.destroyed || this.#outgoing.headersSent) return;
    try {
      this.#writeHead();
      this.#outgoing.flushHeaders();
    } catch (error) {
      this.#controller?.abort(error instanceof Error ? error : new GatewayError('upstream_invalid', { cause: error }));
    }
  }

  /** Late: while nothing was sent, an upstream that breaks off is a 502. undici catches what it throws. */
  #writeHead(): void {
    if (this.#outgoing.headersSent) return;
    closeIfUnread(this.#outgoing);
    this.#outgoing.writeHead(this.#status, this.#lines);
  }

  #rewrite(chunks: readonly Buffer[]): void {
    const { upstream, headers, request } = this.#parts;
    const { rewrite } = request;
    const received = { status: this.#status, headers: this.#lines, body: joined(chunks) };
    this.#held = [];
    this.#receivedAt = performance.now();
    try {
      const answer = rewrite === undefined ? received : rewrite(received, createAsk(upstream, headers));
      if (answer instanceof Promise) {
        answer.then((late) => this.#sendRewritten(late)).catch((error: unknown) => this.#fail(toFailure(error)));
      } else this.#sendRewritten(answer);
    } catch (error) {
      this.#fail(toFailure(error));
    }
  }

  #sendRewritten(answer: BufferedAnswer): void {
    if (this.#settled) return;
    const outgoing = this.#outgoing;
    closeIfUnread(this.#outgoing);
    outgoing.writeHead(answer.status, rewrittenLines(answer.headers, answer.status, answer.body.length));
    endWith(outgoing, answer.body);
    this.#settle(false);
  }

  #settle(truncated: boolean): void {
    this.#settled = true;
    const endedAt = performance.now();
    const lastByteAt = this.#receivedAt === 0 ? endedAt : this.#receivedAt;
    this.outcome.resolve({
      status: this.#outgoing.statusCode,
      upstreamStartedAt: this.#startedAt,
      firstByteAt: this.#firstByteAt,
      lastByteAt,
      rewriteMs: endedAt - lastByteAt,
      truncated,
    });
  }

  /** The first failure counts; what undici reports after an abort of ours is its echo. */
  #fail(error: Error): void {
    if (this.#settled) return;
    const outgoing = this.#outgoing;
    const { events, upstream } = this.#parts;
    const isGone = error instanceof ClientGone || outgoing.destroyed;
    if (!isGone && outgoing.headersSent) {
      this.#settle(true);
      // To an HTTP/1.0 client, and after an upgrade, a close ends the body: only a reset tells that it was cut
      if (outgoing.req.httpVersion === '1.0' || events.onUpgrade !== undefined) outgoing.socket?.resetAndDestroy();
      outgoing.destroy();
      return;
    }
    this.#settled = true;
    if (isGone) {
      this.outcome.reject(error instanceof ClientGone ? error : new ClientGone({ cause: error }));
      this.#controller?.abort(error);
    } else this.outcome.reject(toGatewayError(error, upstream.maxHeaderBytes));
  }
}

const sendHead = (exchange: HttpExchange): void => exchange.sendHead();

/** Anything but an answer for the client is a bug of the rewrite, not of the upstream. */
const toFailure = (error: unknown): GatewayError =>
  error instanceof GatewayError ? error : new GatewayError('internal', { cause: error });

/** A coding beside chunked would be left in the body while the field that names it is dropped. */
function findFault(rawHeaders: readonly unknown[], coding: string | string[] | undefined): GatewayError | undefined {
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    return new GatewayError('upstream_headers_too_large', { detail: `It has more than ${MAX_FIELDS} lines.` });
  }
  if (coding === undefined || (typeof coding === 'string' && coding.trim().toLowerCase() === 'chunked'))
    return undefined;
  return new GatewayError('upstream_invalid', { detail: 'Its Transfer-Encoding is not chunked.' });
}

/** Latin-1 is the one coding in which a string is the bytes themselves. */
function endWith(outgoing: ServerResponse, body: Buffer): void {
  if (body.length <= JOINED_BYTES) outgoing.end(body.toString('latin1'), 'latin1');
  else outgoing.end(body);
}
