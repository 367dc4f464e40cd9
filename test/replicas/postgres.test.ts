import pg from 'pg';
import { expect, test } from 'vitest';
import { pooledServerOfSuite } from '../support/pooled-server.ts';

const suite = pooledServerOfSuite();

test.each([
  ['0.12.4', 'public'],
  ['0.6.18', 'public'],
  ['0.12.4', 'chat'],
] as const)('a database of Open WebUI %s has its tables in the schema %s', async (era, schema) => {
  await using database = await suite.server.createDatabase({ era, schema });
  const { rows } = await database.sql.query<{ schema: string; tables: number }>(
    `SELECT table_schema AS schema, count(*)::int AS tables FROM information_schema.tables
     WHERE table_name IN ('user', 'auth', 'chat', 'model') GROUP BY 1`,
  );
  expect(rows).toEqual([{ schema, tables: 4 }]);
});

test('two databases have nothing in common, and the pooler reaches each', async () => {
  await using one = await suite.server.createDatabase();
  await using other = await suite.server.createDatabase();
  await one.sql.query(`INSERT INTO tag (id, name, user_id) VALUES ('t', 't', 'u')`);
  const counted = [];
  for (const { name } of [one, other]) {
    const client = new pg.Client({ connectionString: suite.pooler.url(name) });
    await client.connect();
    counted.push((await client.query<{ n: number }>('SELECT count(*)::int AS n FROM public.tag')).rows[0]?.n);
    await client.end();
  }
  expect(counted).toEqual([1, 0]);
});
