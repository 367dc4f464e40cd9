/**
 * What each endpoint of Open WebUI (0.6.18 to 0.12.4) does with models; a test compares it with the backend's own routes.
 * Paths are FastAPI's, decoded; `:x` is one segment, a final `**` any rest. The first match counts.
 */
import type { ListShape } from '../enforcement/list.ts';
import type { NameSpace } from '../enforcement/judge.ts';
import type { ChatForm, PresetForm } from '../references/records.ts';
import type { ReferenceRules } from '../references/references.ts';
import type { StoredRun } from './invocations.ts';
import { SHAPES } from './lists.ts';

interface ListsSurface {
  readonly kind: 'lists';
  readonly shape: ListShape;
  /** `/api/config` serves the sign-in page too: without a user, or without policy, it shows no model and goes on. */
  readonly public?: true;
  /** Pages on which the backend's admins manage what exists are shown to them whole. */
  readonly admins: 'filter' | 'pass';
  readonly names: NameSpace;
  /** The backend searches and counts entries that the caller may not see: the gate does it instead. */
  readonly paged?: 'entries' | 'tags';
}

export interface InvokesSurface {
  readonly kind: 'invokes';
  readonly rules: ReferenceRules;
  readonly modelRequired: boolean;
  readonly names: NameSpace;
  /** Query key that names a model, besides or instead of the body. */
  readonly query?: string;
  readonly mentions?: true;
  /** Whether the backend heeds `model_item.direct` here; elsewhere it runs the model that is named. */
  readonly direct?: true;
  /** A stored object that the endpoint runs. */
  readonly runs?: StoredRun;
  readonly answer?: ListShape;
  /** False where the models that the request names must be permitted and none runs now: no run is counted. */
  readonly runsNow: boolean;
  /** Where a denied request is sent instead: to the default picture, as the backend does for models that it does not know. */
  readonly insteadOfDenial?: string;
}

export type Surface =
  | ListsSurface
  | InvokesSurface
  /** Creates or changes presets (routers/models.py). */
  | { readonly kind: 'manages'; readonly form: PresetForm }
  /** Saves a chat or a part of it: what the backend may run later. */
  | { readonly kind: 'saves'; readonly form: ChatForm }
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
const CATCH_ALL: Surface = { kind: 'refused', judged: true };

const lists = (shape: ListShape, more: Partial<ListsSurface> = {}): ListsSurface => ({
  kind: 'lists',
  shape,
  admins: 'filter',
  names: 'chat',
  ...more,
});
const invokes = (more: Partial<InvokesSurface> = {}): InvokesSurface => ({
  kind: 'invokes',
  rules: {},
  modelRequired: true,
  names: 'chat',
  runsNow: true,
  ...more,
});
const names = (more: Partial<InvokesSurface> = {}) => invokes({ modelRequired: false, runsNow: false, ...more });
const saves = (form: ChatForm): Surface => ({ kind: 'saves', form });

const MANAGED = { admins: 'pass' } as const;
const DIRECT_CHAT = invokes({ runs: 'messages_of_body', direct: true });
const CHAT = invokes({ runs: 'messages_of_body' });
const EMBEDDINGS = invokes({ names: 'provider' });
const MEDIA = invokes({ modelRequired: false, names: 'media' });
const OLLAMA = invokes({ names: 'ollama_raw' });
const VERSIONS = names({ query: 'id', answer: SHAPES.modelVersions });

/** Model-bearing routes, most specific first inside each group. */
export const MODEL_BEARING_ROUTES: readonly Route[] = [
  ['POST', '/api/chat/completions', DIRECT_CHAT],
  ['POST', '/api/v1/chat/completions', DIRECT_CHAT],
  ['POST', '/api/chat/completed', invokes({ direct: true, runsNow: false })],
  ['POST', '/api/chat/actions/:id', invokes({ direct: true })],
  ['POST', '/api/message', CHAT],
  ['POST', '/api/v1/messages', CHAT],
  ['POST', '/api/message/count_tokens', invokes({ runsNow: false })],
  ['POST', '/api/v1/messages/count_tokens', invokes({ runsNow: false })],
  ['POST', '/api/embeddings', EMBEDDINGS],
  ['POST', '/api/v1/embeddings', EMBEDDINGS],
  ['POST', '/api/v1/chats/:id/compact', invokes({ modelRequired: false, runs: 'chat_of_path' })],
  ['POST', '/api/v1/chats/:id/messages/:message/resolve', invokes({ modelRequired: false, runs: 'message_of_path' })],
  [
    'POST',
    '/api/v1/channels/:id/messages/post',
    invokes({ modelRequired: false, mentions: true, runs: 'replied_message' }),
  ],
  // A message that says which model wrote it makes replies to it run that model
  ['POST', '/api/v1/channels/:id/messages/:message/update', names()],
  ['POST', '/api/v1/automations/create', names()],
  ['POST', '/api/v1/automations/:id/update', names()],
  ['POST', '/api/v1/automations/:id/toggle', names({ runs: 'automation_of_path' })],
  ['POST', '/api/v1/automations/:id/run', invokes({ modelRequired: false, runs: 'automation_of_path' })],
  ['GET', '/api/v1/tasks/config', lists(SHAPES.taskConfig, MANAGED)],
  ['POST', '/api/v1/tasks/config/update', REFUSED],
  ['POST', '/api/v1/tasks/active/chats', NEUTRAL],
  ['POST', '/api/v1/tasks/:task/completions', CHAT],
  ['*', '/api/v1/tasks/**', REFUSED],
  ['*', '/api/chat/**', CATCH_ALL],

  // These stand on the same level as the id of a chat, and save none
  ['POST', '/api/v1/chats/config', NEUTRAL],
  ['POST', '/api/v1/chats/read', NEUTRAL],
  ['POST', '/api/v1/chats/tags', NEUTRAL],
  ['POST', '/api/v1/chats/new', saves('chat')],
  ['POST', '/api/v1/chats/import', saves('chat_import')],
  ['POST', '/api/v1/chats/:id', saves('chat')],
  ['PATCH', '/api/v1/chats/:id/params', saves('chat_parameters')],
  ['POST', '/api/v1/chats/:id/messages/:message', saves('message')],
  ['DELETE', '/api/v1/chats/:id/messages/:message', saves('message_deletion')],
  ['POST', '/api/v1/chats/:id/messages/:message/event', saves('message')],

  ['GET', '/api/models', lists(SHAPES.models)],
  ['GET', '/api/models/base', REFUSED],
  ['*', '/api/models/**', REFUSED],
  ['GET', '/api/v1/models', lists(SHAPES.models)],
  ['GET', '/api/v1/models/', lists(SHAPES.modelRows)],
  ['GET', '/api/v1/models/list', lists(SHAPES.modelPage, { admins: 'pass', paged: 'entries' })],
  ['GET', '/api/v1/models/export', lists(SHAPES.modelRows, MANAGED)],
  ['GET', '/api/v1/models/tags', lists(SHAPES.modelPage, { admins: 'pass', paged: 'tags' })],
  ['GET', '/api/v1/models/model', names({ query: 'id', answer: SHAPES.modelRow })],
  ['GET', '/api/v1/models/model/profile/image', names({ query: 'id', insteadOfDenial: '/static/favicon.png' })],
  ['POST', '/api/v1/models/create', { kind: 'manages', form: 'preset' }],
  ['POST', '/api/v1/models/import', { kind: 'manages', form: 'preset_list' }],
  ['POST', '/api/v1/models/model/update', { kind: 'manages', form: 'preset' }],
  [
    'POST',
    '/api/v1/models/model/update/version',
    names({ query: 'id', runs: 'preset_version', answer: SHAPES.modelRow }),
  ],
  ['POST', '/api/v1/models/model/toggle', { kind: 'manages', form: 'preset_switch' }],
  ['POST', '/api/v1/models/model/access/update', { kind: 'manages', form: 'preset_switch' }],
  ['*', '/api/v1/models/model/delete', { kind: 'manages', form: 'preset_switch' }],
  ['GET', '/api/v1/models/model/history', VERSIONS],
  ['*', '/api/v1/models/model/history/**', VERSIONS],
  ['*', '/api/v1/models/**', REFUSED],
  ['GET', '/api/config', lists(SHAPES.config, { public: true })],
  ['GET', '/api/usage', lists(SHAPES.usage)],
  ['GET', '/api/v1/functions/', lists(SHAPES.functions, MANAGED)],
  ['GET', '/api/v1/users/groups', lists(SHAPES.groups, MANAGED)],
  ['GET', '/api/v1/groups/', lists(SHAPES.groups, MANAGED)],

  ['POST', '/api/v1/images/generations', MEDIA],
  ['POST', '/api/v1/images/edit', MEDIA],
  ['POST', '/api/v1/audio/speech', MEDIA],
  ['POST', '/openai/audio/speech', MEDIA],
  ['GET', '/api/v1/images/models', lists(SHAPES.mediaRows, { names: 'media', admins: 'pass' })],
  ['GET', '/api/v1/audio/models', lists(SHAPES.mediaModels, { names: 'media', admins: 'pass' })],

  ['GET', '/openai/models', lists(SHAPES.models)],
  ['POST', '/openai/chat/completions', invokes()],
  ['POST', '/openai/responses', invokes({ names: 'provider' })],
  ['*', '/openai/config', REFUSED],
  ['POST', '/openai/config/update', REFUSED],
  ['*', '/openai/verify', REFUSED],
  ['GET', '/openai/models/**', REFUSED],
  ['*', '/openai/**', CATCH_ALL],

  ['GET', '/ollama/api/tags', lists(SHAPES.ollamaTags)],
  ['GET', '/ollama/v1/models', lists(SHAPES.models)],
  ['GET', '/ollama/api/version', NEUTRAL],
  ['GET', '/ollama/api/version/:index', NEUTRAL],
  ['GET', '/ollama/', NEUTRAL],
  [
    'POST',
    '/ollama/api/show',
    invokes({
      names: 'ollama_raw',
      runsNow: false,
      rules: { topLevel: new Set(['name']) },
      answer: SHAPES.ollamaModel,
    }),
  ],
  ['POST', '/ollama/api/chat', invokes({ names: 'ollama' })],
  ['POST', '/ollama/api/generate', OLLAMA],
  ['POST', '/ollama/api/embed', OLLAMA],
  ['POST', '/ollama/api/embeddings', OLLAMA],
  // 0.6.18 looks for a preset called `name:latest` here: one called `name` is not resolved
  ['POST', '/ollama/v1/chat/completions', OLLAMA],
  ['POST', '/ollama/v1/completions', OLLAMA],
  ['POST', '/ollama/v1/embeddings', OLLAMA],
  ['POST', '/ollama/v1/responses', OLLAMA],
  ['POST', '/ollama/v1/messages', OLLAMA],
  ...['copy', 'create', 'delete', 'ps', 'pull', 'push', 'tags', 'unload'].flatMap((path): Route[] => [
    ['*', `/ollama/api/${path}`, REFUSED],
    ['*', `/ollama/api/${path}/:index`, REFUSED],
  ]),
  ['*', '/ollama/config', REFUSED],
  ['*', '/ollama/config/**', REFUSED],
  ['*', '/ollama/verify', REFUSED],
  ['*', '/ollama/models/**', REFUSED],
  ['*', '/ollama/v1/models/:index', REFUSED],
  ['*', '/ollama/**', CATCH_ALL],
];

/** Read in the source of both pinned releases: they run no model that a request names, and may name those of the past. */
const NEUTRAL_PREFIXES = `
  /api/changelog /api/events /api/tasks /api/version /api/webhook
  /api/v1/analytics /api/v1/apps /api/v1/audio /api/v1/auths /api/v1/automations /api/v1/calendars /api/v1/channels
  /api/v1/chats /api/v1/configs /api/v1/evaluations /api/v1/files /api/v1/folders /api/v1/functions /api/v1/groups
  /api/v1/images /api/v1/knowledge /api/v1/memories /api/v1/notes /api/v1/notifications /api/v1/pipelines
  /api/v1/prompts /api/v1/retrieval /api/v1/scim /api/v1/search /api/v1/skills /api/v1/terminals /api/v1/tools
  /api/v1/users /api/v1/utils`;

export const NEUTRAL_ROUTES: readonly Route[] = NEUTRAL_PREFIXES.trim()
  .split(/\s+/)
  .flatMap((prefix): Route[] => [
    ['*', prefix, NEUTRAL],
    ['*', `${prefix}/**`, NEUTRAL],
  ]);
