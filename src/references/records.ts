/** What the body of a request says of models, by its kind: a request that runs models, one that writes presets, one that saves a chat. */
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { boundNames } from './bounds.ts';
import { isObject, isPresent, storedReadings } from './json.ts';
import { type ReferenceRules, type References, collectReferences, FAN_OUT } from './references.ts';
import { type ChatNames, CHAT_PARAMETERS, ChatReader } from './saved-chat.ts';

export interface InvocationRules {
  readonly rules: ReferenceRules;
  /** Models are mentioned in the text of a channel message. */
  readonly mentions: boolean;
}

export interface InvocationRecord {
  readonly references: References;
  /** The top level names a model as text, which is where the backend reads the request's own. */
  readonly namesModel: boolean;
  /** `model` is there and is no text. */
  readonly hasOddModel: boolean;
  /** Texts that mention models; `likeText`: only where there is such a model. */
  readonly mentioned: readonly { readonly text: string; readonly likeText: boolean }[];
  /** The runs that are asked for one by one, and how many of them name each model. */
  readonly fanOut: { readonly runs: number; readonly named: ReadonlyMap<string, number> };
  /** What the messages name that the backend stores with the chat. */
  readonly written: ChatNames;
  /** Texts at the top level: what they are the ids of. */
  readonly ids: Readonly<Record<IdKey, string>>;
  /** An id that is no text: the backend makes one of it, so that 7 finds the message "7". */
  readonly hasOddId: boolean;
  readonly model: string;
  /** Ids of messages that a fan-out names. */
  readonly messageIds: readonly string[];
}

type IdKey = (typeof ID_KEYS)[number];
const ID_KEYS = ['chat_id', 'id', 'assistant_message_id', 'reply_to_id', 'version_id'] as const;
const IDS_OF_RUN: readonly IdKey[] = ['chat_id', 'id', 'assistant_message_id'];

/** @param value parsed JSON; undefined where there was no body @param body its bytes */
export function readInvocation(value: unknown, body: Buffer, { rules, mentions }: InvocationRules): InvocationRecord {
  const form = isObject(value) ? value : {};
  const entries = form[FAN_OUT];
  const named = ['model', ...(rules.topLevel ?? [])].some((key) => text(form[key]) !== '');
  return {
    references: collectReferences(value, rules),
    namesModel: named,
    hasOddModel: isPresent(form['model']) && typeof form['model'] !== 'string',
    mentioned: mentions ? mentionedIn(text(form['content'])) : [],
    fanOut: countRuns(entries),
    written: readWritten(form, body),
    ids: Object.fromEntries(ID_KEYS.map((key) => [key, text(form[key])])) as Record<IdKey, string>,
    hasOddId: IDS_OF_RUN.some((key) => isPresent(form[key]) && typeof form[key] !== 'string'),
    model: text(form['model']),
    messageIds: messagesOfFanOut(entries).map(text).filter(Boolean),
  };
}

/** From 0.9.0 each entry is a run of its own, also where several name the same model and message. */
function countRuns(entries: unknown): InvocationRecord['fanOut'] {
  const runs = Array.isArray(entries)
    ? entries.map((entry: unknown) => (isObject(entry) ? entry['model_id'] : undefined))
    : isObject(entries)
      ? Object.keys(entries)
      : [];
  const named = new Map<string, number>();
  for (const model of runs) if (typeof model === 'string') named.set(model, (named.get(model) ?? 0) + 1);
  return { runs: runs.length, named };
}

function messagesOfFanOut(entries: unknown): readonly unknown[] {
  if (!Array.isArray(entries)) return isObject(entries) ? Object.values(entries) : [];
  return entries.map((entry: unknown) => (isObject(entry) ? entry['message_id'] : undefined));
}

/** Sources: main.py `chat_completion`, from 0.9: the messages of the request are stored with the chat, as a save would. */
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
function mentionedIn(content: string): InvocationRecord['mentioned'] {
  const mentioned = new Set([...content.matchAll(MENTION)].map(([, model = '']) => model));
  const all = [...mentioned].map((name) => ({ text: name, likeText: LIKE_TEXT.test(name) }));
  // Text that cannot be an id names nothing; what else cannot be one is refused, whatever its length
  return all
    .filter(({ text: name, likeText }) => !likeText || parseModelId(name) !== undefined)
    .map(({ text: name, likeText }) => ({ text: name.slice(0, LONGEST_MENTION), likeText }));
}

const MENTION = /<@M:([^|>]+)/g;
/** Longer than any id. */
const LONGEST_MENTION = 2_000;
/** Text and code that talk about mentions. An id might hold such a character; the backend runs none that it does not know. */
const LIKE_TEXT = /^\s|[\r\n"'`]/;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

export type PresetForm = 'preset' | 'preset_list' | 'preset_switch';

export interface PresetRow {
  readonly ids: readonly ModelId[];
  /** Where the row names no base, it would override a provider's model for all users. */
  readonly hasBase: boolean;
  readonly named: ReadonlySet<ModelId>;
}

export interface PresetRecord {
  readonly rows: readonly PresetRow[];
}

/**
 * @param body parsed JSON of the forms `ModelForm` and `ModelsImportForm` (routers/models.py, 0.6.18 and 0.12.4)
 * @param queryId the id of the query: 0.6.18 updates its row and stores the body's, so that both are looked at
 * @returns undefined where the body has not the form that the backend reads
 */
export function readPresets(body: unknown, form: PresetForm, queryId: string | undefined): PresetRecord | undefined {
  const forms = form === 'preset_list' ? (isObject(body) ? body['models'] : undefined) : [body ?? {}];
  if (!Array.isArray(forms)) return undefined;
  const rows: PresetRow[] = [];
  let names = 0;
  for (const one of forms) {
    if (!isObject(one)) return undefined;
    const ids = [one['id'], queryId].filter((id) => id !== undefined).map(parseModelId);
    const { models, unreadable } = collectReferences({ ...one, id: undefined }, { controls: 'defined' });
    if (unreadable !== undefined || ids.length === 0) return undefined;
    const known = ids.filter((id) => id !== undefined);
    if (known.length < ids.length) return undefined;
    const base = one['base_model_id'];
    const hasBase = typeof base === 'string' && base !== '' && !known.some((id) => id === base);
    rows.push({ ids: known, hasBase, named: models });
    boundNames((names += known.length + models.size));
  }
  return { rows };
}

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
  for (const body of readings) readSavedForm(reader, form, body);
  return reader.names();
}

function readSavedForm(reader: ChatReader, form: ChatForm, body: unknown): ChatReader {
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
