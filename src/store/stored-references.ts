/**
 * Models that stored objects name, read anew each time: a chat changes with every message. SQLite takes the documents
 * apart, four times faster than parsing them here: 0.4 ms for a chat of 100 KB, 4 ms for one of 3 MB.
 *
 * Where a document cannot be read as JSON, `UNREADABLE` stands for what it might name: Python reads forms that others
 * do not, and "names nothing" would be a way round the policy.
 */
import { failureCode } from './database.ts';
import type { Connection } from './database.ts';
import { namedModels, parseJson } from './parameter-models.ts';
import type { Schema } from './schema-reader.ts';
import type { StoredReferences } from './store-view.ts';

/** Not an id of any model: `parseModelId` refuses the control character. */
export const UNREADABLE = '\u0000';

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
  const chat = prepareChat(query, schema);
  return {
    ofChat: (id) => readable(() => chat.everything(id)),
    ofChatMessages: (id, messages) => readable(() => [...chat.messages(id, messages), ...chat.pending(id)]),
    ofToolApproval: (id, messageId) => readable(() => [...chat.toolApproval(id, messageId), ...chat.pending(id)]),
    ofTimer: (id) => readable(() => chat.timer(id)),
    ofAnsweredRuns: (id) => readable(() => chat.answered(id)),
    ofChannelMessage: (id) => readable(() => message(id).map((row) => row['model'])),
    ofAutomation: (id) => readable(() => automation(id).map((row) => row['model'])),
    ofPresetVersion: (id) =>
      readable(() =>
        version(id).flatMap((row) => {
          const snapshot = document(row['snapshot']);
          return [snapshot['base_model_id'], ...namedModels(snapshot['params'])];
        }),
      ),
  };
}

function prepareChat(query: (present: boolean, sql: string) => Query, schema: Schema) {
  const everything = query(schema.chat, EVERY_MODEL_OF_CHAT);
  const everyRow = query(schema.chatMessage, 'SELECT DISTINCT model_id AS model FROM chat_message WHERE chat_id = $id');
  const inDocument = query(schema.chat, MESSAGES_OF_DOCUMENT);
  const inRows = query(schema.chatMessageDetails, MESSAGE_ROWS);
  const pending = query(schema.chat, internalMessages('= 0'));
  const answered = query(schema.chat, internalMessages('> 0'));
  const timer = query(schema.chatMeta, TIMER_RUN);
  const settings = query(
    schema.chat,
    "SELECT json_extract(chat, '$.models[0]') AS model, json_extract(chat, '$.params') AS params FROM chat WHERE id = $id",
  );
  const ofTimer = (id: string): unknown[] => timer(id).flatMap((run) => [run['model'], ...parametersOf(run['params'])]);
  const found = (id: string, messages: readonly string[]): Row[] => {
    const list = JSON.stringify(messages);
    return [...inRows(id, list), ...inDocument(id, list)];
  };
  return {
    everything: (id: string) => [
      ...[...everything(id), ...everyRow(id)].map((row) => row['model']),
      ...settings(id).flatMap((row) => parametersOf(row['params'])),
    ],
    messages: (id: string, messages: readonly string[]) =>
      messages.length === 0
        ? []
        : found(id, messages).flatMap((row) => [row['model'], ...toolCallModels(row['output'])]),
    toolApproval: (id: string, messageId: string) => {
      const chosen = found(id, [messageId]);
      const chat = settings(id);
      const own = chosen.map((row) => row['model']).filter(isNamed);
      return [
        ...(own.length > 0 ? own : chat.map((row) => row['model'])),
        ...[...chosen, ...chat].flatMap((row) => parametersOf(row['params'])),
        ...chosen.flatMap((row) => toolCallModels(row['output'])),
      ];
    },
    timer: ofTimer,
    answered: (id: string) => answered(id).map((row) => row['model']),
    // what the message names and what its timer names: which of the two runs is the backend's affair
    pending: (id: string) =>
      pending(id).flatMap((row) => {
        const run = typeof row['timer'] === 'string' ? ofTimer(row['timer']) : [];
        return [row['model'], ...run];
      }),
  };
}

/** The chat's own list, and each message's model in both places where the interface keeps messages. */
const EVERY_MODEL_OF_CHAT = `
  SELECT DISTINCT item.value AS model FROM chat, json_each(chat.chat, '$.models') item WHERE chat.id = $id
  UNION SELECT json_extract(item.value, '$.model') FROM chat, json_each(chat.chat, '$.history.messages') item
    WHERE chat.id = $id AND item.type = 'object'
  UNION SELECT json_extract(item.value, '$.model') FROM chat, json_each(chat.chat, '$.messages') item
    WHERE chat.id = $id AND item.type = 'object'`;

const MESSAGES_OF_DOCUMENT = `
  SELECT json_extract(item.value, '$.model') AS model, json_extract(item.value, '$.meta.params') AS params,
    json_extract(item.value, '$.output') AS output
  FROM chat, json_each(chat.chat, '$.history.messages') item
  WHERE chat.id = $id AND item.type = 'object' AND item.key IN (SELECT value FROM json_each($list))`;

/** The id of a row is `<chat>-<message>` (models/chat_messages.py, 0.12.4). */
const MESSAGE_ROWS = `
  SELECT model_id AS model, json_extract(meta, '$.params') AS params, output
  FROM chat_message WHERE id IN (SELECT $id || '-' || value FROM json_each($list))`;

/**
 * Without children: what the backend runs by itself after the next completion (utils/subagents.py, 0.12.4), taken a
 * little wider.
 */
const internalMessages = (children: '= 0' | '> 0') => `
  SELECT json_extract(item.value, '$.model') AS model, json_extract(item.value, '$.meta.timer_id') AS timer
  FROM chat, json_each(chat.chat, '$.history.messages') item
  WHERE chat.id = $id AND item.type = 'object' AND instr(item.value, '"internal"') > 0
    AND json_type(item.value, '$.meta.internal') = 'true' AND json_extract(item.value, '$.role') = 'user'
    AND coalesce(json_array_length(item.value, '$.childrenIds'), 0) ${children}`;

const TIMER_RUN = `
  SELECT json_extract(meta, '$.run.model_id') AS model, json_extract(meta, '$.run.chat_context.params') AS params
  FROM chat WHERE id = $id`;

/** Runs a query and keeps what names something; a document that is not JSON becomes `UNREADABLE`. */
function readable(query: () => unknown[]): readonly string[] {
  try {
    const named = query().filter(isNamed);
    return [...new Set(named.map((value) => (typeof value === 'string' ? value : UNREADABLE)))];
  } catch (error) {
    if (failureCode(error) === 'SQLITE_ERROR' && error instanceof Error && /JSON/i.test(error.message))
      return [UNREADABLE];
    throw error;
  }
}

/** As Python's `or` sees it: the interface stores an empty string where no model was chosen. */
const isNamed = (value: unknown): boolean => value !== null && value !== undefined && value !== '';

const parametersOf = (stored: unknown): readonly string[] =>
  typeof stored === 'string' ? namedModels(parseJson(stored) ?? UNREADABLE_PARAMETERS) : [];

const UNREADABLE_PARAMETERS = { model: UNREADABLE };

/**
 * A stored tool call that waits for approval is run without asking any model: one of the backend's automation tools
 * then writes the model it names (tools/builtin.py `update_automation`, 0.12.4).
 */
function toolCallModels(output: unknown): unknown[] {
  if (typeof output !== 'string' || !output.includes('automation')) return [];
  const calls = parseJson(output);
  if (!Array.isArray(calls)) return [UNREADABLE];
  return calls.filter(isDocument).flatMap((call) => {
    const name = call['name'];
    if (typeof name !== 'string' || !name.includes('automation')) return [];
    return document(call['arguments'])['model_id'];
  });
}

type Document = Readonly<Record<string, unknown>>;

const isDocument = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function document(stored: unknown): Document {
  if (isDocument(stored)) return stored;
  if (typeof stored !== 'string' || stored === '') return {};
  const value = parseJson(stored);
  return isDocument(value) ? value : value === null ? {} : { base_model_id: UNREADABLE, model_id: UNREADABLE };
}
