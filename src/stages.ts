/** How stages follow one another. */
import type { MiddlewareHandler } from 'hono';
import type { GateEnv } from './scope.ts';

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
