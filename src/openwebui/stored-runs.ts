/**
 * Judges requests that run what is stored. Such a request goes on only if every model that it will run can be named:
 * where nothing is named, it is denied.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import { askedBeside } from '../policy/decide.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import type { InvocationRecord } from '../references/records.ts';
import {
  CHAT_MODELS,
  CHAT_PARAMETERS,
  everyName,
  namesByPlace,
  parametersOf,
  unanswered,
} from '../references/saved-chat.ts';
import type { StoreView, StoredChat, StoredReferences } from '../store/store-view.ts';
import { type Judging, judgeNames } from './saved-chats.ts';
import type { StoredRun } from './surface.ts';

/** The part of a request that says what is run. */
interface RunRequest {
  /** Ids in the path: `id` of the chat, channel or automation, `message` of a chat's message. */
  readonly pathIds: Readonly<Record<string, string>>;
  readonly record: InvocationRecord;
}

/** What a request runs of what is stored. */
interface StoredModels {
  readonly names: readonly string[];
  /** Names that are sent to the connections of the models that run. */
  readonly beside?: { readonly run: readonly string[]; readonly routed: readonly string[] };
  /** Whether the request itself names a model as well, so that no name here is no denial. */
  readonly optional: boolean;
  /** Runs that the backend starts besides the one that is asked for. */
  readonly further: number;
}

/** @returns what would run; `denied` where the stored object is not the caller's to run */
export async function modelsOfStoredRun(
  run: StoredRun,
  { store: { stored }, user }: Judging,
  { pathIds, record }: RunRequest,
): Promise<StoredModels | 'denied'> {
  const { id = '', message = '' } = pathIds;
  switch (run) {
    case 'messages_of_body':
      return modelsOfContinuedChat(stored, user, record);
    case 'message_of_path':
      return required(modelsOfResumedMessage(await stored.chat(id, [message, CHAT_MODELS], user.id), message));
    case 'chat_of_path':
      // With a model in the body nothing stored is run
      return record.model === '' ? required(modelsOfWholeChat(await stored.chat(id, undefined, user.id))) : NOTHING;
    case 'replied_message':
      // Most channel messages were written by people, and a reply to them runs nothing
      return optional(await stored.ofChannelMessage(record.ids.reply_to_id));
    case 'automation_of_path':
      return required(await stored.ofAutomation(id));
    case 'preset_version':
      return required(await stored.ofPresetVersion(record.ids.version_id));
  }
}

/** @returns the first denial, or the permit of the first model; undefined where nothing is run and none has to be */
export function judgeStoredRun(judging: Judging, stored: StoredModels | 'denied'): Decision | undefined {
  if (stored === 'denied') return deny('stored_reference');
  const { names, beside: { run, routed } = NOTHING_BESIDE, optional: isOptional } = stored;
  const asked = askedOf(judging.store.current(), run, routed);
  const decision = judgeNames(judging, [...names, ...routed, ...asked]);
  return decision === undefined && !isOptional ? deny('stored_reference') : decision;
}

/**
 * The next completion of a chat. Background tasks run on the model that their message keeps; messages of sub-agents and
 * timers that have no answer are run after it. What comes from an SDK belongs to no chat: nothing is stored.
 */
async function modelsOfContinuedChat(
  stored: StoredReferences,
  user: UserPrincipal,
  record: InvocationRecord,
): Promise<StoredModels | 'denied'> {
  if (record.hasOddId) return 'denied';
  const id = record.ids.chat_id;
  if (id === '') return NOTHING;
  const messages = messageIds(record);
  const chat = await stored.chat(id, messages, user.id);
  if (chat === undefined) return NOTHING;
  // Up to 0.7 the backend continues any chat, and its owner could change the model while it answers
  if (!chat.checkedByBackend && chat.owner !== user.id) return 'denied';
  const pending = unanswered(chat.names);
  const timers = pending.length === 0 ? [] : await stored.ofTimers(chat.names.timers);
  const names = namesOfMessages(chat, [...messages, ...pending]);
  return { names: [...names, ...timers], optional: true, further: pending.length };
}

/**
 * A tool call that is resumed runs the message's model, or else the chat's first, with the parameters of both
 * (utils/tool_approval.py `build_tool_approval_resume_payload`, 0.12.4). The row of the message may be made inside of
 * the request, from the document: both forms count.
 */
function modelsOfResumedMessage(chat: StoredChat | undefined, message: string): StoredModels {
  if (chat === undefined) return NOTHING;
  const pending = unanswered(chat.names);
  const byPlace = namesByPlace(chat.names);
  const at = (...places: string[]) => places.flatMap((place) => byPlace.get(place) ?? []);
  // A reply may lose its model before it is run: then the chat's own counts
  const named = at(message, CHAT_MODELS);
  // Parameters alone are no model
  if (named.length === 0) return NOTHING;
  return {
    names: [...named, ...namesOfMessages(chat, pending)],
    beside: { run: named, routed: at(parametersOf(message), CHAT_PARAMETERS) },
    optional: false,
    further: pending.length,
  };
}

function modelsOfWholeChat(chat: StoredChat | undefined): StoredModels {
  return chat === undefined ? NOTHING : { names: everyName(chat.names), optional: false, further: 0 };
}

const NOTHING: StoredModels = { names: [], optional: true, further: 0 };
const NOTHING_BESIDE = { run: [], routed: [] };
const optional = (names: readonly string[]): StoredModels => ({ names, optional: true, further: 0 });
const required = (stored: StoredModels | readonly string[]): StoredModels =>
  'names' in stored ? { ...stored, optional: false } : { names: stored, optional: false, further: 0 };

function namesOfMessages({ names }: StoredChat, messages: readonly string[]): readonly string[] {
  if (messages.length === 0) return [];
  const byPlace = namesByPlace(names);
  const places = messages.flatMap((message) => [message, parametersOf(message)]);
  return [...new Set(places.flatMap((place) => byPlace.get(place) ?? []))];
}

/**
 * What the connections of the models that run take other names for: `a` beside `x.b` is `x.a` there. Asked once for all
 * models of the same connections.
 */
export function askedOf(view: StoreView, run: readonly string[], routed: Iterable<string>): readonly ModelId[] {
  const named = [...routed].map(parseModelId).filter((model) => model !== undefined);
  if (named.length === 0) return [];
  const byConnections = new Map<string, ModelId>();
  for (const model of run.map(parseModelId)) {
    if (model === undefined) continue;
    const sent = view.preset(model)?.base ?? model;
    const connections = view.connectionPrefixes().filter((prefix) => sent.startsWith(prefix));
    byConnections.set(connections.join('\0'), sent);
  }
  return [...byConnections.values()].flatMap((sent) => named.flatMap((name) => askedBeside(view, sent, name)));
}

/**
 * Messages on whose stored model background tasks run: the one being continued (0.12), each of a fan-out, and, unless
 * the provider streams its answer, the one being answered (0.6). `stream` does not tell: `params`, a preset and the
 * provider itself may have it otherwise.
 */
const messageIds = ({ ids, messageIds: ofFanOut }: InvocationRecord): readonly string[] =>
  [ids.assistant_message_id, ids.id, ...ofFanOut].filter(Boolean);
