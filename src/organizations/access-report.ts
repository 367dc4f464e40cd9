/**
 * The deployment guide's view `user_model_access_report`, read from the tables: the view may be missing, or be somebody
 * else's of the same name. Everything is read at once and kept in little room, so that the lock of the file is given
 * back before the first line is printed: whoever reads the report may take all the time in the world.
 */
import type { Operation } from '../backend-file/transaction.ts';
import { hearStop, reading } from '../backend-file/transaction.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition } from '../store/schema-reader.ts';
import type { ExplainOptions } from './explanation.ts';
import type { Obstacle } from './obstacles.ts';
import { ROLE_COUNTS, obstacleOfRole } from './obstacles.ts';
import type { ChosenOrganization } from './organizations.ts';
import { requireOrganization } from './organizations.ts';

/** What every member of one organization has. */
export interface OrganizationModels {
  readonly id: string;
  readonly accessibleModels: number;
  /** Different ones, sorted; models may share a name. */
  readonly modelNames: readonly string[];
}

/** One row of the view. */
export interface AccessRow {
  readonly email: string | null;
  readonly name: string | null;
  readonly organization: OrganizationModels;
  /** Why the gate gives the user none of these models, which the view does not look at. None: it gives them. */
  readonly obstacles: readonly Obstacle[];
}

/** What the gate counts and the view does not, or the other way round. */
export interface NotCounted {
  /** Active grants that end in `*`. */
  readonly prefixGrants: number;
  /** Active grants of models that have no row in the backend's `model` table. */
  readonly grantsWithoutRow: number;
  /** Organizations with rows in the report that mAI's `client_organizations` switches off. */
  readonly inactiveOrganizations: number;
  /** Rows of the report whose user the gate refuses: pending, banned or without a role in the backend. */
  readonly refusedUsers: number;
  /** Users without any membership, whom the gate makes members of an organization at their first request. */
  readonly notEnrolled: number;
}

export interface AccessReport {
  /** By organization, then by e-mail address. */
  readonly rows: readonly AccessRow[];
  readonly notCounted: NotCounted;
}

/**
 * @param chosen the rows of this organization alone
 * @param onProgress told in between how many of how many memberships were read
 * @param policy what the gate is configured to do: whom it enrols, and where
 * @throws OperationFailure as `reading`, and where nobody has named the organization
 */
export function readAccessReport(
  operation: Operation,
  chosen?: ChosenOrganization,
  onProgress: (done: number, total: number) => void = () => undefined,
  policy: ExplainOptions = { adminAccess: 'organization' },
): Promise<AccessReport> {
  const { enrolling } = policy;
  const { signal } = operation.patience;
  return reading(operation, 'organizations', async (connection, schema) => {
    if (chosen !== undefined) requireOrganization(connection, chosen, 'read');
    const only = chosen?.id;
    const organizations = readOrganizations(connection, schema, only);
    const rows = await readRows(connection, schema, organizations, {
      only,
      onProgress: async (done, total) => {
        onProgress(done, total);
        await hearStop(signal);
      },
    });
    const isEnrolled = enrolling !== undefined && (only === undefined || only === enrolling);
    return {
      rows,
      notCounted: {
        ...countTheRest(connection, schema, only),
        inactiveOrganizations: new Set(rows.filter(isOff).map(({ organization }) => organization.id)).size,
        refusedUsers: rows.filter(({ obstacles }) => obstacles.some((obstacle) => obstacle !== OFF)).length,
        notEnrolled: isEnrolled ? countOutside(connection, policy) : 0,
      },
    };
  });
}

const OFF = 'organization_inactive';
const isOff = ({ obstacles }: AccessRow): boolean => obstacles.includes(OFF);

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
      { id, accessibleModels: models.size, modelNames: [...names].toSorted() },
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
  organizations: ReadonlyMap<string, OrganizationModels>,
  {
    only,
    onProgress,
  }: { readonly only: string | undefined; readonly onProgress: (done: number, total: number) => Promise<void> },
): Promise<readonly AccessRow[]> {
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
  const obstaclesOf = createObstacles(prepareGrants(connection, schema).isActive);
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
    rows.push({ email, name, organization, obstacles: obstaclesOf(id, role) });
    [previous, before] = [organization, user];
  }
  return rows;
}

/** Many rows and few kinds of them: one list each. */
function createObstacles(isOrganizationActive: (id: string) => boolean) {
  const active = new Map<string, boolean>();
  const lists = new Map<string, readonly Obstacle[]>();
  return (organization: string, role: unknown): readonly Obstacle[] => {
    const isActive = active.get(organization) ?? isOrganizationActive(organization);
    active.set(organization, isActive);
    const ofRole = obstacleOfRole(role);
    const obstacles: readonly Obstacle[] = [
      ...(ofRole === undefined ? [] : [ofRole]),
      ...(isActive ? [] : ([OFF] as const)),
    ];
    const list = lists.get(obstacles.join(' ')) ?? obstacles;
    lists.set(obstacles.join(' '), list);
    return list;
  };
}

function countTheRest(
  connection: Connection,
  { grantActive }: Schema,
  only: string | undefined,
): Pick<NotCounted, 'prefixGrants' | 'grantsWithoutRow'> {
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
    prefixGrants: grants(isPrefix),
    grantsWithoutRow: grants(
      `NOT (${isPrefix}) AND orgmod.model_id NOT IN (SELECT id FROM model WHERE id IS NOT NULL)`,
    ),
  };
}

/** As enrolment asks, of all users at once; admins who may use everything are never asked for their memberships. */
const countOutside = (connection: Connection, { adminAccess }: ExplainOptions): number =>
  connection
    .prepare<[], number>(
      `SELECT count(*) FROM "user" u WHERE ${ROLE_COUNTS}${adminAccess === 'all' ? " AND u.role <> 'admin'" : ''}
         AND NOT EXISTS (SELECT 1 FROM organization_members om WHERE om.user_id = u.id)`,
    )
    .pluck()
    .get() ?? 0;
