/** What the running backend answers, and every way in which it does not. */
import type { ServerResponse } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { askBackend } from '../../../src/backend-file/backend.ts';
import type { Catalogue } from '../../../src/organizations/catalogue.ts';
import { askForModels, fromLive } from '../../../src/organizations/provider-catalogue.ts';
import { readSchema } from '../../../src/store/schema.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { failureOf } from '../../support/database/operation.ts';
import { startTestGate } from '../../support/gate/gate.ts';
import { mintSession } from '../../support/gate/session.ts';
import { freePort } from '../../support/process/ports.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';
import { type RecordingUpstream, sendJson, startRecordingUpstream } from '../../support/upstream/upstreams.ts';

const TOKEN = 'sk-0123456789abcdef';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function backend(answer: (path: string, response: ServerResponse) => void): Promise<RecordingUpstream> {
  const recorder = await startRecordingUpstream((_incoming, response, { path }) => answer(path, response));
  open.push(recorder);
  return recorder;
}

const access = (origin: string, credential = TOKEN) => ({
  url: new URL(origin),
  credential,
  signal: new AbortController().signal,
});

/** Nothing of the token may be in a sentence, and nothing that steers a terminal. */
async function refusalOf(promise: Promise<unknown>): Promise<string> {
  const message = await failureOf(promise);
  expect(message).toContain('Nothing was changed.');
  expect(message).not.toContain(TOKEN);
  expect(message).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  return message;
}

const html = (response: ServerResponse): void => {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end('<!doctype html><title>Open WebUI</title>');
};

describe('a backend that cannot be asked', () => {
  const refuses = (status: number, detail?: string) => (_: string, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(detail === undefined ? 'oops' : JSON.stringify({ detail }));
  };
  test.each<[string, (path: string, response: ServerResponse) => void, RegExp]>([
    [
      'a token it does not know',
      refuses(401, 'Your session has expired'),
      /with 401, "Your session has expired"\. .*wrong, expired or revoked/,
    ],
    ['no admin', refuses(403), /with 403\. .*not one of an admin, or API keys are switched off/],
    ['another address', refuses(404, 'Not Found'), /with 404.*address of Open WebUI/],
    ['trouble of its own', refuses(500), /with 500\. .*log of the backend/],
    ['a web page', (_, response) => html(response), /a web page where a list was expected.*address of Open WebUI/],
    ['other JSON', (_, response) => sendJson(response, { models: [] }), /JSON that is no list of models/],
    ['text', (_, response) => response.end('hello'), /"no type at all" where a list/],
    [
      'a redirection',
      (_, response) => response.writeHead(307, { location: `https://elsewhere.example/?t=${TOKEN}` }).end(),
      /sends \/api\/models\?refresh=true on to "https:\/\/elsewhere\.example\/\?t=…".*--url/,
    ],
    [
      'its own words with the token in them',
      refuses(401, `No such key: ${TOKEN} \u001b[31m`),
      /"No such key: … \\u001b\[31m"/,
    ],
  ])('answers with %s', async (_name, answer, said) => {
    const { origin } = await backend(answer);
    expect(await refusalOf(askForModels(access(origin)))).toMatch(said);
  });

  test('refuses the connection', async () => {
    expect(await refusalOf(askForModels(access(`http://127.0.0.1:${await freePort()}`)))).toMatch(
      /refuses the connection: does the backend run, and is the port right\? \(ECONNREFUSED\)/,
    );
  });

  test.each([
    ['hangs up', '', /closed the connection without an answer/],
    ['speaks something else', 'SSH-2.0-OpenSSH_9.2\r\n', /does not speak HTTP there/],
  ])('%s', async (_name, words, said) => {
    const server = createServer((socket) => void socket.end(words)).listen(0, '127.0.0.1');
    open.push(server);
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    expect(await refusalOf(askForModels(access(`http://127.0.0.1:${port}`)))).toMatch(said);
  });

  test('has an unknown host name', async () => {
    expect(await refusalOf(askForModels(access('http://open-webui.invalid:8080')))).toMatch(/cannot be resolved/);
  });

  test('answers too late for an operator who presses Ctrl-C', async () => {
    const { origin } = await backend(() => undefined);
    const stopping = new AbortController();
    const asked = askBackend({ ...access(origin), signal: stopping.signal }, '/api/models');
    stopping.abort();
    await expect(withTimeout(asked, 5_000, 'the end of the question')).rejects.toThrow(/^Stopped before/);
  });
});

interface Entry {
  readonly id: string;
  readonly [key: string]: unknown;
}

const openai = (id: string, urlIdx = 0): Entry => ({ id, owned_by: 'openai', urlIdx });
const ollama = (id: string): Entry => ({ id, owned_by: 'ollama', ollama: { urls: [0] } });

describe('the catalogue of the running backend', () => {
  /** The two lists, as `/api/models` and `/api/models/base` give them. */
  async function catalogue(
    database: TestDatabase,
    listed: readonly Entry[],
    provided: readonly Entry[],
    presets = false,
  ): Promise<Catalogue> {
    const { origin, requests } = await backend((path, response) =>
      sendJson(response, { data: path === '/api/models/base' ? provided : listed }),
    );
    const live = await askForModels(access(origin));
    expect(requests.flatMap((request) => request.all('authorization'))).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
    return fromLive(live, { connection: database.sql, schema: readSchema(database.sql), presets });
  }

  function created(): TestDatabase {
    const database = createDatabase();
    open.push(database);
    return database;
  }

  test('has what can be run, and knows what else there is', async () => {
    const database = created();
    database.addModel({ id: 'off', active: 0 });
    database.addModel({ id: 'helper', base: 'gpt-4o' });
    database.addModel({ id: 'sleeping', base: 'gpt-4o', active: 0 });
    const provided = [openai('gpt-4o'), openai('off'), ollama('llama3:latest'), { id: 'pipe.one', pipe: {} }];
    const filter = { id: 'filter', pipeline: { type: 'filter' } };
    const listed = [
      ...provided.filter(({ id }) => id !== 'off'),
      { id: 'helper', preset: true, owned_by: 'openai' },
      { id: 'duel', arena: true, owned_by: 'arena' },
      { id: 'star*' },
      { noId: true } as unknown as Entry,
    ];
    const found = await catalogue(database, listed, [...provided, filter]);
    expect(found.models).toEqual(['gpt-4o', 'llama3:latest', 'pipe.one']);
    expect(Object.fromEntries([...found.leftOut].map(([id, { why }]) => [id, why]))).toEqual({
      sleeping: 'presets',
      off: 'switched_off',
      helper: 'presets',
      duel: 'arena',
      'star*': 'unusable',
    });
    expect((await catalogue(database, listed, provided, true)).models).toContain('helper');
  });

  test('has what a provider offers, under any owner, and no presets of users who are no admins', async () => {
    const database = created();
    database.addUser({ id: 'ann' });
    database.addModel({ id: 'gpt-4o', owner: 'ann' });
    database.addModel({ id: 'her-own', base: 'gpt-4o', owner: 'ann' });
    const provided = [openai('gpt-4o')];
    const preset = (id: string): Entry => ({ id, preset: true, owned_by: 'openai' });
    const { models, leftOut } = await catalogue(
      database,
      [...provided, preset('her-own'), preset('made since')],
      provided,
      true,
    );
    expect(models).toEqual(['gpt-4o', 'made since']);
    expect([...leftOut]).toEqual([
      ['her-own', { why: 'of_users', owner: { user: { id: 'ann', email: 'ann@example.org' } } }],
    ]);
  });

  test('is refused where something has taken models out of it', async () => {
    const database = created();
    database.addModel({ id: 'off', active: 0 });
    const provided = ['a', 'b', 'c', 'd', 'off'].map((id) => openai(id));
    const failure = await refusalOf(catalogue(database, [openai('a')], provided));
    expect(failure).toMatch(
      /hides models from this admin that it has: "b", "c", "d"\. .*Ask the backend itself and not the gate/,
    );
  });

  test('knows which connections are silent, and which grants may be theirs', async () => {
    const database = created();
    const settings = {
      'openai.enable': true,
      'openai.api_base_urls': ['https://one.example/v1', 'https://two.example/v1'],
      'openai.api_configs': { '1': { prefix_id: 'eu' } },
      'ollama.enable': true,
      'ollama.base_urls': ['http://ollama:11434'],
    };
    for (const [key, value] of Object.entries(settings)) {
      database.run('INSERT INTO config ("key", value) VALUES (?, ?)', key, JSON.stringify(value));
    }
    const { gaps } = await catalogue(database, [openai('a')], [openai('a')]);
    expect(gaps.map(({ why }) => why)).toEqual([
      expect.stringContaining('OpenAI connection 2 ("https://two.example/v1") lists nothing of its own at the moment'),
      expect.stringContaining('Ollama connection 1'),
    ]);
    expect(['eu.x', 'x', 'llama3:latest'].map((id) => gaps.map((gap) => gap.mayHave(id)))).toEqual([
      [true, false],
      [false, false],
      [false, true],
    ]);
    const all = [openai('a'), openai('eu.x', 1), ollama('llama3:latest')];
    expect((await catalogue(database, all, all)).gaps).toEqual([]);
  });
});

test('the gate itself is noticed, because it hides models from an admin of one organization', async () => {
  await using gate = await startTestGate();
  const token = await mintSession('adm');
  const live = await askForModels(access(gate.url, token));
  const sql = gate.database.sql;
  expect(() => fromLive(live, { connection: sql, schema: readSchema(sql), presets: false })).toThrow(
    /and not the gate/,
  );
});
