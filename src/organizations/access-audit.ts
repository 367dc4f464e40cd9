/**
 * The deployment guide's audit: active users and models of each organization, and the admins of the backend. Its rows
 * are the guide's; what the guide's statements do not see stands beside them.
 */
import { toDate } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { ROLE_COUNTS } from './obstacles.ts';

export type AccessAudit = Awaited<ReturnType<typeof readAccessAudit>>;

/** @throws OperationFailure as `reading` */
export function readAccessAudit(operation: Operation) {
  return reading(operation, 'organizations', (connection, schema) => ({
    /** By id. */
    organizations: readOrganizations(connection, schema),
    /** One for each membership, the one who was seen last first. */
    admins: readAdmins(connection, schema),
    /** Admins without any membership, whom the guide's statement does not show. */
    admins_outside: readAdminsOutside(connection),
  }));
}

interface AuditedOrganization {
  readonly organization: string | null;
  /** With an active membership. */
  readonly user_count: number;
  /** The guide counts grants that are switched off, too. */
  readonly model_count: number;
  readonly active_model_count: number;
  /** False where mAI's `client_organizations` switches it off. */
  readonly active: boolean;
  /** Users to whom the gate gives the models: not pending, banned, without a role or deleted. */
  readonly counting_user_count: number;
}

/** Counted apart and then joined: the guide's join of every user with every model is a thousand times as long. */
function readOrganizations(
  connection: Connection,
  { memberActive, grantActive, clientOrganizations }: Schema,
): readonly AuditedOrganization[] {
  return connection
    .prepare<[], Omit<AuditedOrganization, 'active'> & { readonly active: number }>(
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
       SELECT users.organization_id AS organization, users.total AS user_count, coalesce(models.total, 0) AS model_count,
         coalesce(models.active, 0) AS active_model_count,
         ${clientOrganizations ? `coalesce((SELECT min(${activeCondition(true)}) FROM client_organizations WHERE id = users.organization_id), 1)` : '1'} AS active,
         users.counting AS counting_user_count
       FROM users LEFT JOIN models ON models.organization_id = users.organization_id
       ORDER BY users.organization_id`,
    )
    .all()
    .map((row) => ({
      ...row,
      active: row.active === 1,
      counting_user_count: row.active === 1 ? row.counting_user_count : 0,
    }));
}

interface Person {
  readonly email: string | null;
  readonly name: string | null;
}

/** `last_active_at` is in seconds; another value than a number is shown as it is. */
type Seen = { readonly last_active_at: number | string | null };

/** A date beside the seconds that are stored, and that the guide shows. */
const seen = ({ last_active_at: seconds }: Seen) => ({
  last_active_at: toDate(seconds),
  last_active_at_seconds: seconds,
});

/** The guide lists memberships that are switched off, too. */
const readAdmins = (connection: Connection, { memberActive }: Schema) =>
  connection
    .prepare<[], Person & Seen & { readonly organization: string | null; readonly active: number }>(
      `SELECT u.email, u.name, om.organization_id AS organization, u.last_active_at, ${activeCondition(memberActive, 'om')} AS active
       FROM "user" u JOIN organization_members om ON u.id = om.user_id
       WHERE u.role = 'admin'
       ORDER BY u.last_active_at DESC, u.email, om.organization_id`,
    )
    .all()
    .map(({ active, last_active_at, ...admin }) => ({ ...admin, ...seen({ last_active_at }), member: active === 1 }));

const readAdminsOutside = (connection: Connection) =>
  connection
    .prepare<[], Person & Seen>(
      `SELECT email, name, last_active_at FROM "user"
       WHERE role = 'admin'
         AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = "user".id)
       ORDER BY last_active_at DESC, email`,
    )
    .all()
    .map(({ last_active_at, ...admin }) => ({ ...admin, ...seen({ last_active_at }) }));
