import type { ModelId } from './grant.ts';
import type { OrganizationId } from './principal.ts';

/** Why a model may be used. Log line, metric label and `explain` show the same reason. */
const PERMIT_REASONS = {
  grant: { meaning: 'an organization of the user grants exactly this model' },
  prefix_grant: { meaning: 'an organization of the user grants every model with this beginning' },
  preset_base: { meaning: 'a preset whose base model is granted' },
  admin_access: { meaning: 'the user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`' },
  preset_base_on_wire: { meaning: 'the base of a preset that an organization of the user grants' },
  service_model: { meaning: 'a model that the backend runs for itself, for a user who has an organization' },
  media_model: { meaning: 'an image or speech model that MODELGATE_MEDIA_MODELS allows' },
} as const;

/** Why not, and the kind of answer: those of `policy` share one, so that a forbidden model looks like a missing one. */
export const DENY_REASONS = {
  not_authenticated: { kind: 'unauthenticated', meaning: 'no user is signed in' },
  role_not_permitted: { kind: 'policy', meaning: 'the role of the user may use no model at all' },
  no_organization: { kind: 'policy', meaning: 'the user is an active member of no active organization' },
  not_granted: { kind: 'policy', meaning: 'no organization of the user grants this model' },
  // also where the base is missing, or picks others by chance
  preset_base_not_granted: {
    kind: 'policy',
    meaning: 'a preset whose chain of base models does not end in a granted one',
  },
  preset_parameter_not_granted: {
    kind: 'policy',
    meaning: 'a preset that names, in its parameters, a model that is not granted',
  },
  media_model_not_listed: {
    kind: 'policy',
    meaning: 'an image or speech model that MODELGATE_MEDIA_MODELS does not list',
  },
  model_missing: { kind: 'malformed', meaning: 'no model is named' },
  reference_unreadable: { kind: 'malformed', meaning: 'a model is named in a form that cannot be read' },
  content_unreadable: { kind: 'malformed', meaning: 'the body is of a type or coding in which no model can be read' },
  direct_connection: { kind: 'direct', meaning: 'direct connections are refused' },
  path_unlisted: { kind: 'endpoint', meaning: 'the endpoint is for admins of the backend only' },
  preset_id_taken: { kind: 'policy', meaning: 'the id of the preset is that of a provider model' },
  stored_reference: { kind: 'stored', meaning: 'something stored names a model that is not granted' },
  no_identity: { kind: 'identity', meaning: 'the backend does not say for whom it calls a provider' },
  identity_invalid: { kind: 'identity', meaning: 'what the backend says of the user is not proved' },
  user_unknown: { kind: 'identity', meaning: 'the backend calls a provider for a user who is not in its database' },
  endpoint_unknown: { kind: 'provider', meaning: 'the endpoint of the provider is not one that is judged' },
  saved_reference: { kind: 'saved', meaning: 'what was to be saved names a model that is not granted' },
} as const;

type PermitReason = keyof typeof PERMIT_REASONS;
type DenyReason = keyof typeof DENY_REASONS;

export const REASONS: Readonly<Record<PermitReason | DenyReason, { readonly meaning: string }>> = {
  ...PERMIT_REASONS,
  ...DENY_REASONS,
};

export interface Permit {
  readonly effect: 'permit';
  readonly reason: PermitReason;
  readonly model: ModelId;
  /** The organization and pattern that decided; absent where no grant was needed. */
  readonly grant?: { readonly organization: OrganizationId; readonly pattern: string };
  /** From the model that was asked for to the one that is granted. */
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

export function deny(reason: DenyReason, model?: ModelId, chain: readonly ModelId[] = []): Deny {
  return { effect: 'deny', reason, chain, ...(model === undefined ? {} : { model }) };
}
