/**
 * The deployment guide's audit: active users and models of each organization, and the admins of the backend. Its rows
 * are the guide's; what the guide's statements do not see stands beside them.
 */
import type { Operation } from '../backend-file/transaction.ts';
import { reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition } from '../store/schema-reader.ts';
import { ROLE_COUNTS } from './obstacles.ts';

export interface AuditedOrganization {
  readonly id: string | null;
  /** With an active membership. */
  readonly users: number;
  /** The guide counts grants that are switched off, too. */
  readonly models: number;
  /** Of them, those that count. */
  readonly activeModels: number;
  /** False where mAI's `client_organizations` switches it off. */
  readonly isActive: boolean;
  /** Of the users, those whom the gate gives the models: not pending, banned, without a role or deleted. */
  readonly countingUsers: number;
}

export interface AuditedAdmin {
  readonly email: string | null;
  readonly name: string | null;
  readonly organization: string | null;
  /** The guide lists memberships that are switched off, too. */
  readonly isActive: boolean;
  /** Seconds, as the backend writes them; whatever else stands there as it is. */
  readonly lastActiveAt: number | string | null;
}

export interface AccessAudit {
  /** By id. */
  readonly organizations: readonly AuditedOrganization[];
  /** One for each membership, the one who was seen last first. */
  readonly admins: readonly AuditedAdmin[];
  /** Admins without any membership, whom the guide's statement does not show. */
  readonly adminsOutside: readonly Pick<AuditedAdmin, 'email' | 'name' | 'lastActiveAt'>[];
}

/** @throws OperationFailure as `reading` */
export function readAccessAudit(operation: Operation): Promise<AccessAudit> {
  return reading(operation, 'organizations', (connection, schema) => ({
    organizations: readOrganizations(connection, schema),
    admins: readAdmins(connection, schema),
    adminsOutside: connection
      .prepare<[], AccessAudit['adminsOutside'][number]>(
        `SELECT email, name, last_active_at AS lastActiveAt FROM "user"
         WHERE role = 'admin'
           AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = "user".id)
         ORDER BY last_active_at DESC, email`,
      )
      .all(),
  }));
}

type OrganizationRow = Omit<AuditedOrganization, 'isActive' | 'countingUsers'> & {
  readonly active: number;
  readonly counting: number;
};

/** Counted apart and then joined: the guide's join of every user with every model is a thousand times as long. */
function readOrganizations(
  connection: Connection,
  { memberActive, grantActive, clientOrganizations }: Schema,
): readonly AuditedOrganization[] {
  return connection
    .prepare<[], OrganizationRow>(
      `WITH users AS (
         SELECT om.organization_id, count(DISTINCT om.user_id) AS total,
           count(DISTINCT CASE WHEN ${ROLE_COUNTS} THEN om.user_id END) AS counting
         FROM organization_members om LEFT JOIN "user" u ON u.id = om.user_id
         WHERE ${activeCondition(memberActive, 'om')} GROUP BY om.organization_id
       ), models AS (
         SELECT organization_id, count(DISTINCT model_id) AS total,
           count(DISTINCT CASE WHEN ${activeCondition(grantActive)} THEN model_id END) AS active
         FROM organization_models GROUP BY organization_id
       )
       SELECT users.organization_id AS id, users.total AS users, users.counting AS counting, coalesce(models.total, 0) AS models,
         coalesce(models.active, 0) AS activeModels,
         ${clientOrganizations ? `coalesce((SELECT min(${activeCondition(true)}) FROM client_organizations WHERE id = users.organization_id), 1)` : '1'} AS active
       FROM users LEFT JOIN models ON models.organization_id = users.organization_id
       ORDER BY users.organization_id`,
    )
    .all()
    .map(({ active, counting, ...organization }) => ({
      ...organization,
      isActive: active === 1,
      countingUsers: active === 1 ? counting : 0,
    }));
}

function readAdmins(connection: Connection, { memberActive }: Schema): readonly AuditedAdmin[] {
  return connection
    .prepare<[], Omit<AuditedAdmin, 'isActive'> & { readonly active: number }>(
      `SELECT u.email, u.name, om.organization_id AS organization, u.last_active_at AS lastActiveAt,
         ${activeCondition(memberActive, 'om')} AS active
       FROM "user" u JOIN organization_members om ON u.id = om.user_id
       WHERE u.role = 'admin'
       ORDER BY u.last_active_at DESC, u.email, om.organization_id`,
    )
    .all()
    .map(({ active, ...admin }) => ({ ...admin, isActive: active === 1 }));
}
