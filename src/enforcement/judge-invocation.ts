import type { OrganizationId, UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import { queryValue } from './canonical-path.ts';
import type { Judge } from './judge.ts';
import { judgePending, pendingRuns } from './judge-pending.ts';
import { FAN_OUT, collectReferences, isObject } from './model-references.ts';
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
  const mentioned = surface.mentions === true ? mentionedModels(body) : [];
  const fannedOut = modelsOfFanOut(body);
  // First, since report mode sends on what is denied below
  scope.runs = Math.max(1, fannedOut.length, mentioned.length);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !namesModel(body, surface)) return deny('model_missing');
  if (references.direct && judge.options.directConnections === 'refuse') return deny('direct_connection');

  const models = new Set(references.models);
  for (const text of mentioned) {
    const model = parseModelId(text);
    if (model === undefined) return deny('reference_unreadable');
    models.add(model);
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
  if (decision?.effect === 'deny') return decision;
  if (scope.runs > 1 || models.size > 1) {
    const judgeOne = (model: ModelId) => judge.one(view, user, model, surface.names);
    const runs = fannedOut.length > 0 ? fannedOut : mentioned;
    scope.runsByOrganization = countByOrganization(runs, models, judgeOne);
  }
  if (surface.runs === undefined) return decision;
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
  return [...new Set([...content.matchAll(MENTION)].map(([, model = '']) => model))];
}

/** From 0.9.0 each entry is a run of its own, also where several name the same model and message. */
function modelsOfFanOut(body: unknown): readonly unknown[] {
  const entries = isObject(body) ? body[FAN_OUT] : undefined;
  if (Array.isArray(entries)) return entries.map((entry) => (isObject(entry) ? entry['model_id'] : undefined));
  return isObject(entries) ? Object.keys(entries) : [];
}

/** @returns for each organization its runs, and one for what else is named by its grants: it may be what runs */
function countByOrganization(
  runs: readonly unknown[],
  models: ReadonlySet<ModelId>,
  judgeOne: (model: ModelId) => Decision,
): ReadonlyMap<OrganizationId, number> {
  const payers = new Map<unknown, OrganizationId>();
  for (const model of models) {
    const decision = judgeOne(model);
    if (decision.effect === 'permit' && decision.grant !== undefined) payers.set(model, decision.grant.organization);
  }
  const counts = new Map<OrganizationId, number>();
  for (const named of runs) {
    const payer = payers.get(named);
    if (payer !== undefined) counts.set(payer, (counts.get(payer) ?? 0) + 1);
  }
  for (const payer of payers.values()) if (!counts.has(payer)) counts.set(payer, 1);
  return counts;
}

const MENTION = /<@M:([^|>]+)/g;
