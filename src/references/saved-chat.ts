/**
 * The models that a saved chat names, by the place that names them: the keys from which a release takes a model, or
 * parameters of a run.
 * Sources: 0.6.18 `utils/middleware.py` (a message's `model`); 0.12.4 `models/chat_messages.py` (`model_id or model`),
 * `utils/tool_approval.py` (`chat.models`, `chat.params`, a message's `meta.params`), `utils/subagents.py` and
 * `utils/timers.py` (`meta.internal`, `meta.timer_id`, a chat's `meta.run`), `main.py` (`user_message.models`).
 */
import { bound } from './bounds.ts';
import { isObject, tryParseJson } from './json.ts';
import { type References, collectParameters, collectReferences } from './references.ts';

/** Not an id of any model: `parseModelId` refuses the control character. Stands for what cannot be read. */
export const UNREADABLE = '\u0000';

/** The places of a chat that are no message: the list of its models, and its parameters. */
export const CHAT_MODELS = '\u0000models';
export const CHAT_PARAMETERS = '\u0000params';
/** The models that were selected for a question, and the parameters that an answer keeps. */
export const selectionOf = (message: string): string => `\u0000models:${message}`;
export const parametersOf = (message: string): string => `\u0000params:${message}`;
export const messageAt = (place: string): string => place.replace(/^\0(?:models|params):/, '');

export type ChatNames = ReturnType<ChatReader['names']>;

export class ChatReader {
  readonly #places = new Map<string, Set<string>>();
  readonly #internal = new Set<string>();
  readonly #childless = new Set<string>();
  readonly #timers = new Set<string>();
  readonly #parents = new Map<string, string | undefined>();
  #entries = 0;

  /** Lists and few keys: of 50,000 messages they are taken over from a thread in 10 ms, sets and maps in 60. */
  names() {
    const answered = new Set(this.#internal.size === 0 ? [] : this.#parents.values());
    return {
      /** For each name, as it is written or `UNREADABLE`, where it stands: the id of a message, or a place as above. */
      places: new Map([...this.#places].map(([name, places]) => [name, [...places]])),
      /** Messages of sub-agents and timers. */
      internal: [...this.#internal],
      /**
       * Those without an answer, which the backend runs after the chat's next completion: the list of children and the
       * parents must both show one (models/chats.py `merge_history`, 0.12.4).
       */
      waiting: [...this.#internal].filter((id) => this.#childless.has(id) || !answered.has(id)),
      /** Chats of timers whose run an internal message would start. */
      timers: [...this.#timers],
      /** The messages of the history, and at the same index the parent that each names. */
      answers: [...this.#parents.keys()],
      parents: [...this.#parents.values()],
    };
  }

  /** @param chat `ChatForm.chat` of a request, or the column `chat.chat` */
  readChat(chat: unknown): void {
    if (!isObject(chat)) return;
    const { history, messages } = chat;
    this.#name(CHAT_MODELS, [chat['model'], chat['model_id'], ...listOf(chat['models'])]);
    this.readParameters(CHAT_PARAMETERS, chat['params']);
    if (isObject(history) && isObject(history['messages'])) {
      for (const [id, message] of Object.entries(history['messages'])) this.readHistory(id, message);
    }
    if (!Array.isArray(messages)) return;
    for (const one of messages as unknown[]) {
      this.readMessage(isObject(one) && typeof one['id'] === 'string' ? one['id'] : CHAT_MODELS, one);
    }
  }

  readMeta(meta: unknown): void {
    if (isObject(meta)) this.#add(CHAT_PARAMETERS, collectReferences({ ...meta, tags: undefined }));
  }

  /** @param message of the history, which says what it answers */
  readHistory(id: string, message: unknown): void {
    const parent = isObject(message) ? message['parentId'] : undefined;
    this.#countEntry();
    this.#parents.set(id, typeof parent === 'string' ? parent : undefined);
    this.readMessage(id, message);
  }

  /** @param message of the branch that the page shows, or a row: it answers nothing */
  readMessage(id: string, message: unknown): void {
    if (!isObject(message)) return;
    const { output, meta, childrenIds } = message;
    this.#name(id, [message['model'], message['model_id']]);
    this.#name(selectionOf(id), listOf(message['models']));
    if (Array.isArray(output)) for (const call of output) this.#readToolCall(id, call);
    if (!isObject(meta)) return;
    this.readParameters(parametersOf(id), meta['params']);
    this.#add(id, collectReferences({ run: meta['run'], timer_model_id: meta['timer_model_id'] }));
    if (meta['internal'] !== true) return;
    this.#internal.add(id);
    if (!Array.isArray(childrenIds) || childrenIds.length === 0) this.#childless.add(id);
    const { timer_id: timer } = meta;
    if (typeof timer === 'string') this.#timers.add(timer);
    else if (isNamed(timer)) this.readUnreadable(id);
  }

  /** The user's message of a request: what was selected for it becomes the chat's. */
  readQuestion(id: string, message: unknown): void {
    if (isObject(message)) this.#name(CHAT_MODELS, listOf(message['models']));
    this.readMessage(id, message);
  }

  readParameters(id: string, params: unknown): void {
    if (params !== undefined && params !== null) this.#add(id, collectParameters(params, 'chosen'));
  }

  readUnreadable(id: string): void {
    this.#addName(id, UNREADABLE);
  }

  /** A waiting tool call runs without a model, and may write one (tools/builtin.py `update_automation`, 0.12.4). */
  #readToolCall(id: string, call: unknown): void {
    if (!isObject(call) || !JSON.stringify(call).includes('automation')) return;
    const { arguments: given = null } = call;
    const value = typeof given !== 'string' ? given : given.trim() === '' ? {} : tryParseJson(given);
    if (value === undefined) this.readUnreadable(id);
    // One tool may call another, whose arguments are text once more
    else this.#add(id, collectReferences({ custom_params: value }));
  }

  #name(id: string, values: readonly unknown[]): void {
    for (const value of values.filter(isNamed)) this.#addName(id, typeof value === 'string' ? value : UNREADABLE);
  }

  #add(id: string, { models, unreadable }: References): void {
    for (const name of models) this.#addName(id, name);
    if (unreadable !== undefined) this.readUnreadable(id);
  }

  #addName(id: string, name: string): void {
    const places = this.#places.get(name) ?? new Set();
    if (places.has(id)) return;
    this.#countEntry();
    bound(this.#places.set(name, places.add(id)).size, 'names of models');
  }

  #countEntry(): void {
    bound(++this.#entries, 'names of models and ids of messages');
  }
}

/** Every name but what was only selected for a question. */
export const everyName = ({ places }: ChatNames): readonly string[] =>
  [...places].flatMap(([name, at]) => (at.every((place) => place.startsWith(selectionOf(''))) ? [] : [name]));

/** The names that stand at one of these places. */
export function namesAt({ places }: ChatNames, wanted: readonly string[]): readonly string[] {
  const here = new Set(wanted);
  return [...places].flatMap(([name, at]) => (at.some((place) => here.has(place)) ? [name] : []));
}

/** Anything that Python takes for false names nothing: the page stores an empty string where no model was chosen. */
const isNamed = (value: unknown): boolean =>
  !(value === undefined || value === null || value === '' || value === false || value === 0) &&
  !(Array.isArray(value) && value.length === 0);

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : [value]);
