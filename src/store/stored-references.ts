/**
 * What stored objects name, read anew each time: a chat changes with every message. SQLite takes the documents apart, so
 * that a chat's texts are never parsed here. Runs in a thread (`stored-thread.ts`).
 *
 * A document that cannot be read names `UNREADABLE`: Python reads forms that others do not, and "names nothing" would be
 * a way round the policy.
 */
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { CHAT_MODELS, ChatReader, UNREADABLE, everyName } from '../references/saved-chat.ts';
import { failureCode, type Connection } from './database.ts';
import type { Schema } from './schema-reader.ts';
import type { StoredChat } from './store-view.ts';

type Row = Readonly<Record<string, unknown>>;
type Query = (id: string, list?: string) => Iterable<Row>;

/** How much a reading would have to look through. */
interface ChatSize {
  readonly bytes: number;
  /** Rows of messages; no more than `MANY_ROWS` are counted. */
  readonly rows: number;
}

export const MANY_ROWS = 2_000;

/** `StoredReferences` on one connection, in this thread. */
export interface StoredReader {
  sizeOf(chatId: string): ChatSize;
  chat(chatId: string, places: readonly string[] | undefined): StoredChat | undefined;
  ofTimers(ids: readonly string[]): readonly string[];
  ofChannelMessage(id: string): readonly string[];
  ofAutomation(id: string): readonly string[];
  ofPresetVersion(id: string): readonly string[];
}

export function prepareStoredReferences(connection: Connection, schema: Schema): StoredReader {
  // Row by row: a chat may have any number of them
  const query = (present: boolean, sql: string): Query => {
    const statement = present ? connection.prepare<[Row], Row>(sql) : undefined;
    return (id, list) => statement?.iterate({ id, list }) ?? [];
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
  const bytes = query(schema.chat, 'SELECT octet_length(chat) AS size FROM chat WHERE id = $id');
  const rows = query(
    schema.chatMessageDetails,
    `SELECT count(*) AS size FROM (SELECT 1 FROM chat_message WHERE chat_id = $id LIMIT ${MANY_ROWS})`,
  );
  const sizeIn = (size: Query, id: string) => [...size(id)].reduce((sum, row) => sum + Number(row['size'] ?? 0), 0);
  return {
    sizeOf: (id) => ({ bytes: sizeIn(bytes, id), rows: sizeIn(rows, id) }),
    chat: prepareChat(query, schema),
    ofTimers: (ids) =>
      readable(() => {
        const reader = new ChatReader();
        for (const id of ids) {
          for (const { meta } of timer(id)) readJson(meta, (value) => reader.readMeta(value), reader);
        }
        return everyName(reader.names());
      }),
    ofChannelMessage: (id) => readable(() => [...message(id)].map((row) => row['model'])),
    ofAutomation: (id) => readable(() => [...automation(id)].map((row) => row['model'])),
    ofPresetVersion: (id) => readable(() => [...version(id)].flatMap((row) => modelsOfSnapshot(row['snapshot']))),
  };
}

function prepareChat(query: (present: boolean, sql: string) => Query, schema: Schema): StoredReader['chat'] {
  const chats = query(
    schema.chat,
    `SELECT user_id AS owner, instr(chat, '"internal"') > 0 AS internal FROM chat WHERE id = $id`,
  );
  const settings = query(schema.chat, SETTINGS);
  const every = query(schema.chat, messagesOf('history.messages', 'item.key'));
  const everyOfBranch = query(schema.chat, messagesOf('messages', ID_IN_BRANCH));
  const chosen = query(schema.chat, messagesOf('history.messages', 'item.key', IS_CHOSEN));
  const chosenOfBranch = query(schema.chat, messagesOf('messages', ID_IN_BRANCH, IS_CHOSEN));
  const everyRow = query(schema.chatMessageDetails, rowsOf('chat_id = $id'));
  const chosenRows = query(
    schema.chatMessageDetails,
    rowsOf("id IN (SELECT $id || '-' || value FROM json_each($list))"),
  );

  function read(reader: ChatReader, id: string, places: readonly string[] | undefined): void {
    if (places === undefined || places.includes(CHAT_MODELS)) {
      for (const row of settings(id)) readJson(row['settings'], (value) => reader.readChat(value), reader);
    }
    const list = JSON.stringify(places ?? []);
    const documents: [boolean, Query][] = [
      [true, places === undefined ? every : chosen],
      [false, places === undefined ? everyOfBranch : chosenOfBranch],
    ];
    if (places?.length === 0) return;
    for (const [history, messages] of documents) {
      for (const row of messages(id, list)) readMessage(reader, String(row['id']), row['message'], history);
    }
    for (const row of places === undefined ? everyRow(id) : chosenRows(id, list)) {
      readMessage(reader, String(row['id']).slice(id.length + 1), row['message'], false);
    }
  }

  return (id, places) => {
    const [chat] = [...chats(id)];
    if (chat === undefined) return undefined;
    const reader = new ChatReader();
    try {
      // Which internal messages wait for an answer is known only from all others
      read(reader, id, chat['internal'] === 1 ? undefined : places);
    } catch (error) {
      if (!isMalformedJson(error)) throw error;
      for (const place of [CHAT_MODELS, ...(places ?? [])]) reader.readUnreadable(place);
    }
    const owner = typeof chat['owner'] === 'string' ? chat['owner'] : undefined;
    return { names: reader.names(), owner, checkedByBackend: schema.chatMessage } satisfies StoredChat;
  };
}

/** The chat without its messages. */
const SETTINGS = `
  SELECT json_object('models', chat -> '$.models', 'model', chat -> '$.model', 'model_id', chat -> '$.model_id',
    'params', chat -> '$.params') AS settings
  FROM chat WHERE id = $id`;

/** What of a message names models, or says whether it runs; `->` keeps JSON's own types. */
const PARTS = ['model', 'model_id', 'models', 'parentId', 'childrenIds', 'meta', 'output'];
const partsOf = (json: string): string =>
  `json_object(${PARTS.map((key) => `'${key}', ${json} -> '$.${key}'`).join()})`;

/** Both places where the page keeps messages: the history by id, and the list of the branch that is shown. */
const messagesOf = (path: string, id: string, condition = '1'): string => `
  SELECT ${id} AS id, ${partsOf('item.value')} AS message FROM chat, json_each(chat.chat, '$.${path}') item
  WHERE chat.id = $id AND item.type = 'object' AND ${condition.replace('ID', id)}`;
const ID_IN_BRANCH = "coalesce(item.value ->> '$.id', '')";
const IS_CHOSEN = 'ID IN (SELECT value FROM json_each($list))';

/** The id of a row is `<chat>-<message>` (models/chat_messages.py, 0.12.4). */
const rowsOf = (condition: string): string => `
  SELECT id, json_object('model', model_id, 'meta', json(meta), 'output', json(output)) AS message
  FROM chat_message WHERE ${condition}`;

function readMessage(reader: ChatReader, id: string, text: unknown, isHistory: boolean): void {
  const read = (message: unknown) =>
    isHistory ? reader.readHistory(id, message) : reader.readMessage(id || CHAT_MODELS, message);
  readJson(text, read, reader, id);
}

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
function readable(query: () => readonly unknown[]): readonly string[] {
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
