/**
 * Judges a user who creates, imports or changes presets: a stored model reference that runs later, for others too.
 * Backend admins are not judged here: they manage what exists.
 */
import type { Judge } from '../enforcement/judge.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import { type Decision, deny } from '../policy/decision.ts';
import { type ModelId, parsePattern } from '../policy/grant.ts';
import type { PresetForm, PresetRow } from '../references/records.ts';
import type { StoreView } from '../store/store-view.ts';

/** @param record undefined where the body has not the form that the backend reads */
export function judgePreset(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  form: PresetForm,
  record: readonly PresetRow[] | undefined,
): Decision | undefined {
  if (record === undefined) return deny('reference_unreadable');
  let first: Decision | undefined;
  for (const row of record) {
    const decision = form === 'preset_switch' ? judgeSwitch(judge, view, user, row) : judgeRow(judge, view, user, row);
    if (decision?.effect === 'deny') return decision;
    first ??= decision;
  }
  return first;
}

function judgeRow(judge: Judge, view: StoreView, user: UserPrincipal, row: PresetRow): Decision | undefined {
  // The backend sends a base to the provider as it is: no row of that name leads on
  const decision = judge.all(view, user, row.named, 'provider');
  if (decision?.effect === 'deny') return decision;
  // A preset on a composite model picks from a list of its own: what it runs cannot be known
  const taken = [...row.named, ...row.ids].find((id) => view.isComposite(id)) ?? row.ids.find(isPattern);
  if (taken !== undefined) return deny('preset_id_taken', taken);
  if (!row.hasBase) return deny('model_missing');
  return row.ids.some((id) => redirectsOthers(judge, view, id, row)) ? deny('preset_id_taken', row.ids[0]) : decision;
}

/**
 * Switches a row on or off, deletes or shares it: for its owner, and for those who may use it. A row without a base
 * changes what all users see of a provider's model, and is the admins' to switch. Other rows and rows that are not there
 * are refused alike.
 */
function judgeSwitch(judge: Judge, view: StoreView, user: UserPrincipal, { ids }: PresetRow): Decision | undefined {
  for (const id of ids) {
    const row = view.preset(id);
    if (row === undefined) return deny('not_granted', id, [id]);
    const decision = row.owner === user.id ? undefined : judge.one(view, user, id);
    if (decision?.effect === 'deny') return deny('not_granted', id, [id]);
    if (row.base === undefined || row.base === id) return deny('preset_id_taken', id);
  }
  return undefined;
}

/** A grant on such an id would be read as a prefix of many. */
const isPattern = (id: ModelId): boolean => parsePattern(id)?.kind === 'prefix';

/**
 * An id that others use must not come to mean another model: a new row on a provider's model, or on an id that
 * organizations were granted, would redirect all its users, and so would a changed base of such a row. The
 * backend takes a name without a tag for a model of Ollama with one.
 */
function redirectsOthers(judge: Judge, view: StoreView, id: ModelId, row: PresetRow): boolean {
  const current = view.preset(id);
  if (current !== undefined && (current.base === undefined || current.base === id)) return true;
  const isProvided = judge.providerModels.has(id) && current === undefined;
  const isUsed = view.isGrantedAnywhere(id) || view.isGrantedAnywhere(`${id}:latest` as ModelId);
  if (!isProvided && !isUsed) return false;
  if (current === undefined) return true;
  const before = new Set([current.id, current.base, ...current.parameterModels]);
  return [...row.named].some((model) => !before.has(model));
}
