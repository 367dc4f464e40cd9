/** Sends a judged request upstream: its body as it came, whole or in pieces. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { ClientGone, GatewayError } from '../errors.ts';
import { declaredBytes } from './answer.ts';
import { Intake, SHORT_BODY_BYTES, readBody } from './body.ts';
import type { AskUpstream, BufferedAnswer, ExchangeEvents, ForwardOutcome, Forwarded } from './exchange.ts';
import { requestLines } from './headers.ts';
import { HttpExchange, MAX_REWRITTEN_BYTES } from './http-exchange.ts';
import { type Upstream, toGatewayError } from './upstream.ts';

/** @throws GatewayError only while nothing has been sent; ClientGone when the client left */
export function forward(upstream: Upstream, request: Forwarded, events: ExchangeEvents = {}): Promise<ForwardOutcome> {
  const { outgoing, body } = request;
  request.body = undefined;
  if (outgoing.destroyed) return Promise.reject(new ClientGone());
  if (body !== undefined && body.length > SHORT_BODY_BYTES) {
    const upload = new HeldUpload(body).once('close', () => events.onUploaded?.(outgoing));
    return send(upstream, request, events, upload);
  }
  const declared = declaredBytes(outgoing.req);
  if (body !== undefined || declared === 0) return send(upstream, request, events, body ?? null);
  if (declared > SHORT_BODY_BYTES) return send(upstream, request, events, new UploadStream(outgoing));
  return readBody(outgoing, SHORT_BODY_BYTES).then((bytes) => send(upstream, request, events, bytes));
}

async function send(
  upstream: Upstream,
  request: Forwarded,
  events: ExchangeEvents,
  body: Buffer | Readable | null,
): Promise<ForwardOutcome> {
  const { target: path, credentialEdit: edit, requestId, outgoing, rewrite } = request;
  const { rawHeaders, httpVersion, method = 'GET', socket } = outgoing.req;
  const { via } = upstream;
  const facts = { rawHeaders, method, httpVersion, peer: upstream.peerOf(socket), edit, requestId, via };
  const headers = requestLines({ ...facts, streamed: body instanceof Readable, rewritten: rewrite !== undefined });
  const upload = body instanceof UploadStream ? body : undefined;
  const exchange = new HttpExchange({ request, events, ask: createAsk(upstream, headers), upload, upstream });
  upstream.pool.dispatch({ path, method, headers, body }, exchange);
  return exchange.outcome.promise;
}

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
      throw toGatewayError(cause, upstream.maxHeaderBytes);
    }
  };
}

const TOO_LONG = `Its pages have more than ${MAX_REWRITTEN_BYTES / 1024 ** 2} MB.`;

/** undici destroys what it was given, and `incoming` must outlive that: the answer still goes out on its connection. */
class UploadStream extends Readable {
  readonly #outgoing: ServerResponse;
  #intake: Intake | undefined;

  constructor(outgoing: ServerResponse) {
    super({ highWaterMark: 64 * 1024 });
    this.#outgoing = outgoing;
  }

  override _read(): void {
    const { req } = this.#outgoing;
    if (this.#intake !== undefined) this.#intake.resume();
    else if (req.destroyed && !req.complete) this.destroy(new ClientGone());
    else this.#intake = new Intake(this.#outgoing, this.#pass, this.#finish);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#intake?.cancel();
    callback(error);
  }

  readonly #pass = (chunk: Buffer): void => {
    if (!this.push(chunk)) this.#intake?.pause();
  };
  readonly #finish = (error?: Error): void => {
    if (error === undefined) this.push(null);
    else this.destroy(error);
  };
}

/** A body that was read whole, let go of as the upstream takes it. */
class HeldUpload extends Readable {
  #rest: Buffer | undefined;

  constructor(bytes: Buffer) {
    super();
    this.#rest = bytes;
  }

  override _read(): void {
    const piece = this.#rest?.subarray(0, SHORT_BODY_BYTES) ?? null;
    const rest = this.#rest?.subarray(SHORT_BODY_BYTES);
    this.#rest = rest === undefined || rest.length === 0 ? undefined : rest;
    this.push(piece);
  }
}
