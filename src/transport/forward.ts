/** Sends a judged request upstream and the answer downstream. */
import { ClientGone } from '../errors.ts';
import { UploadStream, readBody } from './body.ts';
import type { ForwardOutcome, ForwardRequest } from './exchange.ts';
import { requestLines } from './headers.ts';
import { HttpExchange } from './http-exchange.ts';
import { declaredBytes } from './linger.ts';
import type { Upstream } from './upstream.ts';

/** A request body of at most this length is collected first: cheaper than a stream, and slow clients cost no connection. */
const COLLECTED_BYTES = 64 * 1024;

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
    const upload = body instanceof UploadStream ? body : undefined;
    const exchange = new HttpExchange(request, upload, upstream.forwardsEarlyHints, resolve, reject);
    upstream.pool.dispatch({ path: request.target, method: method, headers, body }, exchange);
  });
}
