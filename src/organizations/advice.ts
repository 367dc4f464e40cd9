/** One sentence on a decision: why it is so, and what would change it. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import { toOrganizationId } from '../identity/principal.ts';
import type { Decision, Permit } from '../policy/decision.ts';
import type { ModelId } from '../policy/grant.ts';
import { compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Enrolment, Standing, StandingGrant } from './standing.ts';
import { counts, memberAdd, modelAllow, whyNothing } from './standing.ts';

export interface Case {
  readonly user: UserPrincipal;
  readonly model: ModelId;
  readonly decision: Decision;
  readonly standings: readonly Standing[];
  readonly enrolment: Enrolment | undefined;
  /** The file names the model, or somebody was granted it. */
  readonly isKnown: boolean;
  /** Of a model that is not known: one with nearly the same id, and what gives it to this user. */
  readonly meant: string | undefined;
  readonly through: Permit['grant'];
}

/** @returns one sentence with a command where one helps */
export function advise(subject: Case): string {
  const { user, model, decision, standings, enrolment } = subject;
  if (decision.effect === 'permit') return whyPermitted(decision);
  const nothing = whyNothing(user, standings, enrolment);
  if (nothing !== undefined) return nothing;
  if (!subject.isKnown && decision.reason === 'not_granted') return whyUnknown(subject);
  const last = decision.chain.at(-1) ?? model;
  if (decision.reason === 'preset_parameter_not_granted') return whyStray(subject, last);
  return decision.reason === 'preset_base_not_granted' ? whyBase(subject, last) : whyNotGranted(subject);
}

function whyPermitted({ reason, grant, chain }: Decision & { effect: 'permit' }): string {
  if (grant === undefined) return 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`.';
  const organization = quoted(grant.organization);
  const switchOff = `To end that: \`${shellCommand('modelgate', 'model', 'deny', grant.pattern, '--org', grant.organization)}\`.`;
  if (reason === 'preset_base') {
    return `${organization} grants ${quoted(chain.at(-1) ?? grant.pattern)}, which this preset is built on. ${switchOff}`;
  }
  return `${organization} grants ${quoted(grant.pattern)}. ${switchOff}`;
}

/** A typing error must not be advised as a grant; and what a provider has the file need not name. */
function whyUnknown({ model, standings, meant, through }: Case): string {
  const unknown = `No model ${quoted(model)} is known to the backend's database or granted to anybody.`;
  const gives = through === undefined ? '' : ` ${quoted(through.organization)} grants it.`;
  const exactly = meant?.toLowerCase() === model.toLowerCase() ? ' Ids are compared exactly.' : '';
  if (meant !== undefined) return `${unknown} Did you mean ${quoted(meant)}?${exactly}${gives}`;
  const organization = standings.find(counts)?.organization ?? 'ORGANIZATION';
  return `${unknown} If the backend's own list has this very id: \`${modelAllow(model, organization)}\``;
}

/** The nearest thing to a grant that there is: one that is switched off, elsewhere, or spelt with other capitals. */
function whyNotGranted({ user, model, standings }: Case): string {
  const own = standings.filter(counts);
  for (const { organization, grants } of own) {
    const off = grants.find((grant) => !grant.isActive && covers(grant, model));
    if (off !== undefined) {
      return `${quoted(organization)} has ${quoted(off.pattern)} switched off: run \`${modelAllow(off.pattern, organization)}\`.`;
    }
  }
  const elsewhere = standings.find(
    (standing) => !counts(standing) && standing.grants.some((grant) => grant.isActive && covers(grant, model)),
  );
  if (elsewhere?.obstacles.includes('organization_inactive') === true) {
    return `${quoted(elsewhere.organization)} grants it, but is switched off in mAI's table client_organizations.`;
  }
  if (elsewhere !== undefined) {
    return `${quoted(elsewhere.organization)} grants it, but the user's membership there is switched off: run \`${memberAdd(user.id, elsewhere.organization)}\`.`;
  }
  const folded = model.toLowerCase();
  const otherCase = own
    .flatMap(({ organization, grants }) => grants.map((grant) => ({ organization, ...grant })))
    .find(({ pattern, isActive }) => isActive && pattern.toLowerCase() === folded);
  if (otherCase !== undefined) {
    return `${quoted(otherCase.organization)} grants ${quoted(otherCase.pattern)}, and ids are compared exactly: use that spelling, or run \`${modelAllow(model, otherCase.organization)}\`.`;
  }
  const [first] = own;
  const where = own.length === 1 ? quoted(first?.organization ?? '') : `None of the user's ${own.length} organizations`;
  return `${where} ${own.length === 1 ? 'does not grant' : 'grants'} ${quoted(model)}: run \`${modelAllow(model, first?.organization ?? 'ORGANIZATION')}\`.`;
}

function whyBase({ model, standings }: Case, base: string): string {
  const organization = standings.find(counts)?.organization ?? 'ORGANIZATION';
  return `${quoted(model)} is a preset on ${quoted(base)}, which no organization of the user grants by itself: run \`${modelAllow(model, organization)}\` for this preset alone, or \`${modelAllow(base, organization)}\` for everything built on that model.`;
}

function whyStray({ model, standings }: Case, stray: string): string {
  const organization = standings.find(counts)?.organization ?? 'ORGANIZATION';
  return `The preset ${quoted(model)} names ${quoted(stray)} in its parameters, which no organization of the user grants: run \`${modelAllow(stray, organization)}\`, or take it out of the preset.`;
}

const covers = ({ pattern }: StandingGrant, model: ModelId): boolean =>
  coveringGrant(compileGrants(toOrganizationId(''), [pattern]), model) !== undefined;
