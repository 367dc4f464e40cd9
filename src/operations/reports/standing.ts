/** Where a user stands: every membership, those too that give nothing, and what each organization grants. */
import type { UserPrincipal } from '../../identity/principal.ts';
import type { Connection } from '../../store/database.ts';
import { prepareGrants } from '../../store/grants.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { columnsOf, activeCondition } from '../../store/schema-reader.ts';
import { quoted } from '../quoted.ts';
import { shellCommand } from '../shell-words.ts';

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
}

export interface StandingGrant {
  /** Model id, or the beginning of ids and a `*`. */
  readonly pattern: string;
  readonly isActive: boolean;
}

/** To be called in one transaction. @returns a membership each, by organization */
export function readStandings(connection: Connection, schema: Schema, user: string): readonly Standing[] {
  const columns = columnsOf(connection, 'organization_members');
  const members = connection.prepare<[string], MemberRow>(
    `SELECT organization_id AS organization, max(${activeCondition(schema.memberActive)}) AS active,
       ${columns.has('role') ? 'role' : 'NULL'} AS role
     FROM organization_members WHERE user_id = ? AND typeof(organization_id) = 'text'
     GROUP BY organization_id ORDER BY organization_id`,
  );
  const grants = connection.prepare<[string], { pattern: string; active: number }>(
    `SELECT model_id AS pattern, max(${activeCondition(schema.grantActive)}) AS active
     FROM organization_models WHERE organization_id = ? AND typeof(model_id) = 'text'
     GROUP BY model_id ORDER BY model_id`,
  );
  const { isActive: isOrganizationActive } = prepareGrants(connection, schema);
  return members.all(user).map(({ organization, active, role }) => ({
    organization,
    role: typeof role === 'string' ? role : null,
    isActive: active === 1,
    obstacles: [
      ...(active === 1 ? [] : (['inactive'] as const)),
      ...(isOrganizationActive(organization) ? [] : (['organization_inactive'] as const)),
    ],
    grants: grants.all(organization).map((row) => ({ pattern: row.pattern, isActive: row.active === 1 })),
  }));
}

interface MemberRow {
  readonly organization: string;
  readonly active: number;
  readonly role: unknown;
}

/** Whether a membership gives what its organization grants. */
export const counts = ({ obstacles }: Standing): boolean => obstacles.length === 0;

/** @returns why nothing reaches this user, whatever the model, and what to do; undefined where something does */
export function whyNothing(user: UserPrincipal, standings: readonly Standing[]): string | undefined {
  const { id, role } = user;
  if (role === 'pending') {
    return 'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).';
  }
  if (role === 'banned') return 'The backend has the user as banned: an admin has to change the role in the backend.';
  const [first] = standings;
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
