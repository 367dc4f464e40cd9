import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import { queryValue } from './canonical-path.ts';
import type { Judge } from './judge.ts';
import { judgePending, pendingRuns } from './judge-pending.ts';
import { collectReferences, isObject } from './model-references.ts';
import { modelsOfStoredRun } from './stored-run.ts';
import type { InvokesSurface } from './surfaces.ts';

/**
 * Judges a request that runs models now: those it names in body, query or text, and those that a stored object names
 * for it.
 *
 * @param body parsed JSON; undefined where the surface allows an empty body and it was empty
 */
export function judgeInvocation(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  surface: InvokesSurface,
  scope: Scope,
  body: unknown,
): Decision | undefined {
  const references = collectReferences(body, surface.rules);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !namesModel(body, surface)) return deny('model_missing');
  if (references.direct && judge.options.directConnections === 'refuse') return deny('direct_connection');

  const models = new Set(references.models);
  if (surface.mentions === true) {
    for (const mentioned of mentionedModels(body)) {
      const model = parseModelId(mentioned);
      if (model === undefined) return deny('reference_unreadable');
      models.add(model);
    }
  }
  if (isObject(body)) {
    const messages = pendingRuns([body['user_message'], body['parent_message']]);
    const pending = judgePending(judge, view, user, messages, body['chat_id']);
    if (pending !== undefined) return pending;
  }
  if (surface.query !== undefined) {
    const named = queryValue(scope.query, surface.query);
    const model = parseModelId(named);
    if (model !== undefined) models.add(model);
    else if (named !== undefined) return deny('reference_unreadable');
  }
  const isDirect = references.direct && surface.direct === true;
  const decision = isDirect ? judgeDirect(judge, view, user, models) : judge.all(view, user, models, surface.names);
  if (decision?.effect === 'deny' || surface.runs === undefined) return decision;
  return judgeStored(judge, view, user, modelsOfStoredRun(surface.runs, view.stored, scope.pathIds, body)) ?? decision;
}

/** @returns a denial as soon as one stored model is not permitted; its id is in the log only */
function judgeStored(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  stored: readonly string[],
): Decision | undefined {
  for (const text of stored) {
    const model = parseModelId(text);
    if (model === undefined) return deny('stored_reference');
    const decision = judge.one(view, user, model);
    if (decision.effect === 'deny') return deny('stored_reference', undefined, [model]);
  }
  return undefined;
}

/**
 * With direct connections allowed, a model of the caller's own browser needs no grant. From 0.9.3 a server model of the
 * same id would answer instead, so an id that any organization was granted, or that has a row, is judged as usual.
 */
function judgeDirect(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  models: ReadonlySet<ModelId>,
): Decision | undefined {
  const known = [...models].filter((model) => view.isGrantedAnywhere(model) || view.hasModelRow(model));
  return judge.all(view, user, known);
}

/** The backend reads the model of the request itself from the top level of the body. */
function namesModel(body: unknown, surface: InvokesSurface): boolean {
  if (!isObject(body)) return false;
  return ['model', ...(surface.rules.topLevel ?? [])].some((key) => typeof body[key] === 'string' && body[key] !== '');
}

/**
 * Models mentioned in a channel message, in the widest reading of any release.
 * Source: `utils/channels.py` `extract_mentions`, from 0.6.29; up to 0.12 the closing bracket was optional.
 */
function mentionedModels(body: unknown): string[] {
  const content = isObject(body) ? body['content'] : undefined;
  if (typeof content !== 'string') return [];
  return [...content.matchAll(MENTION)].map(([, model = '']) => model);
}

const MENTION = /<@M:([^|>]+)/g;
