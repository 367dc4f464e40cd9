/** A judged request on its way upstream: what its body is sent as, and what else its answer needs. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { ClientGone, GatewayError } from '../errors.ts';
import { MinimumRate, SHORT_BODY_BYTES, readBody, sendContinue, tooSlow } from './body.ts';
import { requestLines } from './headers.ts';
import {
  type AskUpstream,
  type BufferedAnswer,
  type ForwardOutcome,
  type ForwardRequest,
  MAX_REWRITTEN_BYTES,
} from './exchange.ts';
import { HttpExchange } from './http-exchange.ts';
import { declaredBytes } from './answer.ts';
import { toGatewayError, type Upstream } from './upstream.ts';

/**
 * Sends the request upstream and the answer downstream.
 *
 * @returns once the answer has been handed over whole, or was cut (`truncated`)
 * @throws GatewayError `upstream_unreachable`, `upstream_timeout`, `upstream_invalid`,
 *   `upstream_headers_too_large`, `loop_detected` or `request_timeout`, only while nothing has been sent, so that the caller can answer
 * @throws ClientGone when the client left; the upstream request is aborted then
 */
export function forward(upstream: Upstream, request: ForwardRequest): Promise<ForwardOutcome> {
  const { incoming, outgoing, body } = request;
  request.body = undefined;
  if (outgoing.destroyed) return Promise.reject(new ClientGone());
  if (body !== undefined && body.length > SHORT_BODY_BYTES) {
    const upload = new HeldUpload(body).once('close', () => request.onUploaded?.(outgoing));
    return send(upstream, request, upload);
  }
  const declared = declaredBytes(incoming);
  if (body !== undefined || declared === 0) return send(upstream, request, body ?? null);
  if (declared > SHORT_BODY_BYTES) return send(upstream, request, new UploadStream(incoming, outgoing));
  return readBody(incoming, outgoing, SHORT_BODY_BYTES).then((bytes) => send(upstream, request, bytes));
}

async function send(
  upstream: Upstream,
  request: ForwardRequest,
  body: Buffer | Readable | null,
): Promise<ForwardOutcome> {
  const { incoming, target: path } = request;
  const { method = 'GET' } = incoming;
  const headers = requestLines({
    rawHeaders: incoming.rawHeaders,
    method,
    httpVersion: incoming.httpVersion,
    peer: upstream.peerOf(incoming.socket),
    edit: request.edit,
    requestId: request.requestId,
    via: upstream.via,
    streamed: body instanceof Readable,
    rewritten: request.rewrite !== undefined,
  });
  const upload = body instanceof UploadStream ? body : undefined;
  const exchange = new HttpExchange(request, createAsk(upstream, headers), upload, upstream);
  upstream.pool.dispatch({ path, method, headers, body }, exchange);
  return exchange.outcome;
}

/** What is asked for besides the answer itself is bounded together, as the answer is. */
function createAsk(upstream: Upstream, headers: string[]): AskUpstream {
  let bytes = 0;
  return async function ask(path): Promise<BufferedAnswer> {
    try {
      const answer = await upstream.pool.request({ path, method: 'GET', headers });
      const chunks: Buffer[] = [];
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_REWRITTEN_BYTES) throw new GatewayError('upstream_invalid', { detail: TOO_LONG });
        chunks.push(chunk);
      }
      return { status: answer.statusCode, headers: [], body: Buffer.concat(chunks) };
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      throw toGatewayError(error, upstream.maxHeaderBytes);
    }
  };
}

const TOO_LONG = `Its pages have more than ${MAX_REWRITTEN_BYTES / 1024 ** 2} MB.`;

/**
 * The body as a stream of its own: undici destroys what it was given, and `incoming` must outlive that, since the
 * answer still goes out on its connection.
 */
class UploadStream extends Readable {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #rate = new MinimumRate(() => void this.destroy(tooSlow()));
  #started = false;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    super({ highWaterMark: 64 * 1024 });
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  override _read(): void {
    if (!this.#started) this.#start();
    else if (this.#incoming.isPaused()) {
      this.#rate.start();
      this.#incoming.resume();
    }
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const incoming = this.#incoming;
    this.#rate.stop();
    if (this.#started) {
      incoming
        .off('data', this.#onData)
        .off('end', this.#onEnd)
        .off('close', this.#onClose)
        .off('timeout', this.#onTimeout);
      incoming.pause();
    }
    callback(error);
  }

  #start(): void {
    this.#started = true;
    const incoming = this.#incoming;
    if (incoming.destroyed && !incoming.complete) {
      this.destroy(new ClientGone());
      return;
    }
    sendContinue(incoming, this.#outgoing);
    this.#rate.start();
    incoming.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('timeout', this.#onTimeout);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#rate.add(chunk.length);
    if (this.push(chunk)) return;
    // The upstream does not take more: not the client's fault.
    this.#rate.stop();
    this.#incoming.pause();
  };
  readonly #onEnd = (): void => {
    this.#rate.stop();
    this.push(null);
  };
  readonly #onClose = (): void => void this.destroy(new ClientGone());
  readonly #onTimeout = (): void => {
    if (!this.#incoming.isPaused()) this.destroy(tooSlow());
  };
}

/** A body that was read whole, let go of as the upstream takes it: the answer may be a long one. */
class HeldUpload extends Readable {
  #bytes: Buffer | undefined;
  #sent = 0;

  constructor(bytes: Buffer) {
    super();
    this.#bytes = bytes;
  }

  override _read(): void {
    const bytes = this.#bytes;
    if (bytes === undefined) return;
    const start = this.#sent;
    this.#sent = Math.min(bytes.length, start + SHORT_BODY_BYTES);
    if (this.#sent === bytes.length) this.#bytes = undefined;
    this.push(bytes.subarray(start, this.#sent));
    if (this.#bytes === undefined) this.push(null);
  }
}
