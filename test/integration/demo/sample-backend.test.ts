import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type SampleBackend, startSampleBackend } from '../../support/upstream/sample-backend/backend.ts';
import { signToken } from '../../support/upstream/sample-backend/identity.ts';
import { type SampleWorld, createSampleWorld } from '../../support/upstream/sample-backend/world.ts';
import { mintSession } from '../../support/gate/session.ts';

let database: SampleWorld;
let backend: SampleBackend;

beforeAll(async () => {
  database = createSampleWorld();
  backend = await startSampleBackend({ database: database.path, secretKey: database.secretKey });
});

beforeEach(() => backend.reset());

afterAll(async () => {
  await backend.close();
  database.close();
});

const asAlice = () => ({ authorization: `Bearer ${database.users.alice.apiKey}` });
const get = (path: string, headers: Record<string, string> = asAlice()) => fetch(backend.url + path, { headers });
const post = (path: string, body: unknown, headers: Record<string, string> = asAlice()) =>
  fetch(backend.url + path, { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) });

describe('the sample backend knows who asks, as the releases do', () => {
  const accepted = {
    'a session token': () => ({ authorization: `Bearer ${database.users.alice.token}` }),
    'an API key': asAlice,
    'a scheme in other letters': () => ({ authorization: `bEARER ${database.users.alice.token}` }),
    'any scheme of two words': () => ({ authorization: `Token ${database.users.alice.token}` }),
    'the cookie': () => ({ cookie: `a=b; token=${database.users.alice.token}` }),
    'a quoted cookie, the last of two': () => ({ cookie: `token=other; token="${database.users.alice.apiKey}"` }),
    'the cookie beside another scheme': () => ({
      authorization: 'Basic x',
      cookie: `token=${database.users.alice.token}`,
    }),
    'the API key header': () => ({ 'x-api-key': database.users.alice.apiKey }),
  };
  test.each(Object.entries(accepted))('%s is Alice', async (_name, headers) => {
    const answer = await get('/api/v1/auths/', headers());
    expect(await answer.json()).toMatchObject({ id: database.users.alice.id, role: 'user', token_type: 'Bearer' });
  });

  const refused: Record<string, () => Record<string, string> | Promise<Record<string, string>>> = {
    'no credential': () => ({}),
    'a token of another key': () => ({ authorization: `Bearer ${signToken(database.users.alice.id, 'other')}` }),
    'an expired token': async () => ({
      authorization: `Bearer ${await mintSession(database.users.alice.id, { expiresIn: -1 })}`,
    }),
    'a token of an unknown user': () => ({ authorization: `Bearer ${signToken('user-unknown', database.secretKey)}` }),
    'an unknown API key': () => ({ authorization: 'Bearer sk-0' }),
  };
  test.each(Object.entries(refused))('%s is 401 with a detail', async (_name, headers) => {
    const answer = await get('/api/models', await headers());
    expect(answer.status).toBe(401);
    expect(await answer.json()).toEqual({ detail: expect.any(String) as string });
  });

  test('a password opens a session, a wrong one does not', async () => {
    const { email, password, id } = database.users.gina;
    const answer = await post('/api/v1/auths/signin', { email, password }, {});
    const { token } = (await answer.json()) as { token: string };
    expect(answer.headers.get('set-cookie')).toContain(`token=${token}`);
    expect(await (await get('/api/v1/auths/', { authorization: `Bearer ${token}` })).json()).toMatchObject({ id });
    expect((await post('/api/v1/auths/signin', { email, password: 'wrong' }, {})).status).toBe(400);
  });

  test('an admin page is refused to a user, in the words of the backend', async () => {
    expect((await get('/api/models/base')).status).toBe(401);
    expect((await get('/api/models/base', { authorization: `Bearer ${database.users.ada.token}` })).status).toBe(200);
  });
});

describe('the sample backend lists everything to every user', () => {
  test('/api/models has provider models, the preset and the arena, in the real nested shapes', async () => {
    const { data } = (await (await get('/api/models')).json()) as { data: Record<string, unknown>[] };
    expect(data.map(({ id }) => id)).toEqual([
      'gpt-4o',
      'gpt-4o-mini',
      'claude-sonnet-4',
      'mistral/mistral-large',
      'mistral/codestral',
      'llama3.2:latest',
      'arena-model',
      'acme-helper',
    ]);
    expect(data[0]).toMatchObject({ owned_by: 'openai', openai: { id: 'gpt-4o' } });
    expect(data[5]).toMatchObject({ owned_by: 'ollama', ollama: { model: 'llama3.2:latest' } });
    expect(data[6]).toMatchObject({ owned_by: 'arena', arena: true, info: { meta: { model_ids: null } } });
    expect(data[7]).toMatchObject({ preset: true, info: { id: 'acme-helper', base_model_id: 'gpt-4o' } });
  });

  test.each([
    ['/api/v1/models', 'data'],
    ['/openai/models', 'data'],
    ['/openai/models/0', 'data'],
    ['/openai/models/', 'data'],
    ['/ollama/api/tags', 'models'],
    ['/ollama/v1/models', 'data'],
    ['/api/v1/models/list', 'items'],
  ])('%s has its models under %s', async (path, key) => {
    const answer = (await (await get(path)).json()) as Record<string, unknown[]>;
    expect(answer[key]?.length).toBeGreaterThan(0);
  });

  test('a list of more than 500 bytes is compressed for a client that accepts it', async () => {
    expect(
      (await get('/api/models', { ...asAlice(), 'accept-encoding': 'gzip' })).headers.get('content-encoding'),
    ).toBe('gzip');
    expect(
      (await get('/api/models', { ...asAlice(), 'accept-encoding': 'identity' })).headers.get('content-encoding'),
    ).toBeNull();
  });

  test('what no route takes is the page, a missing script or a wrong method', async () => {
    expect((await get('/c/some-chat')).headers.get('content-type')).toContain('text/html');
    expect((await get('/_app/gone.js')).status).toBe(404);
    const wrong = await post('/api/nothing', {});
    expect([wrong.status, await wrong.json()]).toEqual([405, { detail: 'Method Not Allowed' }]);
  });
});

describe('the sample backend runs whatever reaches it, and says what it ran', () => {
  const chats: [name: string, path: string, body: unknown, ran: string[]][] = [
    ['a model', '/api/chat/completions', { model: 'gpt-4o-mini' }, ['gpt-4o-mini']],
    ['a preset runs its base', '/api/chat/completions', { model: 'acme-helper' }, ['gpt-4o']],
    ['params.model wins', '/api/chat/completions', { model: 'gpt-4o-mini', params: { model: 'gpt-4o' } }, ['gpt-4o']],
    [
      'custom_params.model in a JSON string wins',
      '/api/chat/completions',
      { model: 'gpt-4o-mini', params: { custom_params: { model: '"gpt-4o"' } } },
      ['gpt-4o'],
    ],
    [
      'fallbacks may run',
      '/api/v1/chat/completions',
      { model: 'gpt-4o-mini', models: ['gpt-4o'] },
      ['gpt-4o-mini', 'gpt-4o'],
    ],
    [
      'message_ids fan out',
      '/api/chat/completions',
      { model: 'gpt-4o', message_ids: [{ model_id: 'gpt-4o-mini' }, { model_id: 'mistral/codestral' }] },
      ['gpt-4o-mini', 'mistral/codestral'],
    ],
    ['an arena picks one', '/api/chat/completions', { model: 'arena-model' }, ['llama3.2:latest']],
    ['Ollama adds the tag', '/ollama/api/chat', { model: 'llama3.2' }, ['llama3.2:latest']],
    ['an index of a connection', '/ollama/api/generate/0', { model: 'llama3.2:latest' }, ['llama3.2:latest']],
    ['a path with an encoded slash', '/api%2Fchat%2Fcompletions', { model: 'gpt-4o' }, ['gpt-4o']],
    ['a path that ends in a newline', '/api/chat/completions%0a', { model: 'gpt-4o' }, ['gpt-4o']],
    ['the passthrough', '/openai/completions', { model: 'gpt-4o' }, ['gpt-4o']],
    ['embeddings', '/api/embeddings', { model: 'gpt-4o' }, ['gpt-4o']],
    ['messages', '/api/v1/messages', { model: 'claude-sonnet-4' }, ['claude-sonnet-4']],
    ['a task', '/api/v1/tasks/moa/completions', { model: 'gpt-4o' }, ['gpt-4o']],
    ['the last of repeated keys', '/api/chat/completions', '{"model":"gpt-4o-mini","model":"gpt-4o"}', ['gpt-4o']],
    ['NaN', '/api/chat/completions', '{"temperature":NaN,"model":"gpt-4o"}', ['gpt-4o']],
    ['an unknown model does not', '/api/chat/completions', { model: 'nothing' }, []],
  ];
  test.each(chats)('%s', async (_name, path, body, ran) => {
    await (await post(path, body)).arrayBuffer();
    expect(backend.invoked).toEqual(ran);
  });

  test.each(['utf-16le', 'utf16le with a mark'])('a body in %s is read', async (form) => {
    const json = `${form.includes('mark') ? '\ufeff' : ''}{"model":"gpt-4o"}`;
    const body = Buffer.from(json, 'utf16le');
    await fetch(`${backend.url}/api/chat/completions`, { method: 'POST', headers: asAlice(), body });
    expect(backend.invoked).toEqual(['gpt-4o']);
  });

  test('a stored chat runs the model that its last message names', async () => {
    const chat = { history: { messages: { 1: { role: 'user' }, 2: { role: 'assistant', model: 'gpt-4o' } } } };
    const { id } = (await (await post('/api/v1/chats/new', { chat })).json()) as { id: string };
    await post(`/api/v1/chats/${id}/compact`, {});
    await post('/api/chat/completions', {
      model: 'gpt-4o-mini',
      chat_id: id,
      id: '2',
      background_tasks: { title_generation: true },
    });
    expect(backend.invoked).toEqual(['gpt-4o', 'gpt-4o-mini', 'gpt-4o']);
    const asGina = { authorization: `Bearer ${database.users.gina.token}` };
    expect((await post(`/api/v1/chats/${id}/compact`, {}, asGina)).status).toBe(404);
  });

  test('a mention in a channel, a reply and an automation run their models', async () => {
    const posted = await post('/api/v1/channels/c/messages/post', {
      content: 'hi <@M:gpt-4o|x>',
      meta: { model_id: 'gpt-4o-mini' },
    });
    const { id } = (await posted.json()) as { id: string };
    await post('/api/v1/channels/c/messages/post', { content: 'again', reply_to_id: id });
    const made = await post('/api/v1/automations/create', { name: 'daily', data: { model_id: 'claude-sonnet-4' } });
    await post(`/api/v1/automations/${((await made.json()) as { id: string }).id}/run`, {});
    expect(backend.invoked).toEqual(['gpt-4o', 'gpt-4o-mini', 'claude-sonnet-4']);
  });

  test('a preset that a user makes runs its base at once', async () => {
    await post('/api/v1/models/create', { id: 'mine', base_model_id: 'gpt-4o', name: 'Mine', params: {}, meta: {} });
    await post('/api/chat/completions', { model: 'mine' });
    expect(backend.invoked).toEqual(['gpt-4o']);
  });
});

describe('the sample backend answers in every dialect', () => {
  const dialects: [path: string, model: string, first: string, last: string][] = [
    ['/api/chat/completions', 'gpt-4o', 'data: {"id":"chatcmpl-', 'data: [DONE]\n\n'],
    ['/api/v1/messages', 'gpt-4o', 'event: message_start\n', 'event: message_stop\ndata: {"type":"message_stop"}\n\n'],
    ['/openai/responses', 'gpt-4o', 'event: response.created\n', '\n\n'],
    ['/ollama/api/chat', 'llama3.2:latest', '{"model":"llama3.2:latest"', '"done":true,"done_reason":"stop"}\n'],
    ['/ollama/api/generate', 'llama3.2:latest', '{"model":"llama3.2:latest"', '"done":true,"done_reason":"stop"}\n'],
  ];
  test.each(dialects)('%s streams word by word', async (path, model, first, last) => {
    const answer = await post(path, { model, stream: true, messages: [{ role: 'user', content: 'Hello' }] });
    const words = await answer.text();
    expect(words.startsWith(first)).toBe(true);
    expect(words.endsWith(last)).toBe(true);
    expect(words.match(/"(This|is|the|sample|model) "/g)).toHaveLength(5);
  });

  test('what was received is kept as it came', async () => {
    await post('/api/chat/completions?a=1', { model: 'gpt-4o' }, { ...asAlice(), 'X-Odd_Name': 'yes' });
    expect(backend.received).toHaveLength(1);
    expect(backend.received[0]).toMatchObject({ method: 'POST', url: '/api/chat/completions?a=1' });
    expect(backend.received[0]?.body).toBe('{"model":"gpt-4o"}');
    expect(backend.received[0]?.rawHeaders).toContain('yes');
  });
});
