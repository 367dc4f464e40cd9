import type { OrganizationId } from '../identity/principal.ts';
import { toOrganizationId } from '../identity/principal.ts';
import type { Connection } from './database.ts';
import { activeCondition } from './schema-reader.ts';
import type { Schema } from './schema-reader.ts';

export interface Membership {
  /** Undefined for a row whose organization is no text: it gives nothing, and it is there. */
  readonly organization: OrganizationId | undefined;
  /** A NULL `is_active` counts as 1, the column's default. */
  readonly active: boolean;
}

/** Of one user. */
export function membershipsQuery({ memberActive }: Pick<Schema, 'memberActive'>): string {
  return `SELECT DISTINCT organization_id, ${activeCondition(memberActive)} FROM organization_members WHERE user_id = ?`;
}

/** @returns every membership row of a user, the inactive ones too: enrolment must know that they are there */
export function prepareMemberships(connection: Connection, schema: Schema): (user: string) => readonly Membership[] {
  const statement = connection.prepare<[string], [unknown, number]>(membershipsQuery(schema)).raw();
  return (user) =>
    statement.all(user).map(([organization, isActive]) => ({
      organization: typeof organization === 'string' ? toOrganizationId(organization) : undefined,
      active: isActive === 1,
    }));
}
