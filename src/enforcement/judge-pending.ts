/**
 * A saved chat is history and may name any model, but for one kind of message: what is left to run for a sub-agent or
 * a timer. The backend runs the model that such a message names, or that the timer's own chat names, as soon as the
 * chat's next completion ends, without another request. So it is judged where it is written.
 * Source: `utils/subagents.py` `process_pending_internal_messages`, 0.12.4; the message comes in a saved chat, or as
 * `user_message` of the very request that makes it run.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Deny } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { StoreView } from '../store/store-view.ts';
import type { Judge } from './judge.ts';
import { collectReferences, isObject } from './model-references.ts';

/**
 * Whether a body has to be read at all. A key `internal` or `run` stands in it as it is, or with an escape for an ASCII
 * letter, or in UTF-16 and UTF-32, where ASCII text is full of NUL bytes.
 */
export function mayHoldPendingRun(body: Buffer): boolean {
  return body.includes('"internal"') || body.includes('"run"') || body.includes('\\u00') || body.includes(0);
}

/** What would run by itself. */
export type PendingRun =
  | { readonly names: unknown; readonly answered: boolean }
  | { readonly timer: string; readonly answered: boolean }
  | { readonly run: Record<string, unknown> };

/** @param body parsed JSON of any of the chat forms (routers/chats.py): such messages may stand at any depth */
export function pendingRuns(body: unknown): PendingRun[] {
  const found: PendingRun[] = [];
  findPending(body, found);
  return found;
}

/**
 * One that was answered has run: it is history. But its children are no proof, for the backend finds out by itself which
 * there are (models/chats.py `merge_history`): the chat, as it is stored, must know an answered one of that model.
 *
 * @param chatId the chat that it is saved in, undefined for a new one
 * @returns the first denial, or undefined where nothing forbidden would run
 */
export function judgePending(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  pending: readonly PendingRun[],
  chatId: unknown,
): Deny | undefined {
  let history: readonly string[] | undefined;
  const hasRun = (text: string): boolean => {
    history ??= typeof chatId === 'string' ? view.stored.ofAnsweredRuns(chatId) : [];
    return history.includes(text);
  };
  for (const one of pending) {
    const named = modelsOf(one, view);
    if (named === undefined) return deny('reference_unreadable');
    for (const text of named) {
      if ('answered' in one && one.answered && hasRun(text)) continue;
      const model = parseModelId(text);
      if (model === undefined) return deny('reference_unreadable');
      const decision = judge.one(view, user, model);
      if (decision.effect === 'deny') return deny('stored_reference', undefined, [model]);
    }
  }
  return undefined;
}

/** @returns undefined where it names a model in a form that cannot be read */
function modelsOf(pending: PendingRun, view: StoreView): Iterable<string> | undefined {
  if ('timer' in pending) return view.stored.ofTimer(pending.timer);
  if ('run' in pending) {
    const { models, unreadable } = collectReferences(pending.run);
    return unreadable === undefined ? models : undefined;
  }
  return typeof pending.names === 'string' ? [pending.names] : undefined;
}

function findPending(value: unknown, found: PendingRun[]): void {
  if (Array.isArray(value)) {
    for (const item of value) findPending(item, found);
  } else if (isObject(value)) {
    const { meta } = value;
    if (isObject(meta)) findInMeta(meta, value, found);
    for (const item of Object.values(value)) findPending(item, found);
  }
}

/** `meta` of a message that is internal, or of a timer's chat, whose `run` an import stores as it is given. */
function findInMeta(meta: Record<string, unknown>, message: Record<string, unknown>, found: PendingRun[]): void {
  if (isObject(meta['run'])) found.push({ run: meta['run'] });
  const { model, childrenIds } = message;
  if (meta['internal'] !== true) return;
  const answered = Array.isArray(childrenIds) && childrenIds.length > 0;
  if (model !== undefined && model !== null && model !== '') found.push({ names: model, answered });
  if (typeof meta['timer_id'] === 'string') found.push({ timer: meta['timer_id'], answered });
}
