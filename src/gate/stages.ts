/** The stages at both ends, which know nothing of policy. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { MiddlewareHandler } from 'hono';
import type { Metrics } from '../telemetry/metrics.ts';
import { forward } from '../transport/exchange.ts';
import type { HeldBodies } from '../transport/body.ts';
import type { Upstream } from '../transport/upstream.ts';
import type { SecureAnswers } from './answer-headers.ts';
import { type GateEnv, createScope } from './scope.ts';

/** The scope, and with it what every answer carries: whatever fails after this stage is answered with it. */
export function begin({ editsFor }: SecureAnswers): MiddlewareHandler<GateEnv> {
  return function begin(c, next) {
    const { incoming, outgoing } = c.env;
    c.set('scope', createScope(incoming, outgoing, editsFor(incoming)));
    return next();
  };
}

/** What the listener found wrong with the request is answered here, where it is observed and has a dialect. */
export const refuseMalformed: MiddlewareHandler<GateEnv> = function refuseMalformed(c, next) {
  if (c.env.fault !== undefined) throw c.env.fault;
  return next();
};

/** The only stage of a bypassed gate: the request goes on as it came. */
export const letThrough: MiddlewareHandler<GateEnv> = function letThrough(c, next) {
  const scope = c.get('scope');
  scope.target = scope.incoming.url ?? '/';
  scope.surface = { kind: 'neutral' };
  return next();
};

interface ForwardParts {
  readonly upstream: Upstream;
  readonly bodies: Pick<HeldBodies, 'release'>;
  readonly metrics: Pick<Metrics, 'streamOpened' | 'streamClosed'>;
}

/** The last stage: the request is sent as it was judged. */
export function forwardTo({ upstream, bodies, metrics }: ForwardParts): MiddlewareHandler<GateEnv> {
  const onStream = (isOpen: boolean) => (isOpen ? metrics.streamOpened() : metrics.streamClosed());
  return async function forwardTo(c) {
    const scope = c.get('scope');
    const { outgoing, target, credentialEdit: edit, rewrite, requestId, answerEdits, body } = scope;
    scope.body = undefined;
    const request = { outgoing, target, edit, body, rewrite, requestId, answerEdits };
    scope.outcome = await forward(upstream, { ...request, onStream, onUploaded: bodies.release });
    return RESPONSE_ALREADY_SENT;
  };
}
