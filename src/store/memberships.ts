import type { OrganizationId } from '../identity/principal.ts';
import { toOrganizationId } from '../identity/principal.ts';
import type { Connection } from './database.ts';
import { activeCondition } from './schema-reader.ts';
import type { Schema } from './schema-reader.ts';

export interface Membership {
  readonly organization: OrganizationId;
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
    statement
      .all(user)
      .flatMap(([organization, isActive]) =>
        typeof organization === 'string'
          ? [{ organization: toOrganizationId(organization), active: isActive === 1 }]
          : [],
      );
}
