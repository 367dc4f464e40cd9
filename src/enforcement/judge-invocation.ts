import type { OrganizationId, UserPrincipal } from '../identity/principal.ts';
import { askedBeside } from '../policy/decide.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { References } from '../references/references.ts';
import { FAN_OUT, collectReferences, isObject, isPresent } from '../references/references.ts';
import { ChatReader } from '../references/saved-chat.ts';
import { storedReadings } from '../references/strict-json.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import { queryValue } from './canonical-path.ts';
import type { ChatOrder } from './chat-order.ts';
import type { Judge } from './judge.ts';
import { judgeSave } from './judge-saved-chat.ts';
import { judgeStoredRun, modelsOfStoredRun } from './judge-stored-run.ts';
import type { InvokesSurface } from './surface.ts';

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
  order: ChatOrder,
): Decision | undefined {
  const references = collectReferences(body, surface.rules);
  const mentioned = surface.mentions === true ? mentionedModels(judge, view, body) : [];
  const fannedOut = modelsOfFanOut(body);
  // First, since report mode sends on what is denied below
  scope.runs = Math.max(1, fannedOut.length, mentioned.length);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !namesModel(body, surface)) return deny('model_missing');
  if (references.direct && judge.options.directConnections === 'refuse') return deny('direct_connection');

  const models = new Set(references.models);
  for (const asked of askedOfConnections(view, references)) models.add(asked);
  for (const text of mentioned) {
    const model = parseModelId(text);
    if (model === undefined) return deny('reference_unreadable');
    models.add(model);
  }
  const written = judgeWritten(judge, view, user, body, scope, order);
  if (written?.effect === 'deny') return written;
  if (surface.query !== undefined) {
    const named = queryValue(scope.query, surface.query);
    const model = parseModelId(named);
    if (model !== undefined) models.add(model);
    else if (named !== undefined) return deny('reference_unreadable');
  }
  if (surface.names === 'media') {
    // A provider of pictures or speech takes one model, by its name; what routes beside it may be any model
    if (isObject(body) && isPresent(body['model']) && typeof body['model'] !== 'string')
      return deny('reference_unreadable');
    const denial = judge.all(view, user, references.routed, 'provider');
    if (denial?.effect === 'deny') return denial;
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
  const stored = modelsOfStoredRun(surface.runs, view, user, { pathIds: scope.pathIds, body });
  if (stored !== 'denied') scope.runs += stored.further;
  const ofStored = judgeStoredRun(judge, view, user, stored);
  return ofStored?.effect === 'deny' ? ofStored : (decision ?? ofStored);
}

/**
 * The backend stores the user's message of a request with its chat, as a save would (main.py `chat_completion`, from
 * 0.9): it may keep and add the same names.
 */
function judgeWritten(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  body: unknown,
  scope: Scope,
  order: ChatOrder,
): Decision | undefined {
  const { body: sent } = scope;
  if (!isObject(body) || sent === undefined) return undefined;
  const reader = new ChatReader();
  for (const message of [body['user_message'], body['parent_message']]) {
    if (!isObject(message)) continue;
    const id = typeof message['id'] === 'string' ? message['id'] : '';
    for (const reading of storedReadings(message, sent)) reader.readQuestion(id, reading);
  }
  const chatId = typeof body['chat_id'] === 'string' ? body['chat_id'] : undefined;
  const { decision, keeps } = judgeSave(judge, view, user, reader, chatId);
  if (keeps && chatId !== undefined) scope.endSave = order.begin(chatId);
  return decision;
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

/** Fallbacks and the like are sent to the connection of the model that runs: `a` beside `x.b` asks that one for `x.a`. */
function askedOfConnections(view: StoreView, { models, routed }: References): ModelId[] {
  if (routed.size === 0) return [];
  const run = [...models].filter((model) => !routed.has(model));
  return run.flatMap((model) =>
    [...routed].flatMap((named) => askedBeside(view, view.preset(model)?.base ?? model, named)),
  );
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
function mentionedModels(judge: Judge, view: StoreView, body: unknown): string[] {
  const content = isObject(body) ? body['content'] : undefined;
  if (typeof content !== 'string') return [];
  const mentioned = new Set([...content.matchAll(MENTION)].map(([, model = '']) => model));
  return [...mentioned].filter((text) => !LIKE_TEXT.test(text) || isKnown(judge, view, text));
}

function isKnown(judge: Judge, view: StoreView, text: string): boolean {
  const model = parseModelId(text);
  if (model === undefined) return false;
  return view.hasModelRow(model) || view.isGrantedAnywhere(model) || judge.providerModels.has(model);
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
/** Text and code that talk about mentions. An id might hold such a character; the backend runs none that it does not know. */
const LIKE_TEXT = /^\s|[\r\n"'`]/;
