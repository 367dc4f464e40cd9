/** From the model that is about to run back to a grant of the person for whom it runs. Pure. */
import { type Judge, firstDenial } from '../enforcement/judge.ts';
import type { OrganizationId, UserPrincipal } from '../policy/principal.ts';
import type { PolicyView } from '../policy/decide.ts';
import { type Decision, type Permit, deny } from '../policy/decision.ts';
import type { GrantSet, ModelId } from '../policy/grant.ts';
import type { Endpoint } from './endpoints.ts';

interface WireView extends PolicyView {
  /** Ids of the presets whose base is this model. */
  presetsOn(base: ModelId): readonly ModelId[];
}

/** What one request asks of a provider. */
interface WireRequest {
  readonly endpoint: Pick<Endpoint, 'kind' | 'dialect'>;
  /** What the backend puts before the models of its connections to this provider; an empty text where it puts nothing. */
  readonly prefixes: readonly string[];
  /** Every model that the request names. */
  readonly models: Iterable<ModelId>;
  /** What the backend says that it was asked for (`{{MODEL_ID}}`, from 0.12.2); empty for its own tasks. */
  readonly asked: ModelId | undefined;
  readonly isServiceModel: (model: ModelId) => boolean;
}

/** @returns the first denial, or the first permit; undefined where no model is named */
function judgeWire(judge: Judge, view: WireView, user: UserPrincipal, request: WireRequest) {
  return firstDenial(request.models, (wire) => judgeOne(judge, view, user, request, wire));
}

/**
 * Whose grant decides pays; where none does, the organization that the user joined first. Of several models any may run, and
 * no organization pays for a model that it has not granted: one organization must permit all.
 */
export function judgeForPayer(judge: Judge, view: WireView, user: UserPrincipal, request: WireRequest) {
  const ofAll = judgeWire(judge, view, user, request) ?? deny('model_missing');
  const granting = ofAll.effect === 'permit' ? ofAll.grant?.organization : undefined;
  const grants = view.grantsOf(user);
  const payer = granting ?? grants[0]?.organization;
  const united = { decision: ofAll, payer };
  if (ofAll.effect === 'deny' || grants.length < 2 || [...request.models].length < 2) return united;
  const byEach = [...grants.filter(isOf(payer)), ...grants].map((set) => {
    const alone: WireView = {
      grantsOf: () => [set],
      preset: (id) => view.preset(id),
      isComposite: (id) => view.isComposite(id),
      connectionPrefixes: () => view.connectionPrefixes(),
      presetsOn: (base) => view.presetsOn(base),
    };
    return { decision: judgeWire(judge, alone, user, request) ?? ofAll, payer: set.organization };
  });
  return byEach.find(({ decision }) => decision.effect === 'permit') ?? byEach[0] ?? united;
}

const isOf =
  (payer: OrganizationId | undefined) =>
  ({ organization }: GrantSet): boolean =>
    organization === payer;

/**
 * The wire has no word of a preset: a model is permitted too where a preset on it is granted by its own id, because the
 * backend sends the base. With `asked` it must be that very preset.
 */
function judgeOne(judge: Judge, view: WireView, user: UserPrincipal, request: WireRequest, wire: ModelId): Decision {
  const { endpoint, asked, isServiceModel } = request;
  if (endpoint.kind === 'media') return judge.one(view, user, wire, 'media');
  const candidates = candidatesOf(request, wire);
  const first = firstPermit(candidates, (id) => judge.one(view, user, id, 'provider'));
  if (first.effect === 'permit' || first.reason === 'role_not_permitted') return first;
  const presets = candidates.flatMap((base) => view.presetsOn(base)).filter((id) => !asked || asked === id);
  const through = presets.map((id) => judge.one(view, user, id)).find(isOwnGrant);
  if (through !== undefined)
    return { ...through, reason: 'preset_base_on_wire', model: wire, chain: [through.model, wire] };
  if (first.reason === 'no_organization' || !isServiceModel(wire)) return first;
  return { effect: 'permit', reason: 'service_model', model: wire, chain: [wire] };
}

/** The ids by which the backend's lists, and so grants, may name what this provider calls `wire`. */
export function candidatesOf({ endpoint, prefixes }: Pick<WireRequest, 'endpoint' | 'prefixes'>, wire: ModelId) {
  const isUntagged = endpoint.dialect === 'ollama' && !wire.includes(':');
  // Ollama takes `llama3` for `llama3:latest`
  const spelled = isUntagged ? `${wire}:latest` : wire;
  return prefixes.map((prefix) => `${prefix}${spelled}` as ModelId);
}

function firstPermit(candidates: readonly ModelId[], decide: (id: ModelId) => Decision): Decision {
  let first: Decision | undefined;
  for (const id of candidates) {
    const decision = decide(id);
    if (decision.effect === 'permit') return decision;
    first ??= decision;
  }
  return first ?? deny('not_granted');
}

const isOwnGrant = (decision: Decision): decision is Permit =>
  decision.effect === 'permit' && (decision.reason === 'grant' || decision.reason === 'prefix_grant');
