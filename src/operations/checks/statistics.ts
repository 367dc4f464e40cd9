/** What the query planner believes about the tables of organizations: the guide's `ANALYZE`. */
import type { Connection } from '../../store/database.ts';
import { COUNTED_TABLES } from '../../store/tables.ts';
import type { Finding } from './finding.ts';
import { ok, warning } from './finding.ts';

const NAME = 'statistics';
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
      ? ok(NAME, 'ANALYZE was never run, and the tables are small enough not to need it.')
      : warning(NAME, `ANALYZE was never run, and ${say(large)}.`, REMEDY);
  }
  const believed = connection.prepare<[string]>('SELECT stat FROM sqlite_stat1 WHERE tbl = ? LIMIT 1').pluck();
  const stale = tables.flatMap(({ table, rows }) => {
    const stat = believed.get(table);
    const estimate = typeof stat === 'string' ? parseInt(stat, 10) || 0 : 0;
    return isFarOff(estimate, rows) ? [`${table} had ${count(estimate)} rows then and has ${count(rows)} now`] : [];
  });
  return stale.length === 0
    ? ok(NAME, 'ANALYZE was run, and what it found still holds.')
    : warning(NAME, `ANALYZE was run long ago: ${stale.join(', ')}.`, REMEDY);
}

const REMEDY = 'To refresh them: `modelgate maintain`';

const count = (rows: number): string => rows.toLocaleString('en');

const say = (tables: readonly { table: string; rows: number }[]): string =>
  tables.map(({ table, rows }) => `${table} has ${count(rows)} rows`).join(' and ');

function isFarOff(estimate: number, rows: number): boolean {
  const [fewer, more] = estimate < rows ? [estimate, rows] : [rows, estimate];
  return more >= WORTH_IT && more > fewer * FAR_OFF;
}
