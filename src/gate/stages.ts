/** How stages follow one another, and those at both ends, which know nothing of policy. */
import type { MiddlewareHandler } from 'hono';
import { forward } from '../transport/forward.ts';
import type { HeldBodies } from '../transport/body.ts';
import type { Upstream } from '../transport/upstream.ts';
import type { SecureAnswers } from './answer-headers.ts';
import type { GateEnv } from './scope.ts';
import { createScope } from './scope.ts';

/** Stages answer on the raw response and return nothing; this is what Hono is told. */
export const ANSWERED = new Response(null);

/**
 * One stage calls the next by `next()`, as in Hono, whose own composing awaits at every stage: twice the
 * instructions, measured alone. Here only a stage that waits for something costs a promise. Without `c.res` Hono makes
 * an answer of its own, stream and all, for nobody: 7 % of what a request costs.
 */
export function inOrder(stages: readonly MiddlewareHandler<GateEnv>[]): MiddlewareHandler<GateEnv> {
  return function inOrder(c, last) {
    const enter = (at: number): ReturnType<MiddlewareHandler<GateEnv>> => {
      const stage = stages[at];
      return stage === undefined ? last() : stage(c, () => enter(at + 1) as Promise<void>);
    };
    c.res = ANSWERED;
    return enter(0);
  };
}

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

/** The last stage: what is left is sent as it was judged. */
export function forwardTo(
  upstream: Upstream,
  onStream: (isOpen: boolean) => void,
  { release: onUploaded }: HeldBodies,
): MiddlewareHandler<GateEnv> {
  return async function forwardTo(c) {
    const scope = c.get('scope');
    const { incoming, outgoing, target, credentialEdit: edit, rewrite, requestId, answerEdits } = scope;
    const told = { rewrite, requestId, answerEdits, onStream, onUploaded };
    const request = { incoming, outgoing, target, edit, body: scope.body, ...told };
    scope.body = undefined;
    scope.outcome = await forward(upstream, request);
  };
}

/** The only stage of a bypassed gate: the request goes on as it came. */
export const letThrough: MiddlewareHandler<GateEnv> = function letThrough(c, next) {
  const scope = c.get('scope');
  scope.target = scope.incoming.url ?? '/';
  scope.surface = { kind: 'neutral' };
  return next();
};
