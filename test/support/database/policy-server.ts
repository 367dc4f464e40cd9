/** The server of the project `on-postgres`: started once for all its files. */
import type { TestProject } from 'vitest/node';
import { startPgBouncer } from '../pgbouncer.ts';
import { type PostgresServer, ROLE, startPostgres } from '../postgres.ts';
import { type Era, ERAS } from './database.ts';
import { WITHOUT_FOREIGN_KEYS, policyOf } from './postgres-policy.ts';

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres({ settings: { max_connections: '400' } });
  const pooler = await startPgBouncer(server);
  const kinds = ERAS.flatMap((era) => (['guide', 'none'] as const).map((tables) => ({ era, tables })));
  const templates = kinds.map(
    async ({ era, tables }) => [`${era} ${tables}`, await templateOf(server, era, tables)] as const,
  );
  provide('policyServer', {
    superuser: server.url('postgres', 'postgres'),
    direct: server.url(''),
    pooled: pooler.url(''),
    owner: ROLE,
    templates: Object.fromEntries(await Promise.all(templates)),
  });
  return async () => {
    await pooler[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  };
}

async function templateOf(server: PostgresServer, era: Era, tables: 'guide' | 'none'): Promise<string> {
  // nothing may be connected to it when it is copied
  await using database = await server.createDatabase({ era });
  if (tables === 'guide') await policyOf(database).initialize();
  await database.sql.query(WITHOUT_FOREIGN_KEYS);
  return database.name;
}
