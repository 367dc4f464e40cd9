import type { Judge } from '../enforcement/judge.ts';
import type { Scope } from '../gate/scope.ts';
import type { OrganizationId, UserPrincipal } from '../identity/principal.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import type { InvocationRecord } from '../references/records.ts';
import type { StoreView } from '../store/store-view.ts';
import { type Judging, judgeSave, loadFor } from './saved-chats.ts';
import { askedOf, judgeStoredRun, modelsOfStoredRun } from './stored-runs.ts';
import type { InvokesSurface } from './surface.ts';
import { queryValue } from './target.ts';

/**
 * Judges a request that runs models now: those it names in body, query or text, and those that a stored object names
 * for it.
 */
export async function judgeInvocation(
  judging: Judging,
  surface: InvokesSurface,
  scope: Scope,
  record: InvocationRecord,
): Promise<Decision | undefined> {
  const { store, order } = judging;
  const decision = judgeNamed(judging, store.current(), surface, scope, record);
  if (decision?.effect === 'deny') return decision;
  let ofStored: Decision | undefined;
  if (surface.runs !== undefined) {
    const { runs } = surface;
    const request = { pathIds: scope.pathIds, record };
    const chat = scope.pathIds['id'] ?? record.ids.chat_id;
    const stored = await order.quietly(chat, () => modelsOfStoredRun(runs, judging, request));
    if (stored !== 'denied') scope.runs += stored.further;
    if (stored !== 'denied') await loadFor(judging, [...stored.names, ...(stored.beside?.routed ?? [])]);
    ofStored = judgeStoredRun(judging, stored);
    if (ofStored?.effect === 'deny') return ofStored;
  }
  const written = await judgeWritten(judging, scope, record);
  return written?.effect === 'deny' ? written : (decision ?? ofStored);
}

/** What the request names by itself. */
function judgeNamed(
  { judge, user }: Judging,
  view: StoreView,
  surface: InvokesSurface,
  scope: Scope,
  record: InvocationRecord,
): Decision | undefined {
  const { references, fanOut } = record;
  const mentioned = record.mentioned.filter(({ text, likeText }) => !likeText || isKnown(judge, view, text));
  // First, since report mode sends on what is denied below
  scope.runs = Math.max(1, fanOut.runs, mentioned.length);
  if (references.unreadable !== undefined) return deny('reference_unreadable');
  if (surface.modelRequired && !record.namesModel) return deny('model_missing');
  if (references.direct && judge.options.directConnections === 'refuse') return deny('direct_connection');

  const run = [...references.models].filter((model) => !references.routed.has(model));
  const models = new Set([...references.models, ...askedOf(view, run, references.routed)]);
  const ofQuery = surface.query === undefined ? undefined : queryValue(scope.query, surface.query);
  for (const text of [...mentioned.map((mention) => mention.text), ...(ofQuery === undefined ? [] : [ofQuery])]) {
    const model = parseModelId(text);
    if (model === undefined) return deny('reference_unreadable');
    models.add(model);
  }
  if (surface.names === 'media') {
    // A provider of pictures or speech takes one model, by its name; what routes beside it may be any model
    if (record.hasOddModel) return deny('reference_unreadable');
    const denial = judge.all(view, user, references.routed, 'provider');
    if (denial?.effect === 'deny') return denial;
  }
  const isDirect = references.direct && surface.direct === true;
  const decision = isDirect ? judgeDirect(judge, view, user, models) : judge.all(view, user, models, surface.names);
  if (decision?.effect === 'deny') return decision;
  if (scope.runs > 1 || models.size > 1) {
    const judgeOne = (model: ModelId) => judge.one(view, user, model, surface.names);
    const runs = fanOut.runs > 0 ? fanOut.named : new Map(mentioned.map(({ text }) => [text, 1]));
    scope.runsByOrganization = countByOrganization(runs, models, judgeOne);
  }
  return decision;
}

/**
 * The backend stores the user's message of a request with its chat, as a save would (main.py `chat_completion`, from
 * 0.9): it may keep and add the same names.
 */
async function judgeWritten(
  judging: Judging,
  scope: Scope,
  { written, ids }: InvocationRecord,
): Promise<Decision | undefined> {
  const { decision, end } = await judgeSave(judging, written, ids.chat_id === '' ? undefined : ids.chat_id);
  scope.endSave = end;
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

function isKnown(judge: Judge, view: StoreView, text: string): boolean {
  const model = parseModelId(text);
  if (model === undefined) return false;
  return view.hasModelRow(model) || view.isGrantedAnywhere(model) || judge.providerModels.has(model);
}

/** @returns for each organization its runs, and one for what else is named by its grants: it may be what runs */
function countByOrganization(
  runs: ReadonlyMap<string, number>,
  models: ReadonlySet<ModelId>,
  judgeOne: (model: ModelId) => Decision,
): ReadonlyMap<OrganizationId, number> {
  const payers = new Map<string, OrganizationId>();
  for (const model of models) {
    const decision = judgeOne(model);
    if (decision.effect === 'permit' && decision.grant !== undefined) payers.set(model, decision.grant.organization);
  }
  const counts = new Map<OrganizationId, number>();
  for (const [named, times] of runs) {
    const payer = payers.get(named);
    if (payer !== undefined) counts.set(payer, (counts.get(payer) ?? 0) + times);
  }
  for (const payer of payers.values()) if (!counts.has(payer)) counts.set(payer, 1);
  return counts;
}
