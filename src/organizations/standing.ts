/** The memberships of one user: also those that give nothing, with what each organization grants. */
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf } from '../store/schema.ts';

export interface Membership {
  readonly organization: string;
  /** In the organization; null where the table has none. */
  readonly role: string | null;
  readonly active: boolean;
  /** The gate gives the user what the organization grants. */
  readonly counts: boolean;
  readonly why_not: string | null;
  /** Sorted by pattern: a model id, or the beginning of ids and a `*`. */
  readonly models: readonly { readonly pattern: string; readonly active: boolean }[];
}

export const MEMBERSHIP_OFF = 'the membership is switched off';
const ORGANIZATION_OFF = "the organization is switched off in mAI's client_organizations";

/**
 * To be called in one transaction.
 * @param enrolling the membership that the gate makes in this organization at the user's first request, and no other
 * @returns memberships by organization
 */
export function readMemberships(
  connection: Connection,
  schema: Schema,
  user: string,
  enrolling?: string,
): readonly Membership[] {
  const columns = columnsOf(connection, 'organization_members');
  const members = connection.prepare<[string], { organization: string; active: number; role: unknown }>(
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
  const { isActive } = prepareGrants(connection, schema);
  const rows = enrolling === undefined ? members.all(user) : [{ organization: enrolling, active: 1, role: null }];
  return rows.map(({ organization, active, role }) => {
    const obstacles = [
      ...(active === 1 ? [] : [MEMBERSHIP_OFF]),
      ...(isActive(organization) ? [] : [ORGANIZATION_OFF]),
    ];
    return {
      organization,
      role: typeof role === 'string' ? role : null,
      active: active === 1,
      counts: obstacles.length === 0,
      why_not: obstacles.length === 0 ? null : obstacles.join(', '),
      models: grants.all(organization).map((row) => ({ pattern: row.pattern, active: row.active === 1 })),
    };
  });
}
