/**
 * Judges a user who creates, imports or changes presets: a stored model reference that runs later, for others too.
 * Backend admins are not judged here: they manage what exists (DESIGN section 4).
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from '../policy/decision.ts';
import { deny } from '../policy/decision.ts';
import type { ModelId } from '../policy/model-id.ts';
import { parseModelId } from '../policy/model-id.ts';
import type { Scope } from '../scope.ts';
import type { StoreView } from '../store/store-view.ts';
import { queryValue } from './canonical-path.ts';
import type { Judge } from './judge.ts';
import { collectReferences, isObject } from '../references/references.ts';
import type { ManagesSurface } from './surfaces.ts';

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
    const decision = judgeRow(judge, view, user, row);
    if (decision?.effect === 'deny') return decision;
    first ??= decision;
  }
  return first;
}

/** `params.model_controls.<key>.options.<option>.params` become `custom_params` when a user picks the option (0.12). */
function controlParameters(form: Record<string, unknown>): unknown {
  const params = isObject(form['params']) ? form['params'] : {};
  const controls = isObject(params['model_controls']) ? Object.values(params['model_controls']) : [];
  const options = controls.flatMap((control) =>
    Object.values(isObject(control) && isObject(control['options']) ? control['options'] : {}),
  );
  return options.map((option) => ({ custom_params: isObject(option) ? option['params'] : undefined }));
}

interface Row {
  readonly ids: readonly ModelId[];
  readonly named: ReadonlySet<ModelId>;
}

/** @returns undefined where the body has not the form that the backend reads */
function rowsOf(surface: ManagesSurface, scope: Scope, body: unknown): Row[] | undefined {
  if (!isObject(body)) return undefined;
  const forms = surface.form === 'preset_list' ? body['models'] : [body];
  if (!Array.isArray(forms)) return undefined;
  const rows: Row[] = [];
  for (const form of forms) {
    if (!isObject(form)) return undefined;
    // 0.6.18 updates the row of the query's id and stores the body's: both are looked at
    const ids = [form['id'], queryValue(scope.query, 'id')].filter((id) => id !== undefined).map(parseModelId);
    const { models, unreadable } = collectReferences({ ...form, id: undefined, controls: controlParameters(form) });
    if (unreadable !== undefined || ids.length === 0) return undefined;
    const known = ids.filter((id) => id !== undefined);
    if (known.length < ids.length) return undefined;
    rows.push({ ids: known, named: models });
  }
  return rows;
}

function judgeRow(judge: Judge, view: StoreView, user: UserPrincipal, row: Row): Decision | undefined {
  // The backend sends a base to the provider as it is: no row of that name leads on
  const decision = judge.all(view, user, row.named, 'provider');
  if (decision?.effect === 'deny') return decision;
  // A preset on a composite model picks from a list of its own: nobody could say what it runs
  const composite = [...row.named, ...row.ids].find((id) => view.isComposite(id));
  if (composite !== undefined) return deny('preset_id_taken', composite);
  return row.ids.some((id) => redirectsOthers(judge, view, id, row)) ? deny('preset_id_taken', row.ids[0]) : decision;
}

/**
 * An id that others use must not come to mean another model: a new row on a provider's model, or on an id that
 * organizations were granted, would redirect everybody who has it, and so would a changed base of such a row.
 */
function redirectsOthers(judge: Judge, view: StoreView, id: ModelId, row: Row): boolean {
  const current = view.preset(id);
  const isProvided = judge.providerModels.has(id) && current?.base === undefined;
  if (!isProvided && !view.isGrantedAnywhere(id)) return false;
  if (current === undefined) return true;
  const before = new Set([current.id, current.base, ...current.parameterModels]);
  return [...row.named].some((model) => !before.has(model));
}
