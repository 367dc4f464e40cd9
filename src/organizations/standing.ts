/** What gives a user models and what does not: obstacles, the memberships of one user, and one sentence of advice. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import { type UserPrincipal, toOrganizationId } from '../identity/principal.ts';
import type { DecideOptions } from '../policy/decide.ts';
import type { Decision, Permit } from '../policy/decision.ts';
import { type ModelId, compileGrants, coveringGrant } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';
import { readAll } from './organizations.ts';

export const OBSTACLES = {
  inactive: 'switched off',
  pending: 'pending in the backend',
  banned: 'banned in the backend',
  unknown_user: 'unknown to the backend',
  organization_inactive: 'in an organization that is switched off',
  matches_nothing: 'can match no model',
} as const;

type Obstacle = keyof typeof OBSTACLES;

export const describeObstacles = (obstacles: readonly Obstacle[]): string =>
  obstacles.map((obstacle) => OBSTACLES[obstacle]).join(', ');

/** @returns what records say of a row that counts unless one of these is in its way */
export function judged(...found: readonly (Obstacle | false | undefined)[]) {
  const reasons = found.filter((obstacle) => typeof obstacle === 'string');
  return { counts: reasons.length === 0, reasons };
}

/** @returns why the gate refuses a user of this role; the backend lets a user without a role, or with one that is no text, nowhere */
export function obstacleOfRole(role: unknown): 'pending' | 'banned' | undefined {
  if (typeof role !== 'string' || role === 'pending') return 'pending';
  return role === 'banned' ? 'banned' : undefined;
}

export const ROLE_COUNTS = "typeof(u.role) = 'text' AND u.role NOT IN ('pending', 'banned')";

export type Membership = ReturnType<typeof readMemberships>[number];

const MEMBERSHIP_OFF = 'the membership is switched off';
const ORGANIZATION_OFF = "the organization is switched off in mAI's client_organizations";

/** @param enrolling the membership that the gate makes in this organization at the user's first request, and no other */
export function readMemberships(connection: Connection, schema: Schema, user: string, enrolling?: string) {
  const role = columnsOf(connection, 'organization_members').has('role') ? 'role' : 'NULL';
  const members = readAll<{ organization: string; active: number; role: unknown }>(
    connection,
    `SELECT organization_id AS organization, max(${activeCondition(schema.memberActive)}) AS active, ${role} AS role
     FROM organization_members WHERE user_id = $user COLLATE BINARY AND typeof(user_id) = 'text' AND typeof(organization_id) = 'text'
     GROUP BY organization_id COLLATE BINARY ORDER BY organization_id`,
    { user },
  );
  const grants = connection.prepare<[string], { pattern: string; active: number }>(
    `SELECT model_id AS pattern, max(${activeCondition(schema.grantActive)}) AS active FROM organization_models
     WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND typeof(model_id) = 'text'
     GROUP BY model_id COLLATE BINARY ORDER BY model_id`,
  );
  const { isActive } = prepareGrants(connection, schema);
  const rows = enrolling === undefined ? members : [{ organization: enrolling, active: 1, role: null }];
  return rows.map((row) => {
    const active = row.active === 1;
    const isOn = isActive(row.organization);
    const why = [...(active ? [] : [MEMBERSHIP_OFF]), ...(isOn ? [] : [ORGANIZATION_OFF])].join(', ');
    return {
      organization: row.organization,
      role: typeof row.role === 'string' ? row.role : null,
      active,
      counts: active && isOn,
      why_not: why || null,
      models: grants.all(row.organization).map((grant) => ({ pattern: grant.pattern, active: grant.active === 1 })),
    };
  });
}

interface Subject {
  readonly user: UserPrincipal;
  readonly memberships: readonly Membership[];
  readonly enrolment: { readonly organization: string; readonly obstacle: string | null } | null;
}

type ModelQuestion = Subject &
  Readonly<{
    model: ModelId;
    decision: Decision;
    isKnown: boolean;
    meant: string | undefined;
    through: Permit['grant'];
  }>;

/** @returns one sentence on a decision: why it is so, and what would change it */
export function adviseOnModel(question: ModelQuestion): string {
  const { model, decision, memberships } = question;
  if (decision.effect === 'permit') return whyPermitted(decision);
  const nothing = whyNothing(question);
  if (nothing !== undefined) return nothing;
  if (!question.isKnown && decision.reason === 'not_granted') return whyUnknown(question);
  const last = decision.chain.at(-1) ?? model;
  const allow = (id: string): string => `\`${modelAllow(id, memberships)}\``;
  if (decision.reason === 'preset_parameter_not_granted') {
    return `The preset ${quoted(model)} names ${quoted(last)} in its parameters, which no organization of the user grants: run ${allow(last)}, or take it out of the preset.`;
  }
  if (decision.reason === 'preset_base_not_granted') {
    return `${quoted(model)} is a preset on ${quoted(last)}, which no organization of the user grants by itself: run ${allow(model)} for this preset alone, or ${allow(last)} for everything built on that model.`;
  }
  return whyNotGranted(question);
}

/** @returns one sentence on all models, and whether grants give the user any */
export function whySeen(subject: Subject, { adminAccess }: DecideOptions) {
  const nothing = whyNothing(subject);
  const isUnlimited = subject.user.role === 'admin' && adminAccess === 'all';
  const advice = isUnlimited
    ? `${UNLIMITED.slice(0, -1)}: every model of the backend is seen.`
    : (nothing ?? whatIsSeen(subject.memberships.filter(({ counts }) => counts)));
  return { advice, seesAny: nothing === undefined };
}

const UNLIMITED = 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`.';

function whatIsSeen(memberships: readonly Membership[]): string {
  const models = memberships.flatMap((membership) => membership.models);
  const { size } = new Set(models.filter((model) => model.active).map(({ pattern }) => pattern));
  if (size === 0) {
    const off = models.length > 0 ? ', because all that is there is switched off' : '';
    return `The user's ${memberships.length === 1 ? 'organization grants' : 'organizations grant'} no model${off}: run \`${modelAllow('MODEL', memberships)}\`.`;
  }
  return `The user sees those models of the backend that ${size === 1 ? 'the one active grant covers' : `the ${size.toLocaleString('en')} active grants cover`}, and presets built on them; what the backend itself does not offer the user stays hidden.`;
}

/** @returns why nothing reaches this user, whatever the model, and what to do; undefined where something does */
function whyNothing({ user: { id, role }, memberships, enrolment }: Subject): string | undefined {
  if (role === 'pending') {
    return 'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).';
  }
  if (role === 'banned') return 'The backend has the user as banned: an admin has to change the role in the backend.';
  if (memberships.some(({ counts }) => counts)) return undefined;
  const off = memberships.find(({ why_not: why }) => why === MEMBERSHIP_OFF);
  if (off !== undefined) {
    return `The membership in ${quoted(off.organization)} is switched off: run \`${memberAdd(id, off.organization)}\`.`;
  }
  const [first] = memberships;
  if (first !== undefined) {
    return `The organization ${quoted(first.organization)} is switched off in mAI's table client_organizations: switch it on there (is_active = 1).`;
  }
  return enrolment === null || enrolment.obstacle === null
    ? `The user is a member of no organization: run \`${memberAdd(id, 'ORGANIZATION')}\`.`
    : `The gate cannot enrol the user in ${quoted(enrolment.organization)}, because ${enrolment.obstacle}: let the gate write there, or run \`${memberAdd(id, enrolment.organization)}\`.`;
}

function whyPermitted({ reason, grant, chain }: Permit): string {
  if (grant === undefined) return UNLIMITED;
  const what =
    reason === 'preset_base'
      ? `${quoted(chain.at(-1) ?? grant.pattern)}, which this preset is built on`
      : quoted(grant.pattern);
  const switchOff = shellCommand('modelgate', 'model', 'deny', grant.pattern, '--org', grant.organization);
  return `${quoted(grant.organization)} grants ${what}. To end that: \`${switchOff}\`.`;
}

/** A typing error must not be advised as a grant; and the file need not name what a provider has. */
function whyUnknown({ model, memberships, meant, through }: ModelQuestion): string {
  const unknown = `No model ${quoted(model)} is known to the backend's database or granted to any organization.`;
  if (meant === undefined) {
    return `${unknown} If the backend's own list has this very id: \`${modelAllow(model, memberships)}\``;
  }
  const exactly = meant.toLowerCase() === model.toLowerCase() ? ' Ids are compared exactly.' : '';
  const gives = through === undefined ? '' : ` ${quoted(through.organization)} grants it.`;
  return `${unknown} Did you mean ${quoted(meant)}?${exactly}${gives}`;
}

function whyNotGranted({ user, model, memberships }: ModelQuestion): string {
  const own = memberships.filter(({ counts }) => counts);
  const find = (among: readonly Membership[], isOn: boolean, isMeant: (pattern: string) => boolean) =>
    among.flatMap((membership) =>
      membership.models
        .filter(({ pattern, active }) => active === isOn && isMeant(pattern))
        .map(({ pattern }) => ({ ...membership, pattern, name: quoted(membership.organization) })),
    )[0];
  const covers = (pattern: string): boolean =>
    coveringGrant(compileGrants(toOrganizationId(''), [pattern]), model) !== undefined;
  const off = find(own, false, covers);
  if (off !== undefined) {
    return `${off.name} has ${quoted(off.pattern)} switched off: run \`${modelAllow(off.pattern, [off])}\`.`;
  }
  const lost = memberships.filter(({ counts }) => !counts);
  const elsewhere = find(lost, true, covers);
  if (elsewhere !== undefined) {
    return elsewhere.why_not === MEMBERSHIP_OFF
      ? `${elsewhere.name} grants it, but the user's membership there is switched off: run \`${memberAdd(user.id, elsewhere.organization)}\`.`
      : `${elsewhere.name} grants it, but is switched off in mAI's table client_organizations.`;
  }
  const otherCase = find(own, true, (pattern) => pattern.toLowerCase() === model.toLowerCase());
  if (otherCase !== undefined) {
    return `${otherCase.name} grants ${quoted(otherCase.pattern)}, and ids are compared exactly: use that spelling, or run \`${modelAllow(model, [otherCase])}\`.`;
  }
  const [only, ...more] = own;
  const where =
    only !== undefined && more.length === 0
      ? `${quoted(only.organization)} does not grant`
      : `None of the user's ${own.length} organizations grants`;
  return `${where} ${quoted(model)}: run \`${modelAllow(model, own)}\`.`;
}

const memberAdd = (user: string, organization: string): string =>
  shellCommand('modelgate', 'member', 'add', user, '--org', organization);

function modelAllow(model: string, memberships: readonly Membership[]): string {
  const organization = memberships.find(({ counts }) => counts)?.organization ?? 'ORGANIZATION';
  return shellCommand('modelgate', 'model', 'allow', model, '--org', organization);
}
