/** What each setting opens, and that it opens nothing else: administrators, direct connections, hide, report, bypass. */
import { describe, expect, test } from 'vitest';
import { type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';
import { gateOfSuite, startTestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';
const direct = { model_item: { direct: true, id: 'browser-model' } };
const MANAGEMENT: readonly Use[] = ['/api/models/base', '/api/v1/models/base', '/openai/models/0'].map((target) => ({
  name: `the administrator's page ${target}`,
  user: 'adm',
  target,
  runs: [],
}));

const ADMIN = { user: 'adm' };
const OPENAI = { dialect: 'openai' } as const;

describeAttacks('administrators like all other users', {
  attacks: [
    ...at(CHAT, { 'a forbidden model': chat('F') }, ADMIN),
    ...at('/openai/embeddings', { 'a forbidden model at a catch-all': chat('F') }, { ...ADMIN, ...OPENAI }),
    ...at(
      '/openai/completions',
      { 'a forbidden fallback at a catch-all': chat('A', { models: ['F'] }) },
      { ...ADMIN, ...OPENAI },
    ),
    ...at(
      '/openai/completions',
      { 'a preset of the provider at a catch-all': chat('A', { preset: 'x' }) },
      { ...ADMIN, ...OPENAI, status: 400 },
    ),
    ...at(
      '/ollama/api/chat/0',
      { 'a forbidden model at an index': chat('F') },
      { ...ADMIN, dialect: 'ollama' as const },
    ),
    { name: 'a user at the management page', target: '/api/models/base' },
    { name: 'a user at the page of a connection', target: '/openai/models/0', ...OPENAI },
    { name: 'a user at the tags of a connection', target: '/ollama/api/tags/0', dialect: 'ollama' },
    ...at('/api/v1/tasks/config/update', { 'a user at the task settings': { TASK_MODEL: 'F' } }),
  ],
  uses: [...MANAGEMENT, ...at(CHAT, { 'a model of theirs': chat('A') }, { ...ADMIN, runs: ['A'] })],
});

describeAttacks('administrators with everything', {
  settings: { MODELGATE_ADMIN_ACCESS: 'all' },
  attacks: [
    ...at(CHAT, { 'a user': chat('F') }),
    ...at('/openai/embeddings', { 'a user at a catch-all': chat('A') }, OPENAI),
    ...at(CHAT, { 'a direct connection': chat('A', direct) }, ADMIN),
  ],
  uses: [
    ...MANAGEMENT,
    ...[CHAT, '/openai/embeddings'].flatMap((target) =>
      at(target, { [`an administrator at ${target}`]: chat('F') }, { ...ADMIN, runs: ['F'] }),
    ),
  ],
});

const ofBrowser = (more: object) => chat('browser-model', { ...direct, ...more });

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
    ...at(CHAT, {
      'a model of the server': chat('F', direct),
      'a preset of the server': chat('a-row', direct),
      'a model of the server beside one of the browser': ofBrowser({ models: ['F'] }),
      'what waits in the chat': ofBrowser({ chat_id: 'waits' }),
      'what waits in the request': ofBrowser({ user_message: pendingMessage }),
      'background tasks on a stored message': ofBrowser({
        chat_id: 'old',
        id: 'f',
        background_tasks: { title_generation: true },
      }),
    }),
    ...['/openai/chat/completions', '/openai/responses', '/api/v1/embeddings'].flatMap((target) => {
      const name = `a model that no organization was granted, at ${target}, where the flag means nothing`;
      return at(target, { [name]: chat('other/one', direct) }, OPENAI);
    }),
    ...at('/api/v1/tasks/moa/completions', {
      'a model that no organization was granted, in a task': chat('other/one', direct),
    }),
  ],
  uses: [
    ...at(CHAT, { "a model of the browser's": ofBrowser({}) }, { runs: ['browser-model'] }),
    ...at(
      CHAT,
      { 'a model of their own': chat('A', direct), 'a model of their own, without': chat('A') },
      { runs: ['A'] },
    ),
  ],
});

describeAttacks('denials that hide', {
  settings: { MODELGATE_DENIAL: 'hide' },
  attacks: [
    ...at(CHAT, { 'a forbidden model': chat('F'), 'an unknown model': chat('nothing') }, { status: 404 }),
    ...at('/openai/chat/completions', { 'the OpenAI route': chat('F') }, { ...OPENAI, status: 404 }),
    ...at('/openai/embeddings', { 'a catch-all': chat('A') }, { ...OPENAI, status: 404 }),
    ...at(CHAT, { 'a malformed request': {} }, { status: 400 }),
  ],
  uses: at(CHAT, { 'a model of their own': chat('A') }, { runs: ['A'] }),
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
