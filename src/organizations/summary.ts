/** Organizations in figures: who and what is in them, and what of it gives access. */
import { type Operation, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import type { Organization } from '../store/initialize.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf, SCHEMA_OBJECTS } from '../store/schema.ts';
import { readGrants } from './grants.ts';
import { type Member, readMembers } from './members.ts';
import { type ChosenOrganization, knownOrganizations, requireOrganization, readAll } from './organizations.ts';
import { ROLE_COUNTS } from './standing.ts';

export const listOrganizations = (operation: Operation, configured: Organization | undefined) =>
  reading(operation, 'organizations', (connection, schema) => {
    const ids = new Set([...(configured === undefined ? [] : [configured.id]), ...knownOrganizations(connection)]);
    const members = countRows(connection, 'organization_members', schema.memberActive);
    const grants = countRows(connection, 'organization_models', schema.grantActive);
    const { isActive } = prepareGrants(connection, schema);
    const nameOf = createNaming(connection, configured);
    const organizations = [...ids].toSorted().map((id) => {
      const active = isActive(id);
      const of = { members: members.get(id) ?? NONE, grants: grants.get(id) ?? NONE };
      return {
        ...{ id, name: nameOf(id), active, configured: id === configured?.id },
        members: { ...of.members, counting: active ? of.members.counting : 0 },
        grants: { active: of.grants.active, all: of.grants.all },
      };
    });
    return { organizations };
  });

const NONE = { active: 0, all: 0, counting: 0 };

function countRows(connection: Connection, table: 'organization_members' | 'organization_models', hasActive: boolean) {
  const isActive = activeCondition(hasActive, 'link');
  const users = table === 'organization_members' ? 'LEFT JOIN "user" u ON u.id = link.user_id' : '';
  const counts = users === '' ? '0' : ROLE_COUNTS;
  const rows = readAll<Record<'active' | 'all' | 'counting', number> & { readonly id: unknown }>(
    connection,
    `SELECT link.organization_id AS id, count(*) FILTER (WHERE ${isActive}) AS active, count(*) AS "all",
       count(*) FILTER (WHERE ${isActive} AND ${counts}) AS counting
     FROM ${table} link ${users} GROUP BY link.organization_id`,
  );
  return new Map(rows.map(({ id, ...figures }) => [id, figures]));
}

/** mAI's own table first, then the environment; the deployment guide has no place for a name. */
function createNaming(connection: Connection, configured: Organization | undefined): (id: string) => string | null {
  const columns = columnsOf(connection, 'client_organizations');
  const names =
    columns.has('id') && columns.has('name')
      ? connection.prepare<[string]>('SELECT name FROM client_organizations WHERE id = ?').pluck()
      : undefined;
  return (id) => {
    const name = names?.get(id);
    if (typeof name === 'string') return name;
    return id === configured?.id ? configured.name : null;
  };
}

/** @returns beside the record: the members, with what keeps each of them out */
export const showOrganization = (
  operation: Operation,
  chosen: ChosenOrganization,
  configured: Organization | undefined,
) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { isActive } = requireOrganization(connection, schema, chosen, 'read');
    const { id, isConfigured } = chosen;
    const members = readMembers(connection, schema, id, isActive);
    const grants = readGrants(connection, schema, id, isActive);
    const parts = schemaParts(schema);
    const countActive = (rows: readonly { active: boolean }[]) => rows.filter(({ active }) => active).length;
    const record = {
      id,
      name: createNaming(connection, configured)(id),
      active: isActive,
      configured: isConfigured,
      members: {
        counting: members.filter(({ counts }) => counts).length,
        active: countActive(members),
        all: members.length,
      },
      grants: { active: countActive(grants), all: grants.length },
      models: grants.map(({ pattern, active }) => ({ pattern, active })),
      organization_admins: members
        .filter(({ organization_role: role }) => role === 'admin')
        .map(({ id: user, email, active }) => ({ id: user, email, active })),
      backend_admins: readAll<Record<'email' | 'name', string | null> & { readonly id: string }>(
        connection,
        `SELECT id, email, name FROM "user" WHERE role = 'admin' ORDER BY lower(email), id`,
      ).map((admin) => ({ ...admin, member: membershipOf(members, admin.id) })),
      schema: parts,
      complete: parts.every(({ missing }) => missing.length === 0),
    };
    return { record, members };
  });

function membershipOf(members: readonly Member[], user: string) {
  const rows = members.filter(({ id }) => id === user);
  return rows.length === 0 ? null : rows.some(({ active }) => active) ? ('active' as const) : ('inactive' as const);
}

const schemaParts = ({ missing }: Schema) =>
  (['table', 'index', 'view', 'trigger'] as const).map((kind) => {
    const names = SCHEMA_OBJECTS.filter((object) => object.kind === kind).map(({ name }) => name);
    return { kind, expected: names.length, missing: names.filter((name) => missing.includes(`${kind} ${name}`)) };
  });
