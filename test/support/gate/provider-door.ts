/** The provider door in this process, between a test that plays the backend and a provider that writes down what it is asked. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseConfig } from '../../../src/config/parse.ts';
import type { Config } from '../../../src/config/schema.ts';
import { createProviderDoor } from '../../../src/provider-door/door.ts';
import { createStore } from '../../../src/store/store.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { createMetrics } from '../../../src/telemetry/metrics.ts';
import { createRecentDecisions } from '../../../src/telemetry/recent-decisions.ts';
import { type Ledger, createLedger } from '../../../src/usage/ledger.ts';
import { type TestDatabase, createDatabase } from '../database/database.ts';
import { PATIENCE_MS, type PolicyPlace, placePolicy } from '../database/policy-place.ts';
import { type Provider, startProvider } from '../upstream/providers.ts';
import { type CallRow, callsIn } from '../database/usage.ts';
import { TEST_SECRET } from './session.ts';

export const ACCESS_KEY = 'the-access-key-of-the-backend-under-test';
export const PROVIDER_KEY = 'sk-of-the-provider';

export interface TestDoor extends AsyncDisposable {
  /** Of the door alone. */
  readonly url: string;
  /** What the backend has as the base URL of its connection. */
  readonly base: string;
  readonly door: ReturnType<typeof createProviderDoor>;
  readonly provider: Provider;
  readonly database: TestDatabase;
  /** Finished log lines, oldest first. */
  readonly lines: Record<string, unknown>[];
  figures(prefix?: string): Promise<string[]>;
  readonly ledger: Ledger;
  /** Rows of the ledger, oldest first. */
  calls(): CallRow[];
  /** A request as the backend makes it for a user. @param path behind the base, with a JSON body if there is one */
  ask(user: string | undefined, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Models that the provider was asked for since the last call. */
  ran(): string[];
}

/**
 * `ann` is of acme, which has A, the prefix `acme/` and the preset P on B; `bob` is of globex, which has F; `dan` is in no
 * organization; `adm` is the backend's admin, of acme; `pen` is pending.
 */
export async function startTestDoor(settings: Record<string, string> = {}): Promise<TestDoor> {
  const database = createDatabase({ era: '0.12.4' });
  for (const id of ['ann', 'bob', 'dan']) database.addUser({ id });
  database.addUser({ id: 'adm', role: 'admin' });
  database.addUser({ id: 'pen', role: 'pending' });
  for (const user of ['ann', 'adm', 'pen']) database.addMember('acme', user);
  database.addMember('globex', 'bob');
  for (const model of ['A', 'acme/*', 'P']) database.grant('acme', model);
  database.grant('globex', 'F');
  database.addModel({ id: 'P', base: 'B' });
  const place = await placePolicy(database);
  const provider = await startProvider({ models: ['A', 'B', 'F', 'acme/one'] });
  const keysFile = join(database.directory, 'keys.yaml');
  writeFileSync(keysFile, `${new URL(provider.url).host}: ${PROVIDER_KEY}\n`);
  const parsed = parseConfig({
    environment: {
      MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
      DATABASE_URL: place.url,
      WEBUI_SECRET_KEY: TEST_SECRET,
      ...(place.write && { MODELGATE_USAGE_DATABASE: join(database.directory, 'modelgate', 'usage.db') }),
      // connections that a test keeps are not waited for
      MODELGATE_DRAIN_TIMEOUT: '0s',
      MODELGATE_PROVIDER_HOST: '127.0.0.1',
      MODELGATE_PROVIDER_PORT: '0',
      MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
      MODELGATE_PROVIDERS: provider.url,
      // a key for a provider that is not there is a mistake
      ...(settings['MODELGATE_PROVIDERS'] === undefined && { MODELGATE_PROVIDER_KEYS_FILE: keysFile }),
      ...settings,
    },
    directory: database.directory,
    readSecret: (path) => readFileSync(path, 'utf8'),
  });
  if (!('config' in parsed) || parsed.config.provider === undefined) throw new Error(JSON.stringify(parsed));
  return serve(database, place, provider, parsed.config, parsed.config.provider);
}

async function serve(
  database: TestDatabase,
  place: PolicyPlace,
  provider: Provider,
  config: Config,
  settings: NonNullable<Config['provider']>,
): Promise<TestDoor> {
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'debug',
    modelLevel: 'debug',
    secrets: config.identity.secretKeys,
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  const store = await createStore({
    database: config.database,
    deadlineMs: PATIENCE_MS,
    maxStaleMs: config.policy.maxStaleMs,
    organization: undefined,
    autoEnroll: false,
    warn: (message, fields) => log.warn(fields, message),
  });
  const metrics = createMetrics({
    version: 'test',
    mode: () => config.policy.mode,
    bypass: false,
    storeHealth: () => store.health(),
    storeFigures: () => store.figures(),
  });
  const decisions = createRecentDecisions(log.redact);
  const { usage } = config;
  if (usage === undefined) throw new Error('a provider door has a ledger');
  mkdirSync(dirname(usage.path), { recursive: true });
  const ledger = createLedger({
    ...usage,
    warn: (message, fields) => log.warn(fields, message),
    committed: metrics.usage.committed,
  });
  await ledger.sums();
  const door = createProviderDoor({ config, provider: settings, usage, store, ledger, log, metrics, decisions });
  const { url } = await door.listen();
  const base = `${url}/${provider.url.replace('http://', '')}`;
  return {
    url,
    base,
    door,
    provider,
    database,
    lines,
    ledger,
    calls: () => callsIn(usage.path),
    async figures(prefix = 'modelgate_provider_') {
      const { text } = await metrics.exposition();
      return text.split('\n').filter((line) => line.startsWith(prefix));
    },
    ask: (user, path, body, headers = {}) =>
      fetch(`${base}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        headers: {
          authorization: `Bearer ${ACCESS_KEY}`,
          'content-type': 'application/json',
          ...(user === undefined ? {} : { 'x-openwebui-user-id': user }),
          ...headers,
        },
      }),
    ran() {
      const asked = provider.asked();
      provider.reset();
      return asked;
    },
    async [Symbol.asyncDispose]() {
      await door.drain();
      await ledger.close();
      await store.close();
      await provider.close();
      await place[Symbol.asyncDispose]();
      database.close();
    },
  };
}
