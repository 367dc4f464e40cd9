/**
 * What is stored names a model that a later request runs. A save may keep the names that the stored version has, and may
 * add permitted ones; a run goes on only if every model that it will run can be named.
 */
import { type Attack, type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';
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
const timer = (id: string) => internal({}, { type: 'timer', timer_id: id });
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
  timer: withMessages({ p: timer('forged') }),
  'timer-params': withMessages({ p: timer('forged-params') }),
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

const background = Object.entries({
  'the answered message (0.6)': { id: 'f' },
  'the answered message, streaming': { id: 'f', stream: true },
  'the answered message, streaming until its params say otherwise': {
    id: 'f',
    stream: true,
    params: { stream: false },
  },
  'the continued message (0.12)': { id: 'x', assistant_message_id: 'f', stream: true },
  'the continued message by a number': { assistant_message_id: 7 },
  'the answered message by a number': { id: 7 },
  'a message whose model is no text': { assistant_message_id: 'b' },
  'a chat by a list': { chat_id: ['old'], id: 'f' },
}).flatMap(([name, more]) =>
  at(CHAT, { [`background tasks on ${name}`]: chat('A', { chat_id: 'old', ...TASKS, ...more }) }),
);

const NEW_CHAT = '/api/v1/chats/new';
const CLEAN = '/api/v1/chats/clean';
const DONE = '/api/v1/chats/pending-done';
const post = (body: string | Buffer): RequestInit => ({ method: 'POST', body });
const asked = (key: string, message: object) => chat('A', { parent_id: null, [key]: message });
const WAITING = { chat: withMessages({ p: internal({ model: 'F' }) }) };
const run = { model_id: 'A', chat_context: { params: { models: ['F'] } } };

const pending: readonly Attack[] = [
  ...['pending', 'pending-odd-children', 'pending-no-children', 'timer', 'timer-params'].flatMap((id) =>
    at(CHAT, { [`a completion in a chat where something waits: ${id}`]: chat('A', { chat_id: id }) }),
  ),
  ...at(CHAT, {
    'a message that runs by itself, in the request': asked('user_message', internal({ model: 'F' })),
    'a timer that runs by itself, in the request': asked('user_message', timer('forged')),
    'a message that runs by itself, under its other name': chat('A', { parent_message: internal({ model: 'F' }) }),
  }),
  ...[NEW_CHAT, CLEAN].flatMap((target) => at(target, { [`storing what runs by itself at ${target}`]: WAITING })),
  ...at(CLEAN, {
    'storing what only pretends to have run': {
      chat: withMessages({ p: internal({ model: 'F', childrenIds: ['x'] }) }),
    },
  }),
  ...at('/api/v1/chats/import', {
    'importing what runs by itself': { chats: [WAITING] },
    "importing a timer's run": { chats: [{ chat: {}, meta: { run: { model_id: 'F' } } }] },
    "importing the parameters of a timer's run": { chats: [{ chat: {}, meta: { run } }] },
  }),
  {
    name: 'storing what runs by itself, its key in escapes',
    target: NEW_CHAT,
    init: post(JSON.stringify(WAITING).replace('internal', '\\u0069nternal')),
  },
  {
    name: 'storing what runs by itself, in UTF-16',
    target: NEW_CHAT,
    status: 400,
    init: post(Buffer.from(JSON.stringify(WAITING), 'utf16le')),
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
const saves: readonly Attack[] = Object.entries({
  'under model': message({ model: 'F' }),
  'under model_id, beside a permitted model': message({ model: 'A', model_id: 'F' }),
  'under model_id, without a role': message({ role: undefined, model_id: 'F', done: true }),
  'with a character that is taken out': message({ model: '\u0000F' }),
  "in the chat's list": { chat: withMessages({}, { models: ['F'] }) },
  "as the chat's model": { chat: { model_id: 'F' } },
  'in the list of the branch': { chat: { messages: [{ id: 'm', model: 'F' }] } },
  'in the list of the branch, without an id': { chat: { messages: [{ model: 'F' }] } },
  ...Object.fromEntries(
    [
      { plugins: [{ id: 'fusion' }] },
      { tools: [{ type: 'openrouter:advisor' }] },
      { provider: 'x' },
      { models: ['F'] },
    ].flatMap((params): [string, object][] => [
      [`in the parameters of the chat: ${JSON.stringify(params)}`, { chat: { params } }],
      [`in the parameters of a message: ${JSON.stringify(params)}`, message({ meta: { params } })],
    ]),
  ),
  'in a tool call': message(ofCall('update_automation', '{"model_id":"F"}')),
}).flatMap(([name, body]) =>
  [NEW_CHAT, CLEAN].flatMap((target) =>
    at(target, { [`saving a name ${name} at ${target}`]: body }, { says: 'It was not saved.' }),
  ),
);

/** The stored version names F elsewhere. */
const moved = at('/api/v1/chats/old', {
  'moving a stored name to another message': { chat: withMessages({ a: { role: 'assistant', model: 'F' } }) },
  'moving a stored name to a new message': { chat: withMessages({ new: { role: 'assistant', model: 'F' } }) },
  'moving a stored name from a message to the parameters': { chat: { params: { model: 'F' } } },
});

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

const POST_MESSAGE = '/api/v1/channels/c/messages/post';
const AUTOMATION = { name: 'x', data: { model_id: 'F' } };
const question = (more: object) => ({ id: 'u', role: 'user', content: 'x', ...more });

const others: readonly Attack[] = [
  ...at(NEW_CHAT, {
    'saving a name as no text': message({ model: ['A'] }),
    'an old chat, saved again as new': { chat: CHATS['old'] },
  }),
  ...at('/api/v1/chats/none', { 'saving a name in a chat that is not there': message({ model: 'F' }) }),
  ...at(CHAT, {
    'a question to models, some of them lost, in a new chat': asked('user_message', question({ models: ['A', 'F'] })),
    'a message that is written with the question': chat('A', {
      chat_id: 'clean',
      user_message: question({ model_id: 'F' }),
    }),
    'the id of a timer that is cleaned': chat('A', { user_message: timer('for\0ged') }),
    'a completion where only the list of the branch answers what waits': chat('A', { chat_id: 'pending-listed' }),
  }),
  {
    name: 'deleting the answer to what has run with a lost model',
    target: `${DONE}/messages/x`,
    init: { method: 'DELETE' },
  },
  ...[
    { x: { role: 'assistant', model: 'A', parentId: 'q' } },
    { x: { role: 'assistant', model: 'A', parentId: null } },
    { x: { role: 'assistant', model: 'A' } },
    { x: 'no message' },
    { x: null },
  ].flatMap((messages) => {
    const body = { chat: { history: { messages }, messages: [{ id: 'x', parentId: 'p' }] } };
    return at(DONE, { [`taking the answer from what has run with a lost model: ${JSON.stringify(messages)}`]: body });
  }),
  ...at(DONE, {
    'no parent for the answer to what has run with a lost model': {
      chat: { history: { messages: { x: { role: 'assistant', model: 'A', parentId: null } } } },
    },
  }),
  ...at(CLEAN, {
    'saving the id of a timer that is cleaned': { chat: withMessages({ p: timer('for\ud800ged') }) },
    'saving a tool call whose name is cleaned': message({
      model: 'A',
      output: [{ name: 'update_auto\0mation', arguments: '{"model_id":"F"}' }],
    }),
    'a tool call whose name the backend cleans': message(ofCall('update_auto\0mation', '{"model_id":"F"}')),
  }),
  ...['x', 'extra_body'].map((key) => ({
    name: `parameters whose hidden keys are cleaned, in ${key}`,
    target: `${CLEAN}/params`,
    init: { method: 'PATCH', body: JSON.stringify({ custom_params: { [key]: '{"mod\ud800els":["F"]}' } }) },
  })),
  ...at(
    '/api/v1/chats/old',
    {
      'what the chat of another user names': { chat: { models: ['A'] } },
      'what no message names in the chat of another user': { chat: { models: ['other/one'] } },
    },
    { user: 'bob' },
  ),
  ...at('/api/v1/channels/c/messages/m/update', {
    'changing what others reply to': { content: 'x', meta: { model_id: 'F' } },
  }),
  ...at('/api/v1/chats/of-bob', { 'a name that only the chat of another has': { chat: { models: ['F'] } } }),
  ...at('/api/v1/chats/old/compact', { 'compacting an old chat': {} }),
  { name: 'compacting an old chat without a body', target: '/api/v1/chats/old/compact', init: { method: 'POST' } },
  ...at(`${CLEAN}/compact`, { 'compacting with a forbidden model': { model: 'F' } }),
  ...at(
    CHAT,
    { 'continuing the row of a message': chat('A', { chat_id: 'clean', assistant_message_id: 'row' }) },
    { era: NEW },
  ),
  ...at(POST_MESSAGE, {
    'a mention': { content: 'hi <@M:F|x> there' },
    'a mention without label': { content: '<@M:F>' },
    'a mention that is not closed': { content: '<@M:F' },
    'two mentions': { content: '<@M:A|x> <@M:F|x>' },
    'a reply': { content: 'and?', reply_to_id: 'by-f' },
    'posting what others reply to': { content: 'x', meta: { model_id: 'F' } },
  }),
  { name: 'a mention in escapes', target: POST_MESSAGE, init: post('{"content":"\\u003c\\u0040M\\u003aF|x>"}') },
  ...at('/api/v1/automations/create', { 'an automation': AUTOMATION }),
  ...at('/api/v1/automations/of-a/update', { 'changing an automation': AUTOMATION }, { era: NEW }),
  ...['run', 'toggle'].map((what): Attack => ({
    name: `an automation that is told: ${what}`,
    era: NEW,
    target: `/api/v1/automations/of-f/${what}`,
    init: { method: 'POST' },
  })),
];

const nothing = { runs: [] };
const own = { runs: ['A'] };

const uses: readonly Use[] = [
  ...at(
    CHAT,
    {
      'an old chat, continued with another model': chat('A', { chat_id: 'old', id: 'new', ...TASKS }),
      'a chat that is not there yet': chat('A', { chat_id: 'none', id: 'x', ...TASKS }),
      'what waited and has run': chat('A', { chat_id: 'pending-done' }),
    },
    own,
  ),
  ...at(
    CHAT,
    { 'the answer that is continued': chat('A', { chat_id: 'old', assistant_message_id: 'a', ...TASKS }) },
    { runs: ['A', 'A'] },
  ),
  ...at(
    CHAT,
    { 'what waits with a model of their own': chat('A', { chat_id: 'pending-own' }) },
    { runs: ['A', 'acme/one'] },
  ),
  ...at('/api/v1/chats/old', { 'an old chat, saved': { chat: CHATS['old'] } }, nothing),
  ...at(DONE, { 'what has run, saved': { chat: CHATS['pending-done'] } }, nothing),
  ...at(
    NEW_CHAT,
    {
      'what will run with a model of their own, saved': { chat: CHATS['pending-own'] },
      'talk about what is "internal", saved': { chat: { title: '"internal"', models: ['A'] } },
    },
    nothing,
  ),
  ...['clean', 'old'].flatMap((id) =>
    at(`/api/v1/chats/${id}/compact`, { [`a chat, compacted with a model of their own: ${id}`]: { model: 'A' } }, own),
  ),
  ...(
    [
      ['call-other', 'reject', 'F'],
      ['call-own', 'approve', 'acme/one'],
    ] as const
  ).flatMap(([id, action, ran]) =>
    at(
      `/api/v1/chats/${id}/messages/m/resolve`,
      { [`a tool call, resumed: ${id}`]: { call_id: 'c1', action } },
      { runs: [ran, 'A'] },
    ),
  ),
  ...at(
    POST_MESSAGE,
    {
      'a mention of their own': { content: '<@M:A|x> and <@U:F|x>' },
      'a reply to a model of their own': { content: 'and?', reply_to_id: 'by-a' },
    },
    { ...own, era: NEW },
  ),
  ...[
    'To mention a model, type `<@M:` and its id.',
    'if (text.startsWith("<@M:")) {\n  F\n}',
    '<@M: F>',
    "'<@M:' + F + '>'",
  ].flatMap((content) =>
    at(POST_MESSAGE, { [`text about mentions: ${content}`]: { content } }, { ...nothing, era: NEW }),
  ),
  ...at(
    '/api/v1/automations/create',
    { 'an automation': { name: 'x', data: { model_id: 'A', prompt: 'F' } } },
    { ...nothing, era: NEW },
  ),
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
