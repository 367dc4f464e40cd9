import { randomUUID } from 'node:crypto';

import { call, listModelIds, type Account } from './backend-client.ts';

interface WithId {
  id: string;
}

/** Everyone may read and write; 0.8 and later want grants where earlier releases take a null `access_control`. */
const PUBLIC = {
  access_control: null,
  access_grants: ['read', 'write'].map((permission) => ({ principal_type: 'user', principal_id: '*', permission })),
};

export interface PresetFields {
  id: string;
  base_model_id: string | null;
  params?: Record<string, unknown>;
  meta?: Record<string, unknown>;
}

/** The body of the preset routes (`/api/v1/models/create`, `/model/update`). */
export function presetBody(preset: PresetFields): Record<string, unknown> {
  const { id, base_model_id, params = {}, meta = {} } = preset;
  return {
    id,
    base_model_id,
    name: `Preset ${id}`,
    params,
    meta: { capabilities: {}, ...meta },
    is_active: true,
    ...PUBLIC,
  };
}

/**
 * `POST /api/v1/models/create`, then a listing: the backend runs only what its newest list of models holds, which
 * every listing makes again (`app.state.MODELS`, both releases).
 */
export async function createPreset(account: Account, preset: PresetFields): Promise<void> {
  await call(account, 'POST', '/api/v1/models/create', presetBody(preset));
  await listModelIds(account);
}

/** `POST /api/v1/channels/create` by an admin, open to everyone. */
export async function createChannel(admin: Account, name: string): Promise<string> {
  return ((await call(admin, 'POST', '/api/v1/channels/create', { name, description: '', ...PUBLIC })) as WithId).id;
}

/** `POST /api/v1/channels/{id}/messages/post`; the id of the new message. */
export async function postChannelMessage(
  account: Account,
  channelId: string,
  content: string,
  fields: Record<string, unknown> = {},
): Promise<string> {
  const path = `/api/v1/channels/${channelId}/messages/post`;
  return ((await call(account, 'POST', path, { content, data: {}, meta: {}, ...fields })) as WithId).id;
}

export interface StoredExchange {
  chatId: string;
  userMessageId: string;
  assistantMessageId: string;
}

/** A chat document with one question and one answer by `model`, as the web page writes it. */
export function chatDocument(model: string, ids = { user: randomUUID(), assistant: randomUUID() }): object {
  const timestamp = 1_700_000_000;
  const user = { id: ids.user, parentId: null, childrenIds: [ids.assistant], role: 'user', content: 'Who?', timestamp };
  const assistant = {
    id: ids.assistant,
    parentId: ids.user,
    childrenIds: [],
    role: 'assistant',
    content: 'I.',
    timestamp,
  };
  const messages = [
    { ...user, models: [model] },
    { ...assistant, model, modelName: model, modelIdx: 0, done: true },
  ];
  const history = {
    currentId: ids.assistant,
    messages: Object.fromEntries(messages.map((message) => [message.id, message])),
  };
  return { title: 'A chat', models: [model], params: {}, files: [], tags: [], timestamp, history, messages };
}

/** `POST /api/v1/chats/new` with one exchange by `model`. */
export async function createChat(account: Account, model: string): Promise<StoredExchange> {
  const ids = { user: randomUUID(), assistant: randomUUID() };
  const chat = (await call(account, 'POST', '/api/v1/chats/new', { chat: chatDocument(model, ids) })) as WithId;
  return { chatId: chat.id, userMessageId: ids.user, assistantMessageId: ids.assistant };
}

/** `POST /api/v1/automations/create` (0.9 and later): runs a prompt with a model, once a day unless told otherwise. */
export async function createAutomation(account: Account, model: string, rrule = 'FREQ=DAILY'): Promise<string> {
  const data = { prompt: 'Say something.', model_id: model, rrule };
  return (
    (await call(account, 'POST', '/api/v1/automations/create', { name: 'Daily', data, is_active: true })) as WithId
  ).id;
}
