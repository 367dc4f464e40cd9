import { afterAll, beforeAll, expect, test } from 'vitest';
import { parsePostgresUrl } from '../../src/config/postgres-url.ts';
import { connectPostgres } from '../../src/store/postgres/connect.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());
test('x', async () => {
  const db = await server.createDatabase();
  const address = parsePostgresUrl(db.url);
  if (typeof address === 'string') throw new Error(address);
  const c = await connectPostgres(address, { connectTimeoutMs: 1000, queryTimeoutMs: 250, applicationName: 'x' });
  expect(c.isPooled).toBe(false);
  expect(c.serverVersion).toBeGreaterThan(130000);
  expect(await c.query('select 1::int8 as a, $1::json as b', ['{"a":1}'], 'x')).toEqual([{ a: 1, b: '{"a":1}' }]);
  await c.close();
  await db[Symbol.asyncDispose]();
});
