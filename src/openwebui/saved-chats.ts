/**
 * Judges what is saved of a chat. A save may keep what the stored version names at the same place, and add permitted names.
 * What is stored at a message only ever loses forbidden names, and a run that found none finds none later.
 */
import type { RecordReader } from '../enforcement/authorize.ts';
import { type Judge, type NameSpace, firstDenial } from '../enforcement/judge.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
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
import type { Store } from '../store/store.ts';
import type { StoredChat } from '../store/stored-references.ts';
import type { ChatOrder } from './chat-order.ts';
import type { OpenWebUiScope } from './endpoints.ts';

export interface JudgingParts {
  readonly judge: Judge;
  readonly store: Pick<Store, 'ask' | 'current' | 'load' | 'stored'>;
  readonly order: ChatOrder;
  readonly recordOf: RecordReader;
}

export class Judging {
  readonly parts: JudgingParts;
  readonly user: UserPrincipal;

  constructor(parts: JudgingParts, user: UserPrincipal) {
    this.parts = parts;
    this.user = user;
  }
  get view() {
    return this.parts.store.current();
  }
  one(model: ModelId, names?: NameSpace): Decision {
    return this.parts.judge.one(this.view, this.user, model, names);
  }
  all(models: Iterable<ModelId>, names?: NameSpace): Decision | undefined {
    return this.parts.judge.all(this.view, this.user, models, names);
  }
  /** Awaited before stored names are judged: the policy may have changed while they were read. */
  load(names: Iterable<string>): void | Promise<void> {
    return this.parts.store.load(this.parts.judge.needs(this.user, () => names));
  }
  stored(names: Iterable<string>): Decision | undefined {
    return firstDenial(new Set(names), (name) => {
      const model = parseModelId(name);
      const decision = model === undefined ? undefined : this.one(model);
      return decision?.effect === 'permit' ? decision : denyStored(name);
    });
  }
}

/** The text of the denial names no model; the log does. */
function denyStored(name: string, reason: 'stored_reference' | 'saved_reference' = 'stored_reference'): Deny {
  const model = parseModelId(name);
  return deny(reason, undefined, model === undefined ? [] : [model]);
}

type Forbidden = ReadonlyMap<string, readonly string[]>;

/** Where it writes forbidden names again, runs wait for `scope.endSave`. @param chatId undefined for a new chat */
export async function judgeSave(
  judging: Judging,
  scope: OpenWebUiScope,
  names: ChatNames,
  chatId: string | undefined,
): Promise<Decision | undefined> {
  const { store, order } = judging.parts;
  await judging.load(names.places.keys());
  const forbidden = new Map<string, readonly string[]>();
  let permit: Decision | undefined;
  for (const [name, places] of names.places) {
    const decision = judging.stored([name]);
    if (decision?.effect === 'deny') forbidden.set(name, places);
    else permit ??= decision;
  }
  if (names.timers.length > 0) {
    const ofTimers = await store.stored.ofTimers(names.timers);
    await judging.load(ofTimers);
    const denial = judging.stored(ofTimers);
    if (denial?.effect === 'deny') return denial;
  }
  if (forbidden.size === 0 && names.answers.length === 0) return permit;
  if (chatId === undefined) {
    // A new chat keeps nothing
    const [name] = forbidden.keys();
    return name === undefined ? permit : denyStored(name, 'saved_reference');
  }
  // Before it is read what may be kept: a run that reads later waits for this save
  const end = forbidden.size > 0 ? order.begin(chatId) : undefined;
  try {
    const places = [...forbidden.values()].flat().map(messageAt);
    const stored = await ownChat(judging, chatId, forbidden.size === 0 ? [] : [...new Set([...places, CHAT_MODELS])]);
    const stray = firstStray(stored, names, forbidden) ?? firstFreed(judging, stored, names);
    if (stray === undefined) {
      scope.endSave = end;
      return permit;
    }
    end?.(true);
    return denyStored(stray, 'saved_reference');
  } catch (error) {
    end?.(true);
    throw error;
  }
}

/** The backend saves only the caller's own chat: what others store is not looked at. */
async function ownChat(judging: Judging, id: string, places: readonly string[]): Promise<StoredChat | undefined> {
  const stored = await judging.parts.store.stored.chat(id, places, judging.user.id);
  if (stored?.owner !== judging.user.id) return undefined;
  if (stored.names.internal.length > 0) await judging.load(everyName(stored.names));
  return stored;
}

/** @returns a forbidden name that the stored version does not have where the save writes it */
function firstStray(stored: StoredChat | undefined, saved: ChatNames, forbidden: Forbidden): string | undefined {
  // A message that the stored version does not know as one that runs by itself must not become one with an old name
  const internal = new Set(stored?.names.internal);
  const becomesInternal = new Set(saved.internal.filter((message) => !internal.has(message)));
  return [...forbidden].find(([name, places]) => {
    const kept = new Set(stored?.names.places.get(name));
    return places.some((place) => {
      const message = messageAt(place);
      // What is selected for the next question was selected for the chat
      const isKept = kept.has(place) || (place === selectionOf(message) && kept.has(CHAT_MODELS));
      return becomesInternal.has(message) || !isKept;
    });
  })?.[0];
}

/**
 * A message that is deleted takes its answers with it. An internal message with a forbidden model must keep an answer:
 * without one the backend would run it again.
 */
export async function judgeDeletion(judging: Judging, chatId: string): Promise<Deny | undefined> {
  const stored = await ownChat(judging, chatId, []);
  if (stored === undefined) return undefined;
  const waiting = new Set(unanswered(stored.names));
  const answered = stored.names.internal.filter((id) => !waiting.has(id));
  const name = firstForbidden(judging, stored.names, answered);
  return name === undefined ? undefined : denyStored(name);
}

/** @returns the forbidden model of a stored internal message that would lose its last answer by other parents */
function firstFreed(judging: Judging, stored: StoredChat | undefined, saved: ChatNames): string | undefined {
  if (stored === undefined || stored.names.internal.length === 0) return undefined;
  const { answers, parents, internal } = stored.names;
  const isInternal = new Set<string | undefined>(internal);
  const moved = new Map(saved.answers.map((answer, at) => [answer, saved.parents[at]]));
  const answered = new Set<string>();
  const remaining = new Set<string>();
  for (const [at, answer] of answers.entries()) {
    const parent = parents[at];
    if (parent === undefined || !isInternal.has(parent)) continue;
    answered.add(parent);
    if (!moved.has(answer) || moved.get(answer) === parent) remaining.add(parent);
  }
  const freed = [...answered].filter((id) => !remaining.has(id));
  return firstForbidden(judging, stored.names, freed);
}

const firstForbidden = (judging: Judging, names: ChatNames, messages: readonly string[]): string | undefined =>
  namesAt(names, messages).find((name) => judging.stored([name])?.effect === 'deny');

export function namesAt(names: ChatNames, messages: readonly string[]): readonly string[] {
  if (messages.length === 0) return [];
  const byPlace = namesByPlace(names);
  const places = messages.flatMap((id) => [id, parametersOf(id)]);
  return [...new Set(places.flatMap((place) => byPlace.get(place) ?? []))];
}
