/** Every route to a model beside the usual one. */
import { type AnswerDialect, type Attack, type Use, chat, describeAttacks } from '../support/gate/attacks.ts';

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

const byName: readonly Attack[] = [
  ...[...DOORS, ...OLLAMA_DOORS].map(([target, dialect]) => ({
    name: `a forbidden model at ${target}`,
    target,
    dialect,
    body: chat('F', { prompt: 'x', input: 'x' }),
  })),
  ...OLLAMA_DOORS.map(([target, dialect]) => ({
    name: `a granted name without the tag under which it is granted to others, at ${target}`,
    target,
    dialect,
    body: chat('llama3', { prompt: 'x', input: 'x' }),
  })),
  ...DOORS.map(([target, dialect]) => ({
    name: `no model at ${target}`,
    target,
    dialect,
    status: 400,
    body: { messages: [] },
  })),
  {
    name: 'the arena, which picks any model',
    target: '/api/chat/completions',
    body: chat('arena-model'),
  },
  { name: 'count_tokens', target: '/api/v1/messages/count_tokens', dialect: 'anthropic', body: chat('F') },
  { name: 'chat/completed', target: '/api/chat/completed', body: chat('F') },
  { name: 'chat/actions', target: '/api/chat/actions/x', body: chat('F') },
  { name: 'what Ollama shows of a model', target: '/ollama/api/show', dialect: 'ollama', body: { model: 'F' } },
  { name: 'what Ollama shows by name', target: '/ollama/api/show', dialect: 'ollama', body: { name: 'F' } },
  {
    name: 'what Ollama shows by both, one of them permitted',
    target: '/ollama/api/show',
    dialect: 'ollama',
    body: { model: 'mine:latest', name: 'F' },
  },
  {
    name: 'bypass_filter',
    target: '/openai/chat/completions?bypass_filter=true',
    dialect: 'openai',
    body: chat('F'),
  },
  {
    name: 'bypass_filter at Ollama',
    target: '/ollama/api/chat?bypass_filter=true',
    dialect: 'ollama',
    body: chat('F'),
  },
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

const future: readonly Attack[] = [
  { name: 'a route of tomorrow', target: '/api/v2/run', body: { model: 'F' } },
  { name: 'a route of tomorrow, deep inside', target: '/api/v1/agents/start', body: { steps: [{ model_id: 'F' }] } },
  {
    name: 'a route of tomorrow, deleted with a body',
    target: '/api/v1/agents/start',
    init: { method: 'DELETE', body: '{"model":"F"}' },
  },
  {
    name: 'a route of tomorrow, with no content type',
    target: '/api/v1/agents/start',
    init: { method: 'POST', body: new Blob(['{"model":"F"}']) },
  },
  {
    name: 'a route of tomorrow, in a body that only Python reads',
    target: '/api/v1/agents/start',
    status: 400,
    init: { method: 'POST', body: '{"model":"F","x":NaN}' },
  },
];

const uses: readonly Use[] = [
  ...DOORS.map(([target]) => ({
    name: `a model of their own at ${target}`,
    target,
    body: chat('A', { prompt: 'x', input: 'x' }),
    runs: ['A'],
  })),
  ...OLLAMA_DOORS.flatMap(([target]) =>
    ['mine', 'mine:latest'].map((model) => ({
      name: `${model} at ${target}`,
      target,
      body: chat(model, { prompt: 'x', input: 'x' }),
      runs: ['mine:latest'],
    })),
  ),
  {
    name: 'a model by its prefix',
    target: '/openai/chat/completions?bypass_filter=true',
    body: chat('acme/one'),
    runs: ['acme/one'],
  },
  { name: 'an organization of their own', user: 'bob', target: '/api/chat/completions', body: chat('F'), runs: ['F'] },
  { name: 'count_tokens', target: '/api/v1/messages/count_tokens', body: chat('A'), runs: [] },
  { name: 'chat/completed', target: '/api/chat/completed', body: chat('A'), runs: [] },
  // the page's answer to an unknown POST: it reached the backend
  { name: 'a route of tomorrow', target: '/api/v2/run', body: { model: 'A' }, runs: [], status: 405 },
  { name: 'a route of tomorrow without models', target: '/api/v2/run', body: { x: 1 }, runs: [], status: 405 },
  {
    name: 'a route of tomorrow with a file',
    target: '/api/v2/upload',
    init: { method: 'POST', body: new Blob(['\u0089PNG "model":"F"']) },
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
