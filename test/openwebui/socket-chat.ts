/** A question whose answer comes as events of Socket.IO, as the web page asks it. */
import { randomUUID } from 'node:crypto';
import { type Socket, io } from 'socket.io-client';
import { withTimeout } from '../support/process/with-timeout.ts';
import { type Account, call } from './backend-client.ts';
import { question } from './tenants.ts';

/** The parts of `data.data` that carry what the model has said, in the releases that are tested. */
interface Said {
  /** 0.6.18: everything so far. */
  content?: string;
  choices?: { delta?: { content?: string } }[];
  /** 0.12.4: one more piece, and everything at the end. */
  delta?: string;
  output?: { content?: { text?: string }[] }[];
  done?: boolean;
}

interface ChatEvent {
  chat_id: string;
  message_id: string;
  data: { type: string; data: Said };
}

function spoken(before: string, { content, choices, delta, output }: Said): string {
  const whole = content ?? output?.flatMap((item) => item.content ?? []).map(({ text = '' }) => text);
  if (whole !== undefined) return typeof whole === 'string' ? whole : whole.join('');
  return before + (typeof delta === 'string' ? delta : (choices?.[0]?.delta?.content ?? ''));
}

/** Connects as the page does and waits until the backend has taken it in. */
export async function connectSocket(account: Account, transport: 'websocket' | 'polling'): Promise<Socket> {
  const socket = io(account.url, {
    path: '/ws/socket.io',
    transports: [transport],
    reconnection: false,
    forceNew: true,
    auth: { token: account.token },
  });
  const connected = new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('connect_error', reject);
  });
  await withTimeout(connected, 20_000, `Socket.IO connects by ${transport}`);
  await withTimeout(
    socket.emitWithAck('user-join', { auth: { token: account.token } }) as Promise<unknown>,
    20_000,
    'the backend knows the socket',
  );
  return socket;
}

/**
 * What the page does for one question: a stored chat, a completion that runs in the background, events back.
 * @returns the answer as it stood after each event
 */
export async function chatByEvents(account: Account, socket: Socket, model: string): Promise<string[]> {
  const ids = { user: randomUUID(), assistant: randomUUID() };
  const user = { id: ids.user, parentId: null, childrenIds: [ids.assistant], role: 'user', content: 'Who?' };
  const assistant = { id: ids.assistant, parentId: ids.user, childrenIds: [], role: 'assistant', content: '', model };
  const history = { currentId: ids.assistant, messages: { [ids.user]: user, [ids.assistant]: assistant } };
  const chat = { title: 'A chat', models: [model], messages: [user, assistant], history };
  const { id: chatId } = (await call(account, 'POST', '/api/v1/chats/new', { chat })) as { id: string };
  const texts: string[] = [];
  const finished = new Promise<void>((resolve) => {
    // 0.6.18 calls them `chat-events`, later releases `events`
    for (const name of ['events', 'chat-events']) {
      socket.on(name, ({ chat_id, message_id, data }: ChatEvent) => {
        if (chat_id !== chatId || message_id !== ids.assistant || !data.type.endsWith(':completion')) return;
        texts.push(spoken(texts.at(-1) ?? '', data.data));
        if (data.data.done === true) resolve();
      });
    }
  });
  const body = { ...question(model), stream: true, session_id: socket.id, chat_id: chatId, id: ids.assistant };
  await call(account, 'POST', '/api/chat/completions', body);
  await withTimeout(finished, 20_000, 'the last event of the answer');
  return texts;
}
