import type { UserId, UserPrincipal } from '../identity/principal.ts';
import type { PolicyView } from '../policy/decide.ts';
import type { ModelId } from '../policy/grant.ts';
import type { ChatNames } from '../references/saved-chat.ts';
import type { PointCall } from './queries.ts';

/** What a decision will ask of the view: loaded together as soon as anything is lacking. */
export interface Need {
  /** Role, memberships and grants; a user without any membership is enrolled, where users are. */
  readonly user?: UserPrincipal | undefined;
  /** Presets of these names, and their bases. */
  readonly models?: (() => Iterable<ModelId>) | undefined;
}

/** What tells one read of the file from another. */
export const keyOf = ({ name, args }: PointCall): string => `${name} ${args[0]}`;

/** Thrown by a view that lacks something: it can be loaded, and the question asked again. */
export class NotLoaded extends Error {
  readonly call: PointCall;

  constructor(call: PointCall) {
    super(`${call.name} has not been loaded`);
    this.name = 'NotLoaded';
    this.call = call;
  }
}

/** What a request may ask of the backend's database, as the last look at the file found it; each @throws NotLoaded */
export interface StoreView extends PolicyView {
  /** @returns the user with today's role, or undefined where the backend does not know the id */
  user(id: UserId): UserPrincipal | undefined;
  /** @returns the owner of an API key, in whichever table this schema version keeps keys */
  userOfApiKey(key: string): UserId | undefined;
  /** Does any organization's active grant, by id or by prefix and but for `*`, cover this id? Guards ids of new presets. */
  isGrantedAnywhere(id: ModelId): boolean;
  /** Is there a row in the backend's `model` table? */
  hasModelRow(id: ModelId): boolean;
}

export interface StoredChat {
  /** What its document and its rows of `chat_message` name. */
  readonly names: ChatNames;
  /** Undefined where the row says none. */
  readonly owner: string | undefined;
  /** This release checks by itself whether a caller may continue the chat (from 0.8, with `chat_message`). */
  readonly checkedByBackend: boolean;
}

/**
 * Models that stored objects name and that a request would run without naming them itself: strings as stored, of which the
 * caller must refuse those that name no valid model. Each rejects with GatewayError `policy_unavailable`.
 */
export interface StoredReferences {
  /**
   * @param places the messages that matter, and `CHAT_MODELS` where the chat's own settings do; undefined for everything
   * @param payer takes turns with others @returns undefined where there is no such chat
   * @throws GatewayError `chat_too_complex`
   */
  chat(chatId: string, places: readonly string[] | undefined, payer: string): Promise<StoredChat | undefined>;
  /** What the `run` of each timer's chat names: `chat.meta.run` with its `chat_context.params` (0.12). */
  ofTimers(timerIds: readonly string[]): Promise<readonly string[]>;
  /** The model that answered a channel message: `message.meta.model_id`. */
  ofChannelMessage(messageId: string): Promise<readonly string[]>;
  /** `automation.data.model_id` (from 0.9). */
  ofAutomation(automationId: string): Promise<readonly string[]>;
  /** Base and parameter models in the snapshot of an earlier version of a preset (0.12). */
  ofPresetVersion(versionId: string): Promise<readonly string[]>;
}

export interface StoreHealth {
  readonly readable: boolean;
  /** Milliseconds since the last successful comparison with the file. */
  readonly ageMs: number;
  /** Tables, indexes, views and triggers, in words. */
  readonly missing: readonly string[];
  /** Why it is not readable, or not whole: SQLite's own code and our sentence. */
  readonly problem: string | undefined;
  /** Why no user can be enrolled: the disk is full, or the last attempt has failed. */
  readonly writeProblem: string | undefined;
}

export interface WriteErrors {
  /** Tables and views, or the membership of a user who is seen for the first time. */
  readonly write: 'initialization' | 'enrolment';
  readonly code: string;
  readonly count: number;
}

/** Counted since the store was made. */
export interface StoreFigures {
  readonly caches: readonly { readonly name: string; readonly hits: number; readonly misses: number }[];
  /** Failed reads by SQLite's code, waits for a lock among them. */
  readonly errors: ReadonlyMap<string, number>;
  readonly writeErrors: readonly WriteErrors[];
}

export interface Store {
  /** Looks at the file, at most once a millisecond, and reads what the view lacks of `need`, within the file's deadline. */
  load(need?: Need): void | Promise<void>;
  /** @throws GatewayError `policy_unavailable` when the file cannot be read and the last good state is older than allowed */
  current(): StoreView;
  /** Runs `attempt` after a look, and again after each load of what it lacked. Synchronous where nothing is waited for. */
  ask<T>(attempt: () => T | Promise<T>, need?: Need): T | Promise<T>;
  readonly stored: StoredReferences;
  /**
   * Runs `attempt`, and runs it again, for about a second, while the file could not be read meanwhile: outside WAL mode
   * every commit of the backend holds a lock for a moment. @throws what the last attempt threw, or rejects with it
   */
  patiently<T>(attempt: () => T | Promise<T>): T | Promise<T>;
  /** Grows with each failed read: what was answered meanwhile may be older than the last commit. */
  failures(): number;
  /** After a look and, once a second, a read as requests read. */
  health(): Promise<StoreHealth>;
  figures(): StoreFigures;
  close(): Promise<void>;
}
