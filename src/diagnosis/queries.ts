import type { Connection } from '../store/database.ts';
import { gateQueries } from '../store/queries.ts';
import { type Schema, COUNTED_TABLES } from '../store/schema.ts';
import { type Finding, ok, problem, unknown, warning } from './finding.ts';

/** The three queries that the deployment guide's monitor_performance.py times, word for word; `asks` is their parameter. */
export const GUIDE_QUERIES = [
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
] as const;

const NAME = 'index use';
/** A scan of fewer rows takes microseconds. */
const FEW_ROWS = 1_000;
/** From here on every decision holds up all others for a millisecond or more. */
const MANY_ROWS = 10_000;

interface PlannedQuery {
  readonly name: string;
  readonly sql: string;
}

/**
 * Asks SQLite for the plan of the very statements that the gate prepares, and of the guide's.
 * @returns a finding for each query that reads a whole table of some size
 * @throws SqliteError
 */
export function checkIndexUse(connection: Connection, schema: Schema): readonly Finding[] {
  const [runnable, skipped] = [true, false].map((can) =>
    GUIDE_QUERIES.filter((query) => canRun(connection, query) === can),
  );
  const queries: readonly PlannedQuery[] = [...gateQueries(schema), ...(runnable ?? [])];
  const found = queries.flatMap((query) => judge(connection, query));
  if (found.length > 0) return found;
  const all = `All ${queries.length} queries of a decision and of the guide find their rows through an index.`;
  if (skipped === undefined || skipped.length === 0) return [ok(NAME, all)];
  const names = skipped.map(({ name }) => name).join(', ');
  return [ok(NAME, all), unknown(NAME, `${names} cannot run: its view is missing.`, 'Run: `modelgate init`')];
}

function canRun(connection: Connection, { sql }: PlannedQuery): boolean {
  try {
    connection.prepare(sql);
    return true;
  } catch {
    return false; // a view that is missing, or of another shape: `tables` has said so
  }
}

function judge(connection: Connection, { name, sql }: PlannedQuery): readonly Finding[] {
  // such as `SEARCH organization_members USING INDEX … (user_id=?)`
  const plan = connection.prepare<[null], { readonly detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(null);
  return plan.flatMap(({ detail }) => {
    const [, alias] = /^SCAN (\S+)/.exec(detail) ?? [];
    const table = alias === undefined ? undefined : (TABLE_OF[alias] ?? alias);
    if (table === undefined || !COUNTED.has(table)) return [];
    const rows = countRows(connection, table);
    if (rows < FEW_ROWS) return [];
    const finding = `The query ${name} reads all ${count(rows)} rows of ${table} each time, because no index serves it.`;
    return [(rows < MANY_ROWS ? warning : problem)(NAME, finding, REMEDY)];
  });
}

const countRows = (connection: Connection, table: string): number =>
  connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;

const REMEDY = 'To make missing indexes: `modelgate init`; if none is missing: `modelgate maintain`';

/** Names that the views give to the tables. */
const TABLE_OF: Readonly<Record<string, string>> = {
  om: 'organization_members',
  orgmod: 'organization_models',
  u: 'user',
  m: 'model',
};

/** Any other name in a plan is no table that the gate asks. */
const COUNTED: ReadonlySet<string> = new Set([...COUNTED_TABLES, 'client_organizations', 'user', 'model', 'api_key']);

const STATISTICS = 'statistics';
/** Below this every plan is as good as any other. */
const WORTH_IT = 1_000;
const FAR_OFF = 10;

/**
 * What the query planner believes about the tables of organizations: the guide's `ANALYZE`.
 * @throws SqliteError where the file cannot be read
 */
export function checkStatistics(connection: Connection): Finding {
  const tables = COUNTED_TABLES.map((table) => ({ table, rows: countRows(connection, table) }));
  const hasStatistics =
    connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").get() !== undefined;
  if (!hasStatistics) {
    const large = tables
      .filter(({ rows }) => rows >= WORTH_IT)
      .map(({ table, rows }) => `${table} has ${count(rows)} rows`);
    return large.length === 0
      ? ok(STATISTICS, 'ANALYZE was never run, and the tables are small enough not to need it.')
      : warning(STATISTICS, `ANALYZE was never run, and ${large.join(' and ')}.`, REFRESH);
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

function isFarOff(estimate: number, rows: number): boolean {
  const [fewer, more] = estimate < rows ? [estimate, rows] : [rows, estimate];
  return more >= WORTH_IT && more > fewer * FAR_OFF;
}
