/**
 * What modelgate keeps in the backend's PostgreSQL database, as data: the tables and indexes of the deployment guide, a table of
 * budgets, the guide's views, and a version for each organization, kept by triggers on the grants alone. Only ever added to: during
 * an update older gates use the same objects. What a later release does another way has another number in its name.
 */
import { type SchemaObject, isOn } from '../schema.ts';
import { translate } from './dialect.ts';
import { identifier } from './failure.ts';

/** `version` changes with every statement on the grants of the organization; there is no row before its first grant. */
export const VERSIONS = 'modelgate_organization_version';

/** Saves of chats, by the gates: each for as long as the backend may still write it. */
export const SAVES = 'modelgate_chat_saves';

const COUNTED = 'organization_models';

/** From a random start, by a random step: what is restored from a copy never comes to the same number. Exact in JavaScript. */
const START = '(random() * 281474976710656)::bigint';
export const GROWN = `(v.version + 1 + (random() * 4294967296)::bigint) & ${Number.MAX_SAFE_INTEGER}`;

const TABLES: Readonly<Record<string, string>> = {
  organization_models: `id text PRIMARY KEY, organization_id text NOT NULL, model_id text NOT NULL, is_active integer DEFAULT 1,
    created_at bigint, updated_at bigint, UNIQUE (organization_id, model_id)`,
  organization_members: `id text PRIMARY KEY, organization_id text NOT NULL, user_id text NOT NULL, role text DEFAULT 'member',
    is_active integer DEFAULT 1, joined_at bigint, UNIQUE (organization_id, user_id)`,
  organization_budgets: `id text PRIMARY KEY, organization_id text NOT NULL,
    measure text NOT NULL CHECK (measure IN ('usd', 'tokens', 'requests')), amount double precision NOT NULL,
    period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')), scope text NOT NULL DEFAULT 'organization',
    soft_percent integer DEFAULT 80, is_hard integer DEFAULT 1, time_zone text, valid_from bigint, valid_to bigint,
    raised double precision NOT NULL DEFAULT 0, raised_until bigint, is_active integer DEFAULT 1,
    UNIQUE (organization_id, measure, period, scope)`,
  [VERSIONS]: 'organization_id text PRIMARY KEY, version bigint NOT NULL',
  [SAVES]: 'id text PRIMARY KEY, chat_id text NOT NULL, ends_at timestamptz NOT NULL',
};

const INDEXES: Readonly<Record<string, string>> = {
  idx_org_members_user_active: 'organization_members (user_id, is_active)',
  idx_org_members_org_active: 'organization_members (organization_id, is_active)',
  idx_org_models_org_active: 'organization_models (organization_id, is_active)',
  idx_org_models_org_model: 'organization_models (organization_id, model_id)',
};

/**
 * A view ties the tables that it names, and one day a migration of the backend would fail at that. The body of a function is a
 * text, which ties nothing.
 */
const WINDOWS: Readonly<Record<string, string>> = {
  modelgate_users_1:
    'RETURNS TABLE (id text, email text, name text) AS $$SELECT id::text, email::text, name::text FROM SCHEMA."user"$$',
  modelgate_models_1: 'RETURNS TABLE (id text, name text) AS $$SELECT id::text, name::text FROM SCHEMA.model$$',
};

const VIEWS: Readonly<Record<string, string>> = {
  user_available_models: `SELECT DISTINCT om.user_id, orgmod.model_id, orgmod.organization_id
    FROM organization_members om JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
    WHERE ${isOn('om.is_active')} AND ${isOn('orgmod.is_active')}`,
  user_model_access_report: `SELECT u.email AS user_email, u.name AS user_name, om.organization_id,
      count(DISTINCT orgmod.model_id) AS accessible_models, string_agg(DISTINCT m.name, ',') AS model_names
    FROM SCHEMA.modelgate_users_1() u JOIN organization_members om ON u.id = om.user_id
    JOIN organization_models orgmod ON om.organization_id = orgmod.organization_id
    JOIN SCHEMA.modelgate_models_1() m ON orgmod.model_id = m.id
    WHERE ${isOn('om.is_active')} AND ${isOn('orgmod.is_active')} GROUP BY u.id, u.email, u.name, om.organization_id`,
};

const COUNT = 'modelgate_count_grants_1';

/** One statement each: a trigger that sees the rows which it is for has one event. */
const EVENTS: Readonly<Record<string, string>> = {
  insert: 'REFERENCING NEW TABLE AS new_rows',
  update: 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows',
  delete: 'REFERENCING OLD TABLE AS old_rows',
  truncate: '',
};

/** With the rights of its maker: who may change a grant by hand need not know of versions. In one order, so that two never wait for each other. */
function countFunction(schema: string): string {
  const versions = `${identifier(schema)}.${VERSIONS}`;
  const bump = (from: string): string => `INSERT INTO ${versions} AS v (organization_id, version)
      SELECT organization_id, ${START} FROM (${from}) changed WHERE organization_id IS NOT NULL ORDER BY organization_id
      ON CONFLICT (organization_id) DO UPDATE SET version = ${GROWN}`;
  const [added, gone] = ['new', 'old'].map((rows) => `SELECT DISTINCT organization_id::text FROM ${rows}_rows`);
  return `RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN ${bump(added ?? '')};
      ELSIF TG_OP = 'UPDATE' THEN ${bump(`${added} UNION ${gone}`)};
      ELSIF TG_OP = 'DELETE' THEN ${bump(gone ?? '')};
      ELSE UPDATE ${versions} v SET version = ${GROWN};
      END IF;
      RETURN NULL;
    END $$`;
}

/** @returns in the order in which they can be made; each statement makes one that is missing */
export function objectsIn(schema: string): readonly SchemaObject[] {
  const at = (name: string): string => `${identifier(schema)}.${name}`;
  const body = (sql: string): string => sql.replaceAll('SCHEMA.', `${identifier(schema)}.`);
  const all = (kind: string, of: Readonly<Record<string, string>>, make: (name: string, rest: string) => string) =>
    Object.entries(of).map(([name, rest]) => ({ kind, name, label: `${kind} ${name}`, sql: make(name, rest) }));
  const triggers = Object.entries(EVENTS).map(([event, rows]) => [`modelgate_grants_${event}_1`, `${event} ${rows}`]);
  return [
    ...all('table', TABLES, (name, columns) => `CREATE TABLE IF NOT EXISTS ${at(name)} (${columns})`),
    ...all('index', INDEXES, (name, on) => {
      const unique = name === 'idx_org_models_org_model' ? 'UNIQUE ' : '';
      return `CREATE ${unique}INDEX IF NOT EXISTS ${name} ON ${at(on)}`;
    }),
    ...all(
      'function',
      WINDOWS,
      (name, rest) => `CREATE OR REPLACE FUNCTION ${at(name)}() ${body(rest)} LANGUAGE sql STABLE`,
    ),
    ...all('view', VIEWS, (name, sql) => `CREATE VIEW ${at(name)} AS ${body(translate(sql, schema).text)}`),
    ...all(
      'function',
      { [COUNT]: countFunction(schema) },
      (name, rest) => `CREATE OR REPLACE FUNCTION ${at(name)}() ${rest}`,
    ),
    // ALWAYS: what a replication or a restore writes counts, too
    ...all('trigger', Object.fromEntries(triggers) as Record<string, string>, (name, rest) => {
      const [event = '', ...rows] = rest.split(' ');
      return `CREATE TRIGGER ${name} AFTER ${event.toUpperCase()} ON ${at(COUNTED)} ${rows.join(' ')} FOR EACH STATEMENT
        EXECUTE FUNCTION ${at(COUNT)}(); ALTER TABLE ${at(COUNTED)} ENABLE ALWAYS TRIGGER ${name}`;
    }),
  ];
}

/** The one parameter is the schema: what stands there, as labels of objects; a trigger that is switched off does not. */
export const PRESENT = `
  WITH here AS (SELECT c.oid, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
  SELECT CASE WHEN relkind IN ('i', 'I') THEN 'index ' ELSE 'table ' END || relname AS label FROM here
  UNION ALL SELECT 'view ' || relname FROM here WHERE relkind IN ('v', 'm')
  UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger t JOIN here ON here.oid = t.tgrelid WHERE tgenabled IN ('A', 'O')
  UNION ALL SELECT 'function ' || proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1`;

/** The one parameter is the schema. `writable`: what no rule of the table fills by itself. */
export const COLUMNS = `
  SELECT c.relname AS "table", lower(a.attname) AS "column", a.attgenerated = '' AND a.attidentity = '' AS writable
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1 AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`;

/** Whose rows decide; where some are hidden from the role, what is switched off would seem not to be. */
const READ = `user auth api_key model config chat chat_message message automation model_history client_organizations
  organization_members organization_models organization_budgets ${VERSIONS} ${SAVES}`.split(/\s+/);
const IDS = `user.id user.api_key auth.id api_key.key model.id model.base_model_id chat.id client_organizations.id
  organization_members.user_id organization_models.organization_id organization_budgets.organization_id`.split(/\s+/);
const listed = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ');

/** The one parameter is the schema: why a check of what stands there would fail, or would not be true. */
export const OBSTACLES = `
  WITH here AS (SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
  SELECT format('rows of the table %s may be hidden from the role %s by row level security', relname, current_user) AS obstacle
  FROM here WHERE relname IN (${listed(READ)}) AND row_security_active(oid)
    AND (EXISTS (SELECT FROM pg_policy WHERE polrelid = here.oid AND NOT polpermissive) OR NOT EXISTS (
      SELECT FROM pg_policy WHERE polrelid = here.oid AND polpermissive AND polcmd IN ('r', '*')
        AND pg_get_expr(polqual, polrelid) = 'true'
        AND (0 = ANY (polroles) OR EXISTS (SELECT FROM unnest(polroles) r WHERE pg_has_role(r, 'USAGE')))))
  UNION ALL SELECT format('the column %s of the table %s is of the type %s, and not text', attname, relname, format_type(t.oid, NULL))
  FROM here JOIN pg_attribute a ON a.attrelid = here.oid JOIN pg_type t ON t.oid = a.atttypid
  WHERE relname || '.' || attname IN (${listed(IDS)}) AND NOT attisdropped AND typcategory <> 'S' ORDER BY 1`;

/** Schema, table and column: is there an index that begins with the column? */
export const INDEXED = `
  SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
  WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND i.indisvalid`;

/** For every organization that has none: a gate knows a version before the first change. */
export const startVersions = (schema: string): string => {
  const named = ['organization_models', 'organization_members'].map(
    (table) => `SELECT organization_id::text AS organization_id FROM ${identifier(schema)}.${table}`,
  );
  return `INSERT INTO ${identifier(schema)}.${VERSIONS} (organization_id, version)
    SELECT organization_id, ${START} FROM (${named.join(' UNION ')}) named WHERE organization_id IS NOT NULL
    ON CONFLICT DO NOTHING`;
};
