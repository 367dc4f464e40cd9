/** Organizations in figures: who and what is in them, and what of it counts. */
import type { Operation } from '../backend-file/transaction.ts';
import { reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Organization } from '../store/initialize.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition, columnsOf } from '../store/schema-reader.ts';
import type { SchemaObject } from '../store/tables.ts';
import { SCHEMA_OBJECTS } from '../store/tables.ts';
import type { GrantRow } from './grants.ts';
import { readGrants } from './grants.ts';
import type { Member } from './members.ts';
import { ROLE_COUNTS, readMembers } from './members.ts';
import type { ChosenOrganization } from './organizations.ts';
import { knownOrganizations, requireOrganization } from './organizations.ts';

export interface OrganizationSummary {
  readonly id: string;
  readonly name: string | null;
  /** False where mAI's `client_organizations` says so: then it gives nothing. */
  readonly isActive: boolean;
  /** It is the one of the environment. */
  readonly isConfigured: boolean;
  readonly members: MemberTally;
  readonly grants: Tally;
}

/** Rows, and those of them that are switched on. */
export interface Tally {
  readonly active: number;
  readonly all: number;
}

export interface MemberTally extends Tally {
  /** Of the active ones, those whom the gate counts: known, not pending, banned or without a role, in an active organization. */
  readonly counting: number;
}

/** @param configured the organization of the environment, which is listed even before it has a row */
export function listOrganizations(
  operation: Operation,
  configured: Organization | undefined,
): Promise<readonly OrganizationSummary[]> {
  return reading(operation, 'organizations', (connection, schema) => {
    const ids = new Set([...(configured === undefined ? [] : [configured.id]), ...knownOrganizations(connection)]);
    const members = tally(connection, 'organization_members', schema.memberActive);
    const counting = countCounting(connection, schema.memberActive);
    const grants = tally(connection, 'organization_models', schema.grantActive);
    const isActive = prepareGrants(connection, schema).isActive;
    const nameOf = createNaming(connection, configured);
    return [...ids].toSorted().map((id) => ({
      id,
      name: nameOf(id),
      isActive: isActive(id),
      isConfigured: id === configured?.id,
      members: { ...(members.get(id) ?? NOBODY), counting: isActive(id) ? (counting.get(id) ?? 0) : 0 },
      grants: grants.get(id) ?? NOBODY,
    }));
  });
}

const NOBODY: Tally = { active: 0, all: 0 };

/** Both tables have an index on organization and activity, which answers this alone. */
function tally(connection: Connection, table: CountedTable, hasActive: boolean): ReadonlyMap<string, Tally> {
  const rows = connection
    .prepare<[], Tally & { readonly id: unknown }>(
      `SELECT organization_id AS id, count(*) AS "all", count(CASE WHEN ${activeCondition(hasActive)} THEN 1 END) AS active
       FROM ${table} GROUP BY organization_id`,
    )
    .all();
  return new Map(rows.flatMap(({ id, ...figures }) => (typeof id === 'string' ? [[id, figures] as const] : [])));
}

type CountedTable = 'organization_members' | 'organization_models';

function countCounting(connection: Connection, hasActive: boolean): ReadonlyMap<unknown, number> {
  const rows = connection
    .prepare<[], [unknown, number]>(
      `SELECT om.organization_id, count(*) FROM organization_members om JOIN "user" u ON u.id = om.user_id
       WHERE ${activeCondition(hasActive, 'om')} AND ${ROLE_COUNTS} GROUP BY om.organization_id`,
    )
    .raw();
  return new Map(rows.all());
}

/** mAI's own table first, then the environment; the deployment guide has no place for a name. */
function createNaming(connection: Connection, configured: Organization | undefined): (id: string) => string | null {
  const columns = columnsOf(connection, 'client_organizations');
  const statement =
    columns.has('id') && columns.has('name')
      ? connection.prepare<[string]>('SELECT name FROM client_organizations WHERE id = ?').pluck()
      : undefined;
  return (id) => {
    const name = statement?.get(id);
    if (typeof name === 'string') return name;
    return id === configured?.id ? configured.name : null;
  };
}

export interface OrganizationPortrait extends Omit<OrganizationSummary, 'members' | 'grants'> {
  readonly members: readonly Member[];
  readonly grants: readonly GrantRow[];
  /** Everybody with the backend's role `admin`, whatever their organization: the deployment guide's step 4. */
  readonly backendAdmins: readonly BackendAdmin[];
  readonly parts: readonly SchemaPart[];
}

export interface BackendAdmin {
  readonly id: string;
  readonly email: string | null;
  readonly name: string | null;
}

/** The objects of one kind that modelgate keeps in the file. */
export interface SchemaPart {
  readonly kind: SchemaObject['kind'];
  readonly expected: number;
  readonly missing: readonly string[];
}

/** @throws OperationFailure as `reading`, and where nobody has named the organization */
export function portrayOrganization(
  operation: Operation,
  chosen: ChosenOrganization,
  configured: Organization | undefined,
): Promise<OrganizationPortrait> {
  return reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    const { id, isConfigured } = chosen;
    return {
      id,
      name: createNaming(connection, configured)(id),
      isActive: prepareGrants(connection, schema).isActive(id),
      isConfigured,
      members: readMembers(connection, schema, id),
      grants: readGrants(connection, schema, id),
      backendAdmins: connection
        .prepare<[], BackendAdmin>(`SELECT id, email, name FROM "user" WHERE role = 'admin' ORDER BY lower(email), id`)
        .all(),
      parts: schemaParts(schema),
    };
  });
}

function schemaParts({ missing }: Pick<Schema, 'missing'>): readonly SchemaPart[] {
  return (['table', 'index', 'view', 'trigger'] as const).map((kind) => {
    const objects = SCHEMA_OBJECTS.filter((object) => object.kind === kind);
    return {
      kind,
      expected: objects.length,
      missing: objects.map(({ name }) => name).filter((name) => missing.includes(`${kind} ${name}`)),
    };
  });
}
