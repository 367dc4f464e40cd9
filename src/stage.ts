import type { MiddlewareHandler, Next } from 'hono';

/**
 * A Hono middleware, typed by the part of the scope that it reads and writes. Its `next` never rejects: what a later stage
 * has thrown is answered by then, and stands in `c.error`.
 */
export type Stage<Scope> = (
  c: { get(name: 'scope'): Scope; readonly error?: Error | undefined },
  next: Next,
) => ReturnType<MiddlewareHandler>;
