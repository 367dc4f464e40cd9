/** Two organizations on one real backend, with the gate in front of it, and the oracle of every test that uses them. */
import { randomBytes } from 'node:crypto';
import Database from 'better-sqlite3';
import { type Provider, startOllama, startProvider } from '../support/upstream/providers.ts';
import { freePort } from '../support/process/ports.ts';
import { until } from '../support/process/with-timeout.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { type Account, call, openSignUp, send, signUp, through } from './backend-client.ts';
import { type OpenWebui, startOpenWebui } from './backend.ts';
import { type RealGate, startRealGate } from './gate.ts';
import { type Operator, type Query, makeTables, operatorOf, queryBy, queryOn } from './operator.ts';
import type { Release } from './release.ts';

/** What the provider offers; no organization was granted `gamma`. */
export const PROVIDER_MODELS = ['alpha', 'alpha-2', 'beta', 'beta-2', 'gamma', 'vendor/one', 'vendor/two'];
export const OLLAMA_MODELS = ['llama3:latest', 'mistral:latest'];

const ACME = ['alpha', 'alpha-2', 'vendor/*', 'llama3:latest'];
const GLOBEX = ['beta', 'beta-2', 'mistral:latest'];

/** Of a gate: what a limit refuses proves nothing about models. */
export const NO_LIMITS = {
  MODELGATE_LIMIT_ADDRESS: 'off',
  MODELGATE_LIMIT_USER: 'off',
  MODELGATE_LIMIT_CHAT: 'off',
  MODELGATE_LIMIT_ORGANIZATION: 'off',
  MODELGATE_LIMIT_CONCURRENT_CHATS: 'off',
};

/** What the backend itself is configured to ask for, in a request of any user. */
const OF_THE_BACKEND = new Set(['embedding-of-the-backend', 'dall-e-2']);

export interface Tenants extends Operator {
  readonly version: Release;
  readonly provider: Provider;
  readonly ollama: Provider | undefined;
  readonly backend: OpenWebui;
  readonly gate: RealGate;
  /** The backend's admin, a member of acme. */
  readonly ada: Account;
  /** Of acme. */
  readonly ann: Account;
  /** Of globex. */
  readonly bob: Account;
  /** The backend's own file, as an operator opens it. Throws on PostgreSQL. */
  readonly sql: Database.Database;
  /** One statement of an operator on either engine, with a `?` for each value. @returns the rows */
  readonly query: Query;
  /** Waits until nothing runs in the backend any more. */
  quiet(): Promise<void>;
  /** Forgets what the providers were asked for. */
  forget(): void;
  /** Waits until a provider is asked for the model. */
  arrival(model: string, ms: number): Promise<unknown>;
  /** Requests to a provider that name a model which `account` may not have. */
  forbidden(account: Account): string[];
  close(): Promise<void>;
}

export interface TenantsOptions {
  readonly version: Release;
  readonly ollama?: boolean;
  /** Takes the place of one that answers everything; it is closed with the tenants. */
  readonly provider?: Provider;
  readonly backendSettings?: Record<string, string>;
  readonly gateSettings?: Record<string, string>;
  /** Puts the provider door between the backend and its providers. */
  readonly providerDoor?: boolean;
  /** A new database there is the backend's, instead of a file. */
  readonly postgres?: PostgresServer | undefined;
}

const isPermitted = (grants: readonly string[], model: string): boolean =>
  OF_THE_BACKEND.has(model) ||
  grants.some((grant) =>
    grant.endsWith('*') ? model.startsWith(grant.slice(0, -1)) : [model, `${model}:latest`].includes(grant),
  );

/** Everyone signs up through the gate; the tables are those of the deployment guide, filled as its SQL does it. */
export async function startTenants(options: TenantsOptions): Promise<Tenants> {
  const { version, ollama: withOllama, gateSettings, providerDoor } = options;
  const provider = options.provider ?? (await startProvider({ models: PROVIDER_MODELS, gapMs: 20 }));
  const ollama = withOllama === true ? await startOllama({ models: OLLAMA_MODELS }) : undefined;
  const door = providerDoor === true ? await doorTo(provider, ollama) : undefined;
  const database = await options.postgres?.createDatabase({ era: 'none' });
  const backend = await startOpenWebui({
    version,
    providerUrl: door?.behind(provider.url) ?? provider.url,
    ...(ollama && { ollamaUrl: door?.behind(ollama.url) ?? ollama.url }),
    env: {
      ...door?.backendSettings,
      ...(database && { DATABASE_URL: database.url }),
      ENABLE_CONTEXT_COMPACTION: 'true',
      ENABLE_AUTOCOMPLETE_GENERATION: 'true',
      ENABLE_IMAGE_EDIT: 'true',
      ...options.backendSettings,
    },
  });
  const gate = await startRealGate(backend, { ...door?.gateSettings, ...gateSettings });
  const ada = await signUp(gate.url, { name: 'Ada', email: 'ada@example.com' });
  await openSignUp(ada);
  const ann = await signUp(gate.url, { name: 'Ann', email: 'ann@acme.example' });
  const bob = await signUp(gate.url, { name: 'Bob', email: 'bob@globex.example' });
  const file = database === undefined ? new Database(backend.databasePath, { timeout: 10_000 }) : undefined;
  if (file !== undefined) makeTables(file);
  const query = database === undefined ? queryOn(fileOf(file)) : queryBy(database.url);
  const operator = operatorOf(query);
  for (const model of ACME) operator.grant('acme', model);
  for (const model of GLOBEX) operator.grant('globex', model);
  for (const account of [ann, ada]) operator.join('acme', account);
  operator.join('globex', bob);
  if (door !== undefined && ollama !== undefined && version === '0.6.18') {
    await call(through(ada, backend.url), 'POST', '/ollama/config/update', {
      ENABLE_OLLAMA_API: true,
      OLLAMA_BASE_URLS: [door.behind(ollama.url)],
      OLLAMA_API_CONFIGS: { 0: { enable: true, key: door.accessKey } },
    });
  }

  const recorders = ollama === undefined ? [provider] : [provider, ollama];
  const root = through(ada, backend.url);
  const tenants: Tenants = {
    version,
    provider,
    ollama,
    backend,
    gate,
    ada,
    ann,
    bob,
    get sql() {
      return fileOf(file);
    },
    query,
    ...operator,
    forget: () => recorders.forEach((recorder) => recorder.reset()),
    arrival: (model, ms) =>
      Promise.any(
        recorders.map((recorder) =>
          recorder.arrival(({ models }) => models.some((one) => one === model || `${one}:latest` === model), ms),
        ),
      ),
    async quiet() {
      await until(async () => isIdle(await call(root, 'GET', '/api/tasks')), 30_000, 'the backend has no task left');
    },
    forbidden(account) {
      const grants = account.id === bob.id ? GLOBEX : ACME;
      return recorders
        .flatMap((recorder) => recorder.requests)
        .flatMap(({ path, models }) => models.map((model) => ({ path, model })))
        .filter(({ model }) => !isPermitted(grants, model))
        .map(({ path, model }) => `${model} at ${path}`);
    },
    async close() {
      file?.close();
      await gate.close();
      await backend.close();
      await database?.[Symbol.asyncDispose]();
      await provider.close();
      await ollama?.close();
    },
  };
  return tenants;
}

/** The backend knows the door's address before the door has the backend's database. */
export async function doorTo(provider: Provider, ollama?: Provider) {
  const port = await freePort();
  const accessKey = randomBytes(24).toString('hex');
  return {
    /** The address rule: the door's, and behind it the provider's without its scheme. */
    behind: (url: string) => `http://127.0.0.1:${port}/${url.replace('http://', '')}`,
    backendSettings: {
      ENABLE_FORWARD_USER_INFO_HEADERS: 'true',
      OPENAI_API_KEY: accessKey,
      OPENAI_API_KEYS: accessKey,
      // each has its own, which `OPENAI_API_KEY` does not set
      ...Object.fromEntries(
        ['RAG', 'AUDIO_STT', 'AUDIO_TTS', 'IMAGES'].map((use) => [`${use}_OPENAI_API_KEY`, accessKey]),
      ),
      // 0.12.4 reads it; 0.6.18 has the key from its admin page
      OLLAMA_API_CONFIGS: JSON.stringify({ 0: { enable: true, key: accessKey } }),
    },
    gateSettings: {
      MODELGATE_PROVIDER_HOST: '127.0.0.1',
      MODELGATE_PROVIDER_PORT: String(port),
      MODELGATE_PROVIDER_ACCESS_KEY: accessKey,
      MODELGATE_PROVIDERS: [provider.url, ollama?.url].filter(Boolean).join(' '),
    },
    accessKey,
  };
}

function fileOf(file: Database.Database | undefined): Database.Database {
  if (file === undefined) throw new Error('the database of these tenants is no file');
  return file;
}

function isIdle(answer: unknown): boolean {
  const { tasks } = answer as { tasks: unknown };
  return Array.isArray(tasks) ? tasks.length === 0 : Object.keys(tasks as object).length === 0;
}

/** A chat completion as an SDK sends it. */
export function question(model: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { model, stream: false, messages: [{ role: 'user', content: 'Who are you?' }], ...more };
}

/** Asks a permitted model and fails where the answer does not come from it. */
export async function askPermitted(account: Account, model: string, path = '/api/chat/completions'): Promise<void> {
  const response = await send(account, 'POST', path, question(model));
  const text = await response.text();
  if (!response.ok || !text.includes(`I am ${model}`)) {
    throw new Error(`${model} was not answered as it should: ${response.status} ${text.slice(0, 300)}`);
  }
}
