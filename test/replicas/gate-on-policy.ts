/** A gate on PostgreSQL with two users, ada and eve, of one organization that has the model `gpt`. */
import { onTestFinished } from 'vitest';
import { policyOf } from '../support/database/postgres-policy.ts';
import { serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { startPostgres } from '../support/postgres.ts';
import { sendJson, startUpstream } from '../support/upstream/upstreams.ts';

type Policy = ReturnType<typeof policyOf>;

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
  const policy = policyOf(database);
  await policy.initialize();
  for (const user of ['ada', 'eve']) {
    await policy.addUser(user);
    await policy.addMember('acme', user);
  }
  await policy.grant('acme', 'gpt');
  await prepare(policy);
  const gate = running.use(
    await serveModelgate({
      MODELGATE_UPSTREAM_URL: upstream.origin,
      DATABASE_URL: database.url,
      WEBUI_SECRET_KEY: TEST_SECRET,
      ...settings,
    }),
  );
  return { gate, policy };
}
