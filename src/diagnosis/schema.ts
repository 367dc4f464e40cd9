/** Whether everything that modelgate keeps in the file is in place, and whether its version counter counts. */
import { type Connection, openScratch } from '../store/database.ts';
import { type Schema, SCHEMA_OBJECTS } from '../store/schema.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

const NAME = 'tables';
const INIT = 'Start the gate once where it may write to the file, or run: `modelgate init`';

/** Pure: what `readSchema` has read, as findings. */
export function checkTables(schema: Schema): readonly Finding[] {
  if (!schema.hasUserTable) {
    const remedy =
      'Name the webui.db of the backend with --database or DATABASE_URL. A backend that has never run must be started once.';
    return [problem(NAME, 'This is no database of Open WebUI: it has no table "user".', remedy)];
  }
  if (!schema.backendReady) {
    const finding = 'The tables of Open WebUI have a shape that this version does not know.';
    return [problem(NAME, finding, 'If the backend is not just migrating, look for a newer modelgate.')];
  }
  return [checkObjects(schema), ...checkCounter(schema)];
}

function checkObjects({ missing, problem: obstacle }: Schema): Finding {
  if (obstacle !== undefined) {
    const remedy = obstacle.endsWith('is missing')
      ? INIT
      : 'Rename or add the column as the deployment guide has it, then run: `modelgate init`';
    return problem(NAME, `No decision can be made from this file: ${obstacle}.`, remedy);
  }
  const others = missing.filter((name) => !name.startsWith('trigger '));
  if (others.length === 0) return ok(NAME, 'All tables, indexes, views and triggers are in place.');
  return warning(NAME, `${others.length} of ${SCHEMA_OBJECTS.length} objects are missing: ${others.join(', ')}.`, INIT);
}

/** Without it the gate is right all the same, and reads everything again after each commit of the backend. */
function checkCounter({ counted, missing, problem: obstacle }: Schema): readonly Finding[] {
  if (counted || obstacle !== undefined) return [];
  const triggers = missing.filter((name) => name.startsWith('trigger '));
  const why =
    triggers.length > 0
      ? `${triggers.length === 1 ? 'a trigger is' : `${triggers.length} triggers are`} missing or changed (${triggers.join(', ')})`
      : 'its table or its rows are missing';
  const finding = `It does not count, because ${why}: after every commit of the backend the gate reads all memberships and grants again.`;
  return [warning('version counter', finding, INIT)];
}

const UPGRADE = 'upgrade';

/**
 * Whether a view or trigger is in the way of the backend's next migration. It drops its tables `user` and `model` and
 * renames a copy, and SQLite refuses a rename while a view or trigger names a table that is not there. The views of the
 * deployment guide and of mAI do; ours do not.
 * @throws SqliteError where the schema cannot be read
 */
export function checkUpgrade(
  connection: Connection,
  { clientOrganizations }: Pick<Schema, 'clientOrganizations'>,
): Finding {
  const stumbling = inTheWay(connection);
  if (stumbling.length === 0) return ok(UPGRADE, "No view or trigger is in the way of the backend's migrations.");
  const names = stumbling.map(({ type, name }) => `${type} ${name}`);
  const drops = stumbling.map(({ type, name }) => `DROP ${type.toUpperCase()} "${name.replaceAll('"', '""')}";`);
  const again = clientOrganizations ? " mAI's own start makes its view again, so do it right before the upgrade." : '';
  return warning(
    UPGRADE,
    `The next upgrade of the backend will fail ("error in ${names[0] ?? ''}: no such table"), because ${names.join(' and ')} name${names.length === 1 ? 's' : ''} its table "user" or "model".`,
    `Run ${drops.join(' ')}${again} Then make views with the same rows that are not in the way: \`modelgate init\``,
  );
}

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly sql: string;
}

/**
 * Does what a migration does, in an empty database in memory that has the same tables, views and triggers: SQLite alone
 * knows what the words of a view name.
 */
function inTheWay(connection: Connection): readonly SchemaRow[] {
  // Each needs what is made before it. A virtual table (root page 0) makes its shadow tables by itself, and is not made
  // where one stands already: VACUUM writes them first
  const rows = connection
    .prepare<[], SchemaRow>(
      `SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'view', 'trigger') AND sql IS NOT NULL
       AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type = 'trigger', type = 'view', rootpage <> 0`,
    )
    .all();
  const suspects = rows.filter(({ type }) => type !== 'table');
  const found = new Set<SchemaRow>();
  for (const rebuild of REBUILDS) {
    const scratch = openScratch();
    try {
      // shadow tables stand already when their own turn comes
      for (const { sql } of rows) attempt(() => void scratch.prepare(sql).run());
      scratch.exec(rebuild);
      for (const _round of suspects) {
        const culprit = culpritOf(
          attempt(() => void scratch.exec(RENAME)),
          suspects,
        );
        if (culprit === undefined) break;
        found.add(culprit);
        attempt(() => void scratch.exec(`DROP ${culprit.type} "${culprit.name.replaceAll('"', '""')}"`));
      }
    } finally {
      scratch.close();
    }
  }
  return [...found];
}

const REBUILDS = ['user', 'model'].map(
  (table) => `CREATE TABLE _alembic_tmp (id TEXT); DROP TABLE IF EXISTS "${table}"`,
);
const RENAME =
  'ALTER TABLE _alembic_tmp RENAME TO _alembic_renamed; ALTER TABLE _alembic_renamed RENAME TO _alembic_tmp';

/** @returns what went wrong, or undefined */
function attempt(act: () => void): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : '';
  }
}

function culpritOf(message: string | undefined, suspects: readonly SchemaRow[]): SchemaRow | undefined {
  return suspects.find(({ type, name }) => message?.startsWith(`error in ${type} ${name}: `) === true);
}
