/** One sentence on a decision: why it is so, and what would change it. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import { type UserPrincipal, toOrganizationId } from '../identity/principal.ts';
import type { DecideOptions } from '../policy/decide.ts';
import type { Decision, Permit } from '../policy/decision.ts';
import { type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import { type Membership, MEMBERSHIP_OFF } from './standing.ts';

interface Subject {
  readonly user: UserPrincipal;
  readonly memberships: readonly Membership[];
  /** Of a user without any membership: where the gate enrols the user, and why it cannot; null for others. */
  readonly enrolment: { readonly organization: string; readonly obstacle: string | null } | null;
}

interface ModelQuestion extends Subject {
  readonly model: ModelId;
  readonly decision: Decision;
  /** The file names the model, or an organization was granted it. */
  readonly isKnown: boolean;
  /** Of a model that is not known: one with nearly the same id, and what gives it to this user. */
  readonly meant: string | undefined;
  readonly through: Permit['grant'];
}

/** @returns one sentence, with a command where one helps */
export function adviseOnModel(question: ModelQuestion): string {
  const { model, decision } = question;
  if (decision.effect === 'permit') return whyPermitted(decision);
  const nothing = whyNothing(question);
  if (nothing !== undefined) return nothing;
  if (!question.isKnown && decision.reason === 'not_granted') return whyUnknown(question);
  const last = decision.chain.at(-1) ?? model;
  if (decision.reason === 'preset_parameter_not_granted') return whyUndeclared(question, last);
  return decision.reason === 'preset_base_not_granted' ? whyBase(question, last) : whyNotGranted(question);
}

/** @returns one sentence on all models, and whether grants give the user any */
export function whySeen(
  subject: Subject,
  { adminAccess }: DecideOptions,
): { readonly advice: string; readonly seesAny: boolean } {
  const nothing = whyNothing(subject);
  const seesAny = nothing === undefined;
  if (subject.user.role === 'admin' && adminAccess === 'all') {
    return { seesAny, advice: `${UNLIMITED.slice(0, -1)}: every model of the backend is seen.` };
  }
  return { seesAny, advice: nothing ?? whatIsSeen(subject.memberships.filter(({ counts }) => counts)) };
}

const UNLIMITED = 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`.';

function whatIsSeen(memberships: readonly Membership[]): string {
  const models = memberships.flatMap((membership) => membership.models);
  const active = new Set(models.filter((model) => model.active).map(({ pattern }) => pattern));
  if (active.size === 0) {
    const off = models.length > 0 ? ', because all that is there is switched off' : '';
    return `The user's ${memberships.length === 1 ? 'organization grants' : 'organizations grant'} no model${off}: run \`${modelAllow('MODEL', memberships)}\`.`;
  }
  return `The user sees those models of the backend that ${active.size === 1 ? 'the one active grant covers' : `the ${active.size.toLocaleString('en')} active grants cover`}, and presets built on them; what the backend itself does not offer the user stays hidden.`;
}

/** @returns why nothing reaches this user, whatever the model, and what to do; undefined where something does */
function whyNothing({ user: { id, role }, memberships, enrolment }: Subject): string | undefined {
  if (role === 'pending') {
    return 'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).';
  }
  if (role === 'banned') return 'The backend has the user as banned: an admin has to change the role in the backend.';
  const [first] = memberships;
  if (first === undefined && enrolment !== null && enrolment.obstacle !== null) {
    return `The gate cannot enrol the user in ${quoted(enrolment.organization)}, because ${enrolment.obstacle}: let the gate write there, or run \`${memberAdd(id, enrolment.organization)}\`.`;
  }
  if (first === undefined) {
    return `The user is a member of no organization: run \`${shellCommand('modelgate', 'member', 'add', id)} --org ORGANIZATION\`.`;
  }
  if (memberships.some(({ counts }) => counts)) return undefined;
  const off = memberships.find(({ why_not: why }) => why === MEMBERSHIP_OFF);
  return off === undefined
    ? `The organization ${quoted(first.organization)} is switched off in mAI's table client_organizations: switch it on there (is_active = 1).`
    : `The membership in ${quoted(off.organization)} is switched off: run \`${memberAdd(id, off.organization)}\`.`;
}

function whyPermitted({ reason, grant, chain }: Permit): string {
  if (grant === undefined) return UNLIMITED;
  const organization = quoted(grant.organization);
  const switchOff = `To end that: \`${shellCommand('modelgate', 'model', 'deny', grant.pattern, '--org', grant.organization)}\`.`;
  if (reason === 'preset_base') {
    return `${organization} grants ${quoted(chain.at(-1) ?? grant.pattern)}, which this preset is built on. ${switchOff}`;
  }
  return `${organization} grants ${quoted(grant.pattern)}. ${switchOff}`;
}

/** A typing error must not be advised as a grant; and the file need not name what a provider has. */
function whyUnknown({ model, memberships, meant, through }: ModelQuestion): string {
  const unknown = `No model ${quoted(model)} is known to the backend's database or granted to any organization.`;
  const gives = through === undefined ? '' : ` ${quoted(through.organization)} grants it.`;
  const exactly = meant?.toLowerCase() === model.toLowerCase() ? ' Ids are compared exactly.' : '';
  if (meant !== undefined) return `${unknown} Did you mean ${quoted(meant)}?${exactly}${gives}`;
  return `${unknown} If the backend's own list has this very id: \`${modelAllow(model, memberships)}\``;
}

/** The nearest thing to a grant that there is: one that is switched off, elsewhere, or spelt with other capitals. */
function whyNotGranted({ user, model, memberships }: ModelQuestion): string {
  const own = memberships.filter(({ counts }) => counts);
  for (const membership of own) {
    const off = membership.models.find(({ pattern, active }) => !active && covers(pattern, model));
    if (off !== undefined) {
      return `${quoted(membership.organization)} has ${quoted(off.pattern)} switched off: run \`${modelAllow(off.pattern, [membership])}\`.`;
    }
  }
  const elsewhere = memberships.find(
    ({ counts, models }) => !counts && models.some(({ pattern, active }) => active && covers(pattern, model)),
  );
  if (elsewhere?.why_not === MEMBERSHIP_OFF) {
    return `${quoted(elsewhere.organization)} grants it, but the user's membership there is switched off: run \`${memberAdd(user.id, elsewhere.organization)}\`.`;
  }
  if (elsewhere !== undefined) {
    return `${quoted(elsewhere.organization)} grants it, but is switched off in mAI's table client_organizations.`;
  }
  const folded = model.toLowerCase();
  for (const membership of own) {
    const otherCase = membership.models.find(({ pattern, active }) => active && pattern.toLowerCase() === folded);
    if (otherCase !== undefined) {
      return `${quoted(membership.organization)} grants ${quoted(otherCase.pattern)}, and ids are compared exactly: use that spelling, or run \`${modelAllow(model, [membership])}\`.`;
    }
  }
  const where =
    own.length === 1
      ? `${quoted(own[0]?.organization ?? '')} does not grant`
      : `None of the user's ${own.length} organizations grants`;
  return `${where} ${quoted(model)}: run \`${modelAllow(model, own)}\`.`;
}

const whyBase = ({ model, memberships }: ModelQuestion, base: string): string =>
  `${quoted(model)} is a preset on ${quoted(base)}, which no organization of the user grants by itself: run \`${modelAllow(model, memberships)}\` for this preset alone, or \`${modelAllow(base, memberships)}\` for everything built on that model.`;

const whyUndeclared = ({ model, memberships }: ModelQuestion, other: string): string =>
  `The preset ${quoted(model)} names ${quoted(other)} in its parameters, which no organization of the user grants: run \`${modelAllow(other, memberships)}\`, or take it out of the preset.`;

const covers = (pattern: string, model: ModelId): boolean =>
  coveringGrant(compileGrants(toOrganizationId(''), [pattern]), model) !== undefined;

const memberAdd = (user: string, organization: string): string =>
  shellCommand('modelgate', 'member', 'add', user, '--org', organization);

/** @returns the command, for the first organization that counts */
const modelAllow = (model: string, memberships: readonly Membership[]): string => {
  const organization = memberships.find(({ counts }) => counts)?.organization ?? 'ORGANIZATION';
  return shellCommand('modelgate', 'model', 'allow', model, '--org', organization);
};
