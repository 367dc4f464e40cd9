/** Every route to a model beside the usual one. */
import { type AnswerDialect, type Attack, type Use, at, chat, describeAttacks } from '../support/gate/attacks.ts';

const TASKS = ['title', 'follow_up', 'tags', 'image_prompt', 'queries', 'auto', 'emoji', 'moa'];

/** Doors that are open to users for their own models. */
const DOORS: readonly (readonly [target: string, dialect: AnswerDialect])[] = [
  ['/api/chat/completions', 'open-webui'],
  ['/api/v1/chat/completions', 'openai'],
  ['/api/message', 'anthropic'],
  ['/api/v1/messages', 'anthropic'],
  ['/api/embeddings', 'open-webui'],
  ['/api/v1/embeddings', 'openai'],
  ['/openai/chat/completions', 'openai'],
  ['/openai/responses', 'openai'],
  ...TASKS.map((task) => [`/api/v1/tasks/${task}/completions`, 'open-webui'] as const),
];

const OLLAMA_DOORS: readonly (readonly [target: string, dialect: AnswerDialect])[] = [
  ['/ollama/api/chat', 'ollama'],
  ['/ollama/api/generate', 'ollama'],
  ['/ollama/api/embed', 'ollama'],
  ['/ollama/api/embeddings', 'ollama'],
  ['/ollama/v1/chat/completions', 'openai'],
  ['/ollama/v1/completions', 'openai'],
  ['/ollama/v1/embeddings', 'openai'],
  ['/ollama/v1/responses', 'openai'],
  ['/ollama/v1/messages', 'anthropic'],
];

const BOTH = { prompt: 'x', input: 'x' };

const byName: readonly Attack[] = [
  ...[...DOORS, ...OLLAMA_DOORS].flatMap(([target, dialect]) =>
    at(target, { [`a forbidden model at ${target}`]: chat('F', BOTH) }, { dialect }),
  ),
  ...OLLAMA_DOORS.flatMap(([target, dialect]) => {
    const name = `a granted name without the tag under which it is granted to others, at ${target}`;
    return at(target, { [name]: chat('llama3', BOTH) }, { dialect });
  }),
  ...DOORS.flatMap(([target, dialect]) =>
    at(target, { [`no model at ${target}`]: { messages: [] } }, { dialect, status: 400 }),
  ),
  ...at('/api/chat/completions', { 'the arena, which picks any model': chat('arena-model') }),
  ...at('/api/v1/messages/count_tokens', { count_tokens: chat('F') }, { dialect: 'anthropic' as const }),
  ...at('/api/chat/completed', { 'chat/completed': chat('F') }),
  ...at('/api/chat/actions/x', { 'chat/actions': chat('F') }),
  ...at(
    '/ollama/api/show',
    {
      'what Ollama shows of a model': { model: 'F' },
      'what Ollama shows by name': { name: 'F' },
      'what Ollama shows by both, one of them permitted': { model: 'mine:latest', name: 'F' },
    },
    { dialect: 'ollama' as const },
  ),
  ...(['openai/chat/completions', 'ollama/api/chat'] as const).flatMap((path) => {
    const dialect = path.startsWith('ollama') ? 'ollama' : 'openai';
    return at(`/${path}?bypass_filter=true`, { [`bypass_filter at ${path}`]: chat('F') }, { dialect } as const);
  }),
];

/** Not even a permitted model opens what the table does not list. */
const unlisted: readonly Attack[] = [
  ...[
    '/openai/embeddings',
    '/openai/completions',
    '/openai/chat/completions/',
    '/openai/chat/completions/0',
    '/openai/responses/',
    '/openai/deployments/F/chat/completions',
    '/openai/models/F',
    '/openai/audio/transcriptions',
    '/openai/anything/at/all',
  ].map((target): Attack => ({ name: target, target, dialect: 'openai', body: chat('A') })),
  ...OLLAMA_DOORS.map(([target, dialect]): Attack => {
    const path = `${target}/0`;
    return { name: path, target: path, dialect, body: chat('A', { prompt: 'x' }) };
  }),
  ...['api/pull', 'api/create', 'api/copy', 'api/delete', 'api/push', 'api/unload', 'api/ps', 'api/new'].map(
    (path): Attack => ({ name: path, target: `/ollama/${path}`, dialect: 'ollama', body: chat('A') }),
  ),
  ...['/api/chat/new', '/api/chat/completions/', '/api/chat/completions/0', '/api/v1/tasks/new', '/api/models/new'].map(
    (target): Attack => ({ name: target, target, body: chat('A') }),
  ),
];

const methods: readonly Attack[] = ['GET', 'PUT', 'DELETE', 'PATCH'].flatMap((method) =>
  (
    [
      ['/openai/chat/completions', 'openai'],
      ['/openai/embeddings', 'openai'],
      ['/api/chat/completions', 'open-webui'],
    ] as const
  ).map(([target, dialect]): Attack => ({
    name: `${method} ${target} with a body`,
    target,
    dialect,
    // fetch sends no body with GET; the row of raw sockets in `bodies.test.ts` does
    init: { method, ...(method === 'GET' ? {} : { body: JSON.stringify(chat('A')) }) },
  })),
);

const sent = (target: string, name: string, method: string, body: string | Blob) => ({
  name,
  target,
  init: { method, body },
});

const future: readonly Attack[] = [
  ...at('/api/v2/run', { 'a route of tomorrow': { model: 'F' } }),
  ...at('/api/v1/agents/start', { 'a route of tomorrow, deep inside': { steps: [{ model_id: 'F' }] } }),
  sent('/api/v1/agents/start', 'a route of tomorrow, deleted with a body', 'DELETE', '{"model":"F"}'),
  sent('/api/v1/agents/start', 'a route of tomorrow, with no content type', 'POST', new Blob(['{"model":"F"}'])),
  {
    ...sent('/api/v1/agents/start', 'a route of tomorrow, as only Python reads it', 'POST', '{"model":"F","x":NaN}'),
    status: 400,
  },
];

const uses: readonly Use[] = [
  ...DOORS.flatMap(([target]) =>
    at(target, { [`a model of their own at ${target}`]: chat('A', BOTH) }, { runs: ['A'] }),
  ),
  ...OLLAMA_DOORS.flatMap(([target]) =>
    ['mine', 'mine:latest'].flatMap((model) =>
      at(target, { [`${model} at ${target}`]: chat(model, BOTH) }, { runs: ['mine:latest'] }),
    ),
  ),
  ...at(
    '/openai/chat/completions?bypass_filter=true',
    { 'a model by its prefix': chat('acme/one') },
    { runs: ['acme/one'] },
  ),
  ...at('/api/chat/completions', { 'an organization of their own': chat('F') }, { user: 'bob', runs: ['F'] }),
  ...at('/api/v1/messages/count_tokens', { count_tokens: chat('A') }, { runs: [] }),
  ...at('/api/chat/completed', { 'chat/completed': chat('A') }, { runs: [] }),
  // the page's answer to an unknown POST: it reached the backend
  ...at(
    '/api/v2/run',
    { 'a route of tomorrow': { model: 'A' }, 'a route of tomorrow without models': { x: 1 } },
    { runs: [], status: 405 },
  ),
  {
    ...sent('/api/v2/upload', 'a route of tomorrow with a file', 'POST', new Blob(['\u0089PNG "model":"F"'])),
    runs: [],
    status: 405,
  },
];

describeAttacks('by another door', {
  prepare: ({ database }) => {
    database.grant('acme', 'mine:latest');
    database.grant('acme', 'llama3');
    database.grant('globex', 'llama3:latest');
  },
  attacks: [...byName, ...unlisted, ...methods, ...future],
  uses,
});
