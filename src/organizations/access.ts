/** Organizations in figures, and the deployment guide's two reports: who has which models, as its view says it, and its audit. */
import { toDate } from '../backend-file/text.ts';
import { type Operation, hearStop, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import type { Organization } from '../store/initialize.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition, columnsOf, objectsOf } from '../store/schema.ts';
import type { GatePolicy } from './explanation.ts';
import { readGrants } from './grants.ts';
import { readMembers } from './members.ts';
import {
  type ChosenOrganization,
  type LinkTable,
  GRANTS,
  MEMBERS,
  knownOrganizations,
  readAll,
  readCount,
  requireOrganization,
} from './organizations.ts';
import { ROLE_COUNTS, judged, obstacleOfRole } from './standing.ts';

export type AccessReport = Awaited<ReturnType<typeof readAccessReport>>;
export type AccessRow = AccessReport['rows'][number];
export type AccessAudit = Awaited<ReturnType<typeof readAccessAudit>>;

/** The view `user_model_access_report`, read from the tables and at once: a slow reader does not hold the lock of the file. */
export function readAccessReport(
  operation: Operation,
  { enrolling, adminAccess }: GatePolicy,
  chosen: ChosenOrganization | undefined,
  onProgress: (done: number, total: number) => void,
) {
  return reading(operation, 'organizations', async (connection, schema) => {
    if (chosen !== undefined) requireOrganization(connection, schema, chosen, 'read');
    const only = { only: chosen?.id ?? null };
    const organizations = readOrganizations(connection, schema, only);
    const total = readCount(connection, 'SELECT count(*) FROM organization_members');
    const members = connection.prepare<[object], [string, string, string | null, string | null, unknown]>(`
      SELECT om.organization_id, u.id, u.email, u.name, u.role
      FROM organization_members om JOIN "user" u ON u.id = om.user_id
      WHERE ${activeCondition(schema.memberActive, 'om')} AND ${within('om')} AND typeof(om.user_id) = 'text'
      GROUP BY om.organization_id, u.id, u.email, u.name, u.role
      ORDER BY om.organization_id COLLATE BINARY, u.email COLLATE BINARY NULLS FIRST, u.id COLLATE BINARY`);
    const rows = [];
    let done = 0;
    for (const [id, , email, name, role] of members.raw().iterate(only)) {
      if ((done += 1) % 1_000 === 0) {
        onProgress(done, total);
        await hearStop(operation.patience.signal);
      }
      const found = organizations.get(id);
      if (found === undefined) continue;
      rows.push({ email, name, ...found.models, ...judged(obstacleOfRole(role), !found.isOn && OFF) });
    }
    const grants = `SELECT count(*) FROM organization_models orgmod WHERE ${grantsWithin(schema)} AND orgmod.model_id`;
    const withoutRow = `${grants} NOT LIKE '%*' AND orgmod.model_id NOT IN (SELECT id FROM model WHERE id IS NOT NULL)`;
    const unlimited = adminAccess === 'all' ? " AND u.role <> 'admin'" : '';
    const outside = `SELECT count(*) FROM "user" u WHERE ${ROLE_COUNTS}${unlimited} AND ${IS_OUTSIDE}`;
    const isEnrolled = enrolling !== undefined && (chosen === undefined || chosen.id === enrolling);
    const off = rows.filter(({ reasons }) => reasons.includes(OFF));
    return {
      rows,
      not_counted: {
        prefix_grants: readCount(connection, `${grants} LIKE '%*'`, only),
        grants_without_row: readCount(connection, withoutRow, only),
        inactive_organizations: new Set(off.map(({ organization }) => organization)).size,
        refused_users: rows.filter(({ reasons }) => reasons.some((reason) => reason !== OFF)).length,
        not_enrolled: isEnrolled ? readCount(connection, outside) : 0,
      },
    };
  });
}

const IS_OUTSIDE = 'NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = u.id)';
const OFF = 'organization_inactive';

/** `$only` is NULL for all organizations. Ids that are no text, as a column of numbers makes them of digits, are none to the gate. */
const within = (table: string): string =>
  `typeof(${table}.organization_id) = 'text' AND (CAST($only AS TEXT) IS NULL OR ${table}.organization_id = $only COLLATE BINARY)`;

const grantsWithin = ({ grantActive }: Schema): string =>
  `${activeCondition(grantActive, 'orgmod')} AND ${within('orgmod')} AND typeof(orgmod.model_id) = 'text'`;

function readOrganizations(connection: Connection, schema: Schema, only: object) {
  const { isActive } = prepareGrants(connection, schema);
  const sql = `
    SELECT orgmod.organization_id AS organization, count(DISTINCT orgmod.model_id COLLATE BINARY) AS model_count,
      json_group_array(DISTINCT CAST(m.name AS TEXT)) FILTER (WHERE m.name IS NOT NULL) AS names
    FROM organization_models orgmod JOIN model m ON orgmod.model_id = m.id COLLATE BINARY
    WHERE ${grantsWithin(schema)} GROUP BY orgmod.organization_id COLLATE BINARY`;
  const rows = readAll<{ organization: string; names: string | null; model_count: number }>(connection, sql, only);
  const organizations = rows.map(({ names, ...models }) => {
    const model_names: readonly string[] = (JSON.parse(names ?? '[]') as string[]).toSorted();
    return { models: { ...models, model_names }, isOn: isActive(models.organization) };
  });
  return new Map(organizations.map((one) => [one.models.organization, one]));
}

/**
 * The guide's audit: active users and models of each organization, and the admins of the backend. Counted apart and then
 * joined: the guide's join of every user with every model is a thousand times as long.
 */
export const readAccessAudit = (operation: Operation) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { isActive } = prepareGrants(connection, schema);
    const models = countRows(connection, GRANTS, true);
    const users = [...countRows(connection, MEMBERS, true)].filter(([, figures]) => figures.active > 0);
    const organizations = users.map(([organization, { active: user_count, counting }]) => {
      const { all: model_count, active: active_model_count } = models.get(organization) ?? NONE;
      const active = organization === null || isActive(organization);
      const counts = { user_count, model_count, active_model_count };
      return { organization, ...counts, active, counting_user_count: active ? counting : 0 };
    });
    const sql = `
      SELECT u.email, u.name, om.organization_id AS organization, u.last_active_at AS seconds,
        ${activeCondition(schema.memberActive, 'om')} AS active, om.user_id IS NULL AS outside
      FROM "user" u LEFT JOIN organization_members om ON u.id = om.user_id
      WHERE u.role = 'admin' ORDER BY u.last_active_at DESC NULLS LAST, u.email COLLATE BINARY NULLS FIRST,
        om.organization_id COLLATE BINARY NULLS FIRST`;
    const found = readAll<AdminRow>(connection, sql).map(({ active, outside, organization, seconds, ...user }) => {
      const times = { last_active_at: toDate(seconds), last_active_at_seconds: seconds };
      return {
        outside,
        alone: { ...user, ...times },
        inside: { ...user, organization, ...times, member: active === 1 },
      };
    });
    const admins = found.filter(({ outside }) => outside === 0).map(({ inside }) => inside);
    return {
      organizations,
      admins,
      admins_outside: found.filter(({ outside }) => outside === 1).map(({ alone }) => alone),
    };
  });

type AdminRow = Record<'email' | 'name' | 'organization', string | null> &
  Record<'active' | 'outside', number> & { readonly seconds: number | string | null };

export const listOrganizations = (operation: Operation, configured: Organization | undefined) =>
  reading(operation, 'organizations', (connection, schema) => {
    const ids = new Set([...(configured === undefined ? [] : [configured.id]), ...knownOrganizations(connection)]);
    const members = countRows(connection, MEMBERS, false);
    const grants = countRows(connection, GRANTS, false);
    const { isActive } = prepareGrants(connection, schema);
    const names = readNames(connection, configured);
    const organizations = [...ids].toSorted().map((id) => {
      const [active, of, { active: on, all }] = [isActive(id), members.get(id) ?? NONE, grants.get(id) ?? NONE];
      return {
        ...{ id, name: names.get(id) ?? null, active, configured: id === configured?.id },
        members: { ...of, counting: active ? of.counting : 0 },
        grants: { active: on, all },
      };
    });
    return { organizations };
  });

const NONE = { active: 0, all: 0, counting: 0 };

/** @returns by organization how many rows there are, how many are on, and how many of these are of users whom the gate serves */
function countRows(connection: Connection, table: LinkTable, isDistinct: boolean) {
  const isActive = activeCondition(columnsOf(connection, table.name).has('is_active'), 'link');
  const what = isDistinct ? `DISTINCT link.${table.key}` : '*';
  const [users, isServed] =
    table === MEMBERS ? ['LEFT JOIN "user" u ON u.id = link.user_id', ROLE_COUNTS] : ['', 'FALSE'];
  const sql = `
    SELECT link.organization_id AS id, count(${what}) FILTER (WHERE ${isActive}) AS active, count(${what}) AS "all",
      count(${what}) FILTER (WHERE ${isActive} AND ${isServed}) AS counting
    FROM ${table.name} link ${users} GROUP BY link.organization_id
    ORDER BY link.organization_id COLLATE BINARY NULLS FIRST`;
  const rows = readAll<Record<keyof typeof NONE, number> & { readonly id: string | null }>(connection, sql);
  return new Map(rows.map(({ id, ...figures }) => [id, figures]));
}

/** mAI's own table first, then the environment; the deployment guide has no place for a name. */
function readNames(connection: Connection, configured: Organization | undefined): ReadonlyMap<string, string> {
  const columns = columnsOf(connection, 'client_organizations');
  const own = "SELECT id, name FROM client_organizations WHERE typeof(name) = 'text'";
  const rows = columns.has('id') && columns.has('name') ? readAll<Organization>(connection, own) : [];
  const known = configured === undefined ? rows : [configured, ...rows];
  return new Map(known.map(({ id, name }) => [id, name]));
}

/** @returns beside the record: the members, with what keeps each of them out */
export const showOrganization = (operation: Operation, chosen: ChosenOrganization, configured?: Organization) =>
  reading(operation, 'organizations', (connection, schema) => {
    const found = requireOrganization(connection, schema, chosen, 'read');
    const { id, isConfigured } = chosen;
    const [members, grants] = [readMembers(found), readGrants(found)];
    const parts = (['table', 'index', 'view', 'trigger'] as const).map((kind) => {
      const names = objectsOf(connection)
        .filter((object) => object.kind === kind)
        .map(({ name }) => name);
      const missing = names.filter((name) => schema.missing.includes(`${kind} ${name}`));
      return { kind, expected: names.length, missing };
    });
    const admins = readAll<Record<'email' | 'name', string | null> & { readonly id: string }>(connection, ADMINS);
    const membershipOf = ({ id: user }: { readonly id: string }) => {
      const rows = members.filter((member) => member.id === user);
      return rows.length === 0 ? null : rows.some(({ active }) => active) ? ('active' as const) : ('inactive' as const);
    };
    const countActive = (rows: readonly { active: boolean }[]) => rows.filter(({ active }) => active).length;
    const counting = members.filter(({ counts }) => counts).length;
    const record = {
      id,
      name: readNames(connection, configured).get(id) ?? null,
      active: found.isActive,
      configured: isConfigured,
      members: { counting, active: countActive(members), all: members.length },
      grants: { active: countActive(grants), all: grants.length },
      models: grants.map(({ pattern, active }) => ({ pattern, active })),
      organization_admins: members
        .filter(({ organization_role: role }) => role === 'admin')
        .map(({ id: user, email, active }) => ({ id: user, email, active })),
      backend_admins: admins.map((admin) => ({ ...admin, member: membershipOf(admin) })),
      schema: parts,
      complete: parts.every(({ missing }) => missing.length === 0),
    };
    return { record, members };
  });

const ADMINS = `SELECT id, email, name FROM "user" WHERE role = 'admin' 
  ORDER BY lower(email) COLLATE BINARY NULLS FIRST, id COLLATE BINARY`;
