/** Memberships of one user, in words and as JSON. */
import type { StoreConfig } from '../../config/parse.ts';
import type { Enrolment, Standing } from '../../operations/reports/standing.ts';
import { counts } from '../../operations/reports/standing.ts';
import { counted } from '../output.ts';

/** What `--json` prints of one membership. */
export interface MembershipJson {
  readonly organization: string;
  readonly role: string | null;
  readonly is_active: boolean;
  readonly counts: boolean;
  /** In words, or null where it counts. */
  readonly why_not: string | null;
  readonly models: readonly { readonly id: string; readonly is_active: boolean }[];
}

/** For `--json`: rows that are there. */
export const toMembershipsJson = (standings: readonly Standing[]): readonly MembershipJson[] =>
  standings.filter(({ atFirstRequest }) => atFirstRequest !== true).map(toMembershipJson);

const toMembershipJson = (standing: Standing): MembershipJson => ({
  organization: standing.organization,
  role: standing.role,
  is_active: standing.isActive,
  counts: counts(standing),
  why_not: counts(standing) ? null : whyNot(standing),
  models: standing.grants.map(({ pattern, isActive }) => ({ id: pattern, is_active: isActive })),
});

const WHY_NOT = {
  inactive: 'the membership is switched off',
  organization_inactive: "the organization is switched off in mAI's client_organizations",
} as const;

const whyNot = ({ obstacles }: Standing): string => obstacles.map((obstacle) => WHY_NOT[obstacle]).join(', ');

/** `acme: counts; 2 models on, 1 off` */
export function describeStanding(standing: Standing): string {
  const on = standing.grants.filter(({ isActive }) => isActive).length;
  const off = standing.grants.length - on;
  const models = `${counted(on, 'model')} on${off > 0 ? `, ${off.toLocaleString('en')} off` : ''}`;
  const isMade = standing.atFirstRequest === true ? 'is made at the first request (MODELGATE_AUTO_ENROLL), and ' : '';
  const does = counts(standing) ? 'counts' : `does not count, ${whyNot(standing)}`;
  return `${standing.organization}: ${isMade}${does}; ${models}`;
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
