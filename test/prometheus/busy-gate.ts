/** A real gate in front of the sample backend, with people who use it: chats, lists, denials, streams, sockets. */
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { WebSocket, WebSocketServer } from 'ws';
import { startProvider } from '../support/upstream/providers.ts';
import { startSampleBackend } from '../support/upstream/sample-backend/backend.ts';
import { type SampleAccount, createSampleWorld } from '../support/upstream/sample-backend/world.ts';
import { serveModelgate, type ServingProcess } from '../support/gate/gate-process.ts';
import { makeBudgetTable } from '../support/database/usage.ts';

export interface BusyGate extends AsyncDisposable {
  readonly gate: ServingProcess;
  /** Host and port that Prometheus scrapes. */
  readonly target: string;
  /** Takes the database away for so long: the last good state serves meanwhile. */
  loseDatabase(ms: number): Promise<void>;
  /** How much is going on: 1 is some 40 requests a second. */
  pace: number;
  /** Share of requests for models that the caller does not have. */
  curiosity: number;
}

type Act = (share: number) => Promise<void>;

export async function startBusyGate(): Promise<BusyGate> {
  const database = createSampleWorld();
  const backend = await startSampleBackend({ database: database.path, secretKey: database.secretKey, wordDelayMs: 60 });
  const sockets = new WebSocketServer({ server: backend.server });
  // says no cost, and its model has no price
  const provider = await startProvider({ models: ['gpt-4o-mini'] });
  const state = mkdtempSync(join(tmpdir(), 'modelgate-busy-'));
  setBudget(database.path);
  const gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.url,
    DATABASE_URL: `sqlite:///${database.path}`,
    WEBUI_SECRET_KEY: database.secretKey,
    MODELGATE_LIMIT_ADDRESS: '2/1s:2',
    MODELGATE_PROVIDER_HOST: '127.0.0.1',
    MODELGATE_PROVIDER_PORT: '0',
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDERS: provider.url,
    MODELGATE_STATE_DIR: state,
    MODELGATE_BUDGET_UNPRICED: 'allow',
  });
  const { provider_url: door } = await gate.line('modelgate listens');
  const { alice, gina, carol } = database.users;
  const socket = new WebSocket(`${gate.url.replace('http', 'ws')}/ws/socket.io/?EIO=4&transport=websocket`);
  socket.on('error', () => undefined);
  const acts = [
    ...actsAgainst(gate.url, { alice, gina, carol }),
    callAgainst(`${String(door)}/${provider.url.replace('http://', '')}`, alice.id),
  ];
  const running = new Set<Promise<void>>();
  const stopping = new AbortController();
  const busy: BusyGate = {
    gate,
    target: new URL(gate.adminUrl).host,
    pace: 1,
    curiosity: 0.2,
    async loseDatabase(ms) {
      renameSync(database.path, `${database.path}.away`);
      await sleep(ms);
      renameSync(`${database.path}.away`, database.path);
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await turning;
      await Promise.allSettled(running);
      socket.terminate();
      await gate[Symbol.asyncDispose]();
      for (const one of sockets.clients) one.terminate();
      sockets.close();
      await backend.close();
      await provider.close();
      database.close();
      rmSync(state, { recursive: true, force: true });
    },
  };
  const turning = (async () => {
    for (let turn = 0; !stopping.signal.aborted; turn += 1) {
      const act = acts[turn % acts.length];
      const doing = act?.(busy.curiosity).catch(() => undefined) ?? Promise.resolve();
      running.add(doing);
      void doing.finally(() => running.delete(doing));
      await sleep(25 / busy.pace);
    }
  })();
  return busy;
}

const ACCESS_KEY = 'the-access-key-of-the-backend-under-test';

function setBudget(path: string): void {
  const sqlite = new Database(path);
  makeBudgetTable({ sql: sqlite });
  sqlite.exec(`INSERT INTO organization_budgets (id, organization_id, measure, amount, period)
    VALUES ('b', 'acme', 'requests', 1000000, 'month')`);
  sqlite.close();
}

/** As the backend calls its provider for a user. */
const callAgainst = (base: string, user: string) => async (): Promise<void> => {
  const answer = await fetch(`${base}/chat/completions`, {
    method: 'POST',
    headers: {
      ...{ authorization: `Bearer ${ACCESS_KEY}`, 'content-type': 'application/json', 'x-openwebui-user-id': user },
    },
    body: JSON.stringify({ model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'Tell me.' }] }),
  });
  await answer.arrayBuffer();
};

/** One turn each: what a page of users does, mixed. */
function actsAgainst(url: string, { alice, gina, carol }: Record<'alice' | 'gina' | 'carol', SampleAccount>): Act[] {
  const ask = async (path: string, account?: SampleAccount, body?: unknown): Promise<void> => {
    const headers = account === undefined ? {} : { authorization: `Bearer ${account.token}` };
    const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    await (await fetch(`${url}${path}`, { headers, ...sent, redirect: 'manual' })).arrayBuffer();
  };
  const chat = (account: SampleAccount, own: string, foreign: string) => (curiosity: number) =>
    ask('/api/chat/completions', account, {
      model: Math.random() < curiosity ? foreign : own,
      stream: true,
      messages: [{ role: 'user', content: 'Tell me something about gates.' }],
    });
  return [
    () => ask('/'),
    () => ask('/api/config', alice),
    chat(alice, 'gpt-4o-mini', 'mistral/mistral-large'),
    () => ask('/api/models', gina),
    chat(carol, 'llama3.2:latest', 'gpt-4o'),
    chat(gina, 'mistral/codestral', 'gpt-4o-mini'),
    () => ask('/api/v1/chats/', carol),
    chat(alice, 'acme-helper', 'gpt-4o'),
    () => ask('/ollama/api/tags', carol),
    // without a user, often enough to meet the limit of its address
    () => ask('/api/models'),
    () => ask('/api/models'),
    () => ask('/openai/models', alice),
    () => ask('/api%2fmodels', gina),
  ];
}
