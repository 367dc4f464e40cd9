/** The deployment guide's two reports: who has which models, as its view says it, and its audit. */
import { toDate } from '../backend-file/text.ts';
import { type Operation, hearStop, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import type { GatePolicy } from './explanation.ts';
import { type ChosenOrganization, requireOrganization, readAll, readCount } from './organizations.ts';
import { ROLE_COUNTS, judged, obstacleOfRole } from './standing.ts';

export type AccessReport = Awaited<ReturnType<typeof readAccessReport>>;
export type AccessRow = AccessReport['rows'][number];
export type AccessAudit = Awaited<ReturnType<typeof readAccessAudit>>;

/** The view `user_model_access_report`, read from the tables and at once: a slow reader does not hold the lock of the file. */
export function readAccessReport(
  operation: Operation,
  { enrolling, adminAccess }: Pick<GatePolicy, 'adminAccess' | 'enrolling'>,
  chosen: ChosenOrganization | undefined,
  onProgress: (done: number, total: number) => void,
) {
  return reading(operation, 'organizations', async (connection, schema) => {
    if (chosen !== undefined) requireOrganization(connection, schema, chosen, 'read');
    const only = chosen?.id;
    const rows = await readRows(connection, schema, only, async (done, total) => {
      onProgress(done, total);
      await hearStop(operation.patience.signal);
    });
    const isEnrolled = enrolling !== undefined && (only === undefined || only === enrolling);
    const off = rows.filter(({ reasons }) => reasons.includes(OFF));
    return {
      rows,
      not_counted: {
        ...countGrants(connection, schema, only),
        inactive_organizations: new Set(off.map(({ organization }) => organization)).size,
        refused_users: rows.filter(({ reasons }) => reasons.some((reason) => reason !== OFF)).length,
        not_enrolled: isEnrolled ? countOutside(connection, adminAccess) : 0,
      },
    };
  });
}

const OFF = 'organization_inactive';

/** `$only` is NULL for all organizations. Ids that are no text, as a column of numbers makes them of digits, are none to the gate. */
const within = (table: string): string =>
  `typeof(${table}.organization_id) = 'text' AND ($only IS NULL OR ${table}.organization_id = $only COLLATE BINARY)`;

const grantsWithin = ({ grantActive }: Schema): string =>
  `${activeCondition(grantActive, 'orgmod')} AND ${within('orgmod')} AND typeof(orgmod.model_id) = 'text'`;

function readOrganizations(connection: Connection, schema: Schema, only: string | undefined) {
  const { isActive } = prepareGrants(connection, schema);
  const rows = readAll<Record<'organization' | 'names', string> & { readonly model_count: number }>(
    connection,
    `SELECT orgmod.organization_id AS organization, count(DISTINCT orgmod.model_id COLLATE BINARY) AS model_count,
       json_group_array(DISTINCT CAST(m.name AS TEXT)) FILTER (WHERE m.name IS NOT NULL) AS names
     FROM organization_models orgmod JOIN model m ON orgmod.model_id = m.id COLLATE BINARY
     WHERE ${grantsWithin(schema)} GROUP BY orgmod.organization_id COLLATE BINARY`,
    { only: only ?? null },
  );
  return new Map(
    rows.map(({ organization, model_count, names }) => {
      const model_names: readonly string[] = (JSON.parse(names) as string[]).toSorted();
      return [organization, { models: { organization, model_count, model_names }, isOn: isActive(organization) }];
    }),
  );
}

async function readRows(
  connection: Connection,
  schema: Schema,
  only: string | undefined,
  onProgress: (done: number, total: number) => Promise<void>,
) {
  const organizations = readOrganizations(connection, schema, only);
  const total = readCount(connection, 'SELECT count(*) FROM organization_members');
  const members = connection
    .prepare<[object], [string, string, string | null, string | null, unknown]>(
      `SELECT DISTINCT om.organization_id, u.id, u.email, u.name, u.role
       FROM organization_members om JOIN "user" u ON u.id = om.user_id
       WHERE ${activeCondition(schema.memberActive, 'om')} AND ${within('om')} AND typeof(om.user_id) = 'text'
       ORDER BY om.organization_id, u.email, u.id`,
    )
    .raw()
    .iterate({ only: only ?? null });
  const rows = [];
  let done = 0;
  for (const [id, , email, name, role] of members) {
    if ((done += 1) % 1_000 === 0) await onProgress(done, total);
    const found = organizations.get(id);
    if (found === undefined) continue;
    rows.push({ email, name, ...found.models, ...judged(obstacleOfRole(role), !found.isOn && OFF) });
  }
  return rows;
}

function countGrants(connection: Connection, schema: Schema, only: string | undefined) {
  const count = (which: string): number =>
    readCount(
      connection,
      `SELECT count(*) FROM organization_models orgmod WHERE ${grantsWithin(schema)} AND orgmod.model_id ${which}`,
      { only: only ?? null },
    );
  const without = "NOT LIKE '%*' AND orgmod.model_id NOT IN (SELECT id FROM model WHERE id IS NOT NULL)";
  return { prefix_grants: count("LIKE '%*'"), grants_without_row: count(without) };
}

const countOutside = (connection: Connection, adminAccess: GatePolicy['adminAccess']): number =>
  readCount(
    connection,
    `SELECT count(*) FROM "user" u WHERE ${ROLE_COUNTS}${adminAccess === 'all' ? " AND u.role <> 'admin'" : ''}
       AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = u.id)`,
  );

/** The guide's audit: active users and models of each organization, and the admins of the backend. */
export const readAccessAudit = (operation: Operation) =>
  reading(operation, 'organizations', (connection, schema) => ({
    organizations: auditOrganizations(connection, schema),
    admins: readAll<Admin & { readonly organization: string | null; readonly active: number }>(
      connection,
      `SELECT u.email, u.name, om.organization_id AS organization, u.last_active_at, ${activeCondition(schema.memberActive, 'om')} AS active
       FROM "user" u JOIN organization_members om ON u.id = om.user_id
       WHERE u.role = 'admin' ORDER BY u.last_active_at DESC, u.email, om.organization_id`,
    ).map(({ active, ...admin }) => ({ ...withDate(admin), member: active === 1 })),
    admins_outside: readAll<Admin>(
      connection,
      `SELECT email, name, last_active_at FROM "user"
       WHERE role = 'admin' AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = "user".id)
       ORDER BY last_active_at DESC, email`,
    ).map(withDate),
  }));

type Admin = Readonly<Record<'email' | 'name', string | null> & { last_active_at: number | string | null }>;

const withDate = <A extends Admin>({ last_active_at: seconds, ...admin }: A) => ({
  ...admin,
  last_active_at: toDate(seconds),
  last_active_at_seconds: seconds,
});

type AuditRow = Record<'user_count' | 'model_count' | 'active_model_count' | 'counting_user_count', number> &
  Record<'organization', string | null>;

/** Counted apart and then joined: the guide's join of every user with every model is a thousand times as long. */
function auditOrganizations(connection: Connection, schema: Schema) {
  const { isActive } = prepareGrants(connection, schema);
  const rows = readAll<AuditRow>(
    connection,
    `WITH users AS (
       SELECT om.organization_id, count(DISTINCT om.user_id) AS total,
         count(DISTINCT om.user_id) FILTER (WHERE ${ROLE_COUNTS}) AS counting
       FROM organization_members om LEFT JOIN "user" u ON u.id = om.user_id
       WHERE ${activeCondition(schema.memberActive, 'om')} GROUP BY om.organization_id
     ), models AS (
       SELECT organization_id, count(DISTINCT model_id) AS total,
         count(DISTINCT model_id) FILTER (WHERE ${activeCondition(schema.grantActive)}) AS active
       FROM organization_models GROUP BY organization_id
     )
     SELECT users.organization_id AS organization, users.total AS user_count, coalesce(models.total, 0) AS model_count,
       coalesce(models.active, 0) AS active_model_count, users.counting AS counting_user_count
     FROM users LEFT JOIN models ON models.organization_id = users.organization_id
     ORDER BY users.organization_id`,
  );
  return rows.map(({ counting_user_count: counting, ...row }) => {
    const active = row.organization === null || isActive(row.organization);
    return { ...row, active, counting_user_count: active ? counting : 0 };
  });
}
