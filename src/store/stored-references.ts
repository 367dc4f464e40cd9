/**
 * What stored objects name, read anew each time, in a thread. SQLite takes the documents apart, so that a chat's texts are
 * never parsed here. A document that cannot be read names `UNREADABLE`: Python reads forms that others do not.
 */
import { isObject, tryParseJson } from '../references/json.ts';
import { collectParameters } from '../references/references.ts';
import { CHAT_MODELS, ChatReader, UNREADABLE, everyName } from '../references/saved-chat.ts';
import { failureCode, type Connection } from './database.ts';
import type { Schema } from './schema.ts';

type Row = Readonly<Record<string, unknown>>;
/** Row by row: a chat may have any number of them. */
type Query = (id: string, list?: string | null) => Iterable<Row>;

/** Rows of a chat's messages, of which no more are counted. */
export const MANY_ROWS = 2_000;

/** Bytes of documents other than chats, read in some 10 ms: what is longer is no JSON, so that no request waits for it. */
export const MOST_NAMING = 1_000_000;

const bounded = (column: string): string =>
  `CASE WHEN octet_length(${column}) > ${MOST_NAMING} THEN '[' ELSE ${column} END`;

export type StoredReader = ReturnType<typeof prepareStoredReferences>;
export type StoredChat = NonNullable<ReturnType<StoredReader['chat']>>;

/**
 * Models that stored objects name and that a request would run without naming them itself: strings as stored, of which the
 * caller must refuse those that name no valid model.
 */
export function prepareStoredReferences(connection: Connection, schema: Schema) {
  const query = (present: boolean, sql: string): Query => {
    const statement = present ? connection.prepare<[Row], Row>(sql) : undefined;
    return (id, list) => statement?.iterate({ id, list }) ?? [];
  };
  const named = (present: boolean, source: string, toNames: (stored: unknown) => unknown[] = (model) => [model]) => {
    const rows = query(present, `SELECT ${source} WHERE id = $id`);
    return (id: string) => readable(() => [...rows(id)].flatMap((row) => toNames(row['stored'])));
  };
  const timer = query(schema.chatMeta, `SELECT ${bounded('meta')} AS meta FROM chat WHERE id = $id`);
  const many = `SELECT 1 FROM chat_message WHERE chat_id = $id LIMIT ${MANY_ROWS}`;
  const rows = schema.chatMessageDetails ? `(SELECT count(*) FROM (${many}))` : '0';
  const size = query(schema.chat, `SELECT octet_length(chat) AS bytes, ${rows} AS rows FROM chat WHERE id = $id`);
  return {
    sizeOf(chatId: string) {
      const [found] = [...size(chatId)];
      return { bytes: Number(found?.['bytes'] ?? 0), rows: Number(found?.['rows'] ?? 0) };
    },
    chat: prepareChat(query, schema),
    /** What the `run` of each timer's chat names: `chat.meta.run` with its `chat_context.params` (0.12). */
    ofTimers: (ids: readonly string[]) =>
      readable(() => {
        const reader = new ChatReader();
        let left = MOST_NAMING;
        for (const { meta } of ids.flatMap((id) => [...timer(id)])) {
          if (typeof meta === 'string') left -= meta.length;
          readJson(left < 0 ? '[' : meta, (value) => reader.readMeta(value), reader);
        }
        return everyName(reader.names());
      }),
    /** The model that answered a channel message. */
    ofChannelMessage: named(
      schema.channelMessage,
      `json_extract(${bounded('meta')}, '$.model_id') AS stored FROM message`,
    ),
    /** From 0.9. */
    ofAutomation: named(schema.automation, `json_extract(${bounded('data')}, '$.model_id') AS stored FROM automation`),
    /** Base and parameter models in the snapshot of an earlier version of a preset (0.12). */
    ofPresetVersion: named(
      schema.modelHistory,
      `${bounded('snapshot')} AS stored FROM model_history`,
      modelsOfSnapshot,
    ),
  };
}

function prepareChat(query: (present: boolean, sql: string) => Query, schema: Schema) {
  const chats = query(
    schema.chat,
    `SELECT user_id AS owner, instr(chat, '"internal"') > 0 AS internal FROM chat WHERE id = $id`,
  );
  const settings = query(schema.chat, SETTINGS);
  const history = query(schema.chat, messagesOf('history.messages', 'item.key'));
  const branch = query(schema.chat, messagesOf('messages', "coalesce(item.value ->> '$.id', '')"));
  const everyRow = query(schema.chatMessageDetails, rowsOf('chat_id = $id'));
  const chosenRows = query(
    schema.chatMessageDetails,
    rowsOf("id IN (SELECT $id || '-' || value FROM json_each($list))"),
  );

  function read(reader: ChatReader, id: string, places: readonly string[] | undefined): void {
    if (places === undefined || places.includes(CHAT_MODELS)) {
      for (const row of settings(id)) readJson(row['settings'], (value) => reader.readChat(value), reader);
    }
    if (places?.length === 0) return;
    const list = places === undefined ? null : JSON.stringify(places);
    for (const { id: at, message } of history(id, list)) {
      const place = String(at);
      readJson(message, (value) => reader.readHistory(place, value), reader, place);
    }
    const readNamed = (place: string, message: unknown) =>
      readJson(message, (value) => reader.readMessage(place || CHAT_MODELS, value), reader, place);
    for (const row of branch(id, list)) readNamed(String(row['id']), row['message']);
    for (const row of list === null ? everyRow(id) : chosenRows(id, list)) {
      readNamed(String(row['id']).slice(id.length + 1), row['message']);
    }
  }

  return (id: string, places: readonly string[] | undefined) => {
    const [chat] = [...chats(id)];
    if (chat === undefined) return undefined;
    const { owner, internal } = chat;
    const reader = new ChatReader();
    try {
      // which internal messages wait for an answer is known only from all others
      read(reader, id, internal === 1 ? undefined : places);
    } catch (error) {
      if (!isMalformedJson(error)) throw error;
      for (const place of [CHAT_MODELS, ...(places ?? [])]) reader.readUnreadable(place);
    }
    return {
      /** What its document and its rows of `chat_message` name. */
      names: reader.names(),
      /** Undefined where the row says none. */
      owner: typeof owner === 'string' ? owner : undefined,
      /** This release checks by itself whether a caller may continue the chat (from 0.8, with `chat_message`). */
      checkedByBackend: schema.chatMessage,
    };
  };
}

const SETTINGS = `
  SELECT json_object('models', chat -> '$.models', 'model', chat -> '$.model', 'model_id', chat -> '$.model_id',
    'params', chat -> '$.params') AS settings
  FROM chat WHERE id = $id`;

/** What of a message names models, or says whether it runs; `->` keeps JSON's own types. */
const PARTS = ['model', 'model_id', 'models', 'parentId', 'childrenIds', 'meta', 'output']
  .map((key) => `'${key}', item.value -> '$.${key}'`)
  .join();

/** Both places where the page keeps messages: the history by id, and the list of the branch that is shown. */
const messagesOf = (path: string, id: string): string => `
  SELECT ${id} AS id, json_object(${PARTS}) AS message FROM chat, json_each(chat.chat, '$.${path}') item
  WHERE chat.id = $id AND item.type = 'object' AND ($list IS NULL OR ${id} IN (SELECT value FROM json_each($list)))`;

/** The id of a row is `<chat>-<message>` (models/chat_messages.py, 0.12.4). */
const rowsOf = (condition: string): string => `
  SELECT id, json_object('model', model_id, 'meta', json(meta), 'output', json(output)) AS message
  FROM chat_message WHERE ${condition}`;

export function readJson(
  text: unknown,
  read: (value: unknown) => unknown,
  reader: ChatReader,
  place = CHAT_MODELS,
): void {
  if (typeof text !== 'string') return;
  const value = tryParseJson(text);
  if (value === undefined) reader.readUnreadable(place);
  else read(value);
}

export function modelsOfSnapshot(stored: unknown): unknown[] {
  const snapshot = typeof stored === 'string' ? tryParseJson(stored) : stored;
  if (!isObject(snapshot)) return [UNREADABLE];
  const { models, unreadable } = collectParameters(snapshot['params'], 'defined');
  return [snapshot['base_model_id'], ...models, unreadable === undefined ? undefined : UNREADABLE];
}

/** Keeps what names something; a document that is not JSON becomes `UNREADABLE`. */
export function readable(query: () => readonly unknown[]): readonly string[] {
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
