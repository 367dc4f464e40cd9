/** Where a user stands: every membership, those too that give nothing, and what each organization grants. */
import { quoted, shellCommand } from '../backend-file/text.ts';
import type { UserPrincipal } from '../identity/principal.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';

/** Why a membership gives nothing, whoever the user is. */
export type StandingObstacle = 'inactive' | 'organization_inactive';

export interface Standing {
  readonly organization: string;
  /** In the organization; null where the table has none. */
  readonly role: string | null;
  readonly isActive: boolean;
  /** None: the gate counts it. */
  readonly obstacles: readonly StandingObstacle[];
  /** Sorted by pattern. */
  readonly grants: readonly StandingGrant[];
  /** There is no row yet: the gate writes it with the user's first request. */
  readonly atFirstRequest?: true;
}

export interface StandingGrant {
  /** Model id, or the beginning of ids and a `*`. */
  readonly pattern: string;
  readonly isActive: boolean;
}

/**
 * To be called in one transaction.
 * @param enrolled the organization that the gate enrols the user in at the first request
 * @returns a membership each, by organization
 */
export function readStandings(
  connection: Connection,
  schema: Schema,
  user: string,
  enrolled?: string,
): readonly Standing[] {
  const columns = columnsOf(connection, 'organization_members');
  const members = connection.prepare<[string], MemberRow>(
    `SELECT organization_id AS organization, max(${activeCondition(schema.memberActive)}) AS active,
       ${columns.has('role') ? 'role' : 'NULL'} AS role
     FROM organization_members WHERE user_id = ? COLLATE BINARY AND typeof(user_id) = 'text' AND typeof(organization_id) = 'text'
     GROUP BY organization_id COLLATE BINARY ORDER BY organization_id`,
  );
  const grants = connection.prepare<[string], { pattern: string; active: number }>(
    `SELECT model_id AS pattern, max(${activeCondition(schema.grantActive)}) AS active
     FROM organization_models
     WHERE organization_id = ? COLLATE BINARY AND typeof(organization_id) = 'text' AND typeof(model_id) = 'text'
     GROUP BY model_id COLLATE BINARY ORDER BY model_id`,
  );
  const { isActive: isOrganizationActive } = prepareGrants(connection, schema);
  const toStanding = ({ organization, active, role }: MemberRow): Standing => ({
    organization,
    role: typeof role === 'string' ? role : null,
    isActive: active === 1,
    obstacles: [
      ...(active === 1 ? [] : (['inactive'] as const)),
      ...(isOrganizationActive(organization) ? [] : (['organization_inactive'] as const)),
    ],
    grants: grants.all(organization).map((row) => ({ pattern: row.pattern, isActive: row.active === 1 })),
  });
  if (enrolled === undefined) return members.all(user).map(toStanding);
  return [{ ...toStanding({ organization: enrolled, active: 1, role: null }), atFirstRequest: true }];
}

interface MemberRow {
  readonly organization: string;
  readonly active: number;
  readonly role: unknown;
}

/** Whether a membership gives what its organization grants. */
export const counts = ({ obstacles }: Standing): boolean => obstacles.length === 0;

/** What the gate does with a user who has no membership at all (`MODELGATE_AUTO_ENROLL`). */
export interface Enrolment {
  readonly organization: string;
  /** Why no row can be written, as far as this process can tell; undefined where one can. */
  readonly obstacle: string | undefined;
}

/** @returns why nothing reaches this user, whatever the model, and what to do; undefined where something does */
export function whyNothing(
  user: UserPrincipal,
  standings: readonly Standing[],
  enrolment: Enrolment | undefined,
): string | undefined {
  const { id, role } = user;
  if (role === 'pending') {
    return 'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).';
  }
  if (role === 'banned') return 'The backend has the user as banned: an admin has to change the role in the backend.';
  const [first] = standings;
  if (first === undefined && enrolment?.obstacle !== undefined) {
    return `The gate cannot enrol the user in ${quoted(enrolment.organization)}, because ${enrolment.obstacle}: let the gate write there, or run \`${memberAdd(id, enrolment.organization)}\`.`;
  }
  if (first === undefined) {
    return `The user is a member of no organization: run \`${shellCommand('modelgate', 'member', 'add', id)} --org ORGANIZATION\`.`;
  }
  const counting = standings.filter(counts);
  if (counting.length > 0) return undefined;
  const off = standings.find(({ obstacles }) => !obstacles.includes('organization_inactive'));
  return off === undefined
    ? `The organization ${quoted(first.organization)} is switched off in mAI's table client_organizations: switch it on there (is_active = 1).`
    : `The membership in ${quoted(off.organization)} is switched off: run \`${memberAdd(id, off.organization)}\`.`;
}

/** @returns a command to be pasted into a shell */
export const memberAdd = (user: string, organization: string): string =>
  shellCommand('modelgate', 'member', 'add', user, '--org', organization);

/** @returns a command to be pasted into a shell */
export const modelAllow = (model: string, organization: string): string =>
  shellCommand('modelgate', 'model', 'allow', model, '--org', organization);
