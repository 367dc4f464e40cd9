/** Sends a judged request upstream: its body as it came, whole or in pieces. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { ClientGone } from '../errors.ts';
import { declaredBytes } from './answer.ts';
import { Intake, SHORT_BODY_BYTES, readBody } from './body.ts';
import type { ExchangeEvents, ForwardOutcome, Forwarded } from './exchange.ts';
import { requestLines } from './headers.ts';
import { HttpExchange } from './http-exchange.ts';
import type { Upstream } from './upstream.ts';

/** @throws GatewayError only while nothing has been sent; ClientGone when the client left */
export function forward(upstream: Upstream, request: Forwarded, events: ExchangeEvents = {}): Promise<ForwardOutcome> {
  const { outgoing, body } = request;
  request.body = undefined;
  if (outgoing.destroyed) return Promise.reject(new ClientGone());
  if (body !== undefined && body.length > SHORT_BODY_BYTES) {
    const upload = Readable.from(piecesOf(body)).once('close', () => events.onUploaded?.(outgoing));
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
  const { target: path, outgoing } = request;
  const headers = requestLines(upstream, request, body instanceof Readable);
  const upload = body instanceof UploadStream ? body : undefined;
  const exchange = new HttpExchange({ upstream, request, headers, events, upload });
  upstream.pool.dispatch({ path, method: outgoing.req.method ?? 'GET', headers, body }, exchange);
  return exchange.outcome.promise;
}

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
function* piecesOf(rest: Buffer): Iterable<Buffer> {
  for (; rest.length > 0; rest = rest.subarray(SHORT_BODY_BYTES)) yield rest.subarray(0, SHORT_BODY_BYTES);
}
