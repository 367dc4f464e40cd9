/** Sends a judged request upstream: its body as it came, whole or in pieces. */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { ClientGone, GatewayError } from '../errors.ts';
import { declaredBytes } from './answer.ts';
import { Intake, SHORT_BODY_BYTES, joined, readBody } from './body.ts';
import type { BufferedAnswer, ExchangeEvents, ForwardOutcome, Forwarded } from './exchange.ts';
import { requestLines } from './headers.ts';
import { HttpExchange } from './http-exchange.ts';
import { type Upstream, createAsk } from './upstream.ts';

/** @throws GatewayError only while nothing has been sent; ClientGone when the client left */
export function forward(upstream: Upstream, request: Forwarded, events: ExchangeEvents = {}): Promise<ForwardOutcome> {
  if (request.outgoing.destroyed) return unsent(request, new ClientGone());
  const { body: judged, bodyParts = judged && [judged] } = request;
  request.body = request.bodyParts = undefined;
  if (bodyParts !== undefined) return sendWhole(upstream, request, events, bodyParts);
  const body = receivedBody(request.outgoing);
  const send = (bytes: Buffer) => exchange(upstream, request, events, bytes);
  if (body instanceof Promise) return body.then(send, (error: unknown) => unsent(request, error));
  return exchange(upstream, request, events, body);
}

function unsent({ tap }: Forwarded, error: unknown): Promise<never> {
  tap?.cut();
  return Promise.reject(error instanceof Error ? error : new GatewayError('internal', { cause: error }));
}

function sendWhole(upstream: Upstream, request: Forwarded, events: ExchangeEvents, parts: readonly Buffer[]) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length <= SHORT_BODY_BYTES) return exchange(upstream, request, events, joined(parts));
  const body = Readable.from(piecesOf(parts)).once('close', () => events.onUploaded?.(request.outgoing));
  return exchange(upstream, request, events, body, length);
}

function receivedBody(outgoing: ServerResponse): Readable | null | Promise<Buffer> {
  const declared = declaredBytes(outgoing.req);
  if (declared === 0) return null;
  return declared > SHORT_BODY_BYTES ? uploadOf(outgoing) : readBody(outgoing, SHORT_BODY_BYTES);
}

/** Sends the request; its answer goes out as it comes. @param length of a body that is a stream, if not as it was declared */
export async function exchange(
  upstream: Upstream,
  request: Forwarded,
  events: ExchangeEvents,
  body: Buffer | Readable | null,
  length?: number,
): Promise<ForwardOutcome> {
  const headers = requestLines(upstream, request, body instanceof Readable && length === undefined);
  if (length !== undefined) headers.push('content-length', String(length));
  const handler = new HttpExchange({ upstream, request, headers, events });
  const { method = 'GET' } = request.outgoing.req;
  const upgrade = events.onUpgrade === undefined ? null : 'websocket';
  upstream.pool.dispatch({ path: request.target, method, headers, body, upgrade }, handler);
  return handler.outcome.promise;
}

/** @returns the whole answer to a request without a body @throws GatewayError */
export const askUpstream = (upstream: Upstream, request: Forwarded, signal: AbortSignal): Promise<BufferedAnswer> =>
  createAsk(upstream, requestLines(upstream, request, false), signal)(request.target);

/** undici destroys what it was given, and `incoming` must outlive that: the answer still goes out on its connection. */
function uploadOf(outgoing: ServerResponse): Readable {
  const { req } = outgoing;
  let intake: Intake | undefined;
  const pass = (chunk: Buffer): void => {
    if (!upload.push(chunk)) intake?.pause();
  };
  const finish = (error?: Error): void => {
    if (error === undefined) upload.push(null);
    else upload.destroy(error);
  };
  const upload = new Readable({
    highWaterMark: SHORT_BODY_BYTES,
    read() {
      if (intake !== undefined) intake.resume();
      else if (req.destroyed && !req.complete) upload.destroy(new ClientGone());
      else intake = new Intake(outgoing, pass, finish);
    },
    destroy(error, callback) {
      intake?.cancel();
      callback(error);
    },
  });
  return upload;
}

/** A body that was read whole, let go of as the upstream takes it. */
function* piecesOf(parts: readonly Buffer[]): Iterable<Buffer> {
  for (let rest of parts) {
    for (; rest.length > 0; rest = rest.subarray(SHORT_BODY_BYTES)) yield rest.subarray(0, SHORT_BODY_BYTES);
  }
}
