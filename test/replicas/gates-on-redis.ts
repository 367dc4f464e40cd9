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

export const USERS = ['ann', 'bob', 'cyd', 'dan'];

/** Until the running test ends. */
export async function gatesOfTest(count: number, settings: Record<string, string>, wordDelayMs = 0) {
  const database: TestDatabase = createDatabase({ era: '0.12.4' });
  for (const id of USERS) {
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

/** Redis that is late for a gate is away for a moment, and nothing is known then of what gates count together: that is told by 503. */
export const TOGETHER = { MODELGATE_LIMITS_WITHOUT_REDIS: 'refuse' };

/** @param gates with the setting `TOGETHER` @returns what the first user was answered for whom Redis was never late */
export async function countedTogether(
  gates: readonly ServingProcess[],
  ask: (user: string) => Promise<readonly number[]>,
): Promise<readonly number[]> {
  for (const user of USERS) {
    await untilEach(gates, ({ reachable }) => reachable, 'each gate reaches Redis');
    const statuses = await ask(user);
    if (!statuses.includes(503)) return statuses;
  }
  throw new Error('Redis was late for each user');
}

export const allKnow = (gates: readonly ServingProcess[]) =>
  untilEach(gates, (state) => state.gates === gates.length, 'each gate knows of all');
