/** The ledger in PostgreSQL keeps every promise that it keeps in a file, directly and through a pooler. */
import { afterAll, beforeAll, describe } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { addressOf } from '../support/database/postgres-policy.ts';
import { type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { describeLedger } from '../support/usage/ledger-behaviour.ts';

let server: PostgresServer;
let pooler: PgBouncer;
beforeAll(async () => {
  server = await startPostgres();
  pooler = await startPgBouncer(server, { poolSize: 5 });
});
afterAll(async () => {
  await pooler[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const WAYS = ['directly', 'through PgBouncer in transaction mode'] as const;

describe.each(WAYS)('%s', (way) => {
  describeLedger(async () => {
    const database = await server.createDatabase({ schema: 'chat' });
    const url = way === 'directly' ? database.url : pooler.url(database.name);
    const postgres = addressOf(url, 'chat');
    return {
      // a new ledger has a connection to make first
      place: { path: postgres.shown, postgres, patienceMs: 5_000 },
      connect: () => openBlocking(postgres),
      close: () => database[Symbol.asyncDispose](),
    };
  });
});
