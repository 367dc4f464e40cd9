/** A gate on PostgreSQL with two users, ada and eve, of one organization that has the model `gpt`. */
import { onTestFinished } from 'vitest';
import { type policyOf, policyOfAcme } from '../support/database/postgres-policy.ts';
import { chatStatus, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { startPostgres } from '../support/postgres.ts';
import { until } from '../support/process/with-timeout.ts';
import { sendJson, startUpstream } from '../support/upstream/upstreams.ts';

type Policy = ReturnType<typeof policyOf>;

const USERS = ['ada', 'eve'];

/** @param prepare what else is there before the gate starts */
export async function gateOnPolicy(
  prepare: (policy: Policy) => Promise<void> = () => Promise.resolve(),
  settings: Record<string, string> = {},
) {
  const running = new AsyncDisposableStack();
  onTestFinished(() => running.disposeAsync());
  const server = running.use(await startPostgres());
  const upstream = running.use(await startUpstream((_incoming, outgoing) => sendJson(outgoing, { choices: [] })));
  const database = running.use(await server.createDatabase());
  const policy = await policyOfAcme(database, USERS, 'gpt');
  await prepare(policy);
  const gate = running.use(
    await serveModelgate({
      MODELGATE_UPSTREAM_URL: upstream.origin,
      DATABASE_URL: database.url,
      WEBUI_SECRET_KEY: TEST_SECRET,
      ...settings,
    }),
  );
  // whom it has seen it serves, also where a check is late on a busy machine
  for (const user of USERS) {
    const session = await mintSession(user);
    await until(async () => (await chatStatus(gate, 'gpt', session)) === 200, 20_000, `${user} to be known`);
  }
  return { gate, policy };
}
