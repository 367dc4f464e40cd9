/**
 * What modelgate keeps in the backend's file, as data: two tables and four indexes exactly as the deployment guide's
 * migration makes them, a table of budgets, views, and a version counter with triggers on the guide's tables only (the backend's migrations
 * rebuild its own and would lose them). And what a file has: read from its tables and columns, never from a version number.
 */
import type { Connection, SchemaObject } from './connection.ts';

export type { SchemaObject } from './connection.ts';

/** @param rest of a CREATE statement, behind its first word */
function object(rest: string): SchemaObject {
  const [, word = '', name = ''] = /^(?:UNIQUE |VIRTUAL )?(\w+) (\w+)/.exec(rest) ?? [];
  const kind = word.toLowerCase();
  return { kind, name, label: `${kind} ${name}`, sql: `CREATE ${rest.replace(name, `IF NOT EXISTS ${name}`)}` };
}

export const ORGANIZATION_MODELS = object(`TABLE organization_models (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    model_id TEXT NOT NULL,
    is_active INTEGER DEFAULT 1,
    created_at INTEGER,
    updated_at INTEGER,
    UNIQUE(organization_id, model_id)
  )`);

export const ORGANIZATION_MEMBERS = object(`TABLE organization_members (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    role TEXT DEFAULT 'member',
    is_active INTEGER DEFAULT 1,
    joined_at INTEGER,
    UNIQUE(organization_id, user_id)
  )`);

/**
 * How much each organization may use; amounts in US dollars, tokens or requests, moments in milliseconds UTC. What it is raised
 * by counts on top of the amount until then. Its changes are not counted: it is read anew after every commit.
 */
const ORGANIZATION_BUDGETS = object(`TABLE organization_budgets (
    id TEXT PRIMARY KEY,
    organization_id TEXT NOT NULL,
    measure TEXT NOT NULL CHECK (measure IN ('usd', 'tokens', 'requests')),
    amount REAL NOT NULL,
    period TEXT NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    scope TEXT NOT NULL DEFAULT 'organization',
    soft_percent INTEGER DEFAULT 80,
    is_hard INTEGER DEFAULT 1,
    time_zone TEXT,
    valid_from INTEGER,
    valid_to INTEGER,
    raised REAL NOT NULL DEFAULT 0,
    raised_until INTEGER,
    is_active INTEGER DEFAULT 1,
    UNIQUE (organization_id, measure, period, scope)
  )`);

/** SQL for "this row is switched on": 1, in whatever type the column keeps it, and NULL, which is 1 by the column's default. */
export const isOn = (column: string): string => `(coalesce(${column}, 1) = 1 OR ${column} = '1' COLLATE BINARY)`;

/** SQL for "this row is switched off, and was meant to be": every other value is off, too. */
export const isOff = (column: string): string => `(${column} = 0 OR ${column} = '0' COLLATE BINARY)`;

/**
 * One row for each of our tables. `version` grows with every row that is changed, by a random step from a random start:
 * a copy of the file that went another way never comes to the same number.
 */
export const VERSION_TABLE = object('TABLE modelgate_version (subject TEXT PRIMARY KEY, version INTEGER NOT NULL)');

/** An exact number to JavaScript too: after 53 bits, some four million steps, it begins anew. */
const grown = (bits: number): string => `(version + 1 + (random() & ${2 ** bits - 1})) & ${Number.MAX_SAFE_INTEGER}`;

/** `start` makes the row where it is missing; the one parameter of each is the subject. */
export const COUNTERS = {
  start: `INSERT INTO ${VERSION_TABLE.name} (subject, version) SELECT $subject, random() & ${2 ** 48 - 1}
    WHERE NOT EXISTS (SELECT 1 FROM ${VERSION_TABLE.name} WHERE subject = $subject)`,
  /** Leaves a number behind that was reached one by one, where another file may have the same. */
  leap: `UPDATE ${VERSION_TABLE.name} SET version = ${grown(48)} WHERE subject = $subject`,
} as const;

const INDEXES = [
  'INDEX idx_org_members_user_active ON organization_members(user_id, is_active)',
  'INDEX idx_org_members_org_active ON organization_members(organization_id, is_active)',
  'INDEX idx_org_models_org_active ON organization_models(organization_id, is_active)',
  'UNIQUE INDEX idx_org_models_org_model ON organization_models(organization_id, model_id)',
].map(object);

/**
 * Only our own tables are joined. A view on the backend's `user` or `model` makes its migrations fail: they drop the
 * table and rename a copy, and SQLite refuses a rename while a view names a missing table.
 */
const USER_AVAILABLE_MODELS = object(`VIEW user_available_models AS
    SELECT DISTINCT om.user_id, orgmod.model_id, orgmod.organization_id
    FROM organization_members om
    JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
    WHERE ${isOn('om.is_active')} AND ${isOn('orgmod.is_active')}`);

/**
 * The backend's `user` and `model` as the report view sees them: full-text tables of external content, which hold
 * nothing and look into the named table only when they are read, so that migrations may drop and rename it.
 */
const windowOn = (backendTable: string, columns: string) =>
  object(`VIRTUAL TABLE modelgate_${backendTable} USING fts5(${columns}, content='${backendTable}', columnsize=0)`);

/** The deployment guide's report, column by column; DISTINCT lets SQLite read the models once and not for each row. */
const USER_MODEL_ACCESS_REPORT = object(`VIEW user_model_access_report AS
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
    GROUP BY u.id, om.organization_id`);

/** The tables whose changes are counted, and the only ones that carry triggers. */
export const COUNTED_TABLES = ['organization_members', 'organization_models'] as const;

const triggerOn = (counted: string, event: string) =>
  object(`TRIGGER modelgate_${counted}_${event} AFTER ${event.toUpperCase()} ON ${counted} BEGIN
      UPDATE modelgate_version SET version = ${grown(32)} WHERE subject = '${counted}';
    END`);

/** In the order in which they can be made. */
export const SCHEMA_OBJECTS: readonly SchemaObject[] = [
  ORGANIZATION_MODELS,
  ORGANIZATION_MEMBERS,
  ORGANIZATION_BUDGETS,
  VERSION_TABLE,
  ...INDEXES,
  windowOn('user', 'id UNINDEXED, email UNINDEXED, name UNINDEXED'),
  windowOn('model', 'id UNINDEXED, name UNINDEXED'),
  USER_AVAILABLE_MODELS,
  USER_MODEL_ACCESS_REPORT,
  ...COUNTED_TABLES.flatMap((counted) => ['insert', 'update', 'delete'].map((event) => triggerOn(counted, event))),
];

export type Schema = ReturnType<typeof readSchema>;

/** SQL for "this row counts": a table made by hand may lack the column, and then every row does. */
export function activeCondition(hasColumn: boolean, alias?: string): string {
  return hasColumn ? isOn(alias === undefined ? 'is_active' : `${alias}.is_active`) : 'TRUE';
}

function prepareColumns(connection: Connection): (table: string) => ReadonlySet<string> {
  if (connection.postgres !== undefined) return connection.postgres.columnsOf;
  const names = connection.prepare<[string], string>('SELECT lower(name) FROM pragma_table_xinfo(?)').pluck();
  return (table) => new Set(names.all(table));
}

/** @returns names in lower case, of generated columns too; none where there is no such table or view */
export const columnsOf = (connection: Connection, table: string) => prepareColumns(connection)(table);

/** What modelgate makes in this database, in the order in which it can be made. */
export const objectsOf = ({ postgres }: Connection): readonly SchemaObject[] => postgres?.objects ?? SCHEMA_OBJECTS;

/** Table and columns without which no decision can be made. */
const NEEDED: readonly (readonly [table: string, ...columns: string[]])[] = [
  ['user', 'id', 'role'],
  ['model', 'id', 'base_model_id'],
  ['organization_members', 'organization_id', 'user_id'],
  ['organization_models', 'organization_id', 'model_id'],
];

/** @throws SqliteError where the file cannot be read */
export function readSchema(connection: Connection) {
  // each table is looked at once: to prepare costs more than to ask
  const [read, known] = [prepareColumns(connection), new Map<string, ReadonlySet<string>>()];
  const columns = (table: string): ReadonlySet<string> => {
    const found = known.get(table) ?? read(table);
    known.set(table, found);
    return found;
  };
  const has = (table: string, ...wanted: string[]) => wanted.every((column) => columns(table).has(column));
  const missing = missingObjects(connection);
  return {
    /** `api_key` table (from 0.6.41), or the column `user.api_key` (to 0.6.40). */
    apiKeys: has('api_key', 'key', 'user_id') ? 'table' : has('user', 'api_key') ? 'column' : 'none',
    /** `auth.session_stamp` (from 0.12.0). */
    sessionStamps: has('auth', 'id', 'session_stamp'),
    /** When a membership began. */
    memberSince: has('organization_members', 'joined_at'),
    memberActive: has('organization_members', 'is_active'),
    grantActive: has('organization_models', 'is_active'),
    /** mAI's `client_organizations` with `is_active`. */
    clientOrganizations: has('client_organizations', 'id', 'is_active'),
    /** Its keys of organizations with OpenRouter. */
    openrouterKeys: has('client_organizations', 'id', 'openrouter_api_key'),
    presetParameters: has('model', 'params'),
    presetOwner: has('model', 'user_id'),
    chat: has('chat', 'id', 'chat'),
    chatMeta: has('chat', 'id', 'meta'),
    chatMessage: has('chat_message', 'chat_id', 'model_id'),
    chatMessageDetails: has('chat_message', 'id', 'model_id', 'meta', 'output'),
    modelHistory: has('model_history', 'id', 'snapshot'),
    channelMessage: has('message', 'id', 'meta'),
    automation: has('automation', 'id', 'data'),
    /** `config`: one row for each key (from 0.10.0), or one document for everything. */
    config: has('config', 'key', 'value') ? 'rows' : has('config', 'id', 'data') ? 'document' : 'none',
    /** It looks like a database of Open WebUI at all. */
    hasUserTable: has('user', 'id'),
    /** The backend has made its own tables: before that, ours would be in the way of its first start. */
    backendReady: has('user', 'id', 'role') && has('model', 'id', 'base_model_id'),
    /** Every trigger stands, word for word: the counter of the file tells the truth. */
    counted: connection.postgres === undefined && isCounted(connection, missing),
    /** Objects of ours that are not there, as `kind name`. */
    missing: missing.map(({ label }) => label) as readonly string[],
    /** Why policy cannot be read from this file, or undefined where it can. */
    problem: firstProblem(columns),
  } as const;
}

/**
 * A trigger of ours must stand word for word: one of the same name with another body counts nothing reliable. A view
 * in the place of a table is read as one.
 */
function missingObjects(connection: Connection): readonly SchemaObject[] {
  if (connection.postgres !== undefined) return connection.postgres.missing();
  const query = 'SELECT type, lower(name) AS name, sql FROM sqlite_schema';
  const found = connection.prepare<[], Record<'type' | 'name' | 'sql', string | null>>(query).all();
  const stands = ({ kind, name, sql }: SchemaObject) =>
    found.some(
      (object) =>
        object.name === name &&
        (object.type === kind || (kind === 'table' && object.type === 'view')) &&
        // SQLite keeps the statement as it was written, without `IF NOT EXISTS`
        (kind !== 'trigger' || object.sql === sql.replace(' IF NOT EXISTS', '')),
    );
  return SCHEMA_OBJECTS.filter((object) => !stands(object));
}

function isCounted(connection: Connection, missing: readonly SchemaObject[]): boolean {
  if (missing.some((object) => object.kind === 'trigger' || object === VERSION_TABLE)) return false;
  const subjects = connection.prepare(`SELECT subject FROM ${VERSION_TABLE.name}`).pluck().all();
  return COUNTED_TABLES.every((subject) => subjects.includes(subject));
}

export function firstProblem(columns: (table: string) => ReadonlySet<string>): string | undefined {
  for (const [table, ...needed] of NEEDED) {
    if (columns(table).size === 0) return `table ${table} is missing`;
    const absent = needed.find((column) => !columns(table).has(column));
    if (absent !== undefined) return `table ${table} has no column ${absent}`;
  }
  return undefined;
}
