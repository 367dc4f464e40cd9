/**
 * What stored objects name, read anew each time: a chat changes with every message. SQLite takes the documents apart, so
 * that a chat's texts are never parsed here.
 *
 * A document that cannot be read names `UNREADABLE`: Python reads forms that others do not, and "names nothing" would be
 * a way round the policy.
 */
import { tryParseJson } from '../references/exact-json.ts';
import { collectParameters, isObject } from '../references/references.ts';
import { CHAT_MODELS, ChatReader, UNREADABLE, everyName } from '../references/saved-chat.ts';
import { failureCode } from './database.ts';
import type { Connection } from './database.ts';
import type { Schema } from './schema-reader.ts';
import type { StoredChat, StoredReferences } from './store-view.ts';

type Row = Readonly<Record<string, unknown>>;
type Query = (id: string, list?: string) => Row[];

export function prepareStoredReferences(connection: Connection, schema: Schema): StoredReferences {
  const query = (present: boolean, sql: string): Query => {
    const statement = present ? connection.prepare<[Row], Row>(sql) : undefined;
    return (id, list) => statement?.all({ id, list }) ?? [];
  };
  const message = query(
    schema.channelMessage,
    "SELECT json_extract(meta, '$.model_id') AS model FROM message WHERE id = $id",
  );
  const automation = query(
    schema.automation,
    "SELECT json_extract(data, '$.model_id') AS model FROM automation WHERE id = $id",
  );
  const version = query(schema.modelHistory, 'SELECT snapshot FROM model_history WHERE id = $id');
  const timer = query(schema.chatMeta, 'SELECT meta FROM chat WHERE id = $id');
  return {
    chat: prepareChat(query, schema),
    ofTimer: (id) =>
      readable(() => {
        const reader = new ChatReader();
        for (const { meta } of timer(id)) readJson(meta, (value) => reader.readMeta(value), reader);
        return [...everyName(reader)];
      }),
    ofChannelMessage: (id) => readable(() => message(id).map((row) => row['model'])),
    ofAutomation: (id) => readable(() => automation(id).map((row) => row['model'])),
    ofPresetVersion: (id) => readable(() => version(id).flatMap((row) => modelsOfSnapshot(row['snapshot']))),
  };
}

function prepareChat(query: (present: boolean, sql: string) => Query, schema: Schema): StoredReferences['chat'] {
  const chats = query(schema.chat, CHAT);
  const every = query(schema.chat, messagesOf('1'));
  const chosen = query(schema.chat, messagesOf('item.id IN (SELECT value FROM json_each($list))'));
  const everyRow = query(schema.chatMessageDetails, rowsOf('chat_id = $id'));
  const chosenRows = query(
    schema.chatMessageDetails,
    rowsOf("id IN (SELECT $id || '-' || value FROM json_each($list))"),
  );
  return (id, messages) => {
    const [chat] = chats(id);
    if (chat === undefined) return undefined;
    const reader = new ChatReader();
    // Which internal messages wait for an answer is known only from all others
    const whole = messages === undefined || chat['internal'] === 1;
    const list = JSON.stringify(messages ?? []);
    try {
      readJson(chat['settings'], (value) => reader.readChat(value), reader);
      for (const row of whole ? every(id) : chosen(id, list))
        readMessage(reader, String(row['id']) || CHAT_MODELS, row['message']);
      for (const row of whole ? everyRow(id) : chosenRows(id, list)) {
        readMessage(reader, String(row['id']).slice(id.length + 1), row['message']);
      }
    } catch (error) {
      if (!isMalformedJson(error)) throw error;
      for (const place of [CHAT_MODELS, ...(messages ?? [])]) reader.readUnreadable(place);
    }
    const owner = typeof chat['owner'] === 'string' ? chat['owner'] : undefined;
    return { names: reader, owner, checkedByBackend: schema.chatMessage } satisfies StoredChat;
  };
}

/** Without its messages. */
const CHAT = `
  SELECT user_id AS owner, instr(chat, '"internal"') > 0 AS internal,
    CASE WHEN json_valid(chat, 2)
      THEN json_object('models', chat -> '$.models', 'model', chat -> '$.model', 'model_id', chat -> '$.model_id',
        'params', chat -> '$.params')
      ELSE chat END AS settings
  FROM chat WHERE id = $id`;

/** What of a message names models, or says whether it runs; `->` keeps JSON's own types. */
const PARTS = ['id', 'role', 'model', 'model_id', 'models', 'parentId', 'meta', 'output'];
const partsOf = (json: string): string =>
  `json_object(${PARTS.map((key) => `'${key}', ${json} -> '$.${key}'`).join()})`;

/** Both places where the page keeps messages: the history by id, and the list of the branch that is shown. */
const messagesOf = (condition: string): string => `
  SELECT id, message FROM (
    SELECT item.key AS id, ${partsOf('item.value')} AS message
    FROM chat, json_each(chat.chat, '$.history.messages') item WHERE chat.id = $id AND item.type = 'object'
    UNION ALL
    SELECT coalesce(item.value ->> '$.id', ''), ${partsOf('item.value')}
    FROM chat, json_each(chat.chat, '$.messages') item WHERE chat.id = $id AND item.type = 'object'
  ) item WHERE ${condition}`;

/** The id of a row is `<chat>-<message>` (models/chat_messages.py, 0.12.4). */
const rowsOf = (condition: string): string => `
  SELECT id, json_object('model', model_id, 'parentId', parent_id, 'meta', json(meta), 'output', json(output)) AS message
  FROM chat_message WHERE ${condition}`;

const readMessage = (reader: ChatReader, id: string, text: unknown): void =>
  readJson(text, (value) => reader.readMessage(id, value), reader, id);

function readJson(text: unknown, read: (value: unknown) => void, reader: ChatReader, place = CHAT_MODELS): void {
  if (typeof text !== 'string') return;
  const value = tryParseJson(text);
  if (value === undefined) reader.readUnreadable(place);
  else read(value);
}

/** Base and parameters of a preset's earlier version. */
function modelsOfSnapshot(stored: unknown): unknown[] {
  const snapshot = typeof stored === 'string' ? tryParseJson(stored) : stored;
  if (!isObject(snapshot)) return [UNREADABLE];
  const { models, unreadable } = collectParameters(snapshot['params'], 'defined');
  return [snapshot['base_model_id'], ...models, unreadable === undefined ? undefined : UNREADABLE];
}

/** Runs a query and keeps what names something; a document that is not JSON becomes `UNREADABLE`. */
function readable(query: () => unknown[]): readonly string[] {
  try {
    const named = query().filter((value) => value !== null && value !== undefined && value !== '');
    return [...new Set(named.map((value) => (typeof value === 'string' ? value : UNREADABLE)))];
  } catch (error) {
    if (isMalformedJson(error)) return [UNREADABLE];
    throw error;
  }
}

const isMalformedJson = (error: unknown): boolean =>
  failureCode(error) === 'SQLITE_ERROR' && error instanceof Error && /JSON/i.test(error.message);
