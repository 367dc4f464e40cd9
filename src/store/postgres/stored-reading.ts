/**
 * Reads what stored objects name: PostgreSQL sends the documents, and threads that run this very module read them, as with a file.
 * A `json` of PostgreSQL may hold what its own functions cannot take apart (`\u0000`).
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { PostgresAddress } from '../../config/postgres-url.ts';
import { answerAs } from '../../reading/lane.ts';
import { isObject, tryParseJson } from '../../references/json.ts';
import { CHAT_MODELS, ChatReader, UNREADABLE, everyName } from '../../references/saved-chat.ts';
import type { StoredReading } from '../stored-reading.ts';
import { createStoredLanes, isLongChat, readBounded } from '../stored-lanes.ts';
import { type StoredChat, modelsOfSnapshot, readJson, readable } from '../stored-references.ts';
import { RenewedLane } from './renewed-lane.ts';
import { type Query, askingOn } from './chat-saves.ts';
import { type Layout, readLayout } from './layout.ts';
import { isUnaskable } from './parts.ts';

interface ChatDocument {
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

type Documents =
  | { readonly kind: 'chat'; readonly document: ChatDocument }
  | { readonly kind: 'timers' | 'model_id' | 'snapshot'; readonly texts: readonly (string | null)[] };

const LONG_DEADLINE_MS = 10_000;

/** @param address for a connection of their own to read long chats by, closed where none is read */
export function createPostgresStoredReading(slow: RenewedLane<Layout>, address: PostgresAddress): StoredReading {
  const long = new RenewedLane({
    ...{ address, queryTimeoutMs: LONG_DEADLINE_MS, applicationName: 'modelgate, long chats' },
    prepare: (connection) => readLayout(connection, address.schema ?? 'public'),
  });
  const lanes = createStoredLanes({ script: new URL(import.meta.url), workerData: { documents: true } }, 768);
  const asked = askingOn(slow);
  const askedLong = askingOn(long);
  const inTurn = createTurns();

  /** @returns models that one column of the rows with these ids names */
  async function named(
    ids: readonly string[],
    table: string,
    column: string,
    kind: 'timers' | 'model_id' | 'snapshot',
  ) {
    const texts = await asked(async (query, { at, has }) => {
      const askable = ids.filter((id) => !isUnaskable(id));
      if (!has(table, 'id', column) || askable.length === 0) return [];
      const sql = `SELECT ${column}::text AS document FROM ${at(table)} WHERE id = ANY($1::text[])`;
      return (await query<{ document: string | null }>(sql, [askable])).map(({ document }) => document);
    });
    return (await lanes.read({ kind, texts } satisfies Documents)) as readonly string[];
  }

  return {
    async chat(id, places, payer) {
      const mayBeLong = await asked((query, layout) => isStoredLong(query, layout, id));
      const read = (query: Query, layout: Layout) => readChat(query, layout, id, places);
      // within its turn: the next one has a connection of its own
      const readLong = () => askedLong((query, layout) => read(query, layout).finally(() => long.renew()));
      const found = await (mayBeLong ? inTurn(payer, readLong) : asked(read));
      if (found === undefined) return undefined;
      const { document, isLong } = found;
      return (await lanes.read({ kind: 'chat', document } satisfies Documents, { isLong, payer })) as StoredChat;
    },
    ofTimers: (ids) => named(ids, 'chat', 'meta', 'timers'),
    ofChannelMessage: (id) => named([id], 'message', 'meta', 'model_id'),
    ofAutomation: (id) => named([id], 'automation', 'data', 'model_id'),
    ofPresetVersion: (id) => named([id], 'model_history', 'snapshot', 'snapshot'),
    close: lanes.close,
  };
}

/** Each of a payer's readings begins when that before it has ended: so many of one payer delay one of another by one. */
function createTurns() {
  const last = new Map<string | undefined, Promise<unknown>>();
  return async <T>(payer: string | undefined, read: () => Promise<T>): Promise<T> => {
    const turn = Promise.resolve(last.get(payer)).then(read);
    const ended = turn.catch(() => undefined);
    last.set(payer, ended);
    await ended;
    if (last.get(payer) === ended) last.delete(payer);
    return turn;
  };
}

/** As it is stored, compressed: up to here it is read in some 20 ms. */
const STORED_BYTES = 64_000;

/** By what the rows say of their sizes: no document is unpacked for that. */
async function isStoredLong(query: Query, { at, has }: Layout, id: string): Promise<boolean> {
  if (isUnaskable(id) || !has('chat', 'id', 'chat')) return false;
  const details = `SELECT sum(coalesce(pg_column_size(meta), 0) + coalesce(pg_column_size(output), 0))
    FROM ${at('chat_message')} WHERE chat_id = $1`;
  const [chat] = await query<{ bytes: number }>(
    `SELECT (pg_column_size(chat) + coalesce((${hasDetails({ has }) ? details : 'SELECT 0'}), 0))::int8 AS bytes
     FROM ${at('chat')} WHERE id = $1`,
    [id],
  );
  return (chat?.bytes ?? 0) > STORED_BYTES;
}

const hasDetails = ({ has }: Pick<Layout, 'has'>): boolean => has('chat_message', 'id', 'model_id', 'meta', 'output');

/** @returns undefined where there is no such chat @throws GatewayError `chat_too_complex` */
async function readChat(query: Query, { at, has }: Layout, id: string, places: readonly string[] | undefined) {
  if (isUnaskable(id) || !has('chat', 'id', 'chat')) return undefined;
  const sized = await query<{ bytes: number }>(
    `SELECT octet_length(chat::text) AS bytes FROM ${at('chat')} WHERE id = $1`,
    [id],
  );
  const bytes = sized[0]?.bytes ?? 0;
  // before it is sent
  isLongChat({ bytes, rows: 0 });
  const [chat] = await query<{ owner: unknown; chat: string | null }>(
    `SELECT user_id AS owner, chat::text AS chat FROM ${at('chat')} WHERE id = $1`,
    [id],
  );
  if (chat === undefined) return undefined;
  const rows = hasDetails({ has })
    ? await query<ChatDocument['rows'][number]>(
        `SELECT id, model_id, meta::text AS meta, output::text AS output FROM ${at('chat_message')} WHERE chat_id = $1`,
        [id],
      )
    : [];
  const document = { id, ...chat, rows, checkedByBackend: has('chat_message', 'chat_id', 'model_id'), places };
  return { document, isLong: isLongChat({ bytes, rows: rows.length }) };
}

// What follows runs in the threads alone.

function readDocuments(documents: Documents): StoredChat | readonly string[] {
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

if (isObject(workerData) && workerData['documents'] === true) {
  parentPort?.on('message', (documents: Documents) => {
    void answerAs(() => readBounded(() => readDocuments(documents))).then((answered) =>
      parentPort?.postMessage(answered),
    );
  });
}
