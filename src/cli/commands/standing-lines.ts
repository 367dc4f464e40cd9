/** Memberships of one user, in words and as JSON. */
import type { StoreConfig } from '../../config/parse.ts';
import type { Enrolment, Standing } from '../../organizations/standing.ts';
import { counts } from '../../organizations/standing.ts';
import { counted } from '../format.ts';

/** What `--json` prints of one membership. */
export interface MembershipJson {
  readonly organization: string;
  readonly role: string | null;
  readonly active: boolean;
  readonly counts: boolean;
  /** In words, or null where it counts. */
  readonly why_not: string | null;
  readonly models: readonly { readonly pattern: string; readonly active: boolean }[];
}

/** For `--json`: rows that are there. */
export const toMembershipsJson = (standings: readonly Standing[]): readonly MembershipJson[] =>
  standings.filter(({ atFirstRequest }) => atFirstRequest !== true).map(toMembershipJson);

const toMembershipJson = (standing: Standing): MembershipJson => ({
  organization: standing.organization,
  role: standing.role,
  active: standing.isActive,
  counts: counts(standing),
  why_not: counts(standing) ? null : whyNot(standing),
  models: standing.grants.map(({ pattern, isActive }) => ({ pattern, active: isActive })),
});

const WHY_NOT = {
  inactive: 'the membership is switched off',
  organization_inactive: "the organization is switched off in mAI's client_organizations",
} as const;

const whyNot = ({ obstacles }: Standing): string => obstacles.map((obstacle) => WHY_NOT[obstacle]).join(', ');

/** A row each, those that give something first: `member of  acme — 2 models on, 1 off`. */
export function standingRows(standings: readonly Standing[]): readonly (readonly [name: string, value: string])[] {
  if (standings.length === 0) return [['member of', 'no organization']];
  return [
    ...standings.filter(counts).map((standing) => ['member of', describeGrants(standing)] as const),
    ...standings
      .filter((standing) => !counts(standing))
      .map((standing) => ['not counted', `${standing.organization} — ${whyNot(standing)}`] as const),
  ];
}

function describeGrants({ organization, grants, atFirstRequest }: Standing): string {
  const on = grants.filter(({ isActive }) => isActive).length;
  const off = grants.length - on;
  const made = atFirstRequest === true ? ' (from the first request on, MODELGATE_AUTO_ENROLL)' : '';
  return `${organization}${made} — ${counted(on, 'model')} on${off > 0 ? `, ${off.toLocaleString('en')} off` : ''}`;
}

/** Of a user without any membership, for `--json`; null for others, and where the gate enrols nobody. */
export type EnrolmentJson = {
  readonly organization: string;
  /** Why no membership can be written, or null: then the decision counts it already. */
  readonly obstacle: string | null;
} | null;

export const toEnrolmentJson = (enrolment: Enrolment | undefined): EnrolmentJson =>
  enrolment === undefined ? null : { organization: enrolment.organization, obstacle: enrolment.obstacle ?? null };

/** @param organization of the environment @returns the one that the gate enrols users without any membership in */
export const enrollingOf = (organization: StoreConfig['organization']): string | undefined =>
  organization?.autoEnroll === true ? organization.id : undefined;
