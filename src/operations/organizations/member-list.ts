/** The members of an organization as they are, and why one does not count. */
import type { Connection } from '../../store/database.ts';
import { prepareGrants } from '../../store/grants.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { columnsOf, activeCondition } from '../../store/schema-reader.ts';
import type { Operation } from '../backend-file.ts';
import { reading } from '../backend-file.ts';
import type { ChosenOrganization } from './organizations.ts';
import { requireOrganization } from './organizations.ts';

/** Why a membership gives nothing. A user with several reasons has them all. */
export type Obstacle = 'inactive' | 'pending' | 'banned' | 'unknown_user' | 'organization_inactive';

/** @param role of the backend's row @returns why the gate refuses whoever has it, undefined where it does not */
export function obstacleOfRole(role: unknown): 'pending' | 'banned' | undefined {
  // a row without a role, or with one that is no text, is a user that the backend lets nowhere
  if (typeof role !== 'string' || role === 'pending') return 'pending';
  return role === 'banned' ? 'banned' : undefined;
}

/** SQL for the same, of the backend's table "user" under the name `u`. */
export const ROLE_COUNTS = "typeof(u.role) = 'text' AND u.role NOT IN ('pending', 'banned')";

export interface Member {
  readonly id: string;
  /** Of the backend's row; null where there is none. */
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string | null;
  readonly organizationRole: string | null;
  readonly isActive: boolean;
  /** Seconds since 1970, or whatever a table made by hand holds. */
  readonly joinedAt: number | string | null;
  /** None: the gate counts it. */
  readonly obstacles: readonly Obstacle[];
}

/** @returns members by e-mail address @throws OperationFailure as `reading`, and where nobody has named the organization */
export function listMembers(operation: Operation, chosen: ChosenOrganization): Promise<readonly Member[]> {
  return reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return readMembers(connection, schema, chosen.id);
  });
}

interface MemberRow {
  readonly id: string;
  readonly known: string | null;
  readonly email: string | null;
  readonly name: string | null;
  readonly role: string | null;
  readonly organizationRole: string | null;
  readonly active: number;
  readonly joinedAt: number | string | null;
}

/** A row whose user is no text is as invisible here as it is to the gate. */
export function readMembers(connection: Connection, schema: Schema, organization: string): readonly Member[] {
  const columns = columnsOf(connection, 'organization_members');
  const statement = connection.prepare<[string], MemberRow>(
    `SELECT m.user_id AS id, u.id AS known, u.email, u.name, u.role,
       ${columns.has('role') ? 'm.role' : 'NULL'} AS organizationRole,
       ${activeCondition(schema.memberActive, 'm')} AS active,
       ${columns.has('joined_at') ? 'm.joined_at' : 'NULL'} AS joinedAt
     FROM organization_members m LEFT JOIN "user" u ON u.id = m.user_id
     WHERE m.organization_id = ? AND typeof(m.user_id) = 'text'
     ORDER BY u.email IS NULL, lower(u.email), m.user_id`,
  );
  const isOrganizationActive = prepareGrants(connection, schema).isActive(organization);
  return statement.all(organization).map((row) => toMember(row, isOrganizationActive));
}

function toMember({ known, active, ...row }: MemberRow, isOrganizationActive: boolean): Member {
  const obstacles: Obstacle[] = [];
  if (active !== 1) obstacles.push('inactive');
  const ofUser = known === null ? 'unknown_user' : obstacleOfRole(row.role);
  if (ofUser !== undefined) obstacles.push(ofUser);
  if (!isOrganizationActive) obstacles.push('organization_inactive');
  return { ...row, isActive: active === 1, obstacles };
}
