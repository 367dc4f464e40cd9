/**
 * Judges what is saved of a chat. A save may keep what the stored version names at the same place, and add permitted names.
 * What is stored at a message only ever loses forbidden names, and a run that found none finds none later.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RecordReader } from '../enforcement/authorize.ts';
import { type Judge, type NameSpace, firstDenial } from '../enforcement/judge.ts';
import { GatewayError } from '../errors.ts';
import { type Decision, type Deny, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import type { UserPrincipal } from '../policy/principal.ts';
import {
  type ChatNames,
  CHAT_MODELS,
  everyName,
  messageAt,
  namesAt,
  parametersOf,
  selectionOf,
} from '../references/saved-chat.ts';
import type { Store } from '../store/store.ts';
import type { StoredChat } from '../store/stored-references.ts';
import type { OpenWebUiScope } from './endpoints.ts';

export interface JudgingParts {
  readonly judge: Judge;
  readonly store: Pick<Store, 'ask' | 'current' | 'load' | 'stored'>;
  readonly order: ChatOrder;
  readonly recordOf: RecordReader;
}

export type Judging = ReturnType<typeof createJudging>;

/** One request before the judge: what it names, and what is stored. */
export function createJudging(parts: JudgingParts, scope: OpenWebUiScope, user: UserPrincipal) {
  const { judge, store } = parts;
  const one = (model: ModelId, names?: NameSpace) => judge.one(store.current(), user, model, names);
  return {
    ...parts,
    scope,
    user,
    one,
    get view() {
      return store.current();
    },
    all: (models: Iterable<ModelId>, names?: NameSpace) => judge.all(store.current(), user, models, names),
    /** Awaited before stored names are judged, where there are any: the policy may have changed while they were read. */
    load: (names: readonly string[]) => (names.length > 0 ? store.load(judge.needs(user, () => names)) : undefined),
    stored: (names: Iterable<string>) =>
      firstDenial(new Set(names), (name) => {
        const model = parseModelId(name);
        const decision = model === undefined ? undefined : one(model);
        return decision?.effect === 'permit' ? decision : denyStored(name);
      }),
  };
}

/** The text of the denial names no model; the log does. */
function denyStored(name: string, reason: 'stored_reference' | 'saved_reference' = 'stored_reference'): Deny {
  const model = parseModelId(name);
  return deny(reason, undefined, model === undefined ? [] : [model]);
}

type Forbidden = ReadonlyMap<string, readonly string[]>;

/** Where it writes forbidden names again, runs wait for `scope.endSave`. @param chatId undefined for a new chat */
export async function judgeSave(judging: Judging, names: ChatNames, chatId: string | undefined) {
  const { store, order, scope } = judging;
  const forbidden = new Map<string, readonly string[]>();
  let permit: Decision | undefined;
  for (const [name, places] of names.places) {
    const decision = judging.stored([name]);
    if (decision?.effect === 'deny') forbidden.set(name, places);
    else permit ??= decision;
  }
  const ofTimers = names.timers.length > 0 ? await store.stored.ofTimers(names.timers) : [];
  if (ofTimers.length > 0) await judging.load(ofTimers);
  const ofRuns = judging.stored(ofTimers);
  if (ofRuns?.effect === 'deny') return ofRuns;
  if (forbidden.size === 0 && names.answers.length === 0) return permit;
  const places = forbidden.size === 0 ? [] : [...[...forbidden.values()].flat().map(messageAt), CHAT_MODELS];
  // Before it is read what may be kept: a run that reads later waits for this save
  if (forbidden.size > 0 && chatId !== undefined) scope.endSave = await order.begin(chatId);
  // A new chat keeps nothing
  const stored = chatId === undefined ? undefined : await ownChat(judging, chatId, [...new Set(places)]);
  const stray = firstStray(stored, names, forbidden) ?? firstFreed(judging, stored, names);
  if (stray === undefined) return permit;
  scope.endSave?.(true);
  return denyStored(stray, 'saved_reference');
}

/** The backend saves only the caller's own chat: what others store is not looked at. */
async function ownChat(judging: Judging, id: string, places: readonly string[]): Promise<StoredChat | undefined> {
  const stored = await judging.store.stored.chat(id, places, judging.user.id);
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
  const names = (await ownChat(judging, chatId, []))?.names;
  if (names === undefined) return undefined;
  const waiting = new Set(names.waiting);
  const answered = names.internal.filter((id) => !waiting.has(id));
  const name = firstForbidden(judging, names, answered);
  return name === undefined ? undefined : denyStored(name);
}

/** @returns the forbidden model of a stored internal message that would lose its last answer by other parents */
function firstFreed(judging: Judging, stored: StoredChat | undefined, saved: ChatNames): string | undefined {
  if (stored === undefined || stored.names.internal.length === 0) return undefined;
  const { answers, parents, internal } = stored.names;
  const moved = new Map(saved.answers.map((answer, at) => [answer, saved.parents[at]]));
  const [lost, kept] = [new Set<string | undefined>(), new Set<string | undefined>()];
  for (const [at, answer] of answers.entries()) {
    const isMoved = moved.has(answer) && moved.get(answer) !== parents[at];
    (isMoved ? lost : kept).add(parents[at]);
  }
  const freed = internal.filter((id) => lost.has(id) && !kept.has(id));
  return firstForbidden(judging, stored.names, freed);
}

const firstForbidden = (judging: Judging, names: ChatNames, messages: readonly string[]): string | undefined =>
  namesAt(names, ofMessages(messages)).find((name) => judging.stored([name])?.effect === 'deny');

/** The places of messages that a run of them reads. */
export const ofMessages = (ids: readonly string[]): readonly string[] => ids.flatMap((id) => [id, parametersOf(id)]);

type ChatOrder = ReturnType<typeof createChatOrder>;

interface ChatOrderOptions {
  /** Monotonic milliseconds. */
  readonly now?: () => number;
  readonly shared?: Store['saves'];
}

/** The backend may go on with a request whose client has left. */
const LINGER_MS = 30_000;
const LONGEST_WAIT_MS = 10_000;
const LOOK_EVERY_MS = 25;

/**
 * A save may write a withdrawn name again. Until it has ended, the chat does not say what a run would find: runs wait, at each
 * gate that knows of it.
 */
export function createChatOrder({ now = () => performance.now(), shared }: ChatOrderOptions = {}) {
  const { chatOf, settle } = createChats(now);

  /** @returns undefined where a save is under way, or was while it was read */
  async function readOnce<T>(id: string, chat: ReturnType<typeof newChat>, read: () => Promise<T>) {
    if (!settle(id)) return undefined;
    const { begun } = chat;
    const before = id === '' ? undefined : await shared?.look(id);
    if (before?.isBusy === true) return undefined;
    const value = await read();
    const after = before && (await shared?.look(id, before.moment));
    return chat.begun === begun && after?.isBusy !== true ? { value } : undefined;
  }

  return {
    /** Notes a save, before it is read what it may keep. @returns what ends it; `answered`: the backend said what it did */
    async begin(id: string): Promise<(answered: boolean) => void> {
      const endShared = await shared?.begin(id);
      const chat = chatOf(id);
      const save = { until: Infinity };
      chat.begun++;
      chat.saves.add(save);
      return (answered) => {
        const lingerMs = answered ? 0 : LINGER_MS;
        save.until = now() + lingerMs;
        settle(id);
        if (!answered) setTimeout(() => settle(id), LINGER_MS + 1_000).unref();
        endShared?.(lingerMs);
      };
    },
    /**
     * Reads when no save is under way, and again where one has begun meanwhile; a later one reads later too.
     * @throws GatewayError `chat_busy` (503) after some seconds
     */
    async quietly<T>(id: string, read: () => Promise<T>): Promise<T> {
      const deadline = now() + LONGEST_WAIT_MS;
      const chat = chatOf(id);
      chat.readers++;
      try {
        for (; ; await sleep(LOOK_EVERY_MS)) {
          const done = await readOnce(id, chat, read);
          if (done !== undefined) return done.value;
          if (now() > deadline) throw new GatewayError('chat_busy');
        }
      } finally {
        chat.readers--;
        settle(id);
      }
    },
  };
}

const newChat = () => ({ saves: new Set<{ until: number }>(), begun: 0, readers: 0 });

/** The chats of which this gate knows a save or a run. */
function createChats(now: () => number) {
  const chats = new Map<string, ReturnType<typeof newChat>>();

  function chatOf(id: string) {
    const chat = chats.get(id) ?? newChat();
    chats.set(id, chat);
    return chat;
  }
  /** @returns whether no save is under way */
  function settle(id: string): boolean {
    const { saves, readers } = chatOf(id);
    for (const save of saves) if (save.until <= now()) saves.delete(save);
    if (saves.size === 0 && readers === 0) chats.delete(id);
    return saves.size === 0;
  }
  return { chatOf, settle };
}
