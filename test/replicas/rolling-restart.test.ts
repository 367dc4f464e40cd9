/** Four gates on one database, restarted one after the other while people work. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDatabase } from '../support/database/database.ts';
import { startEdge } from '../support/gate/edge.ts';
import { type ServingProcess, serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { freePorts } from '../support/process/ports.ts';
import { until } from '../support/process/with-timeout.ts';
import { startSampleBackend } from '../support/upstream/sample-backend/backend.ts';
import { startLateBalancer } from './late-balancer.ts';
import { startSteadyLoad } from './steady-load.ts';

const GATES = 4;
const PER_SECOND = 200;
/** Later than most clusters, so that the delay of the gate has something to bridge. */
const LATE_MS = 1_000;

describe('a rolling restart costs no request', { timeout: 180_000 }, () => {
  test('through nginx, which passes over a gate that is away', async () => {
    const fleet = await startFleet({ MODELGATE_DRAIN_DELAY: '2s' });
    await using edge = await startEdge({ gate: fleet.urls(), withoutTls: true, replace: [WITHOUT_FLOOD_GUARD] });
    const { sent, failures } = await fleet.restartUnderLoad(edge.url);
    // it names each gate that it found away
    const said = edge
      .errors()
      .split('\n')
      .filter((line) => !line.includes('connect() failed (111:'));
    expect(failures, said.join('\n')).toEqual([]);
    expect(sent).toBeGreaterThan(1_000);
  });

  test('behind a Service whose endpoints come late, with MODELGATE_DRAIN_DELAY', async () => {
    const fleet = await startFleet({ MODELGATE_DRAIN_DELAY: `${3 * LATE_MS}ms` });
    await using service = await startLateBalancer(fleet.endpoints(), LATE_MS);
    const { sent, failures } = await fleet.restartUnderLoad(service.url);
    expect(failures).toEqual([]);
    expect(sent).toBeGreaterThan(1_000);
  });

  test('and does without the delay, so that it is the delay that helps', async () => {
    const fleet = await startFleet();
    await using service = await startLateBalancer(fleet.endpoints(), LATE_MS);
    const { failures } = await fleet.restartUnderLoad(service.url);
    expect(failures.length).toBeGreaterThan(10);
  });
});

/** The load comes from one address. */
const WITHOUT_FLOOD_GUARD = ['rate=100r/s', 'rate=100000r/s'] as const;
const UNLIMITED = Object.fromEntries(
  ['ADDRESS', 'USER', 'CHAT', 'ORGANIZATION', 'CONCURRENT_CHATS'].map((name) => [`MODELGATE_LIMIT_${name}`, 'off']),
);

/** Until the running test ends. */
async function startFleet(settings: Record<string, string> = {}) {
  const cleanup = new AsyncDisposableStack();
  onTestFinished(() => cleanup.disposeAsync());
  const database = createDatabase();
  cleanup.defer(() => database.close());
  database.addUser({ id: 'ann' });
  database.addMember('acme', 'ann');
  database.grant('acme', 'A');
  const provider = [{ id: 'A', name: 'A', owner: 'openai' as const }];
  const backend = await startSampleBackend({
    ...{ database: database.path, secretKey: TEST_SECRET, provider },
    wordDelayMs: 100,
  });
  cleanup.defer(() => backend.close());
  const ports = await freePorts(2 * GATES);
  const serve = (index: number): Promise<ServingProcess> =>
    serveModelgate({
      MODELGATE_UPSTREAM_URL: backend.url,
      DATABASE_URL: `sqlite:///${database.path}`,
      WEBUI_SECRET_KEY: TEST_SECRET,
      MODELGATE_PORT: String(ports[index]),
      MODELGATE_ADMIN_PORT: String(ports[GATES + index]),
      LOG_LEVEL: 'INFO',
      ...UNLIMITED,
      ...settings,
    });
  const gates = await Promise.all(Array.from({ length: GATES }, (_, index) => serve(index)));
  cleanup.defer(async () => {
    for (const gate of gates) await gate[Symbol.asyncDispose]();
  });
  const isReady = async ({ adminUrl }: ServingProcess): Promise<boolean> => (await fetch(`${adminUrl}/readyz`)).ok;

  async function restart(index: number, gate: ServingProcess): Promise<void> {
    gate.kill('SIGTERM');
    expect((await gate.ended()).code).toBe(0);
    expect(gate.lines().at(-1)).toMatchObject({ msg: 'modelgate has stopped', requests_cut: 0 });
    const fresh = await serve(index);
    gates[index] = fresh;
    await until(() => isReady(fresh), 10_000, 'the new gate is ready');
  }

  return {
    urls: () => gates.map(({ url }) => url),
    endpoints: () => gates.map(({ url, adminUrl }) => ({ port: Number(new URL(url).port), adminUrl })),
    async restartUnderLoad(url: string) {
      await until(async () => (await Promise.all(gates.map(isReady))).every(Boolean), 10_000, 'all gates are ready');
      const load = startSteadyLoad(url, await mintSession('ann'), PER_SECOND);
      await sleep(1_000);
      for (const [index, gate] of [...gates.entries()]) await restart(index, gate);
      await sleep(1_000);
      return load.end();
    },
  };
}
