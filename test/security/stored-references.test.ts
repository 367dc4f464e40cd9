/**
 * What is stored names a model that a later request runs. A save may keep the names that the stored version has, and may
 * add permitted ones; a run goes on only if every model that it will run can be named.
 */
import { type Attack, type Use, chat, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';
const NEW = '0.12.4' as const;

const internal = (more: object = {}, meta: object = {}) => ({
  id: 'u1',
  role: 'user',
  content: 'go on',
  childrenIds: [],
  ...more,
  meta: { internal: true, type: 'subagent', ...meta },
});
const withMessages = (messages: object, more: object = {}) => ({ models: ['A'], history: { messages }, ...more });
const ofCall = (name: string, args: string, type = 'function_call') => ({
  role: 'assistant',
  model: 'A',
  output: [{ type, name, arguments: args, status: 'pending', call_id: 'c1' }],
});

/** Chats of `ann`, by id. */
const CHATS: Record<string, unknown> = {
  // an organization that lost F: its history still names it
  old: withMessages(
    {
      q: { role: 'user', models: ['F'] },
      f: { role: 'assistant', model: 'F' },
      a: { role: 'assistant', model: 'A' },
      7: { role: 'assistant', model: 'F' },
      b: { role: 'assistant', model: 5 },
    },
    { models: ['F'] },
  ),
  clean: withMessages({ q: { role: 'user' }, a: { role: 'assistant', model: 'A' } }),
  pending: withMessages({ p: internal({ model: 'F' }) }),
  'pending-odd-children': withMessages({ p: internal({ model: 'F', childrenIds: {} }) }),
  'pending-no-children': withMessages({ p: { ...internal({ model: 'F' }), childrenIds: undefined } }),
  timer: withMessages({ p: internal({}, { type: 'timer', timer_id: 'forged' }) }),
  'timer-params': withMessages({ p: internal({}, { type: 'timer', timer_id: 'forged-params' }) }),
  'pending-own': withMessages({ p: internal({ model: 'acme/one' }) }),
  'pending-done': withMessages({
    p: internal({ model: 'F', childrenIds: ['x'] }),
    x: { role: 'assistant', model: 'F', parentId: 'p' },
  }),
  'pending-listed': withMessages(
    { p: internal({ model: 'F' }) },
    { messages: [{ id: 'z', role: 'assistant', parentId: 'p' }] },
  ),
  empty: { models: [''], history: { messages: { m: { role: 'assistant' } } } },
  forged: withMessages({}),
  'forged-params': withMessages({}),
  params: withMessages({ m: { role: 'assistant', model: 'A' } }, { params: { custom_params: { models: '["F"]' } } }),
  'params-old': withMessages(
    { m: { role: 'assistant', model: 'A' } },
    { params: { custom_params: { context_window_fallbacks: '[{"A":["F"]}]' } } },
  ),
  'message-params': withMessages({ m: { role: 'assistant', model: 'A', meta: { params: { fallbacks: ['F'] } } } }),
  'first-model': withMessages({ m: { role: 'assistant' } }, { models: ['F'] }),
  call: withMessages({ m: ofCall('update_automation', '{"model_id":"F"}') }),
  'call-escaped': withMessages({ m: ofCall('update_automation', '{"model\\u005fid":"\\u0046"}') }),
  'call-python': withMessages({ m: ofCall('update_automation', "{'model_id': 'F'}") }),
  'call-own': withMessages({ m: ofCall('update_automation', '{"model_id":"acme/one"}') }),
  'call-other': withMessages({ m: ofCall('search', '{"model_id":"F"}') }),
};

function prepare({ database }: TestGate): void {
  for (const [id, document] of Object.entries(CHATS)) database.addChat({ id, user: 'ann', chat: document });
  database.addChat({ id: 'of-bob', user: 'bob', chat: { models: ['F'] } });
  const meta = (id: string, run: object) =>
    database.run('UPDATE chat SET meta = ? WHERE id = ?', JSON.stringify({ run }), id);
  meta('forged', { model_id: 'F' });
  meta('forged-params', { model_id: 'A', chat_context: { params: { models: ['F'] } } });
  database.addChannelMessage({ id: 'by-f', user: 'bob', meta: { model_id: 'F' } });
  database.addChannelMessage({ id: 'by-a', user: 'bob', meta: { model_id: 'A' } });
  if (database.era === '0.6.18') return;
  database.addChatMessage({ id: 'clean-row', chat: 'clean', user: 'ann', model: 'F' });
  database.addAutomation({ id: 'of-f', user: 'ann', data: { model_id: 'F' } });
  database.addAutomation({ id: 'of-a', user: 'ann', data: { model_id: 'A' } });
}

const TASKS = { background_tasks: { title_generation: true }, session_id: 's' };

const background: readonly Attack[] = [
  { name: 'the answered message (0.6)', more: { id: 'f' } },
  { name: 'the answered message, streaming', more: { id: 'f', stream: true } },
  {
    name: 'the answered message, streaming until its params say otherwise',
    more: { id: 'f', stream: true, params: { stream: false } },
  },
  { name: 'the continued message (0.12)', more: { id: 'x', assistant_message_id: 'f', stream: true } },
  { name: 'the continued message by a number', more: { assistant_message_id: 7 } },
  { name: 'the answered message by a number', more: { id: 7 } },
  { name: 'a message whose model is no text', more: { assistant_message_id: 'b' } },
  { name: 'a chat by a list', more: { chat_id: ['old'], id: 'f' } },
].map(({ name, more }) => ({
  name: `background tasks on ${name}`,
  target: CHAT,
  body: chat('A', { chat_id: 'old', ...TASKS, ...more }),
}));

const pending: readonly Attack[] = [
  ...['pending', 'pending-odd-children', 'pending-no-children', 'timer', 'timer-params'].map((id) => ({
    name: `a completion in a chat where something waits: ${id}`,
    target: CHAT,
    body: chat('A', { chat_id: id }),
  })),
  {
    name: 'a message that runs by itself, in the request',
    target: CHAT,
    body: chat('A', { parent_id: null, user_message: internal({ model: 'F' }) }),
  },
  {
    name: 'a timer that runs by itself, in the request',
    target: CHAT,
    body: chat('A', { parent_id: null, user_message: internal({}, { type: 'timer', timer_id: 'forged' }) }),
  },
  {
    name: 'a message that runs by itself, under its other name',
    target: CHAT,
    body: chat('A', { parent_message: internal({ model: 'F' }) }),
  },
  ...['/api/v1/chats/new', '/api/v1/chats/clean'].map((target) => ({
    name: `storing what runs by itself at ${target}`,
    target,
    body: { chat: withMessages({ p: internal({ model: 'F' }) }) },
  })),
  {
    name: 'storing what only pretends to have run',
    target: '/api/v1/chats/clean',
    body: { chat: withMessages({ p: internal({ model: 'F', childrenIds: ['x'] }) }) },
  },
  {
    name: 'importing what runs by itself',
    target: '/api/v1/chats/import',
    body: { chats: [{ chat: withMessages({ p: internal({ model: 'F' }) }) }] },
  },
  {
    name: "importing a timer's run",
    target: '/api/v1/chats/import',
    body: { chats: [{ chat: {}, meta: { run: { model_id: 'F' } } }] },
  },
  {
    name: "importing the parameters of a timer's run",
    target: '/api/v1/chats/import',
    body: { chats: [{ chat: {}, meta: { run: { model_id: 'A', chat_context: { params: { models: ['F'] } } } } }] },
  },
  {
    name: 'storing what runs by itself, its key in escapes',
    target: '/api/v1/chats/new',
    init: {
      method: 'POST',
      body: JSON.stringify({ chat: withMessages({ p: internal({ model: 'F' }) }) }).replace(
        'internal',
        '\\u0069nternal',
      ),
    },
  },
  {
    name: 'storing what runs by itself, in UTF-16',
    target: '/api/v1/chats/new',
    status: 400,
    init: {
      method: 'POST',
      body: Buffer.from(JSON.stringify({ chat: withMessages({ p: internal({ model: 'F' }) }) }), 'utf16le'),
    },
  },
];

const resolve: readonly Attack[] = [
  ['old', 'f'],
  ['params', 'm'],
  ['params-old', 'm'],
  ['message-params', 'm'],
  ['first-model', 'm'],
  ['call', 'm'],
  ['call-escaped', 'm'],
  ['call-python', 'm'],
  ['pending', 'x'],
].map(([id, message]) => ({
  name: `resuming a tool call: ${id}`,
  target: `/api/v1/chats/${id}/messages/${message}/resolve`,
  body: { call_id: 'c1', action: 'approve' },
}));

const message = (more: object) => ({ chat: withMessages({ m: { role: 'assistant', ...more } }) });
const saves: readonly Attack[] = [
  { name: 'under model', body: message({ model: 'F' }) },
  { name: 'under model_id, beside a permitted model', body: message({ model: 'A', model_id: 'F' }) },
  { name: 'under model_id, without a role', body: message({ role: undefined, model_id: 'F', done: true }) },
  { name: 'with a character that is taken out', body: message({ model: '\u0000F' }) },
  { name: "in the chat's list", body: { chat: withMessages({}, { models: ['F'] }) } },
  { name: "as the chat's model", body: { chat: { model_id: 'F' } } },
  { name: 'in the list of the branch', body: { chat: { messages: [{ id: 'm', model: 'F' }] } } },
  { name: 'in the list of the branch, without an id', body: { chat: { messages: [{ model: 'F' }] } } },
  ...[
    { plugins: [{ id: 'fusion' }] },
    { tools: [{ type: 'openrouter:advisor' }] },
    { provider: 'x' },
    { models: ['F'] },
  ].flatMap((params) => [
    { name: `in the parameters of the chat: ${JSON.stringify(params)}`, body: { chat: { params } } },
    { name: `in the parameters of a message: ${JSON.stringify(params)}`, body: message({ meta: { params } }) },
  ]),
  { name: 'in a tool call', body: message(ofCall('update_automation', '{"model_id":"F"}')) },
].flatMap(({ name, body }) =>
  ['/api/v1/chats/new', '/api/v1/chats/clean'].map((target) => ({
    name: `saving a name ${name} at ${target}`,
    target,
    body,
    says: 'It was not saved.',
  })),
);

/** The stored version names F elsewhere. */
const moved: readonly Attack[] = [
  { name: 'to another message', body: { chat: withMessages({ a: { role: 'assistant', model: 'F' } }) } },
  { name: 'to a new message', body: { chat: withMessages({ new: { role: 'assistant', model: 'F' } }) } },
  { name: 'from a message to the parameters', body: { chat: { params: { model: 'F' } } } },
].map(({ name, body }) => ({ name: `moving a stored name ${name}`, target: '/api/v1/chats/old', body }));

const cleaned = (key: string, value: unknown) => ({
  chat: withMessages({ p: { role: 'user', model: 'A', [key]: value } }),
});
const CLEANED_KEYS: readonly (readonly [name: string, body: object])[] = [
  ['NUL in a key', cleaned('mod\0el', 'F')],
  ['half of a surrogate pair in a key', cleaned('mod\ud800el', 'F')],
  ['the same, deep inside', cleaned('meta', { 'inter\udc00nal': true, type: 'subagent' })],
];
const cleanedKeys: readonly Attack[] = CLEANED_KEYS.flatMap(([name, body]) =>
  ['/api/v1/chats/new', '/api/v1/chats/clean', '/api/v1/chats/import', '/api/v1/chats/clean/messages/a/event'].map(
    (target) => ({
      name: `${name} at ${target}`,
      target,
      init: { method: 'POST', body: JSON.stringify(target.endsWith('import') ? { chats: [body] } : body) },
      status: 400 as const,
    }),
  ),
);

const parameters: readonly Attack[] = [
  { plugins: [{ id: 'fusion' }] },
  { provider: 'x' },
  { model: 'F' },
  { custom_params: { models: '["F"]' } },
].map((params) => ({
  name: `parameters written to a chat: ${JSON.stringify(params)}`,
  target: '/api/v1/chats/clean/params',
  init: { method: 'PATCH', body: JSON.stringify(params) },
}));

/** Nothing is named where something stored would run. */
const unnamed: readonly Attack[] = [
  '/api/v1/chats/none/messages/m/resolve',
  '/api/v1/chats/empty/messages/none/resolve',
  '/api/v1/chats/empty/messages/m/resolve',
  '/api/v1/chats/none/compact',
  '/api/v1/chats/empty/compact',
  '/api/v1/automations/none/run',
].map((target) => ({ name: `what names nothing: ${target}`, target, body: { call_id: 'c1', action: 'reject' } }));

const others: readonly Attack[] = [
  { name: 'saving a name as no text', target: '/api/v1/chats/new', body: message({ model: ['A'] }) },
  { name: 'saving a name in a chat that is not there', target: '/api/v1/chats/none', body: message({ model: 'F' }) },
  { name: 'an old chat, saved again as new', target: '/api/v1/chats/new', body: { chat: CHATS['old'] } },
  {
    name: 'a question to models, some of them lost, in a new chat',
    target: CHAT,
    body: chat('A', { parent_id: null, user_message: { id: 'u', role: 'user', content: 'x', models: ['A', 'F'] } }),
  },
  {
    name: 'a message that is written with the question',
    target: CHAT,
    body: chat('A', { chat_id: 'clean', user_message: { id: 'u', role: 'user', content: 'x', model_id: 'F' } }),
  },
  {
    name: 'deleting the answer to what has run with a lost model',
    target: '/api/v1/chats/pending-done/messages/x',
    init: { method: 'DELETE' },
  },
  ...[
    { x: { role: 'assistant', model: 'A', parentId: 'q' } },
    { x: { role: 'assistant', model: 'A', parentId: null } },
    { x: { role: 'assistant', model: 'A' } },
    { x: 'no message' },
    { x: null },
  ].map((messages): Attack => ({
    name: `taking the answer from what has run with a lost model: ${JSON.stringify(messages)}`,
    target: '/api/v1/chats/pending-done',
    body: { chat: { history: { messages }, messages: [{ id: 'x', parentId: 'p' }] } },
  })),
  {
    name: 'the id of a timer that is cleaned',
    target: CHAT,
    body: chat('A', { user_message: internal({}, { type: 'timer', timer_id: 'for\0ged' }) }),
  },
  {
    name: 'saving the id of a timer that is cleaned',
    target: '/api/v1/chats/clean',
    body: { chat: withMessages({ p: internal({}, { type: 'timer', timer_id: 'for\ud800ged' }) }) },
  },
  {
    name: 'saving a tool call whose name is cleaned',
    target: '/api/v1/chats/clean',
    body: message({ model: 'A', output: [{ name: 'update_auto\0mation', arguments: '{"model_id":"F"}' }] }),
  },
  {
    name: 'parameters whose hidden keys are cleaned',
    target: '/api/v1/chats/clean/params',
    init: { method: 'PATCH', body: JSON.stringify({ custom_params: { x: '{"mod\ud800els":["F"]}' } }) },
  },
  {
    name: 'what the chat of another user names',
    user: 'bob',
    target: '/api/v1/chats/old',
    body: { chat: { models: ['A'] } },
  },
  {
    name: 'what no message names in the chat of another user',
    user: 'bob',
    target: '/api/v1/chats/old',
    body: { chat: { models: ['other/one'] } },
  },
  {
    name: 'changing what others reply to',
    target: '/api/v1/channels/c/messages/m/update',
    body: { content: 'x', meta: { model_id: 'F' } },
  },
  {
    name: 'no parent for the answer to what has run with a lost model',
    target: '/api/v1/chats/pending-done',
    body: { chat: { history: { messages: { x: { role: 'assistant', model: 'A', parentId: null } } } } },
  },
  {
    name: 'a completion where only the list of the branch answers what waits',
    target: CHAT,
    body: chat('A', { chat_id: 'pending-listed' }),
  },
  {
    name: 'a name that only the chat of another has',
    target: '/api/v1/chats/of-bob',
    body: { chat: { models: ['F'] } },
  },
  {
    name: 'a tool call whose name the backend cleans',
    target: '/api/v1/chats/clean',
    body: message(ofCall('update_auto\0mation', '{"model_id":"F"}')),
  },
  {
    name: 'parameters in text, spelled with half of a surrogate pair',
    target: '/api/v1/chats/clean/params',
    init: { method: 'PATCH', body: JSON.stringify({ custom_params: { extra_body: '{"mod\ud800els":["F"]}' } }) },
  },
  { name: 'compacting an old chat', target: '/api/v1/chats/old/compact', body: {} },
  { name: 'compacting an old chat without a body', target: '/api/v1/chats/old/compact', init: { method: 'POST' } },
  { name: 'compacting with a forbidden model', target: '/api/v1/chats/clean/compact', body: { model: 'F' } },
  {
    name: 'continuing the row of a message',
    era: NEW,
    target: CHAT,
    body: chat('A', { chat_id: 'clean', assistant_message_id: 'row' }),
  },
  { name: 'a mention', target: '/api/v1/channels/c/messages/post', body: { content: 'hi <@M:F|x> there' } },
  { name: 'a mention without label', target: '/api/v1/channels/c/messages/post', body: { content: '<@M:F>' } },
  { name: 'a mention that is not closed', target: '/api/v1/channels/c/messages/post', body: { content: '<@M:F' } },
  { name: 'two mentions', target: '/api/v1/channels/c/messages/post', body: { content: '<@M:A|x> <@M:F|x>' } },
  {
    name: 'a mention in escapes',
    target: '/api/v1/channels/c/messages/post',
    init: { method: 'POST', body: '{"content":"\\u003c\\u0040M\\u003aF|x>"}' },
  },
  { name: 'a reply', target: '/api/v1/channels/c/messages/post', body: { content: 'and?', reply_to_id: 'by-f' } },
  {
    name: 'posting what others reply to',
    target: '/api/v1/channels/c/messages/post',
    body: { content: 'x', meta: { model_id: 'F' } },
  },
  { name: 'an automation', target: '/api/v1/automations/create', body: { name: 'x', data: { model_id: 'F' } } },
  {
    name: 'changing an automation',
    era: NEW,
    target: '/api/v1/automations/of-a/update',
    body: { name: 'x', data: { model_id: 'F' } },
  },
  { name: 'running an automation', era: NEW, target: '/api/v1/automations/of-f/run', init: { method: 'POST' } },
  { name: 'switching an automation on', era: NEW, target: '/api/v1/automations/of-f/toggle', init: { method: 'POST' } },
];

const uses: readonly Use[] = [
  {
    name: 'an old chat, continued with another model',
    target: CHAT,
    body: chat('A', { chat_id: 'old', id: 'new', ...TASKS }),
    runs: ['A'],
  },
  {
    name: 'the answer that is continued',
    target: CHAT,
    body: chat('A', { chat_id: 'old', assistant_message_id: 'a', ...TASKS }),
    runs: ['A', 'A'],
  },
  {
    name: 'a chat that is not there yet',
    target: CHAT,
    body: chat('A', { chat_id: 'none', id: 'x', ...TASKS }),
    runs: ['A'],
  },
  {
    name: 'what waits with a model of their own',
    target: CHAT,
    body: chat('A', { chat_id: 'pending-own' }),
    runs: ['A', 'acme/one'],
  },
  { name: 'what waited and has run', target: CHAT, body: chat('A', { chat_id: 'pending-done' }), runs: ['A'] },
  { name: 'an old chat, saved', target: '/api/v1/chats/old', body: { chat: CHATS['old'] }, runs: [] },
  {
    name: 'what has run, saved',
    target: '/api/v1/chats/pending-done',
    body: { chat: CHATS['pending-done'] },
    runs: [],
  },
  {
    name: 'what will run with a model of their own, saved',
    target: '/api/v1/chats/new',
    body: { chat: CHATS['pending-own'] },
    runs: [],
  },
  {
    name: 'talk about what is "internal", saved',
    target: '/api/v1/chats/new',
    body: { chat: { title: '"internal"', models: ['A'] } },
    runs: [],
  },
  { name: 'a chat, compacted', target: '/api/v1/chats/clean/compact', body: { model: 'A' }, runs: ['A'] },
  {
    name: 'an old chat, compacted with another model',
    target: '/api/v1/chats/old/compact',
    body: { model: 'A' },
    runs: ['A'],
  },
  {
    name: 'a tool call, resumed',
    target: '/api/v1/chats/call-other/messages/m/resolve',
    body: { call_id: 'c1', action: 'reject' },
    runs: ['F', 'A'],
  },
  {
    name: 'a tool call with a model of their own',
    target: '/api/v1/chats/call-own/messages/m/resolve',
    body: { call_id: 'c1', action: 'approve' },
    runs: ['acme/one', 'A'],
  },
  {
    name: 'a mention of their own',
    era: NEW,
    target: '/api/v1/channels/c/messages/post',
    body: { content: '<@M:A|x> and <@U:F|x>' },
    runs: ['A'],
  },
  ...[
    'To mention a model, type `<@M:` and its id.',
    'if (text.startsWith("<@M:")) {\n  F\n}',
    '<@M: F>',
    "'<@M:' + F + '>'",
  ].map((content): Use => ({
    name: `text about mentions: ${content}`,
    era: NEW,
    target: '/api/v1/channels/c/messages/post',
    body: { content },
    runs: [],
  })),
  {
    name: 'a reply to a model of their own',
    era: NEW,
    target: '/api/v1/channels/c/messages/post',
    body: { content: 'and?', reply_to_id: 'by-a' },
    runs: ['A'],
  },
  {
    name: 'an automation',
    era: NEW,
    target: '/api/v1/automations/create',
    body: { name: 'x', data: { model_id: 'A', prompt: 'F' } },
    runs: [],
  },
  {
    name: 'running an automation',
    era: NEW,
    target: '/api/v1/automations/of-a/run',
    init: { method: 'POST' },
    runs: ['A'],
  },
];

describeAttacks('by what is stored', {
  prepare,
  attacks: [
    ...background,
    ...pending,
    ...resolve,
    ...saves,
    ...moved,
    ...cleanedKeys,
    ...parameters,
    ...unnamed,
    ...others,
  ],
  uses,
});
