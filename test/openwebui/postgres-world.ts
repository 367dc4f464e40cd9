/** A real backend on PostgreSQL between both doors of gates, with one organization that automatic initialization has made. */
import type pg from 'pg';
import { runCommand } from '../support/process/command.ts';
import type { PostgresServer } from '../support/postgres.ts';
import { type Provider, startProvider } from '../support/upstream/providers.ts';
import { openSignUp, send, signUp } from './backend-client.ts';
import { type OpenWebui, startOpenWebui } from './backend.ts';
import { type RealGate, startRealGate } from './gate.ts';
import type { Release } from './release.ts';
import { PROVIDER_MODELS, doorTo, question } from './tenants.ts';

export const ORGANIZATION = 'acme';

export interface PostgresWorldOptions {
  readonly version: Release;
  /** As the backend's `DATABASE_SCHEMA`. */
  readonly schema?: string;
  /** Of backends and gates alike. */
  readonly settings?: Record<string, string>;
  /** How many backends there are, each with a gate before it. The provider door is that of the first gate. */
  readonly replicas?: number;
}

/** The first person is the backend's admin; everyone signs up through a gate. */
export async function startPostgresWorld(server: PostgresServer, options: PostgresWorldOptions) {
  const { version, schema = 'public', settings = {}, replicas = 1 } = options;
  const ends = new AsyncDisposableStack();
  try {
    const database = ends.use(await server.createDatabase({ era: 'none', schema }));
    const provider: Provider = ends.use(await startProvider({ models: PROVIDER_MODELS, gapMs: 20 }));
    const door = await doorTo(provider);
    const place = { DATABASE_URL: database.url, ...(schema !== 'public' && { DATABASE_SCHEMA: schema }) };
    const common = {
      ...settings,
      OPENROUTER_EXTERNAL_USER: ORGANIZATION,
      ORGANIZATION_NAME: 'Acme',
    };
    const backends: OpenWebui[] = [];
    const gates: RealGate[] = [];
    for (let at = 0; at < replicas; at += 1) {
      const [first] = backends;
      const backend = await startOpenWebui({
        version,
        providerUrl: door.behind(provider.url),
        env: {
          ...door.backendSettings,
          ...common,
          ...place,
          // migrations take no lock
          ...(first && { WEBUI_SECRET_KEY: first.secretKey, ENABLE_DB_MIGRATIONS: 'false' }),
        },
      });
      ends.defer(backend.close);
      backends.push(backend);
      const gate = await startRealGate(backend, { ...(first === undefined && door.gateSettings), ...common });
      ends.defer(gate.close);
      gates.push(gate);
    }
    const [backend, gate] = [backends[0], gates[0]];
    if (backend === undefined || gate === undefined) throw new Error('there is one at least');
    const ada = await signUp(gate.url, { name: 'Ada', email: 'ada@example.com' });
    await openSignUp(ada);
    const ann = await signUp(gate.url, { name: 'Ann', email: 'ann@acme.example' });
    const closing = ends.move();
    return {
      ...{ backend, gate, backends, gates, provider, ada, ann },
      sql: database.sql as Pick<pg.Client, 'query'>,
      /** `modelgate` as an operator runs it beside the gate. */
      async command(...words: string[]): Promise<void> {
        const environment = { ...common, ...place, DATA_DIR: backend.dataDir };
        const { code, stderr } = await runCommand([...words, '--org', ORGANIZATION, '--json'], { environment });
        if (code !== 0) throw new Error(stderr);
      },
      [Symbol.asyncDispose]: () => closing.disposeAsync(),
    };
  } catch (error) {
    await ends.disposeAsync();
    throw error;
  }
}

/** @returns the status of a question and, of its answer, which model speaks */
export async function ask(account: Parameters<typeof send>[0], model: string) {
  const response = await send(account, 'POST', '/api/chat/completions', question(model));
  const text = await response.text();
  return { status: response.status, speaks: /I am ([\w/-]+) and/.exec(text)?.[1] };
}

export const answered = (model: string) => ({ status: 200, speaks: model });
export const REFUSED = { status: 403, speaks: undefined };
