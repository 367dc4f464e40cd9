/** Gates whose ledger is in one PostgreSQL, and whether it says the same as the provider that they call. */
import { expect, onTestFinished } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { addressOf, policyOfAcme } from '../support/database/postgres-policy.ts';
import type { CallRow } from '../support/database/usage.ts';
import { type ServingDoor, chatAs, serveDoor } from '../support/gate/door-process.ts';
import { startPgBouncer } from '../support/pgbouncer.ts';
import { startPostgres } from '../support/postgres.ts';
import { BODY, type MeteredProvider, startMeteredProvider } from '../support/upstream/metered-provider.ts';
import { whenReadable } from './readable.ts';

export const USERS = ['ann', 'bob', 'cat'];
export const STREAMED = JSON.stringify({
  model: 'A',
  stream: true,
  messages: [{ role: 'user', content: 'words' }],
});

/** The users are of acme, which has `A`. Until the running test ends. */
export async function gatesOnLedger(
  options: Parameters<typeof startMeteredProvider>[0],
  { isPooled = false, ...ofServer }: Parameters<typeof startPostgres>[0] & { readonly isPooled?: boolean } = {},
) {
  const running = new AsyncDisposableStack();
  onTestFinished(() => running.disposeAsync());
  const server = running.use(await startPostgres(ofServer));
  const pooler = isPooled ? running.use(await startPgBouncer(server, { poolSize: 6 })) : undefined;
  const database = running.use(await server.createDatabase());
  const policy = await policyOfAcme(database, USERS, 'A');
  const provider = await startMeteredProvider(options);
  running.defer(() => provider.close());
  const serve = async (settings: Record<string, string> = {}): Promise<ServingDoor> =>
    whenReadable(running.use(await serveDoor({ url: pooler?.url(database.name) ?? database.url }, provider, settings)));
  return { running, server, database, policy, provider, serve };
}

/** What commands see of it: 64-bit integers as numbers. */
export async function rowsIn<Row>(url: string, sql: string): Promise<readonly Row[]> {
  const connection = await openBlocking(addressOf(url));
  try {
    return connection.prepare<[], Row>(sql).all();
  } finally {
    connection.close();
  }
}

export const callsIn = ({ url }: { readonly url: string }) =>
  rowsIn<CallRow>(url, 'SELECT * FROM usage_request ORDER BY id');

/** Each call once, and the sums are those of the calls. @returns the calls */
export async function countedAsCharged(database: { readonly url: string }, { charged }: MeteredProvider) {
  const rows = await callsIn(database);
  const byId = new Map(rows.map((row) => [row.id, row]));
  const wrong = charged.filter(({ request, input, output, costNano }) => {
    const row = byId.get(request);
    return row?.input !== input || row.output !== output || row.cost_nano !== costNano;
  });
  expect(wrong.map((one) => ({ one, row: byId.get(one.request) }))).toEqual([]);
  expect(byId.size).toBe(rows.length);
  expect(
    await rowsIn(
      database.url,
      'SELECT CAST(sum(requests) AS BIGINT) AS n, CAST(sum(cost_nano) AS BIGINT) AS cost FROM usage_slot',
    ),
  ).toEqual([
    {
      n: rows.filter(({ state }) => state === 'closed').length,
      cost: charged.reduce((sum, { costNano }) => sum + costNano, 0),
    },
  ]);
  return rows;
}

export const chat = async (
  base: string,
  user = 'ann',
  body: string = BODY,
): Promise<{ status: number; text: string }> => {
  const answer = await chatAs(base, user, body);
  return { status: answer.status, text: await answer.text() };
};
