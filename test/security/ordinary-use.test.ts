/** What the page sends every day names models that were used before, and must go through. */
import { type Use, chat, describeAttacks } from '../support/gate/attacks.ts';
import type { TestGate } from '../support/gate/gate.ts';

const CHAT = '/api/chat/completions';

/** The object of `/api/models` that the page sends along with every question. */
const modelItem = (id: string, base: string | null) => ({
  id,
  name: id,
  object: 'model',
  owned_by: 'openai',
  preset: base !== null,
  openai: { id: base ?? id, object: 'model', owned_by: 'x', connection_type: 'external' },
  ollama: { name: 'F', model: 'F', urls: [0] },
  urlIdx: 0,
  info: { id, base_model_id: base, params: { model: 'F' }, meta: { model_ids: ['F'], toolIds: [] }, is_active: true },
  actions: [],
  filters: [],
  tags: [],
});

/** As the page of 0.12.4 sends it, for a chat that was once answered by F. */
const question = (model: string, base: string | null = null) => ({
  stream: true,
  model,
  messages: [
    { role: 'user', content: 'hello', models: ['F'] },
    { role: 'assistant', content: 'by F', model: 'F', modelName: 'F', modelIdx: 0 },
    { role: 'user', content: [{ type: 'text', text: '{"model":"F"}' }] },
  ],
  params: { temperature: 0.7, stop: ['F'], model_controls: { F: { speed: 'fast' }, A: { speed: 'slow' } } },
  files: [{ type: 'file', id: '1', file: { meta: { model: 'F' } } }],
  filter_ids: [],
  tool_ids: ['F'],
  skill_ids: [],
  terminal_id: null,
  tool_servers: [{ url: 'http://x', specs: [{ name: 'f', parameters: { properties: { model: {} } } }] }],
  features: { image_generation: false, web_search: false, memory: true },
  variables: { '{{USER_NAME}}': 'ann', model: 'F' },
  chat_variables: { model: 'F' },
  model_item: modelItem(model, base),
  session_id: 's',
  chat_id: 'old',
  folder_id: null,
  id: 'new-answer',
  message_ids: [{ model_id: model, message_id: 'new-answer', modelIdx: 0 }],
  parent_id: 'q1',
  user_message: { id: 'q2', parentId: 'f1', childrenIds: [], role: 'user', content: 'x', models: [model, 'F'] },
  background_tasks: { title_generation: true, tags_generation: true, follow_up_generation: true },
});

const OLD_CHAT = {
  id: 'old',
  title: 'F was here',
  models: ['F', 'A'],
  params: { model_controls: { F: {} } },
  history: {
    currentId: 'f1',
    messages: {
      q1: { id: 'q1', role: 'user', content: 'hello', models: ['F'], childrenIds: ['f1'] },
      f1: { id: 'f1', role: 'assistant', content: 'by F', model: 'F', selectedModelId: 'F', childrenIds: [] },
    },
  },
  messages: [{ role: 'assistant', model: 'F' }],
};

function prepare({ database }: TestGate): void {
  database.addChat({ id: 'old', user: 'ann', chat: OLD_CHAT });
  database.addModel({ id: 'given', base: 'F' });
  database.grant('acme', 'given');
}

const saved: readonly Use[] = [
  { name: 'saving an old chat', target: '/api/v1/chats/old', body: { chat: OLD_CHAT } },
  { name: 'opening it', target: '/api/v1/chats/old' },
  { name: 'the list of chats', target: '/api/v1/chats/list' },
  // routes that the sample does not have: its answer to an unknown POST shows that they reached it
  ...(
    [
      ['/api/v1/users/user/settings/update', { ui: { models: ['F'], pinnedModels: ['F'], directConnections: {} } }],
      ['/api/v1/evaluations/feedback', { type: 'rating', data: { model_id: 'F', sibling_model_ids: ['A'] } }],
      ['/api/v1/folders/', { name: 'x', data: { model_ids: ['F'] } }],
      ['/api/v1/chats/old/share', { model: 'F' }],
      ['/api/v1/prompts/create', { command: 'x', content: 'model: F' }],
      ['/api/v1/tools/create', { id: 'x', content: 'model = "F"', meta: { model: 'F' } }],
      ['/api/v1/auths/signup', { name: 'x', email: 'x@example.org', password: 'model' }],
    ] as const
  ).map(([target, body]) => ({ name: `a POST to ${target}`, target, body, status: 405 })),
].map((use) => ({ ...use, runs: [] }));

const uses: readonly Use[] = [
  { name: 'the question of the page', target: CHAT, body: question('A'), runs: ['A'] },
  { name: 'the question of the page to a preset', target: CHAT, body: question('given', 'F'), runs: ['F'] },
  {
    name: 'the question of the older page',
    target: CHAT,
    body: {
      ...question('A'),
      message_ids: undefined,
      user_message: undefined,
      stream_options: { include_usage: true },
    },
    runs: ['A'],
  },
  {
    name: 'the end of an answer',
    target: '/api/chat/completed',
    body: { model: 'A', messages: question('A').messages, model_item: modelItem('A', null), chat_id: 'old', id: 'x' },
    runs: [],
  },
  {
    name: 'the title of a chat',
    target: '/api/v1/tasks/title/completions',
    body: { model: 'A', messages: question('A').messages, chat_id: 'old' },
    runs: ['A'],
  },
  {
    name: 'the merge of answers',
    target: '/api/v1/tasks/moa/completions',
    body: { model: 'A', prompt: 'F', responses: ['F'], stream: true },
    runs: ['A'],
  },
  ...saved,
];

describeAttacks('of the page itself', {
  prepare,
  attacks: [
    { name: 'the question of the page to a model that was lost', target: CHAT, body: question('F') },
    {
      name: 'the question of the page with a direct model',
      target: CHAT,
      body: { ...question('A'), model_item: { ...modelItem('A', null), direct: true } },
    },
    { name: 'a fan-out to a lost model', target: CHAT, body: { ...question('A'), message_ids: { F: 'x' } } },
  ],
  uses: [...uses, { name: 'a plain SDK', target: '/openai/chat/completions', body: chat('A'), runs: ['A'] }],
});
