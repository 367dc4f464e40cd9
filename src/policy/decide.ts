/**
 * The one decision of modelgate, for listing and for invoking. Pure and synchronous: no I/O, no clock, no framework.
 * Default deny: a permit is returned only where a grant, or the operator's own switch, was found.
 */
import type { UserPrincipal } from '../identity/principal.ts';
import type { Decision } from './decision.ts';
import { deny } from './decision.ts';
import type { GrantSet } from './grant.ts';
import { coveringGrant } from './grant.ts';
import type { ModelId } from './model-id.ts';

/** A row of the backend's `model` table, as far as policy needs it. */
export interface Preset {
  readonly id: ModelId;
  /** `base_model_id`; undefined for a row that only overrides a provider model of the same id. */
  readonly base: ModelId | undefined;
  /** Further models that the row's `params` name; they overwrite `model` when the backend runs the preset. */
  readonly parameterModels: readonly ModelId[];
}

/** What a decision looks up. One view serves one request: listing and invoking in it never see two policies. */
export interface PolicyView {
  /** Active grants of every active organization in which the user is an active member. */
  grantsOf(user: UserPrincipal): readonly GrantSet[];
  preset(id: ModelId): Preset | undefined;
  /** A model that picks others by chance (arena). A preset on it picks from a list of its own, so its base says nothing. */
  isComposite(id: ModelId): boolean;
}

export interface DecideOptions {
  readonly adminAccess: 'organization' | 'all';
}

/** Roles that the backend itself lets nowhere near a model. `banned` is mAI's. */
const ROLES_WITHOUT_ACCESS: ReadonlySet<string> = new Set(['pending', 'banned']);

/**
 * May this user use this model?
 *
 * A model is permitted if one of the user's organizations grants it by id or prefix; a preset also if its base chain
 * reaches a granted model and everything else that it names is granted too.
 */
export function decide(view: PolicyView, user: UserPrincipal, model: ModelId, options: DecideOptions): Decision {
  if (ROLES_WITHOUT_ACCESS.has(user.role)) return deny('role_not_permitted', model);
  if (user.role === 'admin' && options.adminAccess === 'all') {
    return { effect: 'permit', reason: 'admin_access', model, chain: [model] };
  }
  const grants = view.grantsOf(user);
  if (grants.length === 0) return deny('no_organization', model);
  return granted(grants, model, [model]) ?? decidePreset(view, grants, model);
}

/** The backend resolves one base; longer chains exist only where somebody builds them to cost us reads. */
const MAX_CHAIN_LENGTH = 16;

/** Walks from a preset to its base until a granted model ends the chain. */
function decidePreset(view: PolicyView, grants: readonly GrantSet[], model: ModelId): Decision {
  const chain: ModelId[] = [model];
  for (
    let preset = view.preset(model);
    preset?.base !== undefined && chain.length < MAX_CHAIN_LENGTH;
    preset = view.preset(preset.base)
  ) {
    const stray = preset.parameterModels.find((named) => granted(grants, named, []) === undefined);
    if (stray !== undefined) return deny('preset_parameter_not_granted', model, [...chain, stray]);
    // mAI writes rows whose base is the row itself: a repeated id ends the walk
    if (chain.includes(preset.base)) return deny('preset_base_not_granted', model, [...chain, preset.base]);
    chain.push(preset.base);
    if (view.isComposite(preset.base)) return deny('preset_base_not_granted', model, chain);
    const permit = granted(grants, preset.base, chain);
    if (permit !== undefined) return { ...permit, reason: 'preset_base', model };
  }
  return deny(chain.length === 1 ? 'not_granted' : 'preset_base_not_granted', model, chain);
}

function granted(
  grants: readonly GrantSet[],
  model: ModelId,
  chain: readonly ModelId[],
): (Decision & { effect: 'permit' }) | undefined {
  for (const set of grants) {
    const pattern = coveringGrant(set, model);
    if (pattern === undefined) continue;
    const reason = set.exact.has(model) ? 'grant' : 'prefix_grant';
    return { effect: 'permit', reason, model, grant: { organization: set.organization, pattern }, chain };
  }
  return undefined;
}
