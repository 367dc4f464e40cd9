/** Two steps: something stored names the model, and a later request that names only permitted ones makes it run. */
import { randomUUID } from 'node:crypto';
import { type Attack, type Attempt, FORBIDDEN, NEW, OLD } from './attack.ts';
import { createChannel, postChannelMessage } from './backend-content.ts';
import { send } from './backend-client.ts';
import type { Release } from './release.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';
const F = FORBIDDEN;
const ANSWER_MS = 15_000;

type Message = Readonly<Record<string, unknown>>;
type Messages = Readonly<Record<string, Message>>;

const user = (id: string, parentId: string | null, more: object = {}): Message => ({
  id,
  parentId,
  childrenIds: [],
  role: 'user',
  content: `Question ${id}`,
  ...more,
});
const assistant = (id: string, parentId: string, model: string, more: object = {}): Message => ({
  id,
  parentId,
  childrenIds: [],
  role: 'assistant',
  content: `Answer ${id}`,
  model,
  done: true,
  ...more,
});

const asMap = (messages: readonly Message[]): Messages =>
  Object.fromEntries(messages.map((message) => [String(message['id']), message]));

const chatOf = (messages: readonly Message[], more: object = {}): object => ({
  chat: {
    title: 'A chat',
    models: ['alpha'],
    history: { currentId: 'b', messages: asMap(messages) },
    messages: [],
    ...more,
  },
});

const EXCHANGE = [user('a', null, { childrenIds: ['b'] }), assistant('b', 'a', 'alpha')];
const ASKED_OF_F = [user('a', null, { childrenIds: ['b'] }), assistant('b', 'a', F)];
const subagent = (more: object = {}): Message =>
  user('p', 'b', { model: F, meta: { internal: true, type: 'subagent' }, ...more });

async function newChat(attempt: Attempt, messages: readonly Message[], more: object = {}): Promise<string> {
  const { id } = await attempt.post('/api/v1/chats/new', chatOf(messages, more));
  return id ?? randomUUID();
}

/** The next completion in the chat, as the web page asks for it: the answer runs as a task of its own. */
const continued = (chat: string, more: object = {}): Record<string, unknown> =>
  question('alpha', {
    stream: true,
    chat_id: chat,
    session_id: 's',
    id: 'n2',
    parent_id: 'b',
    user_message: { id: 'n1', parentId: 'b', role: 'user', content: 'Go on.' },
    ...more,
  });

/** What is done while the chat answers: the provider takes until then for it, however slow this machine is. */
async function whileItAnswers(a: Attempt, body: object, act: () => Promise<unknown>): Promise<void> {
  const release = a.tenants.provider.hold();
  try {
    const answered = a.post(CHAT, body);
    await Promise.race([answered, a.tenants.arrival('alpha', ANSWER_MS)]);
    await act();
    release();
    await answered;
  } finally {
    release();
  }
}

const attack = (name: string, worksWithout: readonly Release[], run: Attack['run']): Attack => ({
  name,
  worksWithout,
  run,
});

const WAITING: readonly Attack[] = [
  attack('a message of a sub-agent in a new chat, then a completion there', NEW, async (a) => {
    const chat = await newChat(a, [...EXCHANGE, subagent()]);
    await a.post(CHAT, continued(chat));
  }),
  attack('the same in an imported chat', NEW, async (a) => {
    const imported = await a.post('/api/v1/chats/import', { chats: [chatOf([...EXCHANGE, subagent()])] });
    const [first] = Array.isArray(imported) ? (imported as { id: string }[]) : [];
    await a.post(CHAT, continued(first?.id ?? 'none'));
  }),
  attack('the same, saved into a chat while it answers', NEW, async (a) => {
    const chat = await newChat(a, EXCHANGE);
    await whileItAnswers(a, continued(chat), () => save(a, chat, [subagent()]));
  }),
  attack('the same, with children that the backend does not believe in', NEW, async (a) => {
    const chat = await newChat(a, EXCHANGE);
    await whileItAnswers(a, continued(chat), () => save(a, chat, [subagent({ childrenIds: ['nobody'] })]));
  }),
  attack('the same, answered at first, and the answer deleted while the chat answers', NEW, async (a) => {
    const message = subagent({ childrenIds: ['q'] });
    const chat = await newChat(a, [...EXCHANGE, message, assistant('q', 'p', 'alpha')]);
    await whileItAnswers(a, continued(chat), () => a.post(`/api/v1/chats/${chat}/messages/q`, undefined, 'DELETE'));
  }),
  attack('a timer whose chat was imported with a run of that model', NEW, async (a) => {
    const run = { model_id: F, chat_context: {} };
    const timer = { ...chatOf([]), meta: { internal: true, type: 'timer', run } };
    const imported = await a.post('/api/v1/chats/import', { chats: [timer] });
    const [first] = Array.isArray(imported) ? (imported as { id: string }[]) : [];
    const message = user('p', 'b', { meta: { internal: true, type: 'timer', timer_id: first?.id ?? 'none' } });
    await a.post(CHAT, continued(await newChat(a, [...EXCHANGE, message])));
  }),
];

const BACKGROUND = { background_tasks: { title_generation: true, tags_generation: true } };

const RESUMED: readonly Attack[] = [
  attack('background tasks on a stored answer that is continued', NEW, async (a) => {
    const chat = await newChat(a, ASKED_OF_F);
    const form = { id: 'b', assistant_message_id: 'b', parent_id: null, user_message: ASKED_OF_F[0], ...BACKGROUND };
    await a.post(CHAT, continued(chat, form));
  }),
  attack('the same without a session', NEW, async (a) => {
    const chat = await newChat(a, ASKED_OF_F);
    const form = { id: 'b', assistant_message_id: 'b', user_message: ASKED_OF_F[0], stream: false, ...BACKGROUND };
    await a.post(CHAT, { ...continued(chat, form), session_id: undefined });
  }),
  attack('the same, with an id that is a number', [], async (a) => {
    const chat = await newChat(a, [user('a', null, { childrenIds: ['5'] }), assistant('5', 'a', F)]);
    const form = { id: 5, assistant_message_id: 5, parent_id: null, user_message: ASKED_OF_F[0], ...BACKGROUND };
    await a.post(CHAT, continued(chat, { ...form, message_ids: [{ model_id: 'alpha', message_id: 5 }] }));
  }),
  attack('background tasks on a stored answer, without streaming', OLD, async (a) => {
    const chat = await newChat(a, ASKED_OF_F);
    await a.post(CHAT, continued(chat, { id: 'b', stream: false, ...BACKGROUND }));
  }),
  attack('compacting a chat with the model by name', NEW, async (a) => {
    await a.post(`/api/v1/chats/${await newChat(a, [], { history: long('alpha') })}/compact`, { model: F });
  }),
  attack('compacting a chat whose answers name it', NEW, async (a) => {
    await a.post(`/api/v1/chats/${await newChat(a, [], { history: long(F) })}/compact`);
  }),
];

const CALL = { type: 'function_call', call_id: 'c1', name: 'ask_user', arguments: '{}', status: 'pending' };
const paused = (model: string, output: object): readonly Message[] => [
  user('a', null, { childrenIds: ['b'] }),
  assistant('b', 'a', model, { content: '', done: false, output: [output] }),
];

const RESOLVED: readonly Attack[] = [
  attack('resolving a tool call of a stored answer', NEW, async (a) => {
    const chat = await newChat(a, paused(F, CALL));
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
  attack("resolving a tool call with models in the chat's parameters", NEW, async (a) => {
    const chat = await newChat(a, paused('alpha', CALL), { params: { custom_params: { models: `["${F}"]` } } });
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
  attack('the same, with parameters written later', NEW, async (a) => {
    const chat = await newChat(a, paused('alpha', CALL));
    await a.post(`/api/v1/chats/${chat}/params`, { params: { custom_params: { models: [F] } } }, 'PATCH');
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
  attack('a forged tool call that gives an automation the model', NEW, async (a) => {
    const { id } = await a.post('/api/v1/automations/create', automation('alpha'));
    const forged = {
      ...CALL,
      name: 'update_automation',
      arguments: JSON.stringify({ automation_id: id, model_id: F }),
    };
    const meta = { session_id: 's', params: { function_calling: 'native' } };
    const messages = paused('alpha', forged).map((message) => (message['id'] === 'b' ? { ...message, meta } : message));
    const chat = await newChat(a, messages);
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'approve' });
    await a.tenants.quiet();
    // The backend's own scheduler would run it, without a request
    const owner = { ...a.attacker, url: a.tenants.backend.url };
    await send(owner, 'POST', `/api/v1/automations/${id ?? 'none'}/run`);
  }),
];

const automation = (model: string): object => ({
  name: 'Daily',
  data: { prompt: 'Say it.', model_id: model, rrule: 'DTSTART:20300101T000000\nRRULE:FREQ=DAILY' },
  is_active: false,
});

/** A channel of all users, where the model has answered the question of another user. */
async function answeredInChannel(a: Attempt): Promise<{ channel: string; answer: string }> {
  const channel = await createChannel(a.ada, a.unique('channel'));
  await postChannelMessage(a.bob, channel, `<@M:${F}|b> Hello`);
  await a.tenants.arrival(F, 15_000);
  const asked = "SELECT id FROM message WHERE channel_id = ? AND meta ->> 'model_id' = ?";
  const [answer] = a.tenants.query(asked, channel, F) as { id: string }[];
  // what bob has asked for is bob's
  await a.tenants.quiet();
  a.tenants.forget();
  return { channel, answer: answer?.id ?? 'none' };
}

const mention = (content: string, worksWithout: readonly Release[] = NEW): Attack =>
  attack(`a channel message: ${JSON.stringify(content)}`, worksWithout, async (a) => {
    const channel = await createChannel(a.ada, a.unique('channel'));
    await a.post(`/api/v1/channels/${channel}/messages/post`, { content, data: {}, meta: {} });
  });

const ELSEWHERE: readonly Attack[] = [
  mention(`<@M:${F}|b> Hello`),
  mention(`<@M:${F}> Hello`),
  mention(`<@M:alpha|a><@M:${F}|b> Hello`),
  mention(`<@M:${F} Hello`, []),
  {
    name: 'a reply to what the model has written in a channel',
    worksWithout: NEW,
    onlyOn: NEW,
    run: async (a) => {
      const { channel, answer } = await answeredInChannel(a);
      const reply = { content: 'Go on.', reply_to_id: answer, data: {}, meta: {} };
      await a.post(`/api/v1/channels/${channel}/messages/post`, reply);
    },
  },
  attack('a reply to a message that says the model wrote it', [], async (a) => {
    const channel = await createChannel(a.ada, a.unique('channel'));
    const path = `/api/v1/channels/${channel}/messages/post`;
    const { id } = await a.post(path, { content: 'Me.', data: {}, meta: { model_id: F } });
    await a.post(path, { content: 'Go on.', reply_to_id: id, data: {}, meta: {} });
  }),
  attack('an automation of the model', NEW, async (a) => {
    const { id } = await a.post('/api/v1/automations/create', automation(F));
    await a.post(`/api/v1/automations/${id ?? 'none'}/run`);
  }),
  attack('an automation that is changed to the model', NEW, async (a) => {
    const { id } = await a.post('/api/v1/automations/create', automation('alpha'));
    await a.post(`/api/v1/automations/${id ?? 'none'}/update`, automation(F));
    await a.post(`/api/v1/automations/${id ?? 'none'}/run`);
  }),
  attack('an automation from the time when the model was granted', NEW, async (a) => {
    const owner = { ...a.attacker, url: a.tenants.backend.url };
    const made = await send(owner, 'POST', '/api/v1/automations/create', automation(F));
    const { id } = (await made.json()) as { id: string };
    await a.post(`/api/v1/automations/${id}/run`);
  }),
];

/** Long enough for something to be left when the newest part is kept. */
function longChat(model: string): Message[] {
  return Array.from({ length: 10 }, (_, index) => {
    const parent = index === 0 ? null : `m${index - 1}`;
    const next = index === 9 ? {} : { childrenIds: [`m${index + 1}`] };
    const id = `m${index}`;
    return index % 2 === 0 ? user(id, parent, next) : assistant(id, parent ?? '', model, next);
  });
}

const long = (model: string): object => ({ currentId: 'm9', messages: asMap(longChat(model)) });

/** A prepared reply: the backend takes it for the one that it is about to write. */
const prepared = (id: string, parentId: string, more: object): Message => ({
  id,
  parentId,
  childrenIds: [],
  role: 'assistant',
  content: '',
  done: false,
  ...more,
});

const save = (a: Attempt, chat: string, messages: readonly Message[]): Promise<unknown> =>
  a.post(`/api/v1/chats/${chat}`, { chat: { history: { messages: asMap(messages) } } });

/** A name that gets in beside the check: under another key, by another spelling, or while something runs. */
const SMUGGLED: readonly Attack[] = [
  attack('a tool call of a message without a role, under the other key of its model', NEW, async (a) => {
    const message = { id: 'b', parentId: 'a', childrenIds: [], content: 'x', model_id: F, done: true, output: [CALL] };
    const chat = await newChat(a, [user('a', null, { childrenIds: ['b'] }), message]);
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
  attack('background tasks on a prepared reply with two models', NEW, async (a) => {
    const chat = await newChat(a, [...EXCHANGE, user('n1', 'b', { childrenIds: ['n2'] })]);
    await save(a, chat, [prepared('n2', 'n1', { model: 'alpha', model_id: F })]);
    const form = { message_ids: [{ model_id: 'alpha', message_id: 'n2' }], id: undefined, ...BACKGROUND };
    await a.post(CHAT, continued(chat, form));
  }),
  attack('a message of a sub-agent, spelled with half of a surrogate pair, while the chat answers', NEW, async (a) => {
    const chat = await newChat(a, EXCHANGE);
    const message = user('p', 'b', { model: F, meta: { 'inter\ud800nal': true, type: 'subagent' } });
    await whileItAnswers(a, continued(chat), () => save(a, chat, [message]));
  }),
  attack('the same, spelled with a NUL', NEW, async (a) => {
    const chat = await newChat(a, EXCHANGE);
    const message = user('p', 'b', { 'mod\u0000el': F, meta: { internal: true, type: 'subagent' } });
    await whileItAnswers(a, continued(chat), () => save(a, chat, [message]));
  }),
  attack('a reply that is deleted and saved again while it streams', [], async (a) => {
    const chat = await newChat(a, EXCHANGE);
    await whileItAnswers(a, continued(chat, BACKGROUND), async () => {
      await a.post(`/api/v1/chats/${chat}/messages/n2`, undefined, 'DELETE');
      await save(a, chat, [assistant('n2', 'n1', F)]);
    });
  }),
  attack('a reply that is not there yet and is saved while the provider answers', OLD, async (a) => {
    const chat = await newChat(a, EXCHANGE);
    const body = { ...continued(chat, { id: 'n2', ...BACKGROUND }), stream: false };
    await whileItAnswers(a, body, () => save(a, chat, [...EXCHANGE, user('n1', 'b'), assistant('n2', 'n1', F)]));
  }),
  attack('a chat that is written anew while its tool call is resolved', NEW, async (a) => {
    for (let count = 0; count < 12; count++) {
      // what is not done the backend itself writes: the second half is won by a moment, if at all
      const asked = (model: string) => paused(model, CALL).map((message) => ({ ...message, done: count < 6 }));
      const chat = await newChat(a, asked('alpha'));
      const resolve = () => a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
      const write = () => save(a, chat, asked(F));
      await Promise.all([write(), resolve(), write()]);
    }
  }),
  attack('an imported chat with a model under its other key', NEW, async (a) => {
    const message = { ...assistant('b', 'a', 'alpha', { output: [CALL], done: false }), model: undefined, model_id: F };
    const chat = chatOf([user('a', null, { childrenIds: ['b'] }), message], { models: [] });
    const imported = await a.post('/api/v1/chats/import', { chats: [chat] });
    const [first] = Array.isArray(imported) ? (imported as { id: string }[]) : [];
    await a.post(`/api/v1/chats/${first?.id ?? 'none'}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
  attack('the models of a question, which become those of the chat', NEW, async (a) => {
    const message = { ...assistant('b', 'a', 'alpha', { output: [CALL], done: false }), model: undefined };
    const chat = await newChat(a, [user('a', null, { childrenIds: ['b'] }), message]);
    const question = { id: 'n1', parentId: 'b', role: 'user', content: 'Go on.', models: [F] };
    await a.post(CHAT, continued(chat, { user_message: question }));
    await a.tenants.quiet();
    await a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
  }),
];

/** A chat from the time when the model was granted: a sub-agent has asked it, and `q` is the answer. */
async function chatOfOld(attempt: Attempt, answered = true, more: object = {}): Promise<string> {
  const asked = subagent({ childrenIds: answered ? ['q'] : [] });
  const messages = [...EXCHANGE, asked, ...(answered ? [assistant('q', 'p', 'alpha')] : [])];
  return madeBefore(attempt, chatOf(messages, more));
}

/** Stored at the backend itself, as it was while the model was granted. */
async function madeBefore(attempt: Attempt, chat: object): Promise<string> {
  const owner = { ...attempt.attacker, url: attempt.tenants.backend.url };
  const made = (await (await send(owner, 'POST', '/api/v1/chats/new', chat)).json()) as { id: string };
  return made.id;
}

/** The backend looks every quarter of a second whether a chat is idle, and only then runs what waits in it. */
async function waitForLateRuns(attempt: Attempt): Promise<void> {
  await attempt.tenants.quiet();
  await attempt.tenants.arrival(F, 1_000).catch(() => undefined);
}

/** What has run with a withdrawn model, or waits for it, made to run again. */
const FREED: readonly Attack[] = [
  attack('an old answer that loses its parent while the chat answers', NEW, async (a) => {
    const chat = await chatOfOld(a);
    const message = { ...assistant('q', '', 'alpha'), parentId: null };
    await whileItAnswers(a, continued(chat), () => save(a, chat, [message]));
    await waitForLateRuns(a);
  }),
  attack('an old answer that is moved away, while the list of the branch names another', NEW, async (a) => {
    const chat = await chatOfOld(a);
    await a.post(`/api/v1/chats/${chat}`, { chat: { messages: [{ id: 'z', parentId: 'p' }] } });
    await save(a, chat, [assistant('q', 'a', 'alpha')]);
    await a.post(CHAT, continued(chat));
    await waitForLateRuns(a);
  }),
  attack('an old message of a sub-agent that only the list of the branch answers', NEW, async (a) => {
    const chat = await chatOfOld(a, false);
    await a.post(`/api/v1/chats/${chat}`, { chat: { messages: [{ id: 'z', parentId: 'p' }] } });
    await a.post(CHAT, continued(chat));
    await waitForLateRuns(a);
  }),
  ...['\u0000', '\ud800'].map((removed) =>
    attack(`an old timer, its id with ${JSON.stringify(removed)}`, NEW, async (a) => {
      const timer = await madeBefore(a, chatOf([]));
      const meta = JSON.stringify({ internal: true, type: 'timer', run: { model_id: F, chat_context: {} } });
      a.tenants.query('UPDATE chat SET meta = ? WHERE id = ?', meta, timer);
      const chat = await newChat(a, EXCHANGE);
      const message = user('p', 'b', { meta: { internal: true, type: 'timer', timer_id: timer + removed } });
      await whileItAnswers(a, continued(chat), () => save(a, chat, [message]));
      await waitForLateRuns(a);
    }),
  ),
  attack('parameters in text, spelled with half of a surrogate pair, while a tool call is resolved', [], async (a) => {
    const params = { custom_params: { extra_body: `{"mod\ud800els":["${F}"]}` } };
    for (let count = 0; count < 12; count++) {
      const chat = await newChat(a, paused('alpha', CALL));
      const resolving = a.post(`/api/v1/chats/${chat}/messages/b/resolve`, { call_id: 'c1', action: 'reject' });
      const written = [1, 2].map(() => a.post(`/api/v1/chats/${chat}/params`, params, 'PATCH'));
      await Promise.all([resolving, ...written]);
    }
  }),
];

export const STORED_ATTACKS: readonly Attack[] = [
  ...WAITING,
  ...RESUMED,
  ...RESOLVED,
  ...SMUGGLED,
  ...FREED,
  ...ELSEWHERE,
];
