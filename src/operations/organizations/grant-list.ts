/** What an organization grants, beside what the backend's `model` table holds. */
import { parsePattern } from '../../policy/grant.ts';
import type { Connection } from '../../store/database.ts';
import { prepareGrants } from '../../store/grants.ts';
import type { Schema } from '../../store/schema-reader.ts';
import { activeCondition } from '../../store/schema-reader.ts';
import type { Operation } from '../backend-file.ts';
import { reading } from '../backend-file.ts';
import type { ChosenOrganization } from './organizations.ts';
import { requireOrganization } from './organizations.ts';

/** Why a grant gives nothing. */
export type GrantObstacle = 'inactive' | 'matches_nothing' | 'organization_inactive';

export interface GrantRow {
  /** As it is stored. */
  readonly pattern: string;
  readonly kind: 'exact' | 'prefix';
  /** Of the backend's row; null for a prefix and where there is no row. */
  readonly name: string | null;
  readonly isActive: boolean;
  /** How many rows of the backend's `model` table it covers; most models of providers have none. */
  readonly rows: number;
  /** None: the gate counts it. */
  readonly obstacles: readonly GrantObstacle[];
}

/** @returns grants by pattern @throws OperationFailure as `reading`, and where nobody has named the organization */
export function listGrants(operation: Operation, chosen: ChosenOrganization): Promise<readonly GrantRow[]> {
  return reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return readGrants(connection, schema, chosen.id);
  });
}

/** A row whose model is no text is as invisible here as it is to the gate. */
export function readGrants(connection: Connection, schema: Schema, organization: string): readonly GrantRow[] {
  const rows = connection
    .prepare<[string], { readonly pattern: string; readonly active: number }>(
      `SELECT model_id AS pattern, ${activeCondition(schema.grantActive)} AS active
       FROM organization_models WHERE organization_id = ? AND typeof(model_id) = 'text' ORDER BY model_id`,
    )
    .all(organization);
  const names = new Map(connection.prepare<[], [string, unknown]>('SELECT id, name FROM model').raw().all());
  const ids = [...names.keys()];
  const isOrganizationActive = prepareGrants(connection, schema).isActive(organization);
  return rows.map(({ pattern, active }) => {
    const prefix = pattern.endsWith('*') ? pattern.slice(0, -1) : undefined;
    const name = prefix === undefined ? names.get(pattern) : undefined;
    const obstacles: GrantObstacle[] = [];
    if (active !== 1) obstacles.push('inactive');
    if (parsePattern(pattern) === undefined) obstacles.push('matches_nothing');
    if (!isOrganizationActive) obstacles.push('organization_inactive');
    return {
      pattern,
      kind: prefix === undefined ? 'exact' : 'prefix',
      name: typeof name === 'string' ? name : null,
      isActive: active === 1,
      rows: prefix === undefined ? Number(names.has(pattern)) : ids.filter((id) => id.startsWith(prefix)).length,
      obstacles,
    };
  });
}
