/** Whether what modelgate keeps in the file is in place and counts, and whether indexes and statistics serve a decision. */
import { closing } from '../backend-file/transaction.ts';
import { type Connection, openScratch } from '../store/database.ts';
import { gateQueries } from '../store/queries.ts';
import { type Schema, COUNTED_TABLES, SCHEMA_OBJECTS } from '../store/schema.ts';
import { type Verdict, complaintOf, ok, problem, unknown, warning } from './finding.ts';
import { GUIDE_QUERIES } from './measured-queries.ts';

const INIT = 'Start the gate once where it may write to the file, or run: `modelgate init`';

const isTrigger = (name: string): boolean => name.startsWith('trigger ');

/** Whether every object of the schema is in place. */
export function checkTables({ hasUserTable, backendReady, missing, problem: obstacle }: Schema): Verdict {
  if (!hasUserTable) {
    return problem(
      'This is no database of Open WebUI: it has no table "user".',
      'Name the webui.db of the backend with --database or DATABASE_URL. A backend that has never run must be started once.',
    );
  }
  if (!backendReady) {
    const finding = 'The tables of Open WebUI have a shape that this version does not know.';
    return problem(finding, 'If the backend is not just migrating, look for a newer modelgate.');
  }
  if (obstacle !== undefined) {
    const rename = 'Rename or add the column as the deployment guide has it, then run: `modelgate init`';
    const remedy = obstacle.endsWith('is missing') ? INIT : rename;
    return problem(`No decision can be made from this file: ${obstacle}.`, remedy);
  }
  const others = missing.filter((name) => !isTrigger(name));
  if (others.length === 0) return ok('All tables, indexes, views and triggers are in place.');
  return warning(`${others.length} of ${SCHEMA_OBJECTS.length} objects are missing: ${others.join(', ')}.`, INIT);
}

/** Without it the gate is right all the same, and reads everything again after each commit of the backend. */
export function checkCounter({ counted, missing, problem: obstacle }: Schema): readonly Verdict[] {
  if (counted || obstacle !== undefined) return [];
  const triggers = missing.filter(isTrigger);
  const are = triggers.length === 1 ? 'a trigger is' : `${triggers.length} triggers are`;
  const broken = `${are} missing or changed (${triggers.join(', ')})`;
  const why = triggers.length > 0 ? broken : 'its table or its rows are missing';
  const finding = `It does not count, because ${why}: after every commit of the backend the gate reads all memberships and grants again.`;
  return [warning(finding, INIT)];
}

/**
 * Whether a view or trigger, such as the guide's or mAI's, is in the way of the backend's next migration: SQLite refuses
 * to rename the copy of `user` or `model` while one names the table, which has been dropped.
 */
export function checkUpgrade(connection: Connection, { clientOrganizations }: Schema): Verdict {
  const stumbling = inTheWay(connection);
  if (stumbling.length === 0) return ok("No view or trigger is in the way of the backend's migrations.");
  const names = stumbling.map(({ type, name }) => `${type} ${name}`);
  const again = clientOrganizations ? " mAI's own start makes its view again, so do it right before the upgrade." : '';
  return warning(
    `The next upgrade of the backend will fail ("error in ${names[0] ?? ''}: no such table"), because ${names.join(' and ')} name${names.length === 1 ? 's' : ''} its table "user" or "model".`,
    `Run ${stumbling.map(dropping).join(' ')}${again} Then make views with the same rows that are not in the way: \`modelgate init\``,
  );
}

type SchemaRow = Readonly<Record<'type' | 'name' | 'sql', string>>;

const dropping = ({ type, name }: SchemaRow): string => `DROP ${type.toUpperCase()} "${name.replaceAll('"', '""')}";`;

/** Rehearses a migration on the same schema in memory: SQLite alone knows what the words of a view name. */
function inTheWay(connection: Connection): readonly SchemaRow[] {
  // Each needs what is made before it. A virtual table (root page 0) makes its shadow tables by itself, and is not made
  // where one stands already: VACUUM writes them first
  const rows = connection
    .prepare<[], SchemaRow>(
      `SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') AND sql IS NOT NULL
       AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type = 'trigger', type = 'view', rootpage <> 0`,
    )
    .all();
  using scratch = closing(openScratch());
  for (const { sql } of rows) complaintOf(() => void scratch.prepare(sql).run());
  scratch.exec('CREATE TABLE _alembic_tmp (id TEXT); DROP TABLE IF EXISTS "user"; DROP TABLE IF EXISTS model');
  const suspects = rows.filter(({ type }) => type !== 'table');
  const found: SchemaRow[] = [];
  for (const _round of suspects) {
    const complaint = complaintOf(() => void scratch.exec(RENAME));
    const culprit = suspects.find(({ type, name }) => complaint.startsWith(`error in ${type} ${name}: `));
    if (culprit === undefined) break;
    found.push(culprit);
    complaintOf(() => void scratch.exec(dropping(culprit)));
  }
  return found;
}

const RENAME =
  'ALTER TABLE _alembic_tmp RENAME TO _alembic_renamed; ALTER TABLE _alembic_renamed RENAME TO _alembic_tmp';

/** A scan of fewer rows takes microseconds, and every plan is as good as any other. */
const FEW_ROWS = 1_000;
/** From here on every decision holds up all others for a millisecond or more. */
const MANY_ROWS = 10_000;

/** @returns which of the statements that the gate prepares, and of the guide's, read a whole table of some size */
export function checkIndexUse(connection: Connection, schema: Schema): readonly Verdict[] {
  // a view that is missing, or of another shape: the check of the tables has said so
  const { yes: runnable = [], no: skipped = [] } = Object.groupBy(GUIDE_QUERIES, ({ sql }) =>
    complaintOf(() => void connection.prepare(sql)) === '' ? 'yes' : 'no',
  );
  const queries = [...gateQueries(schema), ...runnable];
  const found = queries.flatMap((query) => judge(connection, query));
  if (found.length > 0) return found;
  const all = ok(`All ${queries.length} queries of a decision and of the guide find their rows through an index.`);
  if (skipped.length === 0) return [all];
  const names = skipped.map(({ name }) => name).join(', ');
  return [all, unknown(`${names} cannot run: its view is missing.`, 'Run: `modelgate init`')];
}

function judge(connection: Connection, { name, sql }: Record<'name' | 'sql', string>): readonly Verdict[] {
  // such as `SEARCH organization_members USING INDEX … (user_id=?)`
  const plan = connection.prepare<[null], { readonly detail: string }>(`EXPLAIN QUERY PLAN ${sql}`).all(null);
  return plan.flatMap(({ detail }) => {
    const [, scanned = ''] = /^SCAN (\S+)/.exec(detail) ?? [];
    const table = TABLE_OF.get(scanned) ?? scanned;
    const rows = TABLES.has(table) ? countRows(connection, table) : 0;
    if (rows < FEW_ROWS) return [];
    const finding = `The query ${name} reads all ${count(rows)} rows of ${table} each time, because no index serves it.`;
    const remedy = 'To make missing indexes: `modelgate init`; if none is missing: `modelgate maintain`';
    return [(rows < MANY_ROWS ? warning : problem)(finding, remedy)];
  });
}

/** Names that the views give to the tables. */
const TABLE_OF = new Map(
  Object.entries({ om: 'organization_members', orgmod: 'organization_models', u: 'user', m: 'model' }),
);

const TABLES: ReadonlySet<string> = new Set([...COUNTED_TABLES, 'client_organizations', 'user', 'model', 'api_key']);

const countRows = (connection: Connection, table: string): number =>
  connection.prepare<[], number>(`SELECT count(*) FROM "${table}"`).pluck().get() ?? 0;

const count = (rows: number): string => rows.toLocaleString('en');

const FAR_OFF = 10;
const REFRESH = 'To refresh them: `modelgate maintain`';

/** What the query planner believes about the tables of organizations: the guide's `ANALYZE`. @throws SqliteError */
export function checkStatistics(connection: Connection): Verdict {
  const tables = COUNTED_TABLES.map((table) => ({ table, rows: countRows(connection, table) }));
  if (connection.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").get() === undefined) {
    const large = tables.filter(({ rows }) => rows >= FEW_ROWS);
    if (large.length === 0) return ok('ANALYZE was never run, and the tables are small enough not to need it.');
    const sizes = large.map(({ table, rows }) => `${table} has ${count(rows)} rows`);
    return warning(`ANALYZE was never run, and ${sizes.join(' and ')}.`, REFRESH);
  }
  const believed = connection.prepare<[string]>('SELECT stat FROM sqlite_stat1 WHERE tbl = ? LIMIT 1').pluck();
  const stale = tables.flatMap(({ table, rows }) => {
    const estimate = parseInt(String(believed.get(table)), 10) || 0;
    const [fewer, more] = estimate < rows ? [estimate, rows] : [rows, estimate];
    const isFarOff = more >= FEW_ROWS && more > fewer * FAR_OFF;
    return isFarOff ? [`${table} had ${count(estimate)} rows then and has ${count(rows)} now`] : [];
  });
  if (stale.length === 0) return ok('ANALYZE was run, and what it found still holds.');
  return warning(`ANALYZE was run long ago: ${stale.join(', ')}.`, REFRESH);
}
