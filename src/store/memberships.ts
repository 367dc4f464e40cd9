import type { OrganizationId } from '../identity/principal.ts';
import { toOrganizationId } from '../identity/principal.ts';
import type { Connection } from './database.ts';
import { activeCondition } from './schema-reader.ts';
import type { Schema } from './schema-reader.ts';

export interface Membership {
  /** Undefined for a row whose organization is no text: it gives nothing, and it is there. */
  readonly organization: OrganizationId | undefined;
  /** False too where the user's id only resembles the one that was asked for: `7` and `07` to a column of numbers. */
  readonly active: boolean;
}

/** Of one user. */
export function membershipsQuery({ memberActive }: Pick<Schema, 'memberActive'>): string {
  return `SELECT DISTINCT organization_id COLLATE BINARY, user_id COLLATE BINARY, ${activeCondition(memberActive)}
    FROM organization_members WHERE user_id = ?`;
}

/** @returns every membership row of a user, the inactive ones too: enrolment must know that they are there */
export function prepareMemberships(connection: Connection, schema: Schema): (user: string) => readonly Membership[] {
  const statement = connection.prepare<[string], [unknown, unknown, number]>(membershipsQuery(schema)).raw();
  return (user) =>
    statement.all(user).map(([organization, found, isActive]) => ({
      organization: typeof organization === 'string' ? toOrganizationId(organization) : undefined,
      active: isActive === 1 && found === user,
    }));
}
