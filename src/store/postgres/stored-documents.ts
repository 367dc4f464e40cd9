/** What stored documents name, as `stored-references.ts` reads it from a file, where the whole document has been sent. */
import { isObject, tryParseJson } from '../../references/json.ts';
import { CHAT_MODELS, ChatReader, UNREADABLE, everyName } from '../../references/saved-chat.ts';
import { type StoredChat, modelsOfSnapshot, readJson, readable } from '../stored-references.ts';

export interface ChatDocument {
  readonly id: string;
  readonly owner: unknown;
  readonly chat: string | null;
  /** Of `chat_message`, with `meta` and `output` as text. */
  readonly rows: readonly (Readonly<Record<'id' | 'model_id', unknown>> &
    Readonly<Record<'meta' | 'output', string | null>>)[];
  readonly checkedByBackend: boolean;
  /** The messages that matter; undefined for all. */
  readonly places: readonly string[] | undefined;
}

export type Documents =
  | { readonly kind: 'chat'; readonly document: ChatDocument }
  | { readonly kind: 'timers' | 'model_id' | 'snapshot'; readonly texts: readonly (string | null)[] };

export function readDocuments(documents: Documents): StoredChat | readonly string[] {
  switch (documents.kind) {
    case 'chat':
      return readChatDocument(documents.document);
    case 'timers':
      return readable(() => {
        const reader = new ChatReader();
        for (const text of documents.texts) readJson(text, (value) => reader.readMeta(value), reader);
        return everyName(reader.names());
      });
    case 'model_id':
      return readable(() => documents.texts.map((text) => memberOf(text, 'model_id')));
    case 'snapshot':
      return readable(() => documents.texts.flatMap(modelsOfSnapshot));
  }
}

function memberOf(text: string | null, key: string): unknown {
  if (text === null) return undefined;
  const value = tryParseJson(text);
  if (value === undefined) return UNREADABLE;
  return isObject(value) ? value[key] : undefined;
}

function readChatDocument({ id, owner, chat, rows, checkedByBackend, places: asked }: ChatDocument): StoredChat {
  // which internal messages wait for an answer is known only from all others
  const places = chat?.includes('"internal"') === true ? undefined : asked;
  const reader = new ChatReader();
  const document = chat === null ? {} : tryParseJson(chat);
  if (document === undefined) for (const place of [CHAT_MODELS, ...(places ?? [])]) reader.readUnreadable(place);
  else readContent(reader, document, places);
  if (places?.length !== 0) {
    for (const { id: row, model_id: model, meta, output } of rows) {
      const place = String(row).slice(id.length + 1) || CHAT_MODELS;
      if (places !== undefined && !places.includes(place)) continue;
      const [readMeta, readOutput] = [meta, output].map((text) => (text === null ? null : tryParseJson(text)));
      if (readMeta === undefined || readOutput === undefined) reader.readUnreadable(place);
      reader.readMessage(place, { model, meta: readMeta, output: readOutput });
    }
  }
  return { names: reader.names(), owner: typeof owner === 'string' ? owner : undefined, checkedByBackend };
}

function readContent(reader: ChatReader, document: unknown, places: readonly string[] | undefined): void {
  if (!isObject(document)) return;
  const isAsked = (place: string): boolean => places === undefined || places.includes(place);
  const { models, model, model_id, params, history, messages } = document;
  if (isAsked(CHAT_MODELS)) reader.readChat({ models, model, model_id, params });
  const byId = isObject(history) && isObject(history['messages']) ? Object.entries(history['messages']) : [];
  for (const [place, message] of byId) if (isObject(message) && isAsked(place)) reader.readHistory(place, message);
  for (const message of Array.isArray(messages) ? (messages as unknown[]) : []) {
    if (!isObject(message)) continue;
    const { id } = message;
    const place = typeof id === 'string' || typeof id === 'number' ? String(id) : '';
    if (isAsked(place)) reader.readMessage(place || CHAT_MODELS, message);
  }
}
