/** No retry, no redirect followed; a cut answer never looks complete to the client (RFC 9112 8). */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { ClientGone, GatewayError } from '../errors.ts';
import { JOINED_BYTES, closeIfUnread, endWith, ignore } from './answer.ts';
import { type AnswerTap, type BufferedAnswer, type ForwardOutcome } from './exchange.ts';
import { fieldOf, isOfEvents, responseLines, rewrittenLines } from './headers.ts';
import { type ExchangeParts, HeldAnswer } from './held-answer.ts';
import { MAX_INTERIM, findFault, toGatewayError } from './upstream.ts';

export class HttpExchange implements Dispatcher.DispatchHandler {
  readonly #parts: ExchangeParts;
  readonly #outgoing: ServerResponse;
  readonly outcome = Promise.withResolvers<ForwardOutcome>();
  readonly #startedAt = performance.now();
  #controller: Dispatcher.DispatchController | undefined;
  #settled = false;
  #isSent = false;
  #interim = 0;
  #status = 0;
  #firstByteAt = 0;
  #receivedAt = 0;
  #isStream = false;
  #lines: string[] = [];
  #remaining = NaN;
  readonly #held: HeldAnswer | undefined;
  readonly #tap: AnswerTap | undefined;
  /** What came before is held back by the tap until it is settled. */
  #passing: Promise<void> | undefined;
  #unwanted: Error | undefined;
  /** The client has left, and the tap reads on. */
  #drain: NodeJS.Timeout | undefined;

  constructor(parts: ExchangeParts) {
    const { request, events } = parts;
    this.#parts = parts;
    this.#outgoing = request.outgoing;
    this.#tap = request.tap;
    if (request.rewrite !== undefined) this.#held = new HeldAnswer(request.rewrite, parts);
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

  /** The whole request has gone to a connection; undici's types do not name it. */
  readonly onRequestSent = (): boolean => (this.#isSent = true);

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (status < 200) {
      this.#interim += 1;
      if (status < 100 || this.#interim > MAX_INTERIM) controller.abort(new GatewayError('upstream_invalid'));
      else if (status === 103 && this.#parts.upstream.forwardsEarlyHints) this.#passEarlyHints(headers.link);
      return;
    }
    const { upstream, events } = this.#parts;
    const rawHeaders = controller.rawHeaders as readonly unknown[];
    this.#unwanted = events.onHead?.(status);
    const fault = findFault(upstream, status, headers, rawHeaders) ?? this.#unwanted;
    if (fault !== undefined) return void controller.abort(fault);
    this.#status = status;
    this.#firstByteAt = performance.now();
    this.#lines = this.#linesOf(status, headers);
    this.#tap?.begin(status, headers);
    if (this.#held !== undefined) return;
    // Server-sent events (HTML Living Standard 9.2): open for as long as a model writes
    this.#isStream = !this.#settled && isOfEvents(headers);
    if (this.#isStream) events.onStream?.(true);
    const declared = Number(fieldOf(this.#lines, 'content-length') ?? NaN);
    // What a tap holds back goes out with the end, whatever length was declared
    this.#remaining = this.#tap === undefined ? declared : NaN;
    // Body bytes of the same packet leave with the head; a stream's head must not wait for the first of them.
    if (!(declared <= JOINED_BYTES)) process.nextTick(sendHead, this);
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
    if (this.#tap !== undefined) return this.#pass(controller, this.#tap.take(chunk));
    if (this.#held === undefined) return this.#write(controller, chunk);
    if (this.#settled) return;
    if (this.#held.take(chunk)) return;
    this.#rewrite(this.#held);
    controller.abort(new GatewayError('upstream_invalid'));
  }

  #write(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled || chunk.length === 0) return;
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

  /** Without a pause, unless more comes: of a paused connection that is closed undici drops what it has not read. */
  #pass(controller: Dispatcher.DispatchController, passed: Buffer | Promise<Buffer>): void {
    if (this.#passing === undefined && !(passed instanceof Promise)) return this.#write(controller, passed);
    if (this.#passing !== undefined) controller.pause();
    const passing = (this.#passing ?? Promise.resolve()).then(async () => {
      this.#write(controller, await passed);
      if (this.#passing !== passing) return;
      this.#passing = undefined;
      if (!this.#outgoing.writableNeedDrain) controller.resume();
    });
    this.#passing = passing;
  }

  onResponseEnd(): void {
    const rest = this.#tap?.end();
    if (this.#passing === undefined && !(rest instanceof Promise)) return this.#end(rest);
    void (this.#passing ?? Promise.resolve()).then(async () => this.#end(await rest));
  }

  #end(rest?: Buffer): void {
    clearTimeout(this.#drain);
    if (this.#settled) return;
    if (this.#held !== undefined) return this.#rewrite(this.#held);
    this.#writeHead();
    if (!this.#outgoing.writableEnded) endWith(this.#outgoing, rest);
    this.#settle(false);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    clearTimeout(this.#drain);
    // the call is not over: it is sent once more
    if (error !== this.#unwanted) this.#tap?.cut();
    if (this.#receivedAt !== 0) return;
    if (this.#passing === undefined) this.#fail(error);
    else void this.#passing.then(() => this.#fail(error));
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

  #rewrite(held: HeldAnswer): void {
    this.#receivedAt = performance.now();
    held
      .rewritten(this.#status, this.#lines)
      .then((answer) => this.#sendRewritten(answer))
      // Anything but an answer for the client is a bug of the rewrite, not of the upstream
      .catch((cause: unknown) =>
        this.#fail(cause instanceof GatewayError ? cause : new GatewayError('internal', { cause })),
      );
  }

  #sendRewritten(answer: BufferedAnswer): void {
    if (this.#settled) return;
    closeIfUnread(this.#outgoing);
    this.#outgoing.writeHead(answer.status, rewrittenLines(answer.headers, answer.status, answer.body.length));
    endWith(this.#outgoing, answer.body);
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
      this.#leaveOrDrain(error);
    } else this.outcome.reject(toGatewayError(error, upstream.maxHeaderBytes, this.#isSent));
  }

  /** The upstream stops with its connection, where what it would still say is not of use. */
  #leaveOrDrain(error: Error): void {
    const { outlivesClientMs } = this.#tap ?? {};
    const controller = this.#controller;
    if (outlivesClientMs === undefined || controller === undefined) return void controller?.abort(error);
    this.#drain = setTimeout(() => controller.abort(error), outlivesClientMs).unref();
    if (controller.paused) controller.resume();
  }
}

const sendHead = (exchange: HttpExchange): void => exchange.sendHead();
