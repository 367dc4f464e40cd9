/**
 * What modelgate keeps in the backend's file, as data: two tables and four indexes exactly as the deployment guide's
 * migration makes them, the views, and a version counter with triggers on these two tables only (the backend's
 * migrations rebuild its own and would lose them).
 */

/** An object of the schema that `initialize` makes where it is missing. */
export interface SchemaObject {
  readonly kind: 'table' | 'index' | 'view' | 'trigger';
  readonly name: string;
  readonly sql: string;
}

const table = (name: string, columns: string): SchemaObject => ({
  kind: 'table',
  name,
  sql: `CREATE TABLE IF NOT EXISTS ${name} (${columns})`,
});

export const ORGANIZATION_MODELS = table(
  'organization_models',
  `
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    is_active INTEGER DEFAULT 1,
    created_at INTEGER,
    updated_at INTEGER,
    UNIQUE(organization_id, model_id)
  `,
);

export const ORGANIZATION_MEMBERS = table(
  'organization_members',
  `
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT DEFAULT 'member',
    is_active INTEGER DEFAULT 1,
    joined_at INTEGER,
    UNIQUE(organization_id, user_id)
  `,
);

/**
 * SQL for "this row is switched on": 1, in whatever type the column keeps it, and NULL, which is 1 by the column's default.
 * @param column constant, such as `om.is_active`
 */
export const isOn = (column: string): string => `(coalesce(${column}, 1) = 1 OR ${column} = '1' COLLATE BINARY)`;

/** SQL for "this row is switched off, and was meant to be". */
export const isOff = (column: string): string => `(${column} = 0 OR ${column} = '0' COLLATE BINARY)`;

/**
 * One row for each of our tables. `version` grows with every row that is changed, by a random step from a random start:
 * a copy of the file that went another way never comes to the same number, as one that counts 1, 2, 3 does.
 */
export const VERSION_TABLE = table('modelgate_version', 'subject TEXT PRIMARY KEY, version INTEGER NOT NULL');

/** An exact number to JavaScript too: after 53 bits, some four million steps, it begins anew. */
const grown = (bits: number): string => `(version + 1 + (random() & ${2 ** bits - 1})) & ${Number.MAX_SAFE_INTEGER}`;

/** `start` makes the row where it is missing; the one parameter of each is the subject. */
export const COUNTERS = {
  start: `INSERT INTO ${VERSION_TABLE.name} (subject, version) SELECT $subject, random() & ${2 ** 48 - 1}
    WHERE NOT EXISTS (SELECT 1 FROM ${VERSION_TABLE.name} WHERE subject = $subject)`,
  /** Leaves a number behind that was reached one by one, where another file may have the same. */
  leap: `UPDATE ${VERSION_TABLE.name} SET version = ${grown(48)} WHERE subject = $subject`,
} as const;

const view = (name: string, select: string): SchemaObject => ({
  kind: 'view',
  name,
  sql: `CREATE VIEW IF NOT EXISTS ${name} AS${select}`,
});

const index = (name: string, target: string, form = 'INDEX'): SchemaObject => ({
  kind: 'index',
  name,
  sql: `CREATE ${form} IF NOT EXISTS ${name} ON ${target}`,
});

const INDEXES: readonly SchemaObject[] = [
  index('idx_org_members_user_active', 'organization_members(user_id, is_active)'),
  index('idx_org_members_org_active', 'organization_members(organization_id, is_active)'),
  index('idx_org_models_org_active', 'organization_models(organization_id, is_active)'),
  index('idx_org_models_org_model', 'organization_models(organization_id, model_id)', 'UNIQUE INDEX'),
];

/**
 * Only our own tables are joined. A view on the backend's `user` or `model` makes its migrations fail: they drop the
 * table and rename a copy, and SQLite refuses a rename while a view names a missing table.
 */
const USER_AVAILABLE_MODELS = view(
  'user_available_models',
  `
    SELECT DISTINCT om.user_id, orgmod.model_id, orgmod.organization_id
    FROM organization_members om
    JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
    WHERE ${isOn('om.is_active')} AND ${isOn('orgmod.is_active')}`,
);

/**
 * The backend's `user` and `model` as the report view sees them: full-text tables of external content, which hold
 * nothing and look into the named table only when they are read, so that migrations may drop and rename it.
 */
const windowOn = (backendTable: string, columns: string): SchemaObject => ({
  kind: 'table',
  name: `modelgate_${backendTable}`,
  sql: `CREATE VIRTUAL TABLE IF NOT EXISTS modelgate_${backendTable} USING fts5(${columns}, content='${backendTable}', columnsize=0)`,
});

const WINDOWS: readonly SchemaObject[] = [
  windowOn('user', 'id UNINDEXED, email UNINDEXED, name UNINDEXED'),
  windowOn('model', 'id UNINDEXED, name UNINDEXED'),
];

/** The deployment guide's report, column by column; DISTINCT lets SQLite read the models once and not for each row. */
const USER_MODEL_ACCESS_REPORT = view(
  'user_model_access_report',
  `
    SELECT
      u.email as user_email,
      u.name as user_name,
      om.organization_id,
      COUNT(DISTINCT orgmod.model_id) as accessible_models,
      GROUP_CONCAT(DISTINCT m.name) as model_names
    FROM modelgate_user u
    CROSS JOIN organization_members om ON u.id = om.user_id
    JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
    JOIN (SELECT DISTINCT id, name FROM modelgate_model) m ON orgmod.model_id = m.id
    WHERE ${isOn('om.is_active')} AND ${isOn('orgmod.is_active')}
    GROUP BY u.id, om.organization_id`,
);

/** The tables whose changes are counted, and the only ones that carry triggers. */
export const COUNTED_TABLES = ['organization_members', 'organization_models'] as const;

const trigger = (event: string, counted: string): SchemaObject => {
  const name = `modelgate_${counted}_${event.toLowerCase()}`;
  const sql = `CREATE TRIGGER IF NOT EXISTS ${name} AFTER ${event} ON ${counted} BEGIN
      UPDATE modelgate_version SET version = ${grown(32)} WHERE subject = '${counted}';
    END`;
  return { kind: 'trigger', name, sql };
};

const TRIGGERS: readonly SchemaObject[] = COUNTED_TABLES.flatMap((counted) =>
  ['INSERT', 'UPDATE', 'DELETE'].map((event) => trigger(event, counted)),
);

/** In the order in which they can be made. */
export const SCHEMA_OBJECTS: readonly SchemaObject[] = [
  ORGANIZATION_MODELS,
  ORGANIZATION_MEMBERS,
  VERSION_TABLE,
  ...INDEXES,
  ...WINDOWS,
  USER_AVAILABLE_MODELS,
  USER_MODEL_ACCESS_REPORT,
  ...TRIGGERS,
];
