/**
 * Judges requests that run what is stored. Such a request goes on only if every model that it will run can be named:
 * where nothing is named, it is denied.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { askedBeside } from '../policy/decide.ts';
import { deny } from '../policy/decision.ts';
import { parseModelId } from '../policy/model-id.ts';
import { isObject, isPresent } from '../references/references.ts';
import { CHAT_MODELS, CHAT_PARAMETERS, everyName, parametersOf, unanswered } from '../references/saved-chat.ts';
import type { StoredChat, StoreView } from '../store/store-view.ts';
import type { Judge } from './judge.ts';
import { judgeNames } from './judge-saved-chat.ts';
import type { StoredRun } from './surface.ts';

/** The part of a request that says what is run. */
export interface RunRequest {
  /** Ids in the path: `id` of the chat, channel or automation, `message` of a chat's message. */
  readonly pathIds: Readonly<Record<string, string>>;
  /** Parsed JSON, or undefined. */
  readonly body: unknown;
}

/** What a request runs of what is stored. */
export interface StoredModels {
  readonly names: Iterable<string>;
  /** Whether the request itself names a model as well, so that no name here is no denial. */
  readonly optional: boolean;
  /** Runs that the backend starts besides the one that is asked for. */
  readonly further: number;
}

/** @returns what would run; `denied` where the stored object is not the caller's to run */
export function modelsOfStoredRun(
  run: StoredRun,
  view: StoreView,
  user: UserPrincipal,
  request: RunRequest,
): StoredModels | 'denied' {
  const form = isObject(request.body) ? request.body : {};
  const { id = '', message = '' } = request.pathIds;
  switch (run) {
    case 'messages_of_body':
      return modelsOfContinuedChat(view, user, form);
    case 'message_of_path':
      return required(modelsOfResumedMessage(view, view.stored.chat(id, [message, CHAT_MODELS]), message));
    case 'chat_of_path':
      // With a model in the body nothing stored is run
      return text(form['model']) === '' ? required(modelsOfWholeChat(view.stored.chat(id))) : NOTHING;
    case 'replied_message':
      // Most channel messages were written by people, and a reply to them runs nothing
      return optional(view.stored.ofChannelMessage(text(form['reply_to_id'])));
    case 'automation_of_path':
      return required(view.stored.ofAutomation(id));
    case 'preset_version':
      return required(view.stored.ofPresetVersion(text(form['version_id'])));
  }
}

/** @returns the first denial, or the permit of the first model; undefined where nothing is run and none has to be */
export function judgeStoredRun(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  stored: StoredModels | 'denied',
): Decision | undefined {
  if (stored === 'denied') return deny('stored_reference');
  const decision = judgeNames(judge, view, user, stored.names);
  return decision === undefined && !stored.optional ? deny('stored_reference') : decision;
}

/**
 * The next completion of a chat. Background tasks run on the model that their message keeps; messages of sub-agents and
 * timers that have no answer are run after it. What comes from an SDK belongs to no chat: nothing is stored.
 */
function modelsOfContinuedChat(
  view: StoreView,
  user: UserPrincipal,
  form: Record<string, unknown>,
): StoredModels | 'denied' {
  // The backend makes strings of other values, so that 7 finds the message "7"
  if (IDS.some((key) => isPresent(form[key]) && typeof form[key] !== 'string')) return 'denied';
  const id = text(form['chat_id']);
  if (id === '') return NOTHING;
  const messages = messageIds(form);
  const chat = view.stored.chat(id, messages);
  if (chat === undefined) return NOTHING;
  // Up to 0.7 the backend continues any chat, and its owner could change the model while it answers
  if (!chat.checkedByBackend && chat.owner !== user.id) return 'denied';
  const pending = unanswered(chat.names);
  const timers = pending.length === 0 ? [] : [...chat.names.timers].flatMap((timer) => view.stored.ofTimer(timer));
  const names = [...messages, ...pending].flatMap((message) => namesOfMessage(chat, message));
  return { names: [...names, ...timers], optional: true, further: pending.length };
}

/**
 * A tool call that is resumed runs the message's model, or else the chat's first, with the parameters of both
 * (utils/tool_approval.py `build_tool_approval_resume_payload`, 0.12.4). The row of the message may be made inside of
 * the request, from the document: both forms count.
 */
function modelsOfResumedMessage(view: StoreView, chat: StoredChat | undefined, message: string): StoredModels {
  if (chat === undefined) return NOTHING;
  const pending = unanswered(chat.names);
  // A reply may lose its model before it is run: then the chat's own counts
  const named = [...namesAt(chat, message), ...namesAt(chat, CHAT_MODELS)];
  // Parameters alone are no model
  if (named.length === 0) return NOTHING;
  const routed = [...namesAt(chat, parametersOf(message)), ...namesAt(chat, CHAT_PARAMETERS)];
  const asked = named.flatMap((model) => routed.flatMap((name) => askedOf(view, model, name)));
  const further = pending.flatMap((id) => namesOfMessage(chat, id));
  return { names: [...named, ...routed, ...asked, ...further], optional: false, further: pending.length };
}

function modelsOfWholeChat(chat: StoredChat | undefined): StoredModels {
  return chat === undefined ? NOTHING : { names: everyName(chat.names), optional: false, further: 0 };
}

const NOTHING: StoredModels = { names: [], optional: true, further: 0 };
const optional = (names: readonly string[]): StoredModels => ({ names, optional: true, further: 0 });
const required = (stored: StoredModels | readonly string[]): StoredModels =>
  'names' in stored ? { ...stored, optional: false } : { names: stored, optional: false, further: 0 };

const namesOfMessage = (chat: StoredChat, message: string): readonly string[] => [
  ...namesAt(chat, message),
  ...namesAt(chat, parametersOf(message)),
];

/** What the connection of `model` takes a name in its parameters for. */
function askedOf(view: StoreView, model: string, name: string): readonly string[] {
  const [run, named] = [parseModelId(model), parseModelId(name)];
  if (run === undefined || named === undefined) return [];
  return askedBeside(view, view.preset(run)?.base ?? run, named);
}

const namesAt = ({ names }: StoredChat, place: string): readonly string[] => [...(names.models.get(place) ?? [])];

/**
 * Messages on whose stored model background tasks run: the one being continued (0.12), each of a fan-out, and, unless
 * the provider streams its answer, the one being answered (0.6). `stream` does not tell: `params`, a preset and the
 * provider itself may have it otherwise.
 */
function messageIds(form: Record<string, unknown>): readonly string[] {
  const fanOut = form['message_ids'];
  const ids = Array.isArray(fanOut)
    ? fanOut.map((entry) => (isObject(entry) ? entry['message_id'] : undefined))
    : isObject(fanOut)
      ? Object.values(fanOut)
      : [];
  return [form['assistant_message_id'], form['id'], ...ids].map(text).filter(Boolean);
}

const IDS = ['chat_id', 'id', 'assistant_message_id'];
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
