/**
 * What each endpoint of Open WebUI (0.6.18 to 0.12.4) does with models; a test compares it with the backend's own routes.
 * Paths are FastAPI's, decoded; `:x` is one segment, a final `**` any rest. The first match counts.
 */
import type { ListShape } from '../enforcement/list.ts';
import type { NameSpace } from '../enforcement/judge.ts';
import type { ChatForm, PresetForm } from '../references/records.ts';
import type { ReferenceRules } from '../references/references.ts';
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
  readonly runs?:
    | 'messages_of_body'
    | 'message_of_path'
    | 'chat_of_path'
    | 'replied_message'
    | 'automation_of_path'
    | 'preset_version';
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
type Route = readonly [method: Method, path: string, surface: Surface];

const NEUTRAL: Surface = { kind: 'neutral' };
/** Management pages of the backend's admins. */
const REFUSED: Surface = { kind: 'refused' };
const CATCH_ALL: Surface = { kind: 'refused', judged: true };

const LISTS = { kind: 'lists', admins: 'filter', names: 'chat' } as const;
const lists = (shape: ListShape, more: Partial<ListsSurface> = {}): ListsSurface => ({ ...LISTS, shape, ...more });
const INVOKES = { kind: 'invokes', rules: {}, modelRequired: true, names: 'chat', runsNow: true } as const;
const invokes = (more: Partial<InvokesSurface> = {}): InvokesSurface => ({ ...INVOKES, ...more });
const optional = (more: Partial<InvokesSurface>) => invokes({ modelRequired: false, ...more });
const names = (more: Partial<InvokesSurface> = {}) => optional({ runsNow: false, ...more });
const saves = (form: ChatForm): Surface => ({ kind: 'saves', form });
const manages = (form: PresetForm): Surface => ({ kind: 'manages', form });

/** One route for each of the paths, which white space separates. */
const each = (method: Method, surface: Surface, paths: string): Route[] =>
  (paths.match(/\S+/g) ?? []).map((path) => [method, path, surface]);

const MANAGED = { admins: 'pass' } as const;
const MANAGED_MEDIA = { names: 'media', admins: 'pass' } as const;
const SHOW = { runsNow: false, rules: { topLevel: new Set(['name']) }, answer: SHAPES.ollamaModel };
const VERSION = names({ query: 'id', runs: 'preset_version', answer: SHAPES.modelRow });

/** Model-bearing routes, most specific first inside each group. */
export const MODEL_BEARING_ROUTES: readonly Route[] = [
  ...each(
    'POST',
    invokes({ runs: 'messages_of_body', direct: true }),
    '/api/chat/completions /api/v1/chat/completions',
  ),
  ['POST', '/api/chat/completed', invokes({ direct: true, runsNow: false })],
  ['POST', '/api/chat/actions/:id', invokes({ direct: true })],
  ...each(
    'POST',
    invokes({ runs: 'messages_of_body' }),
    '/api/message /api/v1/messages /api/v1/tasks/:task/completions',
  ),
  ...each('POST', invokes({ runsNow: false }), '/api/message/count_tokens /api/v1/messages/count_tokens'),
  ...each('POST', invokes({ names: 'provider' }), '/api/embeddings /api/v1/embeddings /openai/responses'),
  ['POST', '/api/v1/chats/:id/compact', optional({ runs: 'chat_of_path' })],
  ['POST', '/api/v1/chats/:id/messages/:message/resolve', optional({ runs: 'message_of_path' })],
  ['POST', '/api/v1/channels/:id/messages/post', optional({ mentions: true, runs: 'replied_message' })],
  // A message that says which model wrote it makes replies to it run that model
  ['POST', '/api/v1/channels/:id/messages/:message/update', names()],
  ...each('POST', names(), '/api/v1/automations/create /api/v1/automations/:id/update'),
  ['POST', '/api/v1/automations/:id/toggle', names({ runs: 'automation_of_path' })],
  ['POST', '/api/v1/automations/:id/run', optional({ runs: 'automation_of_path' })],
  ['GET', '/api/v1/tasks/config', lists(SHAPES.taskConfig, MANAGED)],
  ['POST', '/api/v1/tasks/active/chats', NEUTRAL],
  ['*', '/api/v1/tasks/**', REFUSED],
  ['*', '/api/chat/**', CATCH_ALL],

  // These stand on the same level as the id of a chat, and save none
  ...each('POST', NEUTRAL, '/api/v1/chats/config /api/v1/chats/read /api/v1/chats/tags'),
  ['POST', '/api/v1/chats/import', saves('chat_import')],
  ...each('POST', saves('chat'), '/api/v1/chats/new /api/v1/chats/:id'),
  ['PATCH', '/api/v1/chats/:id/params', saves('chat_parameters')],
  ['POST', '/api/v1/chats/:id/messages/:message', saves('message')],
  ['DELETE', '/api/v1/chats/:id/messages/:message', saves('message_deletion')],
  ['POST', '/api/v1/chats/:id/messages/:message/event', saves('message')],

  ...each('GET', lists(SHAPES.models), '/api/models /api/v1/models /openai/models /ollama/v1/models'),
  ['*', '/api/models/**', REFUSED],
  ['GET', '/api/v1/models/', lists(SHAPES.modelRows)],
  ['GET', '/api/v1/models/list', lists(SHAPES.modelPage, { admins: 'pass', paged: 'entries' })],
  ['GET', '/api/v1/models/export', lists(SHAPES.modelRows, MANAGED)],
  ['GET', '/api/v1/models/tags', lists(SHAPES.modelPage, { admins: 'pass', paged: 'tags' })],
  ['GET', '/api/v1/models/model', names({ query: 'id', answer: SHAPES.modelRow })],
  ['GET', '/api/v1/models/model/profile/image', names({ query: 'id', insteadOfDenial: '/static/favicon.png' })],
  ...each('POST', manages('preset'), '/api/v1/models/create /api/v1/models/model/update'),
  ['POST', '/api/v1/models/import', manages('preset_list')],
  ['POST', '/api/v1/models/model/update/version', VERSION],
  ...each('POST', manages('preset_switch'), '/api/v1/models/model/toggle /api/v1/models/model/access/update'),
  ['*', '/api/v1/models/model/delete', manages('preset_switch')],
  ['GET', '/api/v1/models/model/history', names({ query: 'id', answer: SHAPES.modelVersions })],
  ['*', '/api/v1/models/model/history/**', names({ query: 'id', answer: SHAPES.modelVersions })],
  ['*', '/api/v1/models/**', REFUSED],
  ['GET', '/api/config', lists(SHAPES.config, { public: true })],
  ['GET', '/api/usage', lists(SHAPES.usage)],
  ['GET', '/api/v1/functions/', lists(SHAPES.functions, MANAGED)],
  ...each('GET', lists(SHAPES.groups, MANAGED), '/api/v1/users/groups /api/v1/groups/'),

  ...each('POST', optional({ names: 'media' }), '/api/v1/images/generations /api/v1/images/edit'),
  ...each('POST', optional({ names: 'media' }), '/api/v1/audio/speech /openai/audio/speech'),
  ['GET', '/api/v1/images/models', lists(SHAPES.mediaRows, MANAGED_MEDIA)],
  ['GET', '/api/v1/audio/models', lists(SHAPES.mediaModels, MANAGED_MEDIA)],

  ['POST', '/openai/chat/completions', invokes()],
  ['POST', '/openai/config/update', REFUSED],
  ...each('*', REFUSED, '/openai/config /openai/verify'),
  ['GET', '/openai/models/**', REFUSED],
  ['*', '/openai/**', CATCH_ALL],

  ['GET', '/ollama/api/tags', lists(SHAPES.ollamaTags)],
  ...each('GET', NEUTRAL, '/ollama/ /ollama/api/version /ollama/api/version/:index'),
  ['POST', '/ollama/api/show', invokes({ names: 'ollama_raw', ...SHOW })],
  ['POST', '/ollama/api/chat', invokes({ names: 'ollama' })],
  ...each('POST', invokes({ names: 'ollama_raw' }), '/ollama/api/generate /ollama/api/embed /ollama/api/embeddings'),
  // 0.6.18 looks for a preset called `name:latest` here: one called `name` is not resolved
  ...['chat/completions', 'completions', 'embeddings', 'responses', 'messages'].map((path): Route => [
    'POST',
    `/ollama/v1/${path}`,
    invokes({ names: 'ollama_raw' }),
  ]),
  ...['copy', 'create', 'delete', 'ps', 'pull', 'push', 'tags', 'unload'].flatMap((path) =>
    each('*', REFUSED, `/ollama/api/${path} /ollama/api/${path}/:index`),
  ),
  ...each('*', REFUSED, '/ollama/config /ollama/config/** /ollama/verify /ollama/models/** /ollama/v1/models/:index'),
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

export const NEUTRAL_ROUTES: readonly Route[] = each('*', NEUTRAL, NEUTRAL_PREFIXES).flatMap((route): Route[] => [
  route,
  ['*', `${route[1]}/**`, NEUTRAL],
]);
