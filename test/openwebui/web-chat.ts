/** A question in a new chat by the HTTP requests of the web page, without a browser. */
import { randomUUID } from 'node:crypto';
import { type Account, BackendAnswerError, call, send } from './backend-client.ts';
import type { Release } from './release.ts';

export interface WebChat {
  readonly id: string;
  /** Of the message that is to hold the answer. */
  readonly answerId: string;
}

/** What the page shows of an answer. */
export interface StoredAnswer {
  readonly content?: string;
  readonly error?: { readonly content: unknown };
  readonly followUps?: readonly string[];
}

/** Title and tags of a new chat, and questions that may follow: the page's own defaults. */
const BACKGROUND = { title_generation: true, tags_generation: true, follow_up_generation: true };

/**
 * 0.6.18's page stores the chat and then asks; with 0.12.4 the backend stores it when it is asked (Chat.svelte).
 * The answer comes in the background.
 *
 * @throws BackendAnswerError
 */
export async function askInNewChat(
  account: Account,
  version: Release,
  model: string,
  content: string,
): Promise<WebChat> {
  const ids = { user: randomUUID(), answer: randomUUID() };
  const question = { id: ids.user, parentId: null, childrenIds: [ids.answer], role: 'user', content, models: [model] };
  const stored = version === '0.6.18' ? await storeChat(account, model, question, ids.answer) : undefined;
  const asked = {
    ...{ stream: true, model, messages: [{ role: 'user', content }], params: {}, features: {}, variables: {} },
    ...{ session_id: randomUUID(), id: ids.answer, background_tasks: BACKGROUND },
    ...(stored === undefined ? { parent_id: null, user_message: question } : { chat_id: stored }),
  };
  const answer = (await call(account, 'POST', '/api/chat/completions', asked)) as { chat_id?: string };
  return { id: stored ?? String(answer.chat_id), answerId: ids.answer };
}

async function storeChat(account: Account, model: string, question: object & { id: string }, answerId: string) {
  const answer = { id: answerId, parentId: question.id, childrenIds: [], role: 'assistant', content: '', model };
  const history = { currentId: answerId, messages: { [question.id]: question, [answerId]: answer } };
  const chat = { title: 'New Chat', models: [model], params: {}, tags: [], messages: [question, answer], history };
  return ((await call(account, 'POST', '/api/v1/chats/new', { chat })) as { id: string }).id;
}

export async function readChat(account: Account, { id, answerId }: WebChat) {
  const { title, chat } = (await call(account, 'GET', `/api/v1/chats/${id}`)) as {
    title: string;
    chat: { history: { messages: Record<string, StoredAnswer> } };
  };
  return { title, answer: chat.history.messages[answerId] };
}

/** @returns how a question was refused that had to be */
export async function refusalOf(asking: Promise<unknown>): Promise<BackendAnswerError> {
  const error: unknown = await asking.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof BackendAnswerError) return error;
  throw new Error('this had to be refused', { cause: error });
}

export interface Upload {
  /** What the page shows; undefined where the file can be used. */
  readonly error: string | undefined;
}

/** A text file as the page uploads it; waits until the backend has embedded it or has given up. */
export async function uploadFile(account: Account, version: Release, text: string): Promise<Upload> {
  const form = new FormData();
  form.append('file', new File([text], 'notes.txt', { type: 'text/plain' }));
  const headers = { authorization: `Bearer ${account.token}` };
  const response = await fetch(`${account.url}/api/v1/files/`, { method: 'POST', headers, body: form });
  const { id, error } = (await response.json()) as { id: string; error?: string };
  if (version === '0.6.18') return { error };
  const events = await (await send(account, 'GET', `/api/v1/files/${id}/process/status?stream=true`)).text();
  const last = events.trim().split('\n\n').at(-1)?.replace('data: ', '') ?? '{}';
  const { status, error: why } = JSON.parse(last) as { status: string; error?: string };
  return { error: status === 'completed' ? undefined : why };
}
