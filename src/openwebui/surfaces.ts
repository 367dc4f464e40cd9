/**
 * What each endpoint of Open WebUI does with models, as data. Covers 0.6.18 and 0.12.4 and what lies between; a test
 * compares it with the route list of the installed backend, so that a new route fails the build instead of passing.
 * Paths are FastAPI's, decoded; `:x` is one segment, a final `**` any rest. The first match counts.
 */
import type { Dialect } from '../enforcement/answers.ts';
import type { ListShape } from '../enforcement/list-index.ts';
import type { ChatForm } from '../references/records.ts';
import { SHAPES } from './lists.ts';
import type { InvokesSurface, ListsSurface, ManagesSurface, SavesSurface, Surface } from './surface.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | '*';
export type Route = readonly [method: Method, path: string, surface: Surface];

const NEUTRAL: Surface = { kind: 'neutral' };
/** Management pages of the backend's admins. */
const REFUSED: Surface = { kind: 'refused' };
/** Whatever else lies under a model prefix. */
const CATCH_ALL: Surface = { kind: 'refused', judged: true };

const lists = (dialect: Dialect, shape: ListShape, more: Partial<ListsSurface> = {}): ListsSurface => {
  return { kind: 'lists', dialect, shape, admins: 'filter', names: 'chat', ...more };
};
const invokes = (dialect: Dialect, more: Partial<InvokesSurface> = {}): InvokesSurface => {
  return { kind: 'invokes', dialect, rules: {}, modelRequired: true, names: 'chat', runsNow: true, ...more };
};
const manages = (form: ManagesSurface['form']): ManagesSurface => ({ kind: 'manages', dialect: 'open-webui', form });
const saves = (form: ChatForm): SavesSurface => ({ kind: 'saves', dialect: 'open-webui', form });

const CHAT_ROUTES: readonly Route[] = [
  ['POST', '/api/chat/completions', invokes('open-webui', { runs: 'messages_of_body', direct: true })],
  ['POST', '/api/v1/chat/completions', invokes('openai', { runs: 'messages_of_body', direct: true })],
  ['POST', '/api/chat/completed', invokes('open-webui', { direct: true, runsNow: false })],
  ['POST', '/api/chat/actions/:id', invokes('open-webui', { direct: true })],
  ['POST', '/api/message', invokes('anthropic', { runs: 'messages_of_body' })],
  ['POST', '/api/v1/messages', invokes('anthropic', { runs: 'messages_of_body' })],
  ['POST', '/api/message/count_tokens', invokes('anthropic', { runsNow: false })],
  ['POST', '/api/v1/messages/count_tokens', invokes('anthropic', { runsNow: false })],
  ['POST', '/api/embeddings', invokes('open-webui', { names: 'provider' })],
  ['POST', '/api/v1/embeddings', invokes('openai', { names: 'provider' })],
  ['POST', '/api/v1/chats/:id/compact', invokes('open-webui', { modelRequired: false, runs: 'chat_of_path' })],
  [
    'POST',
    '/api/v1/chats/:id/messages/:message/resolve',
    invokes('open-webui', { modelRequired: false, runs: 'message_of_path' }),
  ],
  [
    'POST',
    '/api/v1/channels/:id/messages/post',
    invokes('open-webui', { modelRequired: false, mentions: true, runs: 'replied_message' }),
  ],
  // A message that says which model wrote it makes replies to it run that model
  [
    'POST',
    '/api/v1/channels/:id/messages/:message/update',
    invokes('open-webui', { modelRequired: false, runsNow: false }),
  ],
  ['POST', '/api/v1/automations/create', invokes('open-webui', { modelRequired: false, runsNow: false })],
  ['POST', '/api/v1/automations/:id/update', invokes('open-webui', { modelRequired: false, runsNow: false })],
  [
    'POST',
    '/api/v1/automations/:id/toggle',
    invokes('open-webui', { modelRequired: false, runsNow: false, runs: 'automation_of_path' }),
  ],
  ['POST', '/api/v1/automations/:id/run', invokes('open-webui', { modelRequired: false, runs: 'automation_of_path' })],
  ['GET', '/api/v1/tasks/config', lists('open-webui', SHAPES.taskConfig, { admins: 'pass' })],
  ['POST', '/api/v1/tasks/config/update', REFUSED],
  ['POST', '/api/v1/tasks/active/chats', NEUTRAL],
  ['POST', '/api/v1/tasks/:task/completions', invokes('open-webui', { runs: 'messages_of_body' })],
  ['*', '/api/v1/tasks/**', REFUSED],
  ['*', '/api/chat/**', CATCH_ALL],
];

/** `tags`, `archive` and the like stand on the same level as the id of a chat, and save none. */
const CHAT_LISTS = ['config', 'read', 'tags'].map((name): Route => ['POST', `/api/v1/chats/${name}`, NEUTRAL]);

const SAVED_CHAT_ROUTES: readonly Route[] = [
  ...CHAT_LISTS,
  ['POST', '/api/v1/chats/new', saves('chat')],
  ['POST', '/api/v1/chats/import', saves('chat_import')],
  ['POST', '/api/v1/chats/:id', saves('chat')],
  ['PATCH', '/api/v1/chats/:id/params', saves('chat_parameters')],
  ['POST', '/api/v1/chats/:id/messages/:message', saves('message')],
  ['DELETE', '/api/v1/chats/:id/messages/:message', saves('message_deletion')],
  ['POST', '/api/v1/chats/:id/messages/:message/event', saves('message')],
];

const VERSIONS = invokes('open-webui', {
  modelRequired: false,
  runsNow: false,
  query: 'id',
  answer: SHAPES.modelVersions,
});

const MODEL_ROUTES: readonly Route[] = [
  ['GET', '/api/models', lists('open-webui', SHAPES.models)],
  ['GET', '/api/models/base', REFUSED],
  ['*', '/api/models/**', REFUSED],
  ['GET', '/api/v1/models', lists('openai', SHAPES.models)],
  ['GET', '/api/v1/models/', lists('open-webui', SHAPES.modelRows)],
  ['GET', '/api/v1/models/list', lists('open-webui', SHAPES.modelPage, { admins: 'pass', paged: 'entries' })],
  ['GET', '/api/v1/models/export', lists('open-webui', SHAPES.modelRows, { admins: 'pass' })],
  ['GET', '/api/v1/models/tags', lists('open-webui', SHAPES.modelPage, { admins: 'pass', paged: 'tags' })],
  [
    'GET',
    '/api/v1/models/model',
    invokes('open-webui', { modelRequired: false, runsNow: false, query: 'id', answer: SHAPES.modelRow }),
  ],
  [
    'GET',
    '/api/v1/models/model/profile/image',
    invokes('open-webui', {
      modelRequired: false,
      runsNow: false,
      query: 'id',
      insteadOfDenial: '/static/favicon.png',
    }),
  ],
  ['POST', '/api/v1/models/create', manages('preset')],
  ['POST', '/api/v1/models/import', manages('preset_list')],
  ['POST', '/api/v1/models/model/update', manages('preset')],
  [
    'POST',
    '/api/v1/models/model/update/version',
    invokes('open-webui', {
      modelRequired: false,
      runsNow: false,
      query: 'id',
      runs: 'preset_version',
      answer: SHAPES.modelRow,
    }),
  ],
  ['POST', '/api/v1/models/model/toggle', manages('preset_switch')],
  ['POST', '/api/v1/models/model/access/update', manages('preset_switch')],
  ['*', '/api/v1/models/model/delete', manages('preset_switch')],
  ['GET', '/api/v1/models/model/history', VERSIONS],
  ['*', '/api/v1/models/model/history/**', VERSIONS],
  ['*', '/api/v1/models/**', REFUSED],
  ['GET', '/api/config', lists('open-webui', SHAPES.config, { public: true })],
  ['GET', '/api/usage', lists('open-webui', SHAPES.usage)],
  ['GET', '/api/v1/functions/', lists('open-webui', SHAPES.functions, { admins: 'pass' })],
  ['GET', '/api/v1/users/groups', lists('open-webui', SHAPES.groups, { admins: 'pass' })],
  ['GET', '/api/v1/groups/', lists('open-webui', SHAPES.groups, { admins: 'pass' })],
];

const MEDIA_ROUTES: readonly Route[] = [
  ['POST', '/api/v1/images/generations', invokes('open-webui', { modelRequired: false, names: 'media' })],
  ['POST', '/api/v1/images/edit', invokes('open-webui', { modelRequired: false, names: 'media' })],
  ['POST', '/api/v1/audio/speech', invokes('open-webui', { modelRequired: false, names: 'media' })],
  ['POST', '/openai/audio/speech', invokes('openai', { modelRequired: false, names: 'media' })],
  ['GET', '/api/v1/images/models', lists('open-webui', SHAPES.mediaRows, { names: 'media', admins: 'pass' })],
  ['GET', '/api/v1/audio/models', lists('open-webui', SHAPES.mediaModels, { names: 'media', admins: 'pass' })],
];

const OPENAI_ROUTES: readonly Route[] = [
  ['GET', '/openai/models', lists('openai', SHAPES.models)],
  ['POST', '/openai/chat/completions', invokes('openai')],
  ['POST', '/openai/responses', invokes('openai', { names: 'provider' })],
  ['*', '/openai/config', REFUSED],
  ['POST', '/openai/config/update', REFUSED],
  ['*', '/openai/verify', REFUSED],
  ['GET', '/openai/models/**', REFUSED],
  ['*', '/openai/**', CATCH_ALL],
];

const OLLAMA_ROUTES: readonly Route[] = [
  ['GET', '/ollama/api/tags', lists('ollama', SHAPES.ollamaTags)],
  ['GET', '/ollama/v1/models', lists('openai', SHAPES.models)],
  ['GET', '/ollama/api/version', NEUTRAL],
  ['GET', '/ollama/api/version/:index', NEUTRAL],
  ['GET', '/ollama/', NEUTRAL],
  [
    'POST',
    '/ollama/api/show',
    invokes('ollama', {
      names: 'ollama_raw',
      runsNow: false,
      rules: { topLevel: new Set(['name']) },
      answer: SHAPES.ollamaModel,
    }),
  ],
  ['POST', '/ollama/api/chat', invokes('ollama', { names: 'ollama' })],
  ['POST', '/ollama/api/generate', invokes('ollama', { names: 'ollama_raw' })],
  ['POST', '/ollama/api/embed', invokes('ollama', { names: 'ollama_raw' })],
  ['POST', '/ollama/api/embeddings', invokes('ollama', { names: 'ollama_raw' })],
  // 0.6.18 looks for a preset called `name:latest` here: one called `name` is not resolved
  ['POST', '/ollama/v1/chat/completions', invokes('openai', { names: 'ollama_raw' })],
  ['POST', '/ollama/v1/completions', invokes('openai', { names: 'ollama_raw' })],
  ['POST', '/ollama/v1/embeddings', invokes('openai', { names: 'ollama_raw' })],
  ['POST', '/ollama/v1/responses', invokes('openai', { names: 'ollama_raw' })],
  ['POST', '/ollama/v1/messages', invokes('anthropic', { names: 'ollama_raw' })],
  ...['api/copy', 'api/create', 'api/delete', 'api/ps', 'api/pull', 'api/push', 'api/tags', 'api/unload'].flatMap(
    (path): Route[] => [
      ['*', `/ollama/${path}`, REFUSED],
      ['*', `/ollama/${path}/:index`, REFUSED],
    ],
  ),
  ['*', '/ollama/config', REFUSED],
  ['*', '/ollama/config/**', REFUSED],
  ['*', '/ollama/verify', REFUSED],
  ['*', '/ollama/models/**', REFUSED],
  ['*', '/ollama/v1/models/:index', REFUSED],
  ['*', '/ollama/**', CATCH_ALL],
];

/** Model-bearing routes, most specific first inside each group. */
export const MODEL_BEARING_ROUTES: readonly Route[] = [
  ...CHAT_ROUTES,
  ...SAVED_CHAT_ROUTES,
  ...MODEL_ROUTES,
  ...MEDIA_ROUTES,
  ...OPENAI_ROUTES,
  ...OLLAMA_ROUTES,
];
