/** What a request names that saves a chat, or a part of one. */
import { isObject } from './references.ts';
import type { ChatNames } from './saved-chat.ts';
import { CHAT_PARAMETERS, ChatReader } from './saved-chat.ts';

/** Which form the body has (routers/chats.py). */
export type ChatForm =
  /** `ChatForm`: the document, or the parts of it that change */
  | 'chat'
  /** `ChatsImportForm` (0.12), or one `ChatImportForm` (0.6) */
  | 'chat_import'
  /** the parameters themselves */
  | 'chat_parameters'
  /** a text, or an event of a message: names nothing that is kept */
  | 'message'
  /** a message is deleted, and what it answered may become unanswered */
  | 'message_deletion';

/** @param readings of the body, as `storedReadings` gives them @returns what a save names */
export function namesOfSave(form: ChatForm, readings: readonly unknown[]): ChatNames {
  const reader = new ChatReader();
  for (const body of readings) readForm(reader, form, body);
  return reader.names();
}

function readForm(reader: ChatReader, form: ChatForm, body: unknown): ChatReader {
  if (!isObject(body)) return reader;
  switch (form) {
    case 'chat':
      return reader.readChat(body['chat']);
    case 'chat_import':
      for (const one of [body, ...listOf(body['chats'])]) {
        if (isObject(one)) reader.readChat(one['chat']).readMeta(one['meta']);
      }
      return reader;
    case 'chat_parameters':
      return reader.readParameters(CHAT_PARAMETERS, body);
    case 'message':
    case 'message_deletion':
      return reader;
  }
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);
