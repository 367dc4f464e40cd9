/** One request is enough: what a completion's body can hide, and the other doors to the same models. */
import { type Attack, type Attempt, BOTH, FORBIDDEN, NEW, OLD } from './attack.ts';
import type { Release } from './release.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';
const F = FORBIDDEN;

const body = (name: string, more: Record<string, unknown>, worksWithout: readonly Release[], path = CHAT): Attack => ({
  name,
  worksWithout,
  run: async (attempt) => void (await attempt.post(path, question('alpha', more))),
});

/** The forbidden model by name, at another address than the usual one. */
const door = (path: string, worksWithout: readonly Release[], form: Record<string, unknown> = {}): Attack => ({
  name: `the model by name at ${path}`,
  worksWithout,
  run: async (attempt) => void (await attempt.post(path, question(F, form))),
});

const waiting = (name: string, more: object): Attack => {
  const meta = { internal: true, type: 'subagent' };
  const message = { id: 'u1', parentId: null, childrenIds: [], role: 'user', content: 'Go on.', model: F, meta };
  return body(name, { parent_id: null, user_message: { ...message, ...more } }, NEW);
};

const INSIDE: readonly Attack[] = [
  body('params.model', { params: { model: F } }, OLD),
  body('params.custom_params.model, as JSON in a string', { params: { custom_params: { model: `"${F}"` } } }, OLD),
  body('params.custom_params.model, as it is', { params: { custom_params: { model: F } } }, OLD),
  body('the key in another case, as servers in Go read it', { Model: F }, BOTH),
  body('models of a router', { models: [F], route: 'fallback' }, BOTH),
  body('fallbacks', { fallbacks: [F] }, BOTH),
  body('fallbacks as objects', { fallbacks: [{ alpha: [F] }] }, BOTH),
  body('extra_body', { extra_body: { models: [F] } }, BOTH),
  body('plugins', { plugins: [{ id: 'router', model: F }] }, BOTH),
  body('params.models', { params: { models: [F] } }, BOTH),
  body('custom_params.models', { params: { custom_params: { models: [F] } } }, BOTH),
  body('custom_params.models in a string', { params: { custom_params: { models: `["${F}"]` } } }, BOTH),
  body(
    'custom_params.extra_body in a string with escapes',
    { params: { custom_params: { extra_body: '{"m\\u006fdels":["b\\u0065ta"]}' } } },
    BOTH,
  ),
  body('a key that is unknown everywhere, with a model deep inside', { x: [{ y: { model: F } }] }, BOTH),
  body('a direct connection to a model of the server', { model: F, model_item: { direct: true, id: 'x' } }, []),
  body('direct with a value that is only true in Python', { model: F, model_item: { direct: 'no', id: F } }, []),
  body(
    'message_ids as a list',
    {
      chat_id: 'local:x',
      session_id: 's',
      message_ids: [
        { model_id: 'alpha', message_id: '1' },
        { model_id: F, message_id: '2' },
      ],
    },
    NEW,
  ),
  body('message_ids as an object', { chat_id: 'local:x', session_id: 's', message_ids: { [F]: '2' } }, NEW),
  waiting('a message of a sub-agent that waits to run, in the request itself', {}),
  waiting('the same, said to have been answered', { childrenIds: ['nobody'] }),
];

const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const media = (what: string, path: string, form: object, worksWithout: readonly Release[]): Attack => ({
  name: `a chat model's name for ${what}`,
  worksWithout,
  run: async (attempt) => void (await attempt.post(path, { model: F, ...form })),
});

const TASKS = ['title', 'follow_up', 'tags', 'image_prompt', 'queries', 'auto', 'emoji'];
const taskForm = { chat_id: 'x', type: 'web_search', prompt: 'Who?' };

const DOORS: readonly Attack[] = [
  door(CHAT, BOTH),
  door('/api/v1/chat/completions', NEW),
  door('/api/message', NEW, { max_tokens: 5 }),
  door('/api/v1/messages', NEW, { max_tokens: 5 }),
  door('/api/v1/messages/count_tokens', NEW),
  door('/openai/chat/completions', BOTH),
  door('/openai/chat/completions?bypass_filter=true', BOTH),
  door('/openai/chat/completions/', BOTH),
  door('/openai//chat/completions', BOTH),
  door('/openai/completions', BOTH, { prompt: 'Who?' }),
  door('/openai/embeddings', BOTH, { input: 'x' }),
  door('/openai/responses', BOTH, { input: 'x' }),
  door('/openai/deployments/beta/chat/completions', BOTH, { model: 'alpha' }),
  door('/api/embeddings', BOTH, { input: 'x' }),
  door('/api/v1/embeddings', NEW, { input: 'x' }),
  ...TASKS.map((task) => door(`/api/v1/tasks/${task}/completions`, BOTH, taskForm)),
  door('/api/v1/tasks/moa/completions', BOTH, { prompt: 'x', responses: ['a'] }),
  body('models beside a permitted one at /openai/responses', { models: [F], input: 'x' }, BOTH, '/openai/responses'),
  body('models beside a permitted one at /api/embeddings', { models: [F], input: 'x' }, BOTH, '/api/embeddings'),
  body(
    'fallbacks beside a permitted one at /api/v1/messages',
    { fallbacks: [F], max_tokens: 5 },
    NEW,
    '/api/v1/messages',
  ),
  body('fallbacks at /openai/chat/completions', { fallbacks: [F] }, BOTH, '/openai/chat/completions'),
  body('models at count_tokens', { models: [F] }, NEW, '/api/v1/messages/count_tokens'),
  {
    name: 'the arena, which picks any model of the instance',
    worksWithout: [],
    run: async (a) => void (await a.post(CHAT, question('arena-model'))),
  },
  media('speech', '/openai/audio/speech', { input: 'Hi', voice: 'alloy' }, []),
  media('image', '/api/v1/images/generations', { prompt: 'A cat' }, []),
  media('edited image', '/api/v1/images/edit', { prompt: 'A cat', image: PIXEL }, []),
];

const M = 'mistral:latest';
const ollamaDoor = (path: string, worksWithout: readonly Release[], model = M): Attack => ({
  name: `${model} at ${path}`,
  worksWithout,
  model: M,
  run: async (attempt) =>
    void (await attempt.post(path, question(model, { prompt: 'x', input: 'x', max_tokens: 5, name: model }))),
});

const OLLAMA: readonly Attack[] = [
  ollamaDoor(CHAT, BOTH),
  ...['chat', 'generate', 'embed', 'embeddings'].flatMap((route) => [
    ollamaDoor(`/ollama/api/${route}`, BOTH),
    ollamaDoor(`/ollama/api/${route}`, OLD, 'mistral'),
    ollamaDoor(`/ollama/api/${route}/0`, BOTH),
  ]),
  ollamaDoor('/ollama/api/show', BOTH),
  ...['/ollama/api/chat', '/ollama/v1/chat/completions'].map((path) => ({
    name: `the key in another case at ${path}`,
    worksWithout: BOTH,
    model: M,
    run: async (a: Attempt) => void (await a.post(path, question('llama3:latest', { MODEL: M }))),
  })),
  ollamaDoor('/ollama/v1/chat/completions', BOTH),
  ollamaDoor('/ollama/v1/chat/completions', OLD, 'mistral'),
  ollamaDoor('/ollama/v1/chat/completions/0', BOTH),
  ollamaDoor('/ollama/v1/completions', BOTH),
  ollamaDoor('/ollama/v1/messages', NEW),
  ollamaDoor('/ollama/v1/responses', NEW),
  ollamaDoor('/ollama/v1/embeddings', NEW),
  ollamaDoor('/api/embeddings', BOTH),
];

export const CHAT_ATTACKS: readonly Attack[] = [...INSIDE, ...DOORS, ...OLLAMA];
