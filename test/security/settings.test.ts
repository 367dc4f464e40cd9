/** What each setting opens, and that it opens nothing else: administrators, direct connections, hide, report, bypass. */
import { describe, expect, test } from 'vitest';
import { type Attack, type Use, chat, describeAttacks } from '../support/gate/attacks.ts';
import { gateOfSuite, startTestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';
const direct = { model_item: { direct: true, id: 'browser-model' } };
const MANAGEMENT: readonly Use[] = ['/api/models/base', '/api/v1/models/base', '/openai/models/0'].map((target) => ({
  name: `the administrator's page ${target}`,
  user: 'adm',
  target,
  runs: [],
}));

const asAdmin = (attack: Omit<Attack, 'user'>): Attack => ({ ...attack, user: 'adm' });

describeAttacks('administrators like all other users', {
  attacks: [
    asAdmin({ name: 'a forbidden model', target: CHAT, body: chat('F') }),
    asAdmin({
      name: 'a forbidden model at a catch-all',
      target: '/openai/embeddings',
      dialect: 'openai',
      body: chat('F'),
    }),
    asAdmin({
      name: 'a forbidden fallback at a catch-all',
      target: '/openai/completions',
      dialect: 'openai',
      body: chat('A', { models: ['F'] }),
    }),
    asAdmin({
      name: 'a preset of the provider at a catch-all',
      target: '/openai/completions',
      dialect: 'openai',
      status: 400,
      body: chat('A', { preset: 'x' }),
    }),
    asAdmin({
      name: 'a forbidden model at an index',
      target: '/ollama/api/chat/0',
      dialect: 'ollama',
      body: chat('F'),
    }),
    { name: 'a user at the management page', target: '/api/models/base' },
    { name: 'a user at the page of a connection', target: '/openai/models/0', dialect: 'openai' },
    { name: 'a user at the tags of a connection', target: '/ollama/api/tags/0', dialect: 'ollama' },
    { name: 'a user at the task settings', target: '/api/v1/tasks/config/update', body: { TASK_MODEL: 'F' } },
  ],
  uses: [...MANAGEMENT, { name: 'a model of theirs', user: 'adm', target: CHAT, body: chat('A'), runs: ['A'] }],
});

describeAttacks('administrators with everything', {
  settings: { MODELGATE_ADMIN_ACCESS: 'all' },
  attacks: [
    { name: 'a user', target: CHAT, body: chat('F') },
    { name: 'a user at a catch-all', target: '/openai/embeddings', dialect: 'openai', body: chat('A') },
    asAdmin({ name: 'a direct connection', target: CHAT, body: chat('A', direct) }),
  ],
  uses: [
    ...MANAGEMENT,
    { name: 'an administrator', user: 'adm', target: CHAT, body: chat('F'), runs: ['F'] },
    {
      name: 'an administrator at a catch-all',
      user: 'adm',
      target: '/openai/embeddings',
      body: chat('F'),
      runs: ['F'],
    },
  ],
});

/** A chat in which a message waits to be run by F. */
const pendingMessage = {
  role: 'user',
  content: 'x',
  childrenIds: [],
  model: 'F',
  meta: { internal: true, type: 'subagent' },
};

describeAttacks('direct connections, allowed', {
  settings: { MODELGATE_DIRECT_CONNECTIONS: 'allow' },
  prepare: ({ database }) => {
    database.addModel({ id: 'a-row', base: 'F' });
    database.addChat({ id: 'waits', user: 'ann', chat: { history: { messages: { p: pendingMessage } } } });
    database.addChat({
      id: 'old',
      user: 'ann',
      chat: { history: { messages: { f: { role: 'assistant', model: 'F' } } } },
    });
  },
  attacks: [
    { name: 'a model of the server', target: CHAT, body: chat('F', direct) },
    { name: 'a preset of the server', target: CHAT, body: chat('a-row', direct) },
    {
      name: 'a model of the server beside one of the browser',
      target: CHAT,
      body: chat('browser-model', { ...direct, models: ['F'] }),
    },
    { name: 'what waits in the chat', target: CHAT, body: chat('browser-model', { ...direct, chat_id: 'waits' }) },
    {
      name: 'what waits in the request',
      target: CHAT,
      body: chat('browser-model', { ...direct, user_message: pendingMessage }),
    },
    {
      name: 'background tasks on a stored message',
      target: CHAT,
      body: chat('browser-model', { ...direct, chat_id: 'old', id: 'f', background_tasks: { title_generation: true } }),
    },
    ...(['/openai/chat/completions', '/openai/responses', '/api/v1/embeddings'] as const).map((target): Attack => ({
      name: `a model that no organization was granted, at ${target}, where the flag means nothing`,
      target,
      dialect: 'openai',
      body: chat('other/one', direct),
    })),
    {
      name: 'a model that no organization was granted, in a task',
      target: '/api/v1/tasks/moa/completions',
      body: chat('other/one', direct),
    },
  ],
  uses: [
    { name: "a model of the browser's", target: CHAT, body: chat('browser-model', direct), runs: ['browser-model'] },
    { name: 'a model of their own', target: CHAT, body: chat('A', direct), runs: ['A'] },
    { name: 'a model of their own, without', target: CHAT, body: chat('A'), runs: ['A'] },
  ],
});

describeAttacks('denials that hide', {
  settings: { MODELGATE_DENIAL: 'hide' },
  attacks: [
    { name: 'a forbidden model', target: CHAT, status: 404, body: chat('F') },
    { name: 'an unknown model', target: CHAT, status: 404, body: chat('nothing') },
    { name: 'the OpenAI route', target: '/openai/chat/completions', dialect: 'openai', status: 404, body: chat('F') },
    { name: 'a catch-all', target: '/openai/embeddings', dialect: 'openai', status: 404, body: chat('A') },
    { name: 'a malformed request', target: CHAT, status: 400, body: {} },
  ],
  uses: [{ name: 'a model of their own', target: CHAT, body: chat('A'), runs: ['A'] }],
});

describe.each([
  ['report mode', { MODELGATE_MODE: 'report' }],
  ['the filter switched off', { ENABLE_MODEL_FILTER: 'false' }],
  ['the bypass', { BYPASS_MODEL_ACCESS_CONTROL: 'true' }],
])('with %s nothing is refused', (_name, settings) => {
  const gate = gateOfSuite(settings);

  test.each([
    ['a forbidden model', CHAT, chat('F'), ['F']],
    ['a forbidden fallback', CHAT, chat('A', { models: ['F'] }), ['A', 'F']],
    ['a catch-all', '/openai/embeddings', chat('F'), ['F']],
    ['a model of their own', CHAT, chat('A'), ['A']],
  ])('%s', async (_sentence, target, body, runs) => {
    const answer = await gate.ask('ann', target, body);
    expect([answer.status, gate.ran()]).toEqual([200, runs]);
  });

  test('a body that cannot be read', async () => {
    const init = { method: 'POST', body: '{"model":"F","x":NaN}', headers: { 'content-type': 'application/json' } };
    expect((await gate.ask('ann', CHAT, undefined, init)).status).toBe(200);
    expect(gate.ran()).toEqual(['F']);
  });

  test('lists are whole', async () => {
    const { data } = (await (await gate.ask('ann', '/api/models')).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toContain('F');
  });
});

test('report mode writes down what it would have refused', async () => {
  await using gate = await startTestGate({ MODELGATE_MODE: 'report' });
  await (await gate.ask('ann', CHAT, chat('F'))).text();
  expect(gate.lines).toContainEqual(expect.objectContaining({ decision: 'deny', model: 'F', reason: 'not_granted' }));
});
