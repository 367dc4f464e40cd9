import type { MiddlewareHandler, Next } from 'hono';

/** A Hono middleware, typed by the part of the scope that it reads and writes. */
export type Stage<Scope> = (c: { get(name: 'scope'): Scope }, next: Next) => ReturnType<MiddlewareHandler>;
