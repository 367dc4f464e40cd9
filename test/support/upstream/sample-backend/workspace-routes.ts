/** Sessions, and what users store: chats, channel messages, automations, presets. Some of it names models that run later. */
import { randomUUID } from 'node:crypto';
import { seconds } from '../dialects.ts';
import type { JsonObject, SampleUser, StoredTable } from './directory.ts';
import {
  type SampleContext,
  type SampleReply,
  type SampleRequest,
  type SampleRoute,
  failure,
  readBody,
  readLaxJson,
  route,
} from './route.ts';
import { modelOfStoredChat, modelsOfRun, modelsOfToolApproval, text, toList, toObject } from './run.ts';
import { signToken } from './identity.ts';

type Answer = SampleRoute['answer'];

const NOT_FOUND = "We could not find what you're looking for :/";
const nanoseconds = (): bigint => BigInt(Date.now()) * 1_000_000n;

/** Passwords are kept here as they are. */
const signin: Answer = (request, { directory, secretKey }) => {
  const { email, password } = readBody(request);
  const found = directory.userByEmail(text(email) ?? '');
  if (found === undefined || found.password !== password) {
    return failure(
      400,
      'The email or password provided is incorrect. Please check for typos and try logging in again.',
    );
  }
  const token = signToken(found.id, secretKey);
  return { headers: { 'set-cookie': `token=${token}; HttpOnly; Path=/; SameSite=lax` }, json: session(found, token) };
};

function session({ id, email, name, role }: SampleUser, token: string): JsonObject {
  const profile = { id, email, name, role, profile_image_url: `/api/v1/users/${id}/profile/image` };
  return { token, token_type: 'Bearer', expires_at: null, ...profile, permissions: { workspace: { models: true } } };
}

/** Answers with a fresh session of the caller, as the backend's page asks for at every start. */
const ownSession: Answer = ({ user }, { secretKey }) =>
  user === undefined ? failure(401, 'Not authenticated') : { json: session(user, signToken(user.id, secretKey)) };

/** The caller's own row of a table, or 404: the backend does not say whether another user owns it. */
function own(table: StoredTable, request: SampleRequest, { directory }: SampleContext): JsonObject | undefined {
  const row = directory.stored(table, request.params['id'] ?? '');
  return row?.['user_id'] === request.user?.id ? row : undefined;
}

const saveChat: Answer = (request, context) => {
  const id = request.params['id'] ?? randomUUID();
  const known = context.directory.stored('chat', id);
  if (known !== undefined && known['user_id'] !== request.user?.id) return failure(401, NOT_FOUND);
  const chat = { ...toObject(known?.['chat']), ...toObject(readBody(request)['chat']) };
  const row = {
    id,
    user_id: request.user?.id ?? null,
    title: text(chat['title']) ?? 'New Chat',
    chat,
    archived: 0,
    pinned: 0,
    meta: toObject(known?.['meta']),
  };
  context.directory.store('chat', { ...row, created_at: known?.['created_at'] ?? seconds(), updated_at: seconds() });
  return { json: context.directory.stored('chat', id) };
};

const oneChat: Answer = (request, context) => {
  const row = own('chat', request, context);
  return row === undefined ? failure(401, NOT_FOUND) : { json: row };
};

const ownChats: Answer = ({ user }, { directory }) => ({
  json: directory
    .storedOf('chat', user?.id ?? '')
    .map(({ id, title, created_at, updated_at }) => ({ id, title, created_at, updated_at })),
});

/** `compact` may name its model, `resolve` cannot: both fall back to what the stored chat says. */
const continueChat: Answer = (request, context) => {
  if (own('chat', request, context) === undefined) return failure(404, NOT_FOUND);
  const { id = '', message } = request.params;
  const model = text(readBody(request)['model']) ?? modelOfStoredChat(id, message, context.directory);
  if (model === undefined) return failure(400, 'Model not found');
  if (message !== undefined) context.invoked.push(...modelsOfToolApproval(id, message, context.directory));
  return ran(model, {}, context, { status: true, chat_id: id, task_ids: [] });
};

function ran(model: string, body: JsonObject, context: SampleContext, json: unknown): SampleReply {
  context.invoked.push(...modelsOfRun(model, body, context));
  return { json };
}

/** A mention `<@M:id|label>` or a reply to a model's message runs that model (0.6.29 on). */
const postMessage: Answer = (request, context) => {
  const body = readBody(request);
  const reply = context.directory.stored('message', text(body['reply_to_id']) ?? '');
  const known = new Set(context.models.chatModels().map(({ id }) => id));
  const found = (text(body['content']) ?? '').matchAll(/<@M:([^|>]+)/g);
  const mentioned = [...found].map(([, model]) => model).filter((model) => known.has(model));
  const row = {
    id: request.params['message'] ?? randomUUID(),
    channel_id: request.params['id'] ?? null,
    user_id: request.user?.id ?? null,
  };
  const message = {
    ...row,
    content: text(body['content']) ?? '',
    meta: toObject(body['meta']),
    reply_to_id: text(body['reply_to_id']) ?? null,
  };
  context.directory.store('message', { ...message, created_at: nanoseconds(), updated_at: nanoseconds() });
  for (const model of [...mentioned, text(toObject(reply?.['meta'])['model_id'])]) {
    if (model !== undefined) context.invoked.push(...modelsOfRun(model, {}, context));
  }
  return { json: message };
};

const saveAutomation: Answer = (request, context) => {
  const { name, data } = readBody(request);
  const known = own('automation', request, context);
  const row = {
    id: text(known?.['id']) ?? randomUUID(),
    user_id: request.user?.id ?? null,
    name: text(name) ?? '',
    data: toObject(data),
  };
  context.directory.store('automation', { ...row, is_active: 1, created_at: nanoseconds(), updated_at: nanoseconds() });
  return { json: row };
};

const runAutomation: Answer = (request, context) => {
  const row = own('automation', request, context);
  const model = text(toObject(row?.['data'])['model_id']);
  return model === undefined ? failure(404, NOT_FOUND) : ran(model, {}, context, row);
};

const ownAutomations: Answer = ({ user }, { directory }) => {
  const items = directory.storedOf('automation', user?.id ?? '');
  return { json: { items, total: items.length } };
};

/** Each user may, as where an administrator granted `workspace.models`; the query's id wins, as in 0.6.15. */
const savePreset: Answer = (request, context) => {
  savePresetRow(readBody(request), request, context);
  return { json: readBody(request) };
};

const importPresets: Answer = (request, context) => {
  for (const row of toList(toObject(readLaxJson(request.body))['models'] ?? readLaxJson(request.body))) {
    savePresetRow(toObject(row), request, context);
  }
  return { json: true };
};

function savePresetRow(row: JsonObject, { query, user }: SampleRequest, { directory }: SampleContext): void {
  const id = query.get('id') ?? text(row['id']);
  if (id === undefined || user === undefined) return;
  const base_model_id = text(row['base_model_id']) ?? null;
  const named = { id, user_id: user.id, base_model_id, name: text(row['name']) ?? id };
  directory.saveModel({ ...named, params: toObject(row['params']), meta: toObject(row['meta']) });
}

export const WORKSPACE_ROUTES: readonly SampleRoute[] = [
  route('POST', '/api/v1/auths/signin', signin, 'public'),
  route('GET', '/api/v1/auths/', ownSession),
  route('GET', '/api/v1/chats/', ownChats),
  route('GET', '/api/v1/chats/list', ownChats),
  route('POST', '/api/v1/chats/new', saveChat),
  route('GET', '/api/v1/chats/{id}', oneChat),
  route('POST', '/api/v1/chats/{id}', saveChat),
  route('POST', '/api/v1/chats/{id}/compact', continueChat),
  route('POST', '/api/v1/chats/{id}/messages/{message}/resolve', continueChat),
  route('POST', '/api/v1/channels/{id}/messages/post', postMessage),
  route('POST', '/api/v1/channels/{id}/messages/{message}/update', postMessage),
  route('GET', '/api/v1/automations/list', ownAutomations),
  route('POST', '/api/v1/automations/create', saveAutomation),
  route('POST', '/api/v1/automations/{id}/update', saveAutomation),
  route('POST', '/api/v1/automations/{id}/run', runAutomation),
  route('POST', '/api/v1/models/create', savePreset),
  route('POST', '/api/v1/models/model/update', savePreset),
  route('POST', '/api/v1/models/import', importPresets),
];
