/** Whether everything that modelgate keeps in the file is in place, and whether its version counter counts. */
import type { Schema } from '../../store/schema-reader.ts';
import { SCHEMA_OBJECTS } from '../../store/tables.ts';
import type { Finding } from './finding.ts';
import { ok, problem, warning } from './finding.ts';

const NAME = 'tables';
const INIT = 'Start the gate once where it may write to the file, or run: `modelgate init`';

/** Pure: what `readSchema` has read, as findings. */
export function checkTables(schema: Schema): readonly Finding[] {
  if (!schema.hasUserTable) {
    return [
      problem(
        NAME,
        'This is no database of Open WebUI: it has no table "user".',
        'Name the webui.db of the backend with --database or DATABASE_URL. A backend that has never run must be started once.',
      ),
    ];
  }
  if (!schema.backendReady) {
    return [
      problem(
        NAME,
        'The tables of Open WebUI have a shape that this version does not know.',
        'If the backend is not just migrating, look for a newer modelgate.',
      ),
    ];
  }
  return [...checkObjects(schema), ...checkCounter(schema)];
}

function checkObjects({ missing, problem: obstacle }: Schema): readonly Finding[] {
  if (obstacle !== undefined) {
    const isAbsent = obstacle.endsWith('is missing');
    return [
      problem(
        NAME,
        `No decision can be made from this file: ${obstacle}.`,
        isAbsent ? INIT : 'Rename or add the column as the deployment guide has it, then run: `modelgate init`',
      ),
    ];
  }
  const others = missing.filter((name) => !name.startsWith('trigger '));
  if (others.length > 0) {
    return [warning(NAME, `${others.length} of ${TOTAL} objects are missing: ${others.join(', ')}.`, INIT)];
  }
  return [ok(NAME, 'All tables, indexes, views and triggers are in place.')];
}

const TOTAL = SCHEMA_OBJECTS.length;

/** Without it the gate is right all the same, and reads everything again after each commit of the backend. */
function checkCounter({ counted, missing, problem: obstacle }: Schema): readonly Finding[] {
  if (counted || obstacle !== undefined) return [];
  const triggers = missing.filter((name) => name.startsWith('trigger '));
  const why =
    triggers.length > 0
      ? `${triggers.length === 1 ? 'a trigger is' : `${triggers.length} triggers are`} missing or changed (${triggers.join(', ')})`
      : 'its table or its rows are missing';
  return [
    warning(
      'version counter',
      `It does not count, because ${why}: after every commit of the backend the gate reads all memberships and grants again.`,
      INIT,
    ),
  ];
}
