/**
 * Judges a user who creates, imports or changes presets: a stored model reference that runs later, for others too.
 * Backend admins are not judged here: they manage what exists.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import { parsePattern } from '../policy/grant.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import { queryValue } from './canonical-path.ts';
import type { Judge } from './judge.ts';
import { collectReferences, isObject } from '../references/references.ts';
import type { ManagesSurface } from './surface.ts';

/** @param body parsed JSON of the forms `ModelForm` and `ModelsImportForm` (routers/models.py, 0.6.18 and 0.12.4) */
export function judgePreset(
  judge: Judge,
  view: StoreView,
  user: UserPrincipal,
  surface: ManagesSurface,
  scope: Scope,
  body: unknown,
): Decision | undefined {
  const rows = rowsOf(surface, scope, body);
  if (rows === undefined) return deny('reference_unreadable');
  let first: Decision | undefined;
  for (const row of rows) {
    const decision =
      surface.form === 'preset_switch' ? judgeSwitch(judge, view, user, row) : judgeRow(judge, view, user, row);
    if (decision?.effect === 'deny') return decision;
    first ??= decision;
  }
  return first;
}

interface Row {
  readonly ids: readonly ModelId[];
  /** Where the row names no base, it would override a provider's model: for everybody. */
  readonly hasBase: boolean;
  readonly named: ReadonlySet<ModelId>;
}

/** @returns undefined where the body has not the form that the backend reads */
function rowsOf(surface: ManagesSurface, scope: Scope, body: unknown): Row[] | undefined {
  const forms = surface.form === 'preset_list' ? (isObject(body) ? body['models'] : undefined) : [body ?? {}];
  if (!Array.isArray(forms)) return undefined;
  const rows: Row[] = [];
  for (const form of forms) {
    if (!isObject(form)) return undefined;
    // 0.6.18 updates the row of the query's id and stores the body's: both are looked at
    const ids = [form['id'], queryValue(scope.query, 'id')].filter((id) => id !== undefined).map(parseModelId);
    const { models, unreadable } = collectReferences({ ...form, id: undefined }, { controls: 'defined' });
    if (unreadable !== undefined || ids.length === 0) return undefined;
    const known = ids.filter((id) => id !== undefined);
    if (known.length < ids.length) return undefined;
    const base = form['base_model_id'];
    const hasBase = typeof base === 'string' && base !== '' && !known.some((id) => id === base);
    rows.push({ ids: known, hasBase, named: models });
  }
  return rows;
}

function judgeRow(judge: Judge, view: StoreView, user: UserPrincipal, row: Row): Decision | undefined {
  // The backend sends a base to the provider as it is: no row of that name leads on
  const decision = judge.all(view, user, row.named, 'provider');
  if (decision?.effect === 'deny') return decision;
  // A preset on a composite model picks from a list of its own: nobody could say what it runs
  const taken = [...row.named, ...row.ids].find((id) => view.isComposite(id)) ?? row.ids.find(isPattern);
  if (taken !== undefined) return deny('preset_id_taken', taken);
  if (!row.hasBase) return deny('model_missing');
  return row.ids.some((id) => redirectsOthers(judge, view, id, row)) ? deny('preset_id_taken', row.ids[0]) : decision;
}

/**
 * Switches a row on or off, deletes or shares it: for its owner, and for those who may use it. A row without a base
 * changes what everybody sees of a provider's model, and is the admins' to switch. Other rows and rows that are not there
 * are refused alike.
 */
function judgeSwitch(judge: Judge, view: StoreView, user: UserPrincipal, { ids }: Row): Decision | undefined {
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
 * organizations were granted, would redirect everybody who has it, and so would a changed base of such a row. The
 * backend takes a name without a tag for a model of Ollama with one.
 */
function redirectsOthers(judge: Judge, view: StoreView, id: ModelId, row: Row): boolean {
  const current = view.preset(id);
  if (current !== undefined && (current.base === undefined || current.base === id)) return true;
  const isProvided = judge.providerModels.has(id) && current === undefined;
  const isUsed = view.isGrantedAnywhere(id) || view.isGrantedAnywhere(`${id}:latest` as ModelId);
  if (!isProvided && !isUsed) return false;
  if (current === undefined) return true;
  const before = new Set([current.id, current.base, ...current.parameterModels]);
  return [...row.named].some((model) => !before.has(model));
}
