/**
 * The one decision of modelgate, for listing and for invoking. Pure and synchronous: no I/O, no clock, no framework.
 * Default deny: a permit is returned only where a grant, or the operator's own switch, was found.
 */
import type { UserPrincipal } from './principal.ts';
import { type Decision, type Permit, deny } from './decision.ts';
import { type GrantSet, type ModelId, coveringGrant } from './grant.ts';

export interface Preset {
  readonly id: ModelId;
  /** `base_model_id`; undefined for a row that only overrides a provider model of the same id. */
  readonly base: ModelId | undefined;
  readonly owner?: string | undefined;
  /** Further models that the row's `params` name; they overwrite `model` when the backend runs the preset. */
  readonly parameterModels: readonly ModelId[];
}

/** What a decision looks up. One view serves one request: listing and invoking in it never see two policies. */
export interface PolicyView {
  /** Active grants of every active organization in which the user is an active member, the oldest membership first. */
  grantsOf(user: UserPrincipal): readonly GrantSet[];
  preset(id: ModelId): Preset | undefined;
  /** A model that picks others by chance (arena). A preset on it picks from a list of its own, so its base says nothing. */
  isComposite(id: ModelId): boolean;
  /** `<prefix_id>.` of each connection: how the backend lists the models of a provider. */
  connectionPrefixes(): readonly string[];
}

export interface DecideOptions {
  readonly adminAccess: 'organization' | 'all';
}

/**
 * A model is permitted if an organization of the user grants it by id or prefix; a preset also if its base is granted and
 * everything else that it names. Names are judged as the provider will be asked for them.
 */
export function decide(view: PolicyView, user: UserPrincipal, model: ModelId, options: DecideOptions): Decision {
  // Roles that the backend itself lets nowhere near a model; `banned` is mAI's
  if (user.role === 'pending' || user.role === 'banned') return deny('role_not_permitted', model);
  if (user.role === 'admin' && options.adminAccess === 'all') {
    return { effect: 'permit', reason: 'admin_access', model, chain: [model] };
  }
  const grants = view.grantsOf(user);
  if (grants.length === 0) return deny('no_organization', model);
  const preset = view.preset(model);
  const own = granted(grants, model, [model]);
  if (own === undefined && preset?.base === undefined) return deny('not_granted', model, [model]);
  // A grant of a preset covers what the preset names. One of a provider's model, or of many, covers no further model
  const isMeant = own !== undefined && isPreset(preset) && grants.some(({ exact }) => exact.has(model));
  const stray = isMeant ? undefined : strayParameter(view, grants, model, preset);
  return stray ?? own ?? throughBase(view, grants, model, preset?.base ?? model);
}

/**
 * The backend resolves one base and sends that id as it is, whatever row has the same name: a base that is not granted by
 * itself permits nothing. Source: `routers/openai.py` `generate_chat_completion`, 0.6.18 and 0.12.4.
 */
function throughBase(view: PolicyView, grants: readonly GrantSet[], model: ModelId, base: ModelId): Decision {
  const permit = isProviders(view, base) ? granted(grants, base, [model, base]) : undefined;
  if (permit === undefined) return deny('preset_base_not_granted', model, [model, base]);
  return { ...permit, reason: 'preset_base', model };
}

function strayParameter(view: PolicyView, grants: readonly GrantSet[], model: ModelId, preset: Preset | undefined) {
  const asked = preset?.parameterModels.flatMap((named) => askedBeside(view, preset.base ?? model, named));
  const stray = asked?.find((named) => granted(grants, named, []) === undefined);
  return stray === undefined ? undefined : deny('preset_parameter_not_granted', model, [model, stray]);
}

/** Has the row a base of another name? (mAI writes rows whose base is their own id.) */
const isPreset = (row: Preset | undefined): boolean => row?.base !== undefined && row.base !== row.id;

/** Can the id be a provider's own? Where a preset has it, its grant is for the preset alone. */
export const isProviders = (view: PolicyView, id: ModelId): boolean =>
  !view.isComposite(id) && !isPreset(view.preset(id));

/** A connection takes its own prefix out of names, wherever it stands (`routers/openai.py`, 0.6.18 `.replace`). */
export function askedBeside(view: PolicyView, model: ModelId, named: ModelId): readonly ModelId[] {
  const prefixes = view.connectionPrefixes().filter((prefix) => model.startsWith(prefix));
  if (prefixes.length === 0) return [named];
  return prefixes.map((prefix) => `${prefix}${named.replaceAll(prefix, '')}` as ModelId);
}

/** The organization that grants it is the one that pays: one that names the model before one that names many, then the oldest membership. */
function granted(grants: readonly GrantSet[], model: ModelId, chain: readonly ModelId[]): Permit | undefined {
  const exact = grants.find((set) => set.exact.has(model));
  const set = exact ?? grants.find((one) => coveringGrant(one, model) !== undefined);
  const pattern = set && coveringGrant(set, model);
  if (set === undefined || pattern === undefined) return undefined;
  const reason = set === exact ? 'grant' : 'prefix_grant';
  return { effect: 'permit', reason, model, grant: { organization: set.organization, pattern }, chain };
}
