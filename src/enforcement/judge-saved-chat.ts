/**
 * Judges what is saved of a chat. A chat is history and may go on naming models that were withdrawn. But the backend
 * takes models from it later, in requests that name none, or after them. So no name gets in that the caller may not use:
 * a save may keep what the stored version names at the same place, and may add permitted names.
 *
 * A name that is not there cannot be written while something runs. What is stored at a message therefore only ever loses
 * forbidden names, and a run that found none at its message finds none later.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision, Deny } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import { parseModelId } from '../policy/model-id.ts';
import { isObject } from '../references/references.ts';
import type { ChatNames } from '../references/saved-chat.ts';
import {
  CHAT_MODELS,
  CHAT_PARAMETERS,
  ChatReader,
  messageAt,
  parametersOf,
  selectionOf,
  unanswered,
} from '../references/saved-chat.ts';
import type { StoredChat, StoreView } from '../store/store-view.ts';
import type { Judge } from './judge.ts';

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
  for (const body of readings) readForm(reader, form, body);
  return reader;
}

function readForm(reader: ChatReader, form: ChatForm, body: unknown): ChatReader {
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

/** What a save does to the stored chat, besides what the decision says. */
export interface SavedChat {
  readonly decision: Decision | undefined;
  /** The save writes names again that the caller may not use: runs in this chat wait for its end. */
  readonly keeps: boolean;
}

/** @param chatId undefined for a new chat */
export function judgeSave(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  names: ChatNames,
  chatId: string | undefined,
): SavedChat {
  const { forbidden, first } = sortNames(judge, view, user, names);
  for (const timer of names.timers) {
    const denial = judgeNames(judge, view, user, view.stored.ofTimer(timer));
    if (denial?.effect === 'deny') return { decision: denial, keeps: false };
  }
  const needsStored = forbidden.length > 0 || names.parents.size > 0;
  const places = [...new Set(forbidden.map(({ place }) => messageAt(place))), CHAT_MODELS];
  const found =
    needsStored && chatId !== undefined ? view.stored.chat(chatId, forbidden.length > 0 ? places : []) : undefined;
  // The backend saves nobody's chat but the caller's: what others store is not looked at
  const stored = found?.owner === user.id ? found : undefined;
  for (const { place, name } of forbidden) {
    if (!mayKeep(stored, names, place, name)) return { decision: denyStored(name, 'saved_reference'), keeps: false };
  }
  const freed = stored === undefined ? undefined : firstFreed(judge, view, user, stored, names.parents);
  if (freed !== undefined) return { decision: denyStored(freed), keeps: false };
  return { decision: first, keeps: forbidden.length > 0 };
}

/** A message that the stored version does not know as one that runs by itself must not become one with an old name. */
function mayKeep(stored: StoredChat | undefined, saved: ChatNames, place: string, name: string): boolean {
  if (stored === undefined) return false;
  const { models, internal } = stored.names;
  const message = messageAt(place);
  if (saved.internal.has(message) && !internal.has(message)) return false;
  if (models.get(place)?.has(name) === true) return true;
  // What is selected for the next question was selected for the chat
  return place === selectionOf(message) && models.get(CHAT_MODELS)?.has(name) === true;
}

/**
 * A message that is deleted takes its answers with it. An internal message with a forbidden model must keep an answer:
 * without one the backend would run it again.
 */
export function judgeDeletion(judge: Judge, view: StoreView, user: UserPrincipal, chatId: string): Deny | undefined {
  const stored = view.stored.chat(chatId, []);
  if (stored?.owner !== user.id) return undefined;
  const waiting = new Set(unanswered(stored.names));
  for (const id of stored.names.internal) {
    const name = waiting.has(id) ? undefined : forbiddenAt(judge, view, user, stored.names, id);
    if (name !== undefined) return denyStored(name);
  }
  return undefined;
}

/** @returns the denial of the first name that is forbidden, or the permit of the first; undefined where there is none */
export function judgeNames(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  names: Iterable<string>,
): Decision | undefined {
  let first: Decision | undefined;
  for (const name of names) {
    const model = parseModelId(name);
    const decision = model === undefined ? deny('stored_reference') : judge.one(view, user, model);
    if (decision.effect === 'deny') return denyStored(name);
    first ??= decision;
  }
  return first;
}

interface PlacedName {
  readonly place: string;
  readonly name: string;
}

/** A chat has many messages and few models: each model is judged once. */
function sortNames(judge: Judge, view: StoreView, user: UserPrincipal, { models }: ChatNames) {
  const decisions = new Map<string, Decision | undefined>();
  const forbidden: PlacedName[] = [];
  let first: Decision | undefined;
  for (const [place, names] of models) {
    for (const name of names) {
      if (!decisions.has(name)) decisions.set(name, judgeNames(judge, view, user, [name]));
      const decision = decisions.get(name);
      if (decision?.effect === 'deny') forbidden.push({ place, name });
      else first ??= decision;
    }
  }
  return { forbidden, first };
}

/** @returns the forbidden model of a stored internal message that would lose its last answer by other parents */
function firstFreed(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  { names }: StoredChat,
  moved: ReadonlyMap<string, string | undefined>,
): string | undefined {
  const remaining = new Set<string>();
  const answered = new Set<string>();
  for (const [answer, parent] of names.parents) {
    if (parent === undefined || !names.internal.has(parent)) continue;
    answered.add(parent);
    if (!moved.has(answer) || moved.get(answer) === parent) remaining.add(parent);
  }
  for (const id of answered) {
    const name = remaining.has(id) ? undefined : forbiddenAt(judge, view, user, names, id);
    if (name !== undefined) return name;
  }
  return undefined;
}

function forbiddenAt(judge: Judge, view: StoreView, user: UserPrincipal, names: ChatNames, id: string) {
  const named = [id, parametersOf(id)].flatMap((place) => [...(names.models.get(place) ?? [])]);
  return named.find((name) => judgeNames(judge, view, user, [name])?.effect === 'deny');
}

/** The text of the denial names no model; the log does. */
function denyStored(name: string, reason: 'stored_reference' | 'saved_reference' = 'stored_reference'): Deny {
  const model = parseModelId(name);
  return deny(reason, undefined, model === undefined ? [] : [model]);
}
