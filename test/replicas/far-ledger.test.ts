/** What commands write much of into a ledger that is far away does not keep calls from it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openBlocking } from '../../src/store/postgres/blocking.ts';
import { addressOf } from '../support/database/postgres-policy.ts';
import { writesCalls } from '../support/database/settled-calls.ts';
import { ACCESS_KEY } from '../support/gate/provider-door.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { runModelgate } from '../support/gate/gate-process.ts';
import type { PostgresDatabase } from '../support/postgres.ts';
import { until } from '../support/process/with-timeout.ts';
import { sendJson, startRecordingUpstream } from '../support/upstream/upstreams.ts';
import { farServer } from './far-server.ts';
import { chat, gatesOnLedger } from './gates-on-ledger.ts';

const ROUND_TRIP_MS = 5;
const MODELS = 3_000;
const ORGANIZATIONS = 150;
const CUT = 150;

/** As LiteLLM publishes them. */
function prices(): string {
  const directory = mkdtempSync(join(tmpdir(), 'modelgate-prices-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'prices.json');
  const price = { litellm_provider: 'openai', mode: 'chat', input_cost_per_token: 2e-6, output_cost_per_token: 8e-6 };
  const models = Array.from({ length: MODELS }, (_, at) => [`model-${at}`, { ...price, max_input_tokens: 1_000 + at }]);
  writeFileSync(file, JSON.stringify(Object.fromEntries(models)));
  return file;
}

async function usageOfMany({ url }: PostgresDatabase): Promise<void> {
  const connection = await openBlocking(addressOf(url));
  const { settle } = writesCalls(connection);
  for (let at = 0; at < ORGANIZATIONS; at++)
    settle({ at: '2026-10-05T12:00:00Z', organization: `org-${at}`, cost: 1_000 });
  connection.close();
}

/** Of a provider that no gate has. @returns the settings that name it */
async function cutCalls({ url }: PostgresDatabase): Promise<Record<string, string>> {
  const provider = await startRecordingUpstream((_incoming, outgoing) =>
    sendJson(outgoing, { data: { native_tokens_prompt: 7, native_tokens_completion: 3, total_cost: 0.002 } }),
  );
  onTestFinished(() => provider.close());
  const connection = await openBlocking(addressOf(url));
  const { begin } = writesCalls(connection);
  const { host } = new URL(provider.origin);
  for (let at = 0; at < CUT; at++)
    begin({
      at: Date.now() - 1_000,
      // whose key need not be looked for
      organization: '',
      provider: host,
      generationId: `gen-${at}`,
      state: 'interrupted',
    });
  connection.close();
  return {
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_PROVIDER_PORT: '8081',
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDERS: `${provider.origin}/v1`,
  };
}

interface Command {
  readonly words: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
}

test.each<[words: string, commandOn: (database: PostgresDatabase) => Command | Promise<Command>, said: string]>([
  ['price import', () => ({ words: [prices()] }), `${MODELS.toLocaleString('en')} new`],
  [
    'usage close',
    async (database) => {
      await usageOfMany(database);
      return { words: ['--month', '2026-10'] };
    },
    `org-${ORGANIZATIONS - 1}`,
  ],
  [
    'usage reconcile',
    async (database) => ({ words: [], settings: await cutCalls(database) }),
    `${CUT} that were cut are settled now`,
  ],
])('calls go on during `%s`', async (name, commandOn, said) => {
  const { server, database, serve } = await gatesOnLedger({});
  const gate = await serve();
  await until(async () => (await chat(gate.base)).status === 200, 20_000, 'the user to be known');
  const { words, settings } = await commandOn(database);
  const far = await farServer(server.port, ROUND_TRIP_MS);
  const url = database.url.replace(`:${server.port}/`, `:${far}/`);
  const is = { over: false };
  const ended = runModelgate([...name.split(' '), ...words], { ...settings, DATABASE_URL: url });
  void ended.catch(() => undefined).finally(() => (is.over = true));
  const statuses: number[] = [];
  while (!is.over) statuses.push((await chat(gate.base)).status);
  expect(await ended).toMatchObject({ code: 0, stdout: expect.stringContaining(said) as string });
  expect(statuses.length).toBeGreaterThan(1);
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
});
