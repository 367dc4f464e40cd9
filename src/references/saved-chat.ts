/**
 * The models that a saved chat names, by the place that names them. A chat is mostly content: only the keys count from
 * which a release of the backend takes a model, or parameters of a run.
 *
 * Sources: 0.6.18 `utils/middleware.py` (a message's `model`); 0.12.4 `models/chat_messages.py` (`model_id or model`),
 * `utils/tool_approval.py` (`chat.models`, `chat.params`, a message's `meta.params`), `utils/subagents.py` and
 * `utils/timers.py` (`meta.internal`, `meta.timer_id`, a chat's `meta.run`), `main.py` (`user_message.models`).
 */
import { boundEntries, boundNames } from './bounds.ts';
import { isObject, tryParseJson } from './json.ts';
import { collectParameters, collectReferences } from './references.ts';

/** Not an id of any model: `parseModelId` refuses the control character. Stands for what cannot be read. */
export const UNREADABLE = '\u0000';

/** The places of a chat that are no message: the list of its models, and its parameters. */
export const CHAT_MODELS = '\u0000models';
export const CHAT_PARAMETERS = '\u0000params';
/** The models that were selected for a question, and the parameters that an answer keeps. */
export const selectionOf = (message: string): string => `\u0000models:${message}`;
export const parametersOf = (message: string): string => `\u0000params:${message}`;
const PLACE_OF_MESSAGE = /^\0(?:models|params):/;
/** @returns the message to which a place belongs, or the place itself */
export const messageAt = (place: string): string =>
  place.startsWith('\0') ? place.replace(PLACE_OF_MESSAGE, '') : place;

/** Lists and few keys, so that what a thread has read of a long chat costs little to take over. */
export interface ChatNames {
  /**
   * For each name, as it is written or `UNREADABLE`, the places where it stands: the id of a message, `selectionOf` or
   * `parametersOf` it, `CHAT_MODELS` or `CHAT_PARAMETERS`.
   */
  readonly places: ReadonlyMap<string, readonly string[]>;
  /** Messages of sub-agents and timers: without an answer, the backend runs them after the chat's next completion. */
  readonly internal: readonly string[];
  /** Those of them that have no list of answers. */
  readonly childless: readonly string[];
  /** Chats of timers whose run an internal message would start. */
  readonly timers: readonly string[];
  /** The messages of the history, and at the same index the parent that each names. */
  readonly answers: readonly string[];
  readonly parents: readonly (string | undefined)[];
}

/** Collects the names of one chat from as many parts of it as there are. */
export class ChatReader {
  readonly #places = new Map<string, Set<string>>();
  readonly #internal = new Set<string>();
  readonly #childless = new Set<string>();
  readonly #timers = new Set<string>();
  readonly #parents = new Map<string, string | undefined>();
  #entries = 0;

  names(): ChatNames {
    return {
      places: new Map([...this.#places].map(([name, places]) => [name, [...places]])),
      internal: [...this.#internal],
      childless: [...this.#childless],
      timers: [...this.#timers],
      answers: [...this.#parents.keys()],
      parents: [...this.#parents.values()],
    };
  }

  /** @param chat the document: `ChatForm.chat` of a request, or the column `chat.chat` */
  readChat(chat: unknown): this {
    if (!isObject(chat)) return this;
    for (const key of ['model', 'model_id']) this.#name(CHAT_MODELS, chat[key]);
    this.#nameAll(CHAT_MODELS, chat['models']);
    this.readParameters(CHAT_PARAMETERS, chat['params']);
    const { history, messages } = chat;
    if (isObject(history) && isObject(history['messages'])) {
      for (const [id, message] of Object.entries(history['messages'])) this.readHistory(id, message);
    }
    if (Array.isArray(messages)) for (const message of messages) this.readMessage(idOf(message), message);
    return this;
  }

  /** @param meta the column `chat.meta`, which an import stores as it is given */
  readMeta(meta: unknown): this {
    if (isObject(meta)) this.#addReferences(CHAT_PARAMETERS, collectReferences({ ...meta, tags: undefined }));
    return this;
  }

  /** @param message of the history, which says what it answers; what is no message, or has no parent, answers nothing */
  readHistory(id: string, message: unknown): this {
    const parent = isObject(message) ? message['parentId'] : undefined;
    boundEntries(++this.#entries);
    this.#parents.set(id, typeof parent === 'string' ? parent : undefined);
    return this.readMessage(id, message);
  }

  /** @param message of the branch that the page shows, or a row: it names models and answers nothing */
  readMessage(id: string, message: unknown): this {
    if (!isObject(message)) return this;
    const { model, model_id: otherModel, models, output } = message;
    this.#name(id, model);
    this.#name(id, otherModel);
    if (models !== undefined) this.#nameAll(selectionOf(id), models);
    if (Array.isArray(output)) for (const call of output) this.#readToolCall(id, call);
    const { meta, childrenIds } = message;
    if (!isObject(meta)) return this;
    this.readParameters(parametersOf(id), meta['params']);
    this.#addReferences(id, collectReferences({ run: meta['run'], timer_model_id: meta['timer_model_id'] }));
    if (meta['internal'] !== true) return this;
    this.#internal.add(id);
    if (!Array.isArray(childrenIds) || childrenIds.length === 0) this.#childless.add(id);
    const { timer_id: timer } = meta;
    if (typeof timer === 'string') this.#timers.add(timer);
    else if (isNamed(timer)) this.readUnreadable(id);
    return this;
  }

  /** The user's message of a request: the models that were selected for it become those of the chat. */
  readQuestion(id: string, message: unknown): this {
    if (isObject(message)) this.#nameAll(CHAT_MODELS, message['models']);
    return this.readMessage(id, message);
  }

  /** @param params of a chat or of a message, which become the parameters of the run that they resume */
  readParameters(id: string, params: unknown): this {
    if (params !== undefined && params !== null) this.#addReferences(id, collectParameters(params, 'chosen'));
    return this;
  }

  /** What cannot be read might name any model. */
  readUnreadable(id: string): this {
    this.#add(id, [UNREADABLE]);
    return this;
  }

  /**
   * A tool call that waits for approval runs without asking any model. One of the backend's automation tools then writes
   * the model that it names (tools/builtin.py `update_automation`, 0.12.4).
   */
  #readToolCall(id: string, call: unknown): void {
    if (!isObject(call) || !JSON.stringify(call).includes('automation')) return;
    const given = typeof call['arguments'] === 'string' ? parsed(call['arguments']) : (call['arguments'] ?? null);
    if (given === undefined) this.readUnreadable(id);
    // One tool may call another, whose arguments are text once more
    else this.#addReferences(id, collectReferences({ custom_params: given }));
  }

  #nameAll(id: string, value: unknown): void {
    if (Array.isArray(value)) for (const one of value) this.#name(id, one);
    else this.#name(id, value);
  }

  #name(id: string, value: unknown): void {
    if (isNamed(value)) this.#addOne(id, typeof value === 'string' ? value : UNREADABLE);
  }

  #addReferences(id: string, { models, unreadable }: ReturnType<typeof collectReferences>): void {
    this.#add(id, unreadable === undefined ? models : [...models, UNREADABLE]);
  }

  #add(id: string, names: Iterable<string>): void {
    for (const name of names) this.#addOne(id, name);
  }

  #addOne(id: string, name: string): void {
    const known = this.#places.get(name);
    if (known?.has(id) === true) return;
    boundEntries(++this.#entries);
    if (known !== undefined) known.add(id);
    else boundNames(this.#places.set(name, new Set([id])).size);
  }
}

/** @returns every name of whatever place, but what was only selected for a question */
export const everyName = ({ places }: ChatNames): readonly string[] =>
  [...places].flatMap(([name, at]) => (at.every(isSelection) ? [] : [name]));

const isSelection = (place: string): boolean => place.startsWith(selectionOf(''));

/** @returns the names at each place */
export function namesByPlace({ places }: ChatNames): ReadonlyMap<string, readonly string[]> {
  const byPlace = new Map<string, string[]>();
  for (const [name, at] of places) {
    for (const place of at) {
      const known = byPlace.get(place);
      if (known === undefined) byPlace.set(place, [name]);
      else known.push(name);
    }
  }
  return byPlace;
}

/**
 * @returns the internal messages that have no answer. The backend goes by the list of answers, and writes it anew from
 *   the parents with each save (models/chats.py `merge_history`, 0.12.4): both must show one
 */
export function unanswered({ internal, childless, parents }: ChatNames): readonly string[] {
  if (internal.length === 0) return [];
  const answered = new Set(parents);
  const withoutList = new Set(childless);
  return internal.filter((id) => withoutList.has(id) || !answered.has(id));
}

/** Anything that Python takes for false names nothing: the page stores an empty string where no model was chosen. */
const isNamed = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== '' &&
  value !== false &&
  value !== 0 &&
  !(Array.isArray(value) && value.length === 0);

const parsed = (text: string): unknown => (text.trim() === '' ? {} : tryParseJson(text));

const idOf = (message: unknown): string =>
  isObject(message) && typeof message['id'] === 'string' ? message['id'] : CHAT_MODELS;
