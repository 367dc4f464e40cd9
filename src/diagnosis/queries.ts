import type { Connection } from '../store/database.ts';
import { gateQueries } from '../store/gate-queries.ts';
import type { Schema } from '../store/schema-reader.ts';
import { COUNTED_TABLES } from '../store/tables.ts';
import type { Finding } from './finding.ts';
import { ok, problem, unknown, warning } from './finding.ts';

/** The three queries that the deployment guide's monitor_performance.py times, word for word. */

export interface GuideQuery {
  readonly name: string;
  readonly sql: string;
  /** What its one parameter is. */
  readonly asks: 'user' | 'organization';
}

export const GUIDE_QUERIES: readonly GuideQuery[] = [
  {
    name: 'user_orgs',
    sql: `
            SELECT DISTINCT organization_id 
            FROM organization_members 
            WHERE user_id = ? AND is_active = 1
        `,
    asks: 'user',
  },
  {
    name: 'org_models',
    sql: `
            SELECT DISTINCT model_id 
            FROM organization_models 
            WHERE organization_id = ? AND is_active = 1
        `,
    asks: 'organization',
  },
  {
    name: 'user_models_view',
    sql: `
            SELECT DISTINCT model_id 
            FROM user_available_models 
            WHERE user_id = ?
        `,
    asks: 'user',
  },
];

// Whether the queries of a decision, and the deployment guide's, find their rows through an index: asked of SQLite
// for the very statements that the gate prepares.

const NAME = 'index use';
/** A scan of fewer rows takes less than the microseconds that anybody would notice. */
const FEW_ROWS = 1_000;
/** From here on every decision holds up all others for a millisecond or more. */
const MANY_ROWS = 10_000;

interface PlannedQuery {
  readonly name: string;
  readonly sql: string;
}

/** @returns a finding for each query that reads a whole table of some size @throws SqliteError */
export function checkIndexUse(connection: Connection, schema: Schema): readonly Finding[] {
  const queries = [...gateQueries(schema), ...GUIDE_QUERIES.filter((query) => canRun(connection, query))];
  const found = queries.flatMap((query) => judge(connection, query));
  if (found.length > 0) return found;
  const skipped = GUIDE_QUERIES.filter((query) => !queries.includes(query));
  const proved = ok(
    NAME,
    `All ${queries.length} queries of a decision and of the guide find their rows through an index.`,
  );
  if (skipped.length === 0) return [proved];
  return [
    proved,
    unknown(
      NAME,
      `${skipped.map(({ name }) => name).join(', ')} cannot run: its view is missing.`,
      'Run: `modelgate init`',
    ),
  ];
}

function canRun(connection: Connection, { sql }: PlannedQuery): boolean {
  try {
    connection.prepare(sql);
    return true;
  } catch {
    return false; // a view that is missing, or of another shape: `tables` has said so
  }
}

/** @returns the lines of `EXPLAIN QUERY PLAN`, such as `SEARCH organization_members USING INDEX … (user_id=?)` */
function planOf(connection: Connection, { sql }: PlannedQuery): readonly string[] {
  const statement = connection.prepare<[null], { readonly detail: string }>(`EXPLAIN QUERY PLAN ${sql}`);
  return statement.all(null).map(({ detail }) => detail);
}

function judge(connection: Connection, query: PlannedQuery): readonly Finding[] {
  const scanned = planOf(connection, query)
    .map((line) => /^SCAN (\S+)/.exec(line)?.[1])
    .filter((name) => name !== undefined);
  return scanned.flatMap((name) => {
    const table = TABLE_OF[name] ?? name;
    const rows = rowsOf(connection, table);
    if (rows === undefined || rows < FEW_ROWS) return [];
    const finding = `The query ${query.name} reads all ${rows.toLocaleString('en')} rows of ${table} each time, because no index serves it.`;
    return [(rows < MANY_ROWS ? warning : problem)(NAME, finding, REMEDY)];
  });
}

const REMEDY = 'To make missing indexes: `modelgate init`; if none is missing: `modelgate maintain`';

/** Names that the views give to the tables. */
const TABLE_OF: Readonly<Record<string, string>> = {
  om: 'organization_members',
  orgmod: 'organization_models',
  u: 'user',
  m: 'model',
};

const COUNTS: Readonly<Record<string, string>> = {
  organization_members: 'SELECT count(*) FROM organization_members',
  organization_models: 'SELECT count(*) FROM organization_models',
  client_organizations: 'SELECT count(*) FROM client_organizations',
  user: 'SELECT count(*) FROM "user"',
  model: 'SELECT count(*) FROM model',
  api_key: 'SELECT count(*) FROM api_key',
};

function rowsOf(connection: Connection, table: string): number | undefined {
  const sql = COUNTS[table];
  return sql === undefined ? undefined : connection.prepare<[], number>(sql).pluck().get();
}

// What the query planner believes about the tables of organizations: the guide's `ANALYZE`.

const STATISTICS = 'statistics';
/** Below this every plan is as good as any other. */
const WORTH_IT = 1_000;
const FAR_OFF = 10;

/** @throws SqliteError where the file cannot be read */
export function checkStatistics(connection: Connection): Finding {
  const tables = COUNTED_TABLES.map((table) => ({
    table,
    rows: connection.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0,
  }));
  const large = tables.filter(({ rows }) => rows >= WORTH_IT);
  const hasStatistics =
    connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").get() !== undefined;
  if (!hasStatistics) {
    return large.length === 0
      ? ok(STATISTICS, 'ANALYZE was never run, and the tables are small enough not to need it.')
      : warning(STATISTICS, `ANALYZE was never run, and ${say(large)}.`, REFRESH);
  }
  const believed = connection.prepare<[string]>('SELECT stat FROM sqlite_stat1 WHERE tbl = ? LIMIT 1').pluck();
  const stale = tables.flatMap(({ table, rows }) => {
    const stat = believed.get(table);
    const estimate = typeof stat === 'string' ? parseInt(stat, 10) || 0 : 0;
    return isFarOff(estimate, rows) ? [`${table} had ${count(estimate)} rows then and has ${count(rows)} now`] : [];
  });
  return stale.length === 0
    ? ok(STATISTICS, 'ANALYZE was run, and what it found still holds.')
    : warning(STATISTICS, `ANALYZE was run long ago: ${stale.join(', ')}.`, REFRESH);
}

const REFRESH = 'To refresh them: `modelgate maintain`';

const count = (rows: number): string => rows.toLocaleString('en');

const say = (tables: readonly { table: string; rows: number }[]): string =>
  tables.map(({ table, rows }) => `${table} has ${count(rows)} rows`).join(' and ');

function isFarOff(estimate: number, rows: number): boolean {
  const [fewer, more] = estimate < rows ? [estimate, rows] : [rows, estimate];
  return more >= WORTH_IT && more > fewer * FAR_OFF;
}
