/** Several gates on one file, which count their limits in one Redis. */
import { onTestFinished } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { type ServingProcess, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { until } from '../support/process/with-timeout.ts';
import { startSampleBackend } from '../support/upstream/sample-backend/backend.ts';

const OFF = {
  MODELGATE_LIMIT_ADDRESS: 'off',
  MODELGATE_LIMIT_USER: 'off',
  MODELGATE_LIMIT_CHAT: 'off',
  MODELGATE_LIMIT_ORGANIZATION: 'off',
  MODELGATE_LIMIT_CONCURRENT_CHATS: 'off',
};

/** Until the running test ends. */
export async function gatesOfTest(count: number, settings: Record<string, string>, wordDelayMs = 0) {
  const database: TestDatabase = createDatabase({ era: '0.12.4' });
  for (const id of ['ann', 'bob']) {
    database.addUser({ id });
    database.addMember('acme', id);
  }
  database.grant('acme', 'A');
  const provider = [{ id: 'A', name: 'A', owner: 'openai' as const }];
  const backend = await startSampleBackend({
    database: database.path,
    secretKey: TEST_SECRET,
    provider,
    ...(wordDelayMs > 0 && { wordDelayMs }),
  });
  const gates: ServingProcess[] = [];
  onTestFinished(async () => {
    await Promise.all(gates.map((gate) => gate[Symbol.asyncDispose]()));
    await backend.close();
    database.close();
  });
  for (let gate = 0; gate < count; gate += 1) {
    gates.push(
      await serveModelgate({
        MODELGATE_UPSTREAM_URL: backend.url,
        DATABASE_URL: `sqlite:///${database.path}`,
        WEBUI_SECRET_KEY: TEST_SECRET,
        ...OFF,
        ...settings,
      }),
    );
  }
  return gates;
}

export const as = async (user: string) => ({ authorization: `Bearer ${await mintSession(user)}` });

interface RedisState {
  readonly reachable: boolean;
  readonly problem: string | null;
  readonly warning: string | null;
  readonly gates: number;
}

/** As the admin listener tells it. */
export async function readiness({ adminUrl }: ServingProcess): Promise<RedisState & { readonly status: number }> {
  const answer = await fetch(`${adminUrl}/readyz`);
  const { redis } = (await answer.json()) as { redis: RedisState };
  return { status: answer.status, ...redis };
}

export const figuresOf = async ({ adminUrl }: ServingProcess): Promise<string> =>
  (await fetch(`${adminUrl}/metrics`)).text();

export const untilEach = (
  gates: readonly ServingProcess[],
  holds: (state: RedisState) => boolean,
  label: string,
  longestMs = 20_000,
) => until(async () => (await Promise.all(gates.map(readiness))).every(holds), longestMs, label);

export const allKnow = (gates: readonly ServingProcess[]) =>
  untilEach(gates, (state) => state.gates === gates.length, 'each gate knows of all');
