/** What a body says of models, as a small plain record: a long body is read in a thread, and only the record comes back. */
import { GatewayError } from '../errors.ts';
import { parseModelId } from '../policy/grant.ts';
import { bound, boundRecord } from './bounds.ts';
import { readCallFacts } from './call.ts';
import { isObject, parseStrictJson, storedReadings } from './json.ts';
import { type ReferenceRules, FAN_OUT, collectReferences, namesModels } from './references.ts';
import { type ChatNames, CHAT_PARAMETERS, ChatReader } from './saved-chat.ts';

/** By the kind of record that answers a question. */
const READERS = {
  invocation: readInvocation,
  call: readCall,
  presets: readPresets,
  save: readSave,
  any: readAny,
  form: readForm,
};

type Kind = keyof typeof READERS;
type Readers = { [K in Kind]: (typeof READERS)[K] };
/** What is asked of a body. Plain values, which a thread can be sent. */
export type BodyQuestion = { [K in Kind]: { readonly kind: K } & Parameters<Readers[K]>[1] }[Kind];
export type BodyRecords = { [K in Kind]: Awaited<ReturnType<Readers[K]>> };
export type BodyRecord = BodyRecords[Kind];

/** @throws GatewayError `body_unreadable` (400) where it is not clean JSON, `body_too_complex` (413) where it holds too much */
export async function readRecord(question: BodyQuestion, body: Buffer): Promise<BodyRecord> {
  const read = READERS[question.kind] as (body: Buffer, question: BodyQuestion) => BodyRecord | Promise<BodyRecord>;
  const record = await read(body, question);
  boundRecord(record);
  return record;
}

const parseOrEmpty = (body: Buffer): unknown => (body.length === 0 ? undefined : parseStrictJson(body));

const IDS_OF_RUN = ['chat_id', 'id', 'assistant_message_id'] as const;
const IDS = [...IDS_OF_RUN, 'reply_to_id', 'version_id'] as const;

export type InvocationRecord = ReturnType<typeof readInvocation>;

type InvocationRules = Readonly<{ rules: ReferenceRules; mentions: boolean; mayBeEmpty: boolean }>;

function readInvocation(body: Buffer, { mayBeEmpty, ...asked }: InvocationRules) {
  return invocationOf(mayBeEmpty ? parseOrEmpty(body) : parseStrictJson(body), body, asked);
}

/** A call to a provider. @param endpoint its name behind base and version */
function readCall(body: Buffer, { rules, endpoint }: Readonly<{ rules: ReferenceRules; endpoint: string }>) {
  const value = parseStrictJson(body);
  const invocation = invocationOf(value, body, { rules, mentions: false });
  return { ...invocation, facts: readCallFacts(body, value, endpoint) };
}

function invocationOf(value: unknown, body: Buffer, { rules, mentions }: Omit<InvocationRules, 'mayBeEmpty'>) {
  const form = isObject(value) ? value : {};
  const { model } = form;
  return {
    references: collectReferences(value, rules),
    namesModel: ['model', ...(rules.topLevel ?? [])].some((key) => text(form[key]) !== ''),
    model: text(model),
    hasOddModel: typeof (model ?? '') !== 'string',
    mentioned: mentions ? mentionedIn(text(form['content'])) : [],
    ...readFanOut(form[FAN_OUT]),
    written: readWritten(form, body),
    ids: Object.fromEntries(IDS.map((key) => [key, text(form[key])])) as Record<(typeof IDS)[number], string>,
    /** An id that is no text: the backend makes one of it, so that 7 finds the message "7". */
    hasOddId: IDS_OF_RUN.some((key) => typeof (form[key] ?? '') !== 'string'),
  };
}

/** From 0.9.0 each entry is a run of its own, also where several name the same model and message. */
function readFanOut(entries: unknown) {
  const runs = isObject(entries)
    ? Object.entries(entries)
    : listOf(entries).map((entry) => (isObject(entry) ? [entry['model_id'], entry['message_id']] : []));
  const named = new Map<string, number>();
  for (const [model] of runs) if (typeof model === 'string') named.set(model, (named.get(model) ?? 0) + 1);
  return {
    /** The runs that are asked for one by one, and how many of them name each model. */
    fanOut: { runs: runs.length, named },
    messageIds: runs.map(([, message]) => text(message)).filter(Boolean),
  };
}

/** The messages of the request are stored with the chat, as a save would (main.py `chat_completion`, from 0.9). */
function readWritten(form: Record<string, unknown>, body: Buffer): ChatNames {
  const reader = new ChatReader();
  for (const message of [form['user_message'], form['parent_message']]) {
    if (!isObject(message)) continue;
    for (const reading of storedReadings(message, body)) reader.readQuestion(text(message['id']), reading);
  }
  return reader.names();
}

/**
 * Models mentioned in a channel message, in the widest reading of any release.
 * Source: `utils/channels.py` `extract_mentions`, from 0.6.29; up to 0.12 the closing bracket was optional.
 */
function mentionedIn(content: string) {
  const names = new Set([...content.matchAll(MENTION)].map(([, model = '']) => model));
  // Text that cannot be an id names nothing; what else cannot be one is refused, whatever its length
  return [...names].flatMap((name) => {
    const likeText = LIKE_TEXT.test(name);
    return likeText && parseModelId(name) === undefined ? [] : [{ text: name.slice(0, LONGEST_MENTION), likeText }];
  });
}

const MENTION = /<@M:([^|>]+)/g;
const LONGEST_MENTION = 2_000;
/** Text and code that talk about mentions; an id might hold such a character too. */
const LIKE_TEXT = /^\s|[\r\n"'`]/;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

export type PresetForm = 'preset' | 'preset_list' | 'preset_switch';

export type PresetRow = NonNullable<ReturnType<typeof readPresets>>[number];

/**
 * The forms `ModelForm` and `ModelsImportForm` (routers/models.py, 0.6.18 and 0.12.4). By the query's id 0.6.18 updates a
 * row and stores the body's: both are looked at. @returns undefined where the body has another form
 */
function readPresets(body: Buffer, { form, queryId }: { form: PresetForm; queryId: string | undefined }) {
  const value = form === 'preset_switch' ? parseOrEmpty(body) : parseStrictJson(body);
  const forms = form === 'preset_list' ? (isObject(value) ? value['models'] : undefined) : [value ?? {}];
  if (!Array.isArray(forms)) return undefined;
  const rows = [];
  let names = 0;
  for (const one of forms) {
    if (!isObject(one)) return undefined;
    const given = [one['id'], queryId].filter((id) => id !== undefined);
    const ids = given.map(parseModelId).filter((id) => id !== undefined);
    const { models, unreadable } = collectReferences({ ...one, id: undefined }, { controls: 'defined' });
    if (unreadable !== undefined || given.length === 0 || ids.length < given.length) return undefined;
    const base = text(one['base_model_id']);
    // Where the row names no base, it would override a provider's model for all users
    const hasBase = base !== '' && !ids.some((id) => id === base);
    rows.push({ ids, hasBase, named: models });
    bound((names += ids.length + models.size), 'names of models');
  }
  return rows;
}

type ReadSaved = (reader: ChatReader, saved: Readonly<Record<string, unknown>>) => void;

/** Which form the body has (routers/chats.py). */
const CHAT_FORMS = {
  /** `ChatForm`: the document, or the parts of it that change. */
  chat: (reader, { chat }) => reader.readChat(chat),
  /** `ChatsImportForm` (0.12), or one `ChatImportForm` (0.6). */
  chat_import(reader, saved) {
    for (const one of [saved, ...listOf(saved['chats'])].filter(isObject)) {
      reader.readChat(one['chat']);
      reader.readMeta(one['meta']);
    }
  },
  /** The parameters themselves. */
  chat_parameters: (reader, saved) => reader.readParameters(CHAT_PARAMETERS, saved),
  /** A text, or an event of a message: names nothing that is kept. */
  message: () => undefined,
  /** A message is deleted, and what it answered may become unanswered. */
  message_deletion: () => undefined,
} satisfies Record<string, ReadSaved>;

export type ChatForm = keyof typeof CHAT_FORMS;

function readSave(body: Buffer, { form }: { form: ChatForm }): ChatNames {
  const reader = new ChatReader();
  const read: ReadSaved = CHAT_FORMS[form];
  for (const saved of storedReadings(parseOrEmpty(body), body).filter(isObject)) read(reader, saved);
  return reader.names();
}

/**
 * JSON or anything else. The content type never decides: raw-body handlers of the backend parse whatever comes. What begins
 * like JSON, in any encoding that Python reads, must be clean.
 */
function readAny(body: Buffer, _asked: object) {
  try {
    return collectReferences(parseStrictJson(body));
  } catch (error) {
    const isUnreadable = error instanceof GatewayError && error.code === 'body_unreadable';
    if (isUnreadable && !BEGINS_LIKE_JSON.test(body.toString('latin1', 0, 64))) return undefined;
    throw error;
  }
}

const BEGINS_LIKE_JSON = /^[\s\0\xef\xbb\xbf\xfe\xff]*[{[]/;

/** @returns what fields that name models hold, undefined where it is no text; undefined as a whole where it is no form */
async function readForm(body: Buffer, { contentType }: { contentType: string }) {
  const separator = /^\s*multipart\//i.test(contentType) ? '\r\n--' : '&';
  let fields = 0;
  for (let at = body.indexOf(separator); at !== -1; at = body.indexOf(separator, at + 1)) {
    bound(++fields, 'fields of a form');
  }
  try {
    const response = new Response(new Blob([new Uint8Array(body)]), { headers: { 'content-type': contentType } });
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- an admin's body, bounded in length and fields before
    const form = await response.formData();
    // what is no letter is taken out by some: a backslash, a space, the brackets of a list
    const named = [...form].filter(([name]) => namesModels(name.replace(/\W/g, '')));
    return named.map(([, value]) => (typeof value === 'string' ? value : undefined));
  } catch {
    return undefined;
  }
}
