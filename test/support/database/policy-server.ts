/** The server of the project `on-postgres`: started once for all its files. */
import type { TestProject } from 'vitest/node';
import { startPgBouncer } from '../pgbouncer.ts';
import { type PostgresServer, ROLE, startPostgres } from '../postgres.ts';
import { ERAS, type Era } from './database.ts';
import { policyOf } from './postgres-policy.ts';

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const server = await startPostgres({ settings: { max_connections: '400' } });
  const pooler = await startPgBouncer(server);
  const templates = await Promise.all(ERAS.map(async (era) => [era, await templateOf(server, era)] as const));
  provide('policyServer', {
    superuser: server.url('postgres', 'postgres'),
    direct: server.url(''),
    pooled: pooler.url(''),
    owner: ROLE,
    templates: Object.fromEntries(templates) as Record<Era, string>,
  });
  return async () => {
    await pooler[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  };
}

/** SQLite does not enforce them: tests store what belongs to no one. */
const WITHOUT_FOREIGN_KEYS = `DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
  LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.owner, one.conname); END LOOP;
END $$`;

async function templateOf(server: PostgresServer, era: Era): Promise<string> {
  // nothing may be connected to it when it is copied
  await using database = await server.createDatabase({ era });
  await policyOf(database).initialize();
  await database.sql.query(WITHOUT_FOREIGN_KEYS);
  return database.name;
}
