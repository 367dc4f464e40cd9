import type { ModelId } from './grant.ts';
import type { OrganizationId } from '../identity/principal.ts';

/** Why a model may be used. The same word stands in the log line, the metric label, `explain` and the tests. */
export type PermitReason =
  | 'grant'
  | 'prefix_grant'
  /** a preset whose base is granted, together with everything else that it names */
  | 'preset_base'
  /** `MODELGATE_ADMIN_ACCESS=all` and the caller is a backend admin */
  | 'admin_access'
  /** image and speech models are a name space of their own: `MODELGATE_MEDIA_MODELS` */
  | 'media_model';

/** Why it may not. */
export type DenyReason =
  | 'not_authenticated'
  | 'role_not_permitted'
  | 'no_organization'
  | 'not_granted'
  /** the base of a preset is not granted by itself, is missing, or picks others by chance */
  | 'preset_base_not_granted'
  /** a preset names another model in its parameters that is not granted */
  | 'preset_parameter_not_granted'
  | 'media_model_not_listed'
  | 'model_missing'
  | 'reference_unreadable'
  | 'direct_connection'
  | 'path_unlisted'
  | 'preset_id_taken'
  /** a stored chat, message or automation that the request would run names a model the caller does not have */
  | 'stored_reference'
  /** what would be stored names a model the caller does not have, and the stored version does not */
  | 'saved_reference';

export interface Permit {
  readonly effect: 'permit';
  readonly reason: PermitReason;
  readonly model: ModelId;
  /** The organization and pattern that decided; absent where no grant was needed. */
  readonly grant?: { readonly organization: OrganizationId; readonly pattern: string };
  /** The models walked through, from the one that was asked for to the one that is granted. */
  readonly chain: readonly ModelId[];
}

export interface Deny {
  readonly effect: 'deny';
  readonly reason: DenyReason;
  /** What the caller named; absent where nothing was named or it cannot be shown. */
  readonly model?: ModelId;
  readonly chain: readonly ModelId[];
}

export type Decision = Permit | Deny;

/** @returns a denial; `chain` is the walk of `explain`, empty where no model was looked at */
export function deny(reason: DenyReason, model?: ModelId, chain: readonly ModelId[] = []): Deny {
  return { effect: 'deny', reason, chain, ...(model === undefined ? {} : { model }) };
}
