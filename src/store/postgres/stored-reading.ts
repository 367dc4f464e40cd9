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
import { type StoredChat, MANY_ROWS, MOST_NAMING, modelsOfSnapshot, readJson, readable } from '../stored-references.ts';
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
  | { readonly kind: NamedKind; readonly texts: readonly (string | null)[] };

/** Where documents stand that name models, beside chats. */
const COLUMNS = {
  timers: ['chat', 'meta'],
  message: ['message', 'meta'],
  automation: ['automation', 'data'],
  snapshot: ['model_history', 'snapshot'],
} as const;
type NamedKind = keyof typeof COLUMNS;

interface Question {
  readonly kind: Documents['kind'];
  readonly ids: readonly string[];
  readonly places?: readonly string[] | undefined;
}

/** Found in place of what takes its time: a thread fetches that by itself. */
const LONG = 'long';
const LONG_DEADLINE_MS = 10_000;

/** @param address for the thread of long documents: none of them passes the event loop, or a connection that others wait for */
export function createPostgresStoredReading(slow: RenewedLane<Layout>, address: PostgresAddress): StoredReading {
  const lanes = createStoredLanes({ script: new URL(import.meta.url), workerData: { documentsOf: address } }, 768);
  const asked = askingOn(slow);

  async function read(question: Question, payer?: string): Promise<unknown> {
    const found = await asked((query, layout) => find(query, layout, question, STORED_BYTES));
    if (found === undefined) return undefined;
    return lanes.read(found === LONG ? question : found, { isLong: found === LONG, payer });
  }
  const named = async (kind: NamedKind, ids: readonly string[]) =>
    ((await read({ kind, ids: ids.filter((id) => !isUnaskable(id)) })) ?? []) as readonly string[];

  return {
    chat: async (id, places, payer) =>
      (await read({ kind: 'chat', ids: [id], places }, payer)) as StoredChat | undefined,
    ofTimers: (ids) => named('timers', ids),
    ofChannelMessage: (id) => named('message', [id]),
    ofAutomation: (id) => named('automation', [id]),
    ofPresetVersion: (id) => named('snapshot', [id]),
    close: lanes.close,
  };
}

/** As it is stored, compressed: up to here it is read in some 20 ms. */
const STORED_BYTES = 64_000;
/** Of a row without anything: thousands of them take their time, too. */
const ROW_BYTES = STORED_BYTES / MANY_ROWS;

/**
 * @param most bytes as stored; they are known without unpacking a document
 * @returns undefined where there is nothing @throws GatewayError `chat_too_complex`
 */
async function find(query: Query, layout: Layout, { kind, ids, places }: Question, most: number) {
  const [table, column] = kind === 'chat' ? (['chat', 'chat'] as const) : COLUMNS[kind];
  const [id = ''] = ids;
  if (isUnaskable(id) || !layout.has(table, 'id', column)) return undefined;
  const details = `SELECT sum(coalesce(pg_column_size(meta), 0) + coalesce(pg_column_size(output), 0) + ${ROW_BYTES})
    FROM ${layout.at('chat_message')} WHERE chat_id = ANY($1::text[])`;
  const [stored] = await query<{ bytes: number }>(
    `SELECT (sum(pg_column_size(${column})) + coalesce((${kind === 'chat' && hasDetails(layout) ? details : 'SELECT 0'}), 0))::int8 AS bytes
     FROM ${layout.at(table)} WHERE id = ANY($1::text[])`,
    [ids],
  );
  if ((stored?.bytes ?? 0) > most) return LONG;
  if (kind === 'chat') return readChat(query, layout, id, places, most);
  const text = `${column}::text`;
  const rows = await query<{ document: string | null }>(
    `SELECT CASE WHEN sum(octet_length(${text})) OVER () > ${MOST_NAMING} THEN '[' ELSE ${text} END AS document
     FROM ${layout.at(table)} WHERE id = ANY($1::text[])`,
    [ids],
  );
  return { kind, texts: rows.map(({ document }) => document) } satisfies Documents;
}

const hasDetails = ({ has }: Pick<Layout, 'has'>): boolean => has('chat_message', 'id', 'model_id', 'meta', 'output');

async function readChat(query: Query, { at, has }: Layout, id: string, places: Question['places'], most: number) {
  const sized = await query<{ bytes: number }>(
    `SELECT octet_length(chat::text) AS bytes FROM ${at('chat')} WHERE id = $1`,
    [id],
  );
  const bytes = sized[0]?.bytes ?? 0;
  // before it is sent
  if (isLongChat({ bytes, rows: 0 }) && most === STORED_BYTES) return LONG;
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
  return { kind: 'chat', document } satisfies Documents;
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
    case 'message':
    case 'automation':
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

async function answer(message: Documents | Question, address: PostgresAddress): Promise<unknown> {
  const documents = 'ids' in message ? await fetchLong(message, address) : message;
  return documents === undefined ? undefined : readBounded(() => readDocuments(documents));
}

/** By a connection for this one alone. */
function fetchLong(question: Question, address: PostgresAddress) {
  const lane = new RenewedLane({
    ...{ address, queryTimeoutMs: LONG_DEADLINE_MS, applicationName: 'modelgate, long documents' },
    prepare: (connection) => readLayout(connection, address.schema ?? 'public'),
  });
  const found = askingOn(lane)((query, layout) => find(query, layout, question, Number.POSITIVE_INFINITY));
  return found.finally(() => lane.renew()) as Promise<Documents | undefined>;
}

if (isObject(workerData) && isObject(workerData['documentsOf'])) {
  const address = workerData['documentsOf'] as unknown as PostgresAddress;
  parentPort?.on('message', (message: Documents | Question) => {
    void answerAs(() => answer(message, address)).then((answered) => parentPort?.postMessage(answered));
  });
}
