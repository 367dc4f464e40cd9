import { afterAll, beforeAll } from 'vitest';
import { type PgBouncer, type PgBouncerOptions, startPgBouncer } from './pgbouncer.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';

interface PooledServer {
  readonly server: PostgresServer;
  readonly pooler: PgBouncer;
}

/** PostgreSQL, and PgBouncer in front of it: one pair for all tests of the suite that says so, usable in them. */
export function pooledServerOfSuite(options: PgBouncerOptions = {}): PooledServer {
  const suite: Partial<PooledServer> = {};
  const running = new AsyncDisposableStack();
  beforeAll(async () => {
    const server = running.use(await startPostgres());
    Object.assign(suite, { server, pooler: running.use(await startPgBouncer(server, options)) });
  });
  afterAll(() => running.disposeAsync());
  return suite as PooledServer;
}
