/** The whole gate in this process, in front of a recording backend, on a database with a real backend's schema. */
import { readFileSync } from 'node:fs';
import { beforeAll, onTestFinished } from 'vitest';
import { parseConfig } from '../../../src/config/parse.ts';
import type { Config } from '../../../src/config/schema.ts';
import { type SampleBackend, startSampleBackend } from '../upstream/sample-backend/backend.ts';
import type { ProviderModel } from '../upstream/sample-backend/models.ts';
import { createGate } from '../../../src/gate/gate.ts';
import { createStore } from '../../../src/store/store.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { createMetrics } from '../../../src/telemetry/metrics.ts';
import { type RecentDecisions, createRecentDecisions } from '../../../src/telemetry/recent-decisions.ts';
import { type Era, type TestDatabase, createDatabase } from '../database/database.ts';
import { PATIENCE_MS, placePolicy } from '../database/policy-place.ts';
import { TEST_SECRET, mintSession, mintSession06 } from './session.ts';
import { frontSettings, startFront } from './through-nginx.ts';

export interface TestGate extends AsyncDisposable {
  /** Of the gate, or of the nginx that `GATE_TEST_THROUGH` puts in front of it. */
  readonly url: string;
  readonly port: number;
  readonly gate: ReturnType<typeof createGate>;
  readonly config: Config;
  readonly decisions: RecentDecisions;
  readonly backend: SampleBackend;
  readonly database: TestDatabase;
  /** Of its policy: that file, or a database of PostgreSQL that has the same rows. */
  readonly databaseUrl: string;
  /** Finished log lines, oldest first. */
  readonly lines: Record<string, unknown>[];
  /** Our own lines of `/metrics`, comments left out. */
  figures(): Promise<string[]>;
  /** A session token of the user, as this era mints it. */
  token(user: string): Promise<string>;
  /** The header line with that token. */
  authorization(user: string): Promise<string>;
  /** A request as the user, with a JSON body if there is one. */
  ask(user: string, target: string, body?: unknown, init?: RequestInit): Promise<Response>;
  /** Models that the backend ran since the last call. */
  ran(): string[];
}

interface Times {
  readonly now?: () => number;
  /** What a request waits for the policy. */
  readonly deadlineMs?: number;
}

/**
 * Two organizations on one backend. `ann` is of acme, which has A and the prefix `acme/`; `bob` is of globex, which has
 * F; `cyd` is in both; `dan` in none; `adm` is the backend's admin, of acme; `pen` is pending.
 */
export async function startTestGate(
  settings: Record<string, string> = {},
  era: Era = '0.12.4',
  times: Times = {},
): Promise<TestGate> {
  const database = createDatabase({ era });
  for (const id of ['ann', 'bob', 'cyd', 'dan']) database.addUser({ id, apiKey: `sk-${id}` });
  database.addUser({ id: 'adm', role: 'admin' });
  database.addUser({ id: 'pen', role: 'pending' });
  for (const user of ['ann', 'cyd', 'adm', 'pen']) database.addMember('acme', user);
  for (const user of ['bob', 'cyd']) database.addMember('globex', user);
  for (const model of ['A', 'acme/*']) database.grant('acme', model);
  database.grant('globex', 'F');

  const provider = ['A', 'F', 'acme/one', 'other/one'].map((id) => ({ id, name: id, owner: 'openai' as const }));
  return startGateOn(database, provider, settings, times);
}

/** Until the running test ends. */
export async function gateOfTest(...how: Parameters<typeof startTestGate>): Promise<TestGate> {
  const gate = await startTestGate(...how);
  onTestFinished(() => gate[Symbol.asyncDispose]());
  return gate;
}

/** One for all tests of the suite that says so, usable in them. @param prepare what they need besides */
export function gateOfSuite(
  settings: Record<string, string> = {},
  prepare: (gate: TestGate) => unknown = () => undefined,
  era?: Era,
): TestGate {
  const gate: Partial<TestGate> = {};
  beforeAll(async () => {
    const started = await startTestGate(settings, era);
    await prepare(Object.assign(gate, started));
    return () => started[Symbol.asyncDispose]();
  });
  return gate as TestGate;
}

/** The same on a file of the test's own, which the gate closes with itself. */
export async function startGateOn(
  database: TestDatabase,
  provider: readonly ProviderModel[],
  settings: Record<string, string> = {},
  { deadlineMs = PATIENCE_MS, ...clock }: Times = {},
): Promise<TestGate> {
  const { era } = database;
  const place = await placePolicy(database);
  const backend = await startSampleBackend({
    ...{ database: database.path, alsoWrite: place.write },
    ...{ secretKey: TEST_SECRET, provider },
  });
  const parsed = parseConfig({
    environment: {
      MODELGATE_UPSTREAM_URL: backend.url,
      MODELGATE_HOST: '127.0.0.1',
      MODELGATE_PORT: '0',
      DATABASE_URL: place.url,
      WEBUI_SECRET_KEY: TEST_SECRET,
      // connections that a test keeps are not waited for
      MODELGATE_DRAIN_TIMEOUT: '0s',
      ...frontSettings(),
      ...settings,
    },
    directory: database.directory,
    readSecret: (path) => readFileSync(path, 'utf8'),
  });
  if (!('config' in parsed)) throw new Error(JSON.stringify(parsed));
  const { config } = parsed;
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'debug',
    modelLevel: config.modelLogLevel,
    secrets: config.identity.secretKeys,
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const store = await createStore({
    database: config.database,
    deadlineMs,
    maxStaleMs: config.policy.maxStaleMs,
    organization: config.organization,
    autoEnroll: config.organization?.autoEnroll ?? false,
    warn: (message, fields) => log.warn(fields, message),
  });
  const { mode, bypass } = config.policy;
  const metrics = createMetrics({
    version: 'test',
    mode: () => mode,
    bypass: bypass !== undefined,
    storeHealth: () => store.health(),
    storeFigures: () => store.figures(),
  });
  const decisions = createRecentDecisions(log.redact);
  const gate = createGate({ config, store, log, metrics, decisions, ...clock });
  const front = await startFront((await gate.listen()).url);
  const { url } = front;
  const token = async (user: string) => (era === '0.6.18' ? mintSession06(user) : mintSession(user));
  return {
    url,
    port: Number(new URL(url).port),
    gate,
    config,
    decisions,
    backend,
    database,
    databaseUrl: place.url,
    lines,
    async figures() {
      const { text } = await metrics.exposition();
      return text.split('\n').filter((line) => line.startsWith('modelgate_'));
    },
    token,
    authorization: async (user) => `Authorization: Bearer ${await token(user)}`,
    async ask(user, target, body, init = {}) {
      const headers = new Headers(init.headers);
      if (!headers.has('authorization')) headers.set('authorization', `Bearer ${await token(user)}`);
      if (body !== undefined) headers.set('content-type', 'application/json');
      const method = body === undefined ? 'GET' : 'POST';
      return fetch(`${url}${target}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...init,
        headers,
      });
    },
    ran: () => backend.invoked.splice(0),
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      await gate.drain();
      await store.close();
      await backend.close();
      await place[Symbol.asyncDispose]();
      database.close();
    },
  };
}
