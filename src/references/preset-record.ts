/** What a request names that creates, imports or changes presets. */
import type { ModelId } from '../policy/grant.ts';
import { parseModelId } from '../policy/grant.ts';
import { boundNames } from './bounds.ts';
import { collectReferences, isObject } from './references.ts';

export type PresetForm = 'preset' | 'preset_list' | 'preset_switch';

export interface PresetRow {
  readonly ids: readonly ModelId[];
  /** Where the row names no base, it would override a provider's model: for everybody. */
  readonly hasBase: boolean;
  readonly named: ReadonlySet<ModelId>;
}

export interface PresetRecord {
  readonly rows: readonly PresetRow[];
}

/**
 * @param body parsed JSON of the forms `ModelForm` and `ModelsImportForm` (routers/models.py, 0.6.18 and 0.12.4)
 * @param queryId the id of the query: 0.6.18 updates its row and stores the body's, so that both are looked at
 * @returns undefined where the body has not the form that the backend reads
 */
export function readPresets(body: unknown, form: PresetForm, queryId: string | undefined): PresetRecord | undefined {
  const forms = form === 'preset_list' ? (isObject(body) ? body['models'] : undefined) : [body ?? {}];
  if (!Array.isArray(forms)) return undefined;
  const rows: PresetRow[] = [];
  let names = 0;
  for (const one of forms) {
    if (!isObject(one)) return undefined;
    const ids = [one['id'], queryId].filter((id) => id !== undefined).map(parseModelId);
    const { models, unreadable } = collectReferences({ ...one, id: undefined }, { controls: 'defined' });
    if (unreadable !== undefined || ids.length === 0) return undefined;
    const known = ids.filter((id) => id !== undefined);
    if (known.length < ids.length) return undefined;
    const base = one['base_model_id'];
    const hasBase = typeof base === 'string' && base !== '' && !known.some((id) => id === base);
    rows.push({ ids: known, hasBase, named: models });
    boundNames((names += known.length + models.size));
  }
  return { rows };
}
