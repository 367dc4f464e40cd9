/** The ledger in PostgreSQL keeps every promise that it keeps in a file, directly and through a pooler. */
import { describe } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { addressOf } from '../support/database/postgres-policy.ts';
import { pooledServerOfSuite } from '../support/pooled-server.ts';
import { describeLedger } from '../support/usage/ledger-behaviour.ts';

const suite = pooledServerOfSuite({ poolSize: 5 });

const WAYS = ['directly', 'through PgBouncer in transaction mode'] as const;

describe.each(WAYS)('%s', (way) => {
  describeLedger(async () => {
    const database = await suite.server.createDatabase({ schema: 'chat' });
    const url = way === 'directly' ? database.url : suite.pooler.url(database.name);
    const postgres = addressOf(url, 'chat');
    return {
      // a new ledger has a connection to make first
      place: { path: postgres.shown, postgres },
      connect: () => openBlocking(postgres),
      close: () => database[Symbol.asyncDispose](),
    };
  });
});
