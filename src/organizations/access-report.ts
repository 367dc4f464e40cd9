/**
 * The deployment guide's view `user_model_access_report`, read from the tables: the view may be missing, or another one
 * may have its name. Everything is read at once and kept in little memory: the lock of the file is released before the
 * first line is printed, however slowly the report is read.
 */
import { type Operation, hearStop, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import type { GatePolicy } from './explanation.ts';
import { type Obstacle, ROLE_COUNTS, obstacleOfRole } from './obstacles.ts';
import { type ChosenOrganization, requireOrganization } from './organizations.ts';

/** One row of the view, and whether the gate gives it, which the view does not look at. */
export interface AccessRow extends OrganizationModels, Verdict {
  readonly email: string | null;
  readonly name: string | null;
}

/** What every member of one organization has. */
interface OrganizationModels {
  readonly organization: string;
  readonly model_count: number;
  /** Different ones, sorted; models may share a name. */
  readonly model_names: readonly string[];
}

interface Verdict {
  readonly counts: boolean;
  /** Why the gate gives the user none of these models. */
  readonly reasons: readonly Obstacle[];
}

export type AccessReport = Awaited<ReturnType<typeof readAccessReport>>;

/**
 * @param policy how the gate decides, and where it enrols users
 * @param chosen the rows of this organization alone
 * @param onProgress called in between with the number of memberships that were read, and of all
 * @throws OperationFailure as `reading`, and where there is no such organization
 */
export function readAccessReport(
  operation: Operation,
  policy: Pick<GatePolicy, 'adminAccess' | 'enrolling'>,
  chosen: ChosenOrganization | undefined,
  onProgress: (done: number, total: number) => void,
) {
  const { enrolling } = policy;
  const { signal } = operation.patience;
  return reading(operation, 'organizations', async (connection, schema) => {
    if (chosen !== undefined) requireOrganization(connection, chosen, 'read');
    const only = chosen?.id;
    const rows = await readRows(connection, schema, only, async (done, total) => {
      onProgress(done, total);
      await hearStop(signal);
    });
    const isEnrolled = enrolling !== undefined && (only === undefined || only === enrolling);
    const switchedOff = rows.filter(({ reasons }) => reasons.includes(OFF)).map(({ organization }) => organization);
    return {
      /** By organization, then by e-mail address. */
      rows,
      /** What the gate counts and the view does not, or the other way round. */
      not_counted: {
        ...countGrants(connection, schema, only),
        /** Organizations with rows in the report that mAI's `client_organizations` switches off. */
        inactive_organizations: new Set(switchedOff).size,
        /** Rows of users who are pending, banned or without a role in the backend. */
        refused_users: rows.filter(({ reasons }) => reasons.some((reason) => reason !== OFF)).length,
        /** Users without any membership, whom the gate enrols at their first request. */
        not_enrolled: isEnrolled ? countOutside(connection, policy) : 0,
      },
    };
  });
}

const OFF = 'organization_inactive';

/**
 * `$only` is NULL for all organizations. Ids that are no text, as a column of numbers makes them of digits, are none to
 * the gate.
 */
const within = (table: string): string =>
  `typeof(${table}.organization_id) = 'text' AND ($only IS NULL OR ${table}.organization_id = $only COLLATE BINARY)`;

const IS_TEXT = "typeof(orgmod.model_id) = 'text'";

/** @returns what each organization's members have; one without a counted model is not in the view */
function readOrganizations(
  connection: Connection,
  { grantActive }: Schema,
  only: string | undefined,
): ReadonlyMap<string, OrganizationModels> {
  const rows = connection
    .prepare<[object], [string, string, string | null]>(
      `SELECT DISTINCT orgmod.organization_id COLLATE BINARY, orgmod.model_id COLLATE BINARY, m.name
       FROM organization_models orgmod JOIN model m ON orgmod.model_id = m.id COLLATE BINARY
       WHERE ${activeCondition(grantActive, 'orgmod')} AND ${within('orgmod')} AND ${IS_TEXT}`,
    )
    .raw()
    .iterate({ only: only ?? null });
  const found = new Map<string, { readonly models: Set<string>; readonly names: Set<string> }>();
  const shared = new Map<string, string>();
  for (const [id, model, name] of rows) {
    const of = found.get(id) ?? { models: new Set(), names: new Set() };
    found.set(id, of);
    of.models.add(share(shared, model));
    if (name !== null) of.names.add(share(shared, name));
  }
  return new Map(
    [...found].map(([id, { models, names }]) => [
      id,
      { organization: id, model_count: models.size, model_names: [...names].toSorted() },
    ]),
  );
}

/** The same text once in memory, however many organizations have it. */
function share(known: Map<string, string>, text: string): string {
  const first = known.get(text);
  if (first === undefined) known.set(text, text);
  return first ?? text;
}

async function readRows(
  connection: Connection,
  schema: Schema,
  only: string | undefined,
  onProgress: (done: number, total: number) => Promise<void>,
): Promise<readonly AccessRow[]> {
  const organizations = readOrganizations(connection, schema, only);
  const total = connection.prepare<[], number>('SELECT count(*) FROM organization_members').pluck().get() ?? 0;
  const members = connection
    .prepare<[object], [string, string, string | null, string | null, unknown]>(
      `SELECT om.organization_id, u.id, u.email, u.name, u.role
       FROM organization_members om JOIN "user" u ON u.id = om.user_id
       WHERE ${activeCondition(schema.memberActive, 'om')} AND ${within('om')} AND typeof(om.user_id) = 'text'
       ORDER BY om.organization_id, u.email, u.id`,
    )
    .raw()
    .iterate({ only: only ?? null });
  const judge = createJudge(prepareGrants(connection, schema).isActive);
  const rows: AccessRow[] = [];
  let done = 0;
  let before = '';
  let previous: OrganizationModels | undefined;
  for (const [id, user, email, name, role] of members) {
    if ((done += 1) % 1_000 === 0) await onProgress(done, total);
    const organization = organizations.get(id);
    if (organization === undefined) continue;
    // a table made by hand may name the same member twice
    if (organization === previous && user === before) continue;
    rows.push({ email, name, ...organization, ...judge(id, role) });
    [previous, before] = [organization, user];
  }
  return rows;
}

/** There are many rows and few kinds of verdicts: rows share the lists. */
function createJudge(isOrganizationActive: (id: string) => boolean) {
  const active = new Map<string, boolean>();
  const verdicts = new Map<string, Verdict>();
  return (organization: string, role: unknown): Verdict => {
    const isActive = active.get(organization) ?? isOrganizationActive(organization);
    active.set(organization, isActive);
    const ofRole = obstacleOfRole(role);
    const key = `${ofRole ?? ''} ${isActive}`;
    const reasons = [...(ofRole === undefined ? [] : [ofRole]), ...(isActive ? [] : ([OFF] as const))];
    const verdict = verdicts.get(key) ?? { counts: reasons.length === 0, reasons };
    verdicts.set(key, verdict);
    return verdict;
  };
}

function countGrants(connection: Connection, { grantActive }: Schema, only: string | undefined) {
  const grants = (which: string): number =>
    connection
      .prepare<[object], number>(
        `SELECT count(*) FROM organization_models orgmod
         WHERE ${activeCondition(grantActive, 'orgmod')} AND ${within('orgmod')} AND ${IS_TEXT} AND ${which}`,
      )
      .pluck()
      .get({ only: only ?? null }) ?? 0;
  const isPrefix = "orgmod.model_id LIKE '%*'";
  return {
    /** Active grants that end in `*`. */
    prefix_grants: grants(isPrefix),
    /** Active grants of models that have no row in the backend's `model` table. */
    grants_without_row: grants(
      `NOT (${isPrefix}) AND orgmod.model_id NOT IN (SELECT id FROM model WHERE id IS NOT NULL)`,
    ),
  };
}

/** As enrolment looks for them, all at once; the gate reads no memberships of admins who may use everything. */
const countOutside = (connection: Connection, { adminAccess }: Pick<GatePolicy, 'adminAccess'>): number =>
  connection
    .prepare<[], number>(
      `SELECT count(*) FROM "user" u WHERE ${ROLE_COUNTS}${adminAccess === 'all' ? " AND u.role <> 'admin'" : ''}
         AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = u.id)`,
    )
    .pluck()
    .get() ?? 0;
