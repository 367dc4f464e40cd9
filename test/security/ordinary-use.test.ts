/** What the page sends every day names models that were used before, and must go through. */
import { type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';
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

const NOTHING = { runs: [] };
const OWN = { runs: ['A'] };
const { messages } = question('A');

const uses: readonly Use[] = [
  ...at(CHAT, { 'the question of the page': question('A') }, OWN),
  ...at(CHAT, { 'the question of the page to a preset': question('given', 'F') }, { runs: ['F'] }),
  ...at(
    CHAT,
    {
      'the question of the older page': {
        ...question('A'),
        message_ids: undefined,
        user_message: undefined,
        stream_options: { include_usage: true },
      },
    },
    OWN,
  ),
  ...at(
    '/api/chat/completed',
    { 'the end of an answer': { model: 'A', messages, model_item: modelItem('A', null), chat_id: 'old', id: 'x' } },
    NOTHING,
  ),
  ...at('/api/v1/tasks/title/completions', { 'the title of a chat': { model: 'A', messages, chat_id: 'old' } }, OWN),
  ...at(
    '/api/v1/tasks/moa/completions',
    { 'the merge of answers': { model: 'A', prompt: 'F', responses: ['F'], stream: true } },
    OWN,
  ),
  ...at('/api/v1/chats/old', { 'saving an old chat': { chat: OLD_CHAT } }, NOTHING),
  { name: 'opening it', target: '/api/v1/chats/old', ...NOTHING },
  { name: 'the list of chats', target: '/api/v1/chats/list', ...NOTHING },
  // routes that the sample does not have: its answer to an unknown POST shows that they reached it
  ...Object.entries({
    '/api/v1/users/user/settings/update': { ui: { models: ['F'], pinnedModels: ['F'], directConnections: {} } },
    '/api/v1/evaluations/feedback': { type: 'rating', data: { model_id: 'F', sibling_model_ids: ['A'] } },
    '/api/v1/folders/': { name: 'x', data: { model_ids: ['F'] } },
    '/api/v1/chats/old/share': { model: 'F' },
    '/api/v1/prompts/create': { command: 'x', content: 'model: F' },
    '/api/v1/tools/create': { id: 'x', content: 'model = "F"', meta: { model: 'F' } },
    '/api/v1/auths/signup': { name: 'x', email: 'x@example.org', password: 'model' },
  }).flatMap(([target, body]) => at(target, { [`a POST to ${target}`]: body }, { ...NOTHING, status: 405 })),
  ...at('/openai/chat/completions', { 'a plain SDK': chat('A') }, OWN),
];

describeAttacks('of the page itself', {
  prepare,
  attacks: at(CHAT, {
    'the question of the page to a model that was lost': question('F'),
    'the question of the page with a direct model': {
      ...question('A'),
      model_item: { ...modelItem('A', null), direct: true },
    },
    'a fan-out to a lost model': { ...question('A'), message_ids: { F: 'x' } },
  }),
  uses,
});
