/**
 * What each endpoint of Open WebUI does with models, as data. Covers 0.6.18 and 0.12.4 and what lies between; a test
 * compares it with the route list of the installed backend, so that a new route fails the build instead of passing.
 * Paths are FastAPI's, decoded; `:x` is one segment, a final `**` any rest. The first match counts.
 */
import type { Dialect } from './dialect.ts';
import type { ChatForm } from './judge-saved-chat.ts';
import type { ListShape } from './list-shapes.ts';
import { SHAPES } from './list-shapes.ts';
import type { NameSpace } from './judge.ts';
import type { ReferenceRules } from '../references/references.ts';

/** A stored object that the endpoint runs, and where its id stands. The database is asked which models it names. */
export type StoredRun =
  /** the messages of `chat_id` that the body names: background tasks run on the model that they store */
  | 'messages_of_body'
  /** the tool call of the path's `:message` in chat `:id`, which resumes a completion */
  | 'message_of_path'
  /** any message of the path's chat `:id`, unless the body names a model */
  | 'chat_of_path'
  /** the channel message of `reply_to_id` in the body */
  | 'replied_message'
  /** the automation of the path's `:id` */
  | 'automation_of_path'
  /** the earlier version `version_id` of a preset, which becomes the current one */
  | 'preset_version';

export interface ListsSurface {
  readonly kind: 'lists';
  readonly dialect: Dialect;
  readonly shape: ListShape;
  /** `/api/config` serves the sign-in page too: without a user, or without policy, it shows no model and goes on. */
  readonly withoutUser: 'refuse' | 'empty';
  /** Pages on which the backend's admins manage what exists are shown to them whole. */
  readonly admins: 'filter' | 'pass';
  readonly names: NameSpace;
  /** The backend searches and counts entries that the caller may not see: the gate does it instead. */
  readonly paged?: true;
}

export interface InvokesSurface {
  readonly kind: 'invokes';
  readonly dialect: Dialect;
  readonly rules: ReferenceRules;
  /** Whether the request is malformed when it names no model. */
  readonly modelRequired: boolean;
  readonly names: NameSpace;
  /** Query key that names a model, besides or instead of the body. */
  readonly query?: string;
  /** Where models are mentioned in text: `<@M:id>` in a channel message. */
  readonly mentions?: true;
  /** Whether the backend heeds `model_item.direct` here; elsewhere it runs the model that is named. */
  readonly direct?: true;
  readonly runs?: StoredRun;
  /** Where the answer names further models. */
  readonly answer?: ListShape;
  /** Names models, which must be permitted, and runs none of them now: limits on running do not count it. */
  readonly idle?: true;
  /**
   * Where a denied request is sent instead: pictures in old chats fall back to the default picture, as the backend
   * itself does for models that it does not know.
   */
  readonly insteadOfDenial?: string;
}

export interface ManagesSurface {
  readonly kind: 'manages';
  readonly dialect: Dialect;
  /** Which form the body has (routers/models.py). */
  readonly form: 'preset' | 'preset_list' | 'preset_switch';
}

/** Saves a chat or a part of it: what the backend may run later. */
export interface SavesSurface {
  readonly kind: 'saves';
  readonly dialect: Dialect;
  readonly form: ChatForm;
}

export type Surface =
  | ListsSurface
  | InvokesSurface
  | ManagesSurface
  | SavesSurface
  /** Passes untouched. `unlisted`: not in this table, so a JSON body is still searched for model names. */
  | { readonly kind: 'neutral'; readonly unlisted?: true }
  /**
   * For the backend's admins only: management, catch-alls, and index variants whose ids are ambiguous. `judged`: what
   * an admin sends there may run a model, so the models that it names are judged as everywhere.
   */
  | { readonly kind: 'refused'; readonly judged?: true };

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | '*';
export type Route = readonly [method: Method, path: string, surface: Surface];

const NEUTRAL: Surface = { kind: 'neutral' };
/** Management pages of the backend's admins. */
const REFUSED: Surface = { kind: 'refused' };
/** Whatever else lies under a model prefix. */
const CATCH_ALL: Surface = { kind: 'refused', judged: true };

const lists = (dialect: Dialect, shape: ListShape, more: Partial<ListsSurface> = {}): ListsSurface => {
  return { kind: 'lists', dialect, shape, withoutUser: 'refuse', admins: 'filter', names: 'chat', ...more };
};
const invokes = (dialect: Dialect, more: Partial<InvokesSurface> = {}): InvokesSurface => {
  return { kind: 'invokes', dialect, rules: {}, modelRequired: true, names: 'chat', ...more };
};
const manages = (form: ManagesSurface['form']): ManagesSurface => ({ kind: 'manages', dialect: 'open-webui', form });
const saves = (form: ChatForm): SavesSurface => ({ kind: 'saves', dialect: 'open-webui', form });

const CHAT_ROUTES: readonly Route[] = [
  ['POST', '/api/chat/completions', invokes('open-webui', { runs: 'messages_of_body', direct: true })],
  ['POST', '/api/v1/chat/completions', invokes('openai', { runs: 'messages_of_body', direct: true })],
  ['POST', '/api/chat/completed', invokes('open-webui', { direct: true, idle: true })],
  ['POST', '/api/chat/actions/:id', invokes('open-webui', { direct: true })],
  ['POST', '/api/message', invokes('anthropic', { runs: 'messages_of_body' })],
  ['POST', '/api/v1/messages', invokes('anthropic', { runs: 'messages_of_body' })],
  ['POST', '/api/message/count_tokens', invokes('anthropic', { idle: true })],
  ['POST', '/api/v1/messages/count_tokens', invokes('anthropic', { idle: true })],
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
  ['POST', '/api/v1/automations/create', invokes('open-webui', { modelRequired: false, idle: true })],
  ['POST', '/api/v1/automations/:id/update', invokes('open-webui', { modelRequired: false, idle: true })],
  [
    'POST',
    '/api/v1/automations/:id/toggle',
    invokes('open-webui', { modelRequired: false, idle: true, runs: 'automation_of_path' }),
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

const MODEL_ROUTES: readonly Route[] = [
  ['GET', '/api/models', lists('open-webui', SHAPES.models)],
  ['GET', '/api/models/base', REFUSED],
  ['*', '/api/models/**', REFUSED],
  ['GET', '/api/v1/models', lists('openai', SHAPES.models)],
  ['GET', '/api/v1/models/', lists('open-webui', SHAPES.modelRows)],
  ['GET', '/api/v1/models/list', lists('open-webui', SHAPES.modelPage, { admins: 'pass', paged: true })],
  ['GET', '/api/v1/models/export', lists('open-webui', SHAPES.modelRows, { admins: 'pass' })],
  ['GET', '/api/v1/models/tags', NEUTRAL],
  [
    'GET',
    '/api/v1/models/model',
    invokes('open-webui', { modelRequired: false, idle: true, query: 'id', answer: SHAPES.modelRow }),
  ],
  [
    'GET',
    '/api/v1/models/model/profile/image',
    invokes('open-webui', { modelRequired: false, idle: true, query: 'id', insteadOfDenial: '/static/favicon.png' }),
  ],
  ['POST', '/api/v1/models/create', manages('preset')],
  ['POST', '/api/v1/models/import', manages('preset_list')],
  ['POST', '/api/v1/models/model/update', manages('preset')],
  [
    'POST',
    '/api/v1/models/model/update/version',
    invokes('open-webui', { modelRequired: false, idle: true, query: 'id', runs: 'preset_version' }),
  ],
  ['POST', '/api/v1/models/model/toggle', manages('preset_switch')],
  ['POST', '/api/v1/models/model/access/update', manages('preset_switch')],
  ['*', '/api/v1/models/model/delete', manages('preset_switch')],
  ['GET', '/api/v1/models/model/history', invokes('open-webui', { modelRequired: false, idle: true, query: 'id' })],
  ['*', '/api/v1/models/model/history/**', invokes('open-webui', { modelRequired: false, idle: true, query: 'id' })],
  ['*', '/api/v1/models/**', REFUSED],
  ['GET', '/api/config', lists('open-webui', SHAPES.config, { withoutUser: 'empty' })],
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
      idle: true,
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
