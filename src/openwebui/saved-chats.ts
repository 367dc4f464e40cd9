/**
 * Judges what is saved of a chat. A chat is history and may go on naming models that were withdrawn. But the backend
 * takes models from it later, in requests that name none, or after them. So no name gets in that the caller may not use:
 * a save may keep what the stored version names at the same place, and may add permitted names.
 *
 * A name that is not there cannot be written while something runs. What is stored at a message therefore only ever loses
 * forbidden names, and a run that found none at its message finds none later.
 */
import type { Judge } from '../enforcement/judge.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import { parseModelId } from '../policy/grant.ts';
import {
  type ChatNames,
  CHAT_MODELS,
  everyName,
  messageAt,
  namesByPlace,
  parametersOf,
  selectionOf,
  unanswered,
} from '../references/saved-chat.ts';
import type { Store, StoredChat } from '../store/store-view.ts';
import type { ChatOrder } from './chat-order.ts';

/** What judges ask. */
export interface Judging {
  readonly judge: Judge;
  readonly user: UserPrincipal;
  readonly store: Pick<Store, 'ask' | 'current' | 'load' | 'stored'>;
  readonly order: ChatOrder;
}

/** To be awaited before names are judged: what is stored is read beside the event loop, and the policy may have changed. */
export const loadFor = ({ judge, store, user }: Judging, models: Iterable<string>): void | Promise<void> =>
  store.load(judge.needs(user, () => models));

/** What a save does to the stored chat, besides what the decision says. */
interface SavedChat {
  readonly decision: Decision | undefined;
  /** The save writes names again that the caller may not use: runs in this chat wait for its end, which this tells. */
  readonly end: ReturnType<ChatOrder['begin']> | undefined;
}

/** @param chatId undefined for a new chat */
export async function judgeSave(judging: Judging, names: ChatNames, chatId: string | undefined): Promise<SavedChat> {
  const { user, order } = judging;
  await loadFor(judging, names.places.keys());
  const { forbidden, first } = sortNames(judging, names);
  if (names.timers.length > 0) {
    const ofTimers = await judging.store.stored.ofTimers(names.timers);
    await loadFor(judging, ofTimers);
    const denial = judgeNames(judging, ofTimers);
    if (denial?.effect === 'deny') return { decision: denial, end: undefined };
  }
  const needsStored = forbidden.size > 0 || names.answers.length > 0;
  if (!needsStored || chatId === undefined) return { decision: unlessNew(forbidden) ?? first, end: undefined };
  // Before it is read what may be kept: a run that reads later waits for this save
  const end = forbidden.size > 0 ? order.begin(chatId) : undefined;
  try {
    const found = await judging.store.stored.chat(chatId, placesOf(forbidden), user.id);
    // The backend saves only the caller's own chat: what others store is not looked at
    const stored = found?.owner === user.id ? found : undefined;
    if (stored !== undefined && stored.names.internal.length > 0) await loadFor(judging, everyName(stored.names));
    const stray = firstStray(stored, names, forbidden) ?? firstFreed(judging, stored, names);
    if (stray === undefined) return { decision: first, end };
    end?.(true);
    return { decision: denyStored(stray, 'saved_reference'), end: undefined };
  } catch (error) {
    end?.(true);
    throw error;
  }
}

/** Names that the caller may not use, and where the save writes them. */
type Forbidden = ReadonlyMap<string, readonly string[]>;

/** A new chat keeps nothing. */
function unlessNew(forbidden: Forbidden): Deny | undefined {
  const [name] = forbidden.keys();
  return name === undefined ? undefined : denyStored(name, 'saved_reference');
}

const placesOf = (forbidden: Forbidden): readonly string[] =>
  forbidden.size === 0 ? [] : [...new Set([...[...forbidden.values()].flat().map(messageAt), CHAT_MODELS])];

/** @returns a forbidden name that the stored version does not have where the save writes it */
function firstStray(stored: StoredChat | undefined, saved: ChatNames, forbidden: Forbidden): string | undefined {
  const internal = new Set(stored?.names.internal);
  const becomesInternal = new Set(saved.internal.filter((message) => !internal.has(message)));
  for (const [name, places] of forbidden) {
    const kept = new Set(stored?.names.places.get(name));
    const isKept = (place: string) => {
      const message = messageAt(place);
      // A message that the stored version does not know as one that runs by itself must not become one with an old name
      if (becomesInternal.has(message)) return false;
      // What is selected for the next question was selected for the chat
      return kept.has(place) || (place === selectionOf(message) && kept.has(CHAT_MODELS));
    };
    if (!places.every(isKept)) return name;
  }
  return undefined;
}

/**
 * A message that is deleted takes its answers with it. An internal message with a forbidden model must keep an answer:
 * without one the backend would run it again.
 */
export async function judgeDeletion(judging: Judging, chatId: string): Promise<Deny | undefined> {
  const { user } = judging;
  const stored = await judging.store.stored.chat(chatId, [], user.id);
  if (stored?.owner !== user.id) return undefined;
  await loadFor(judging, everyName(stored.names));
  const waiting = new Set(unanswered(stored.names));
  const name = firstForbidden(
    judging,
    stored.names,
    stored.names.internal.filter((id) => !waiting.has(id)),
  );
  return name === undefined ? undefined : denyStored(name);
}

/** @returns the denial of the first name that is forbidden, or the permit of the first; undefined where there is none */
export function judgeNames(
  { judge, store, user }: Pick<Judging, 'judge' | 'store' | 'user'>,
  names: Iterable<string>,
): Decision | undefined {
  const view = store.current();
  let first: Decision | undefined;
  for (const name of new Set(names)) {
    const model = parseModelId(name);
    const decision = model === undefined ? deny('stored_reference') : judge.one(view, user, model);
    if (decision.effect === 'deny') return denyStored(name);
    first ??= decision;
  }
  return first;
}

/** A chat has many messages and few models: each model is judged once. */
function sortNames(judging: Judging, { places }: ChatNames) {
  const forbidden = new Map<string, readonly string[]>();
  let first: Decision | undefined;
  for (const [name, at] of places) {
    const decision = judgeNames(judging, [name]);
    if (decision?.effect === 'deny') forbidden.set(name, at);
    else first ??= decision;
  }
  return { forbidden, first };
}

/** @returns the forbidden model of a stored internal message that would lose its last answer by other parents */
function firstFreed(judging: Judging, stored: StoredChat | undefined, saved: ChatNames): string | undefined {
  if (stored === undefined || stored.names.internal.length === 0) return undefined;
  const { answers, parents, internal } = stored.names;
  const isInternal = new Set(internal);
  const moved = new Map(saved.answers.map((answer, at) => [answer, saved.parents[at]]));
  const remaining = new Set<string>();
  const answered = new Set<string>();
  answers.forEach((answer, at) => {
    const parent = parents[at];
    if (parent === undefined || !isInternal.has(parent)) return;
    answered.add(parent);
    if (!moved.has(answer) || moved.get(answer) === parent) remaining.add(parent);
  });
  return firstForbidden(
    judging,
    stored.names,
    [...answered].filter((id) => !remaining.has(id)),
  );
}

function firstForbidden(judging: Judging, names: ChatNames, messages: readonly string[]): string | undefined {
  if (messages.length === 0) return undefined;
  const byPlace = namesByPlace(names);
  const named = messages.flatMap((id) => [id, parametersOf(id)].flatMap((place) => byPlace.get(place) ?? []));
  return [...new Set(named)].find((name) => judgeNames(judging, [name])?.effect === 'deny');
}

/** The text of the denial names no model; the log does. */
function denyStored(name: string, reason: 'stored_reference' | 'saved_reference' = 'stored_reference'): Deny {
  const model = parseModelId(name);
  return deny(reason, undefined, model === undefined ? [] : [model]);
}
