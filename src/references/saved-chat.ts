/**
 * The models that a saved chat names, by the place that names them. A chat is mostly content: only the keys count from
 * which a release of the backend takes a model, or parameters of a run.
 *
 * Sources: 0.6.18 `utils/middleware.py` (a message's `model`); 0.12.4 `models/chat_messages.py` (`model_id or model`),
 * `utils/tool_approval.py` (`chat.models`, `chat.params`, a message's `meta.params`), `utils/subagents.py` and
 * `utils/timers.py` (`meta.internal`, `meta.timer_id`, a chat's `meta.run`), `main.py` (`user_message.models`).
 */
import { collectParameters, collectReferences, isObject } from './references.ts';
import { tryParseJson } from './exact-json.ts';

/** Not an id of any model: `parseModelId` refuses the control character. Stands for what cannot be read. */
export const UNREADABLE = '\u0000';

/** The places of a chat that are no message: the list of its models, and its parameters. */
export const CHAT_MODELS = '\u0000models';
export const CHAT_PARAMETERS = '\u0000params';

export interface ChatNames {
  /**
   * Names of models by place: the id of a message, `CHAT_MODELS` or `CHAT_PARAMETERS`. Strings as they stand there, or
   * `UNREADABLE`.
   */
  readonly models: ReadonlyMap<string, ReadonlySet<string>>;
  /** Messages that name no model of their own, in at least one of the forms in which they are kept. */
  readonly unnamed: ReadonlySet<string>;
  /** Messages of sub-agents and timers: without an answer, the backend runs them after the chat's next completion. */
  readonly internal: ReadonlySet<string>;
  /** Chats of timers whose run an internal message would start. */
  readonly timers: ReadonlySet<string>;
  /** The parent of each message, as the message names it. */
  readonly parents: ReadonlyMap<string, string>;
}

/** Collects the names of one chat from as many parts of it as there are. */
export class ChatReader implements ChatNames {
  readonly models = new Map<string, Set<string>>();
  readonly unnamed = new Set<string>();
  readonly internal = new Set<string>();
  readonly timers = new Set<string>();
  readonly parents = new Map<string, string>();

  /** @param chat the document: `ChatForm.chat` of a request, or the column `chat.chat` */
  readChat(chat: unknown): this {
    if (!isObject(chat)) return this;
    this.#add(CHAT_MODELS, modelsUnder(chat, ['model', 'model_id', 'models']));
    this.readParameters(CHAT_PARAMETERS, chat['params']);
    const { history, messages } = chat;
    if (isObject(history) && isObject(history['messages'])) {
      for (const [id, message] of Object.entries(history['messages'])) this.readMessage(id, message);
    }
    if (Array.isArray(messages)) for (const message of messages) this.readMessage(idOf(message), message);
    return this;
  }

  /** @param meta the column `chat.meta`, which an import stores as it is given */
  readMeta(meta: unknown): this {
    if (isObject(meta)) this.#addReferences(CHAT_PARAMETERS, collectReferences({ ...meta, tags: undefined }));
    return this;
  }

  readMessage(id: string, message: unknown): this {
    if (!isObject(message)) return this;
    const own = modelsUnder(message, ['model', 'model_id']);
    if (own.length === 0) this.unnamed.add(id);
    this.#add(id, own);
    // What was selected for the question becomes the chat's own list
    this.#add(CHAT_MODELS, modelsUnder(message, ['models']));
    this.#add(id, modelsOfToolCalls(message['output']));
    const { meta, parentId } = message;
    if (typeof parentId === 'string') this.parents.set(id, parentId);
    if (!isObject(meta)) return this;
    this.readParameters(id, meta['params']);
    this.#addReferences(id, collectReferences({ run: meta['run'], timer_model_id: meta['timer_model_id'] }));
    if (meta['internal'] !== true) return this;
    this.internal.add(id);
    if (typeof meta['timer_id'] === 'string') this.timers.add(meta['timer_id']);
    return this;
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

  #addReferences(id: string, { models, unreadable }: ReturnType<typeof collectReferences>): void {
    this.#add(id, unreadable === undefined ? models : [...models, UNREADABLE]);
  }

  #add(id: string, names: Iterable<string>): void {
    for (const name of names) {
      const known = this.models.get(id);
      if (known === undefined) this.models.set(id, new Set([name]));
      else known.add(name);
    }
  }
}

/** @returns every name, of whatever place */
export const everyName = ({ models }: ChatNames): ReadonlySet<string> =>
  new Set([...models.values()].flatMap((names) => [...names]));

/**
 * @returns the internal messages that no message has as its parent. The backend goes by the parents, and repairs the
 *   lists of children accordingly (models/chats.py `merge_history`, 0.12.4)
 */
export function unanswered({ internal, parents }: ChatNames): readonly string[] {
  const answered = new Set(parents.values());
  return [...internal].filter((id) => !answered.has(id));
}

/** Anything that Python takes for false names nothing: the page stores an empty string where no model was chosen. */
const isNamed = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== '' &&
  value !== false &&
  value !== 0 &&
  !(Array.isArray(value) && value.length === 0);

function modelsUnder(holder: Record<string, unknown>, keys: readonly string[]): string[] {
  return keys
    .flatMap((key) => (key === 'models' ? holder[key] : [holder[key]]))
    .filter(isNamed)
    .map((value) => (typeof value === 'string' ? value : UNREADABLE));
}

/**
 * A tool call that waits for approval runs without asking any model. One of the backend's automation tools then writes
 * the model that it names (tools/builtin.py `update_automation`, 0.12.4).
 */
function modelsOfToolCalls(output: unknown): string[] {
  if (!Array.isArray(output)) return [];
  return output.filter(isObject).flatMap((call) => {
    if (typeof call['name'] !== 'string' || !call['name'].includes('automation')) return [];
    const given = typeof call['arguments'] === 'string' ? parsed(call['arguments']) : call['arguments'];
    if (given === undefined) return [UNREADABLE];
    return isObject(given) ? modelsUnder(given, ['model_id']) : [];
  });
}

const parsed = (text: string): unknown => (text.trim() === '' ? {} : tryParseJson(text));

const idOf = (message: unknown): string =>
  isObject(message) && typeof message['id'] === 'string' ? message['id'] : CHAT_MODELS;
