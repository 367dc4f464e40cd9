/** What gives a user models and what does not: obstacles, the memberships of one user, and one sentence of advice. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import { type UserPrincipal, toOrganizationId } from '../policy/principal.ts';
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

/** @param enrolling the organization whose membership the gate makes at the user's first request: that one, and no other */
export function readMemberships(connection: Connection, schema: Schema, user: string, enrolling?: string) {
  const role = columnsOf(connection, 'organization_members').has('role') ? 'role' : 'NULL';
  const sql = `
    SELECT organization_id AS organization, ${activeCondition(schema.memberActive)} AS active, ${role} AS role
    FROM organization_members WHERE user_id = $user COLLATE BINARY AND typeof(user_id) = 'text' AND typeof(organization_id) = 'text'
    ORDER BY organization_id COLLATE BINARY, active`;
  const found = readAll<{ organization: string; active: number; role: unknown }>(connection, sql, { user });
  // of several rows the one that is on
  const members = [...new Map(found.map((row) => [row.organization, row])).values()];
  const { isActive } = prepareGrants(connection, schema);
  const rows = enrolling === undefined ? members : [{ organization: enrolling, active: 1, role: null }];
  return rows.map(({ organization, ...row }) => {
    const active = row.active === 1;
    const why = [!active && MEMBERSHIP_OFF, !isActive(organization) && ORGANIZATION_OFF].filter(Boolean).join(', ');
    return {
      organization,
      role: typeof row.role === 'string' ? row.role : null,
      active,
      counts: why === '',
      why_not: why || null,
      models: [...readGranted(connection, schema, organization)].map(([pattern, isOn]) => ({ pattern, active: isOn })),
    };
  });
}

/** @returns by pattern whether one of its rows is on; ids that are no text are none to the gate */
export function readGranted(connection: Connection, { grantActive }: Schema, organization: string) {
  const sql = `
    SELECT model_id, max(${activeCondition(grantActive)}) FROM organization_models
    WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND typeof(model_id) = 'text'
    GROUP BY model_id COLLATE BINARY ORDER BY model_id COLLATE BINARY`;
  const rows = connection.prepare<[string], [pattern: string, active: number]>(sql).raw().all(organization);
  return new Map(rows.map(([pattern, active]) => [pattern, active === 1]));
}

/** Whom advice is for; the enrolment that the gate tries at the first request, and what stands in its way. */
type Subject = Readonly<{ user: UserPrincipal; memberships: readonly Membership[]; enrolment: Enrolment | null }>;
type Enrolment = Readonly<{ organization: string; obstacle: string | null }>;

const command = (...words: readonly string[]): string => `\`${shellCommand('modelgate', ...words)}\``;
const addMember = (user: string, organization: string): string => command('member', 'add', user, '--org', organization);

const allow = (model: string, [first]: readonly Membership[]): string =>
  command('model', 'allow', model, '--org', first?.organization ?? 'ORGANIZATION');

export const countingOf = ({ memberships }: Subject): readonly Membership[] =>
  memberships.filter(({ counts }) => counts);

/** Whether the model is known; else which other may be meant, and by which grant that is permitted. */
type Seen = Readonly<{ isKnown: boolean; meant?: string | undefined; through: Permit['grant'] }>;

/** @returns one sentence on a decision: why it is so, and what would change it */
export function adviseOnModel(subject: Subject, model: ModelId, decision: Decision, seen: Seen): string {
  if (decision.effect === 'permit') return whyPermitted(decision);
  const nothing = whyNothing(subject);
  if (nothing !== undefined) return nothing;
  const own = countingOf(subject);
  const last = decision.chain.at(-1) ?? model;
  if (decision.reason === 'preset_parameter_not_granted') {
    return `The preset ${quoted(model)} names ${quoted(last)} in its parameters, which no organization of the user grants: run ${allow(last, own)}, or take it out of the preset.`;
  }
  if (decision.reason === 'preset_base_not_granted') {
    return `${quoted(model)} is a preset on ${quoted(last)}, which no organization of the user grants by itself: run ${allow(model, own)} for this preset alone, or ${allow(last, own)} for everything built on that model.`;
  }
  if (seen.isKnown || decision.reason !== 'not_granted') return whyNotGranted(subject, model);
  // a typing error must not be advised as a grant; and the file need not name what a provider has
  const unknown = `No model ${quoted(model)} is known to the backend's database or granted to any organization.`;
  const { meant, through } = seen;
  if (meant === undefined) {
    return `${unknown} If the backend's own list has this very id: ${allow(model, own)}`;
  }
  const exactly = meant.toLowerCase() === model.toLowerCase() ? ' Ids are compared exactly.' : '';
  const gives = through === undefined ? '' : ` ${quoted(through.organization)} grants it.`;
  return `${unknown} Did you mean ${quoted(meant)}?${exactly}${gives}`;
}

/** @returns one sentence on all models, and whether grants give the user any */
export function whySeen(subject: Subject, { adminAccess }: DecideOptions) {
  const nothing = whyNothing(subject);
  const seesAny = nothing === undefined;
  if (subject.user.role === 'admin' && adminAccess === 'all') {
    return { advice: `${UNLIMITED.slice(0, -1)}: every model of the backend is seen.`, seesAny };
  }
  const own = countingOf(subject);
  const models = own.flatMap((membership) => membership.models);
  const { size } = new Set(models.filter((model) => model.active).map(({ pattern }) => pattern));
  const off = models.length > 0 ? ', because all that is there is switched off' : '';
  const grants = size === 1 ? 'the one active grant covers' : `the ${size.toLocaleString('en')} active grants cover`;
  const something =
    size === 0
      ? `No organization of the user grants a model${off}: run ${allow('MODEL', own)}.`
      : `The user sees those models of the backend that ${grants}, and presets built on them; what the backend itself does not offer the user stays hidden.`;
  return { advice: nothing ?? something, seesAny };
}

const UNLIMITED = 'The user is an admin of the backend, and MODELGATE_ADMIN_ACCESS is `all`.';

/** @returns why nothing reaches this user, whatever the model, and what to do; undefined where something does */
function whyNothing({ user: { id, role }, memberships, enrolment }: Subject): string | undefined {
  const refused = obstacleOfRole(role);
  if (refused !== undefined) return `The backend has the user as ${refused}: an admin has to ${TO_ADMIT[refused]}.`;
  if (memberships.some(({ counts }) => counts)) return undefined;
  const off = memberships.find(({ why_not: why }) => why === MEMBERSHIP_OFF);
  if (off !== undefined) {
    return `The membership in ${quoted(off.organization)} is switched off: run ${addMember(id, off.organization)}.`;
  }
  const [first] = memberships;
  if (first !== undefined) {
    return `The organization ${quoted(first.organization)} is switched off in mAI's table client_organizations: ${SWITCH_ON}.`;
  }
  return enrolment === null || enrolment.obstacle === null
    ? `The user is a member of no organization: run ${addMember(id, 'ORGANIZATION')}.`
    : `The gate cannot enrol the user in ${quoted(enrolment.organization)}, because ${enrolment.obstacle}: let the gate write there, or run ${addMember(id, enrolment.organization)}.`;
}

const TO_ADMIT = {
  pending: 'approve the user in the backend (Admin Panel, Users)',
  banned: 'change the role in the backend',
};
const SWITCH_ON = 'switch it on there (is_active = 1)';

function whyPermitted({ reason, grant, chain }: Permit): string {
  if (grant === undefined) return UNLIMITED;
  const what =
    reason === 'preset_base'
      ? `${quoted(chain.at(-1) ?? grant.pattern)}, which this preset is built on`
      : quoted(grant.pattern);
  const deny = command('model', 'deny', grant.pattern, '--org', grant.organization);
  return `${quoted(grant.organization)} grants ${what}. To end that: ${deny}.`;
}

/** @returns what comes nearest to a grant: one that is off, one that does not count, one of another spelling */
function whyNotGranted(subject: Subject, model: ModelId): string {
  const find = (counts: boolean, isOn: boolean, isMeant: (pattern: string) => boolean) =>
    subject.memberships
      .filter((membership) => membership.counts === counts)
      .flatMap((of) => of.models.map(({ pattern, active }) => ({ of, pattern, active, by: quoted(of.organization) })))
      .find(({ pattern, active }) => active === isOn && isMeant(pattern));
  const covers = (pattern: string): boolean =>
    coveringGrant(compileGrants(toOrganizationId(''), [pattern]), model) !== undefined;
  const off = find(true, false, covers);
  if (off !== undefined)
    return `${off.by} has ${quoted(off.pattern)} switched off: run ${allow(off.pattern, [off.of])}.`;
  const lost = find(false, true, covers);
  if (lost !== undefined) {
    const { organization, why_not: why } = lost.of;
    const remedy = why === MEMBERSHIP_OFF ? `run ${addMember(subject.user.id, organization)}` : SWITCH_ON;
    return `${lost.by} grants it, but ${why ?? ''}: ${remedy}.`;
  }
  const other = find(true, true, (pattern) => pattern.toLowerCase() === model.toLowerCase());
  if (other !== undefined) {
    return `${other.by} grants ${quoted(other.pattern)}, and ids are compared exactly: use that spelling, or run ${allow(model, [other.of])}.`;
  }
  return `No organization of the user grants ${quoted(model)}: run ${allow(model, countingOf(subject))}.`;
}
