/** Organizations in figures: who and what is in them, and what of it gives access. */
import { type Operation, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import type { Organization } from '../store/initialize.ts';
import { type Schema, activeCondition, columnsOf, SCHEMA_OBJECTS } from '../store/schema.ts';
import { readGrants } from './grants.ts';
import { type Member, readMembers } from './members.ts';
import { type Obstacle, ROLE_COUNTS } from './obstacles.ts';
import { type ChosenOrganization, knownOrganizations, requireOrganization } from './organizations.ts';

/**
 * @param configured the organization of the environment, which is listed even before it has a row
 * @returns rows that are there and rows that are active; `counting` members are those that
 *   the gate lets in: known, not pending, banned or without a role, in an organization that is on
 * @throws OperationFailure as `reading`
 */
export const listOrganizations = (operation: Operation, configured: Organization | undefined) =>
  reading(operation, 'organizations', (connection, schema) => {
    const ids = new Set([...(configured === undefined ? [] : [configured.id]), ...knownOrganizations(connection)]);
    const members = tally(connection, 'organization_members', schema.memberActive);
    const counting = countCounting(connection, schema.memberActive);
    const grants = tally(connection, 'organization_models', schema.grantActive);
    const isActive = prepareGrants(connection, schema).isActive;
    const nameOf = createNaming(connection, configured);
    const organizations = [...ids].toSorted().map((id) => ({
      id,
      name: nameOf(id),
      active: isActive(id),
      configured: id === configured?.id,
      members: { ...(members.get(id) ?? NONE), counting: isActive(id) ? (counting.get(id) ?? 0) : 0 },
      grants: grants.get(id) ?? NONE,
    }));
    return { organizations };
  });

const NONE = { active: 0, all: 0 };

/** Both tables have an index on organization and activity, which answers this alone. */
function tally(
  connection: Connection,
  table: 'organization_members' | 'organization_models',
  hasActive: boolean,
): ReadonlyMap<unknown, typeof NONE> {
  const rows = connection
    .prepare<[], [unknown, number, number]>(
      `SELECT organization_id, count(CASE WHEN ${activeCondition(hasActive)} THEN 1 END), count(*)
       FROM ${table} GROUP BY organization_id`,
    )
    .raw()
    .all();
  return new Map(rows.map(([id, active, all]) => [id, { active, all }]));
}

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

/**
 * @returns beside the record: how many members each obstacle keeps out
 * @throws OperationFailure as `reading`, and where no row names the organization
 */
export const showOrganization = (
  operation: Operation,
  chosen: ChosenOrganization,
  configured: Organization | undefined,
) =>
  reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    const { id, isConfigured } = chosen;
    const members = readMembers(connection, schema, id);
    const grants = readGrants(connection, schema, id);
    const parts = schemaParts(schema);
    const record = {
      id,
      name: createNaming(connection, configured)(id),
      active: prepareGrants(connection, schema).isActive(id),
      configured: isConfigured,
      members: {
        counting: members.filter(({ counts }) => counts).length,
        active: members.filter(({ active }) => active).length,
        all: members.length,
      },
      grants: { active: grants.filter(({ active }) => active).length, all: grants.length },
      models: grants.map(({ pattern, active }) => ({ pattern, active })),
      organization_admins: members
        .filter(({ organization_role: role }) => role === 'admin')
        .map(({ id: user, email, active }) => ({ id: user, email, active })),
      backend_admins: readBackendAdmins(connection).map((admin) => ({
        ...admin,
        member: membershipOf(members, admin.id),
      })),
      schema: parts,
      complete: parts.every(({ missing }) => missing.length === 0),
    };
    return { record, obstacles: countObstacles(members) };
  });

/** Every admin of the backend, whatever the organization: the deployment guide's step 4. */
const readBackendAdmins = (connection: Connection) =>
  connection
    .prepare<[], { readonly id: string; readonly email: string | null; readonly name: string | null }>(
      `SELECT id, email, name FROM "user" WHERE role = 'admin' ORDER BY lower(email), id`,
    )
    .all();

function membershipOf(members: readonly Member[], user: string): 'active' | 'inactive' | null {
  const rows = members.filter(({ id }) => id === user);
  if (rows.length === 0) return null;
  return rows.some(({ active }) => active) ? 'active' : 'inactive';
}

function countObstacles(members: readonly Member[]): ReadonlyMap<Obstacle, number> {
  const found = new Map<Obstacle, number>();
  for (const reason of members.flatMap(({ reasons }) => reasons)) found.set(reason, (found.get(reason) ?? 0) + 1);
  return found;
}

/** The objects that modelgate keeps in the file, by kind. */
const schemaParts = ({ missing }: Schema) =>
  (['table', 'index', 'view', 'trigger'] as const).map((kind) => {
    const names = SCHEMA_OBJECTS.filter((object) => object.kind === kind).map(({ name }) => name);
    return { kind, expected: names.length, missing: names.filter((name) => missing.includes(`${kind} ${name}`)) };
  });
