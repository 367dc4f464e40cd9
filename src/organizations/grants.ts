/** What an organization grants: listed, allowed, denied. Each change is one transaction, done whole or not at all. */
import { refuseAll } from '../backend-file/failure.ts';
import { quoted, shellCommand } from '../backend-file/text.ts';
import { type Operation, changing, reading } from '../backend-file/transaction.ts';
import { MAX_MODEL_ID_LENGTH, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { type Doubt, closestModel, createUseFinder, describeDoubt, doubtOf, readKnownModels } from './known-models.ts';
import type { Obstacle } from './obstacles.ts';
import { type ChosenOrganization, requireOrganization } from './organizations.ts';
import { GRANTS, writeRows } from './rows.ts';

/** @returns grants by pattern @throws OperationFailure as `reading`, and where no row names the organization */
export const listGrants = (operation: Operation, chosen: ChosenOrganization) =>
  reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return { organization: chosen.id, models: readGrants(connection, schema, chosen.id) };
  });

/**
 * A row whose model is no text is as invisible here as it is to the gate.
 * @returns the name of the backend's row too, null where there is none, and how many rows of the backend's `model` table
 *   each grant covers; most models of providers have none
 */
export function readGrants(connection: Connection, schema: Schema, organization: string) {
  const rows = connection
    .prepare<[string], { readonly pattern: string; readonly active: number }>(
      `SELECT model_id AS pattern, ${activeCondition(schema.grantActive)} AS active
       FROM organization_models WHERE organization_id = ? AND typeof(model_id) = 'text' ORDER BY model_id`,
    )
    .all(organization);
  const names = new Map(connection.prepare<[], [string, unknown]>('SELECT id, name FROM model').raw().all());
  const ids = [...names.keys()];
  const isOrganizationActive = prepareGrants(connection, schema).isActive(organization);
  return rows.map(({ pattern, active }) => {
    const kind = kindOf(pattern);
    const name = kind === 'exact' ? names.get(pattern) : undefined;
    const covers =
      kind === 'exact' ? Number(names.has(pattern)) : ids.filter((id) => id.startsWith(pattern.slice(0, -1))).length;
    const reasons: Obstacle[] = [];
    if (active !== 1) reasons.push('inactive');
    if (parsePattern(pattern) === undefined) reasons.push('matches_nothing');
    if (!isOrganizationActive) reasons.push('organization_inactive');
    return {
      ...{ pattern, kind, name: typeof name === 'string' ? name : null, active: active === 1 },
      ...{ in_table: covers > 0, covers, counts: reasons.length === 0, reasons },
    };
  });
}

const kindOf = (pattern: string): 'exact' | 'prefix' => (pattern.endsWith('*') ? 'prefix' : 'exact');

/**
 * @param patterns ids, or beginnings of ids with a `*` after them
 * @param asIs takes ids that look like mistakes, too
 * @returns beside the record: patterns that are the ids of models, too; what the file knows of models, for a hint at an
 *   id that was misspelt; and whether mAI's `client_organizations` leaves the organization on
 * @throws OperationFailure where one of them would cover nothing, or looks like a mistake; then nothing was allowed
 */
export const allowModels = (
  operation: Operation,
  chosen: ChosenOrganization,
  { patterns, asIs = false }: { readonly patterns: readonly string[]; readonly asIs?: boolean | undefined },
) =>
  changing(operation, 'organizations', (connection, schema) => {
    const created = !requireOrganization(connection, chosen, 'add');
    const known = readKnownModels(connection, schema);
    const isUsed = createUseFinder(connection, schema);
    refuseMistakes(patterns, known, chosen, asIs);
    const models = writeRows(connection, GRANTS, chosen.id, (rows) =>
      [...new Set(patterns)].map((pattern) => {
        const outcome = rows.add(pattern);
        return { pattern, kind: kindOf(pattern), outcome, known: covers(pattern, known) || isUsed(pattern) };
      }),
    );
    return {
      record: { organization: chosen.id, created, models },
      ambiguous: models.map(({ pattern }) => pattern).filter((id) => id.endsWith('*') && known.has(id)),
      known: [...known],
      isActive: prepareGrants(connection, schema).isActive(chosen.id),
    };
  });

function refuseMistakes(
  patterns: readonly string[],
  known: ReadonlySet<string>,
  chosen: ChosenOrganization,
  asIs: boolean,
): void {
  const doubts = patterns.map((pattern) => (asIs ? undefined : doubtOf(pattern, known)));
  const problems = patterns.flatMap((pattern, at) => {
    const doubt = doubts[at];
    if (doubt !== undefined) return describeDoubt(pattern, doubt);
    return whyImpossible(pattern) ?? whyMisunderstood(pattern, known) ?? [];
  });
  refuseAll(problems, 'Nothing was allowed.', { code: 'misused', ...whatIsRight(patterns, doubts, chosen) });
}

/** @returns why the gate would never match the pattern, or undefined where it could */
function whyImpossible(pattern: string): string | undefined {
  if (pattern === '') return 'An empty text is the id of no model.';
  if (parsePattern(pattern) !== undefined) return undefined;
  return `${quoted(pattern)} can be the id of no model: an id has at most ${MAX_MODEL_ID_LENGTH} characters, and no line break, tab or other control character.`;
}

/** @returns the command with every id as it was meant, and the one that takes them as they are, where each would work */
function whatIsRight(
  patterns: readonly string[],
  doubts: readonly (Doubt | undefined)[],
  { id, mayBeNew }: ChosenOrganization,
): { readonly remedy?: string } {
  if (doubts.every((doubt) => doubt === undefined)) return {};
  const rest = ['--org', id, ...(mayBeNew ? ['--create'] : [])];
  const advised = (before: string, ids: readonly string[], ...more: readonly string[]): readonly string[] =>
    ids.some((pattern) => whyImpossible(pattern) !== undefined)
      ? []
      : [`${before}: \`${shellCommand('modelgate', 'model', 'allow', ...ids, ...rest, ...more)}\``];
  const meant = patterns.map((pattern, at) => doubts[at]?.meant ?? [pattern]);
  const right = meant.some((ids) => ids.length === 0) ? [] : advised('What was meant', [...new Set(meant.flat())]);
  const remedy = [...right, ...advised('As it is written', patterns, '--as-is')].join(' ');
  return remedy === '' ? {} : { remedy };
}

/** @returns why the gate would not match it as it was meant */
function whyMisunderstood(pattern: string, known: ReadonlySet<string>): string | undefined {
  if (!pattern.slice(0, -1).includes('*') || known.has(pattern)) return undefined;
  return `${quoted(pattern)} has a * before its end. Only a * at the very end stands for anything, as in openai/*; anywhere else it would be read as part of the id.`;
}

function covers(pattern: string, known: ReadonlySet<string>): boolean {
  if (!pattern.endsWith('*')) return known.has(pattern);
  const prefix = pattern.slice(0, -1);
  return [...known].some((id) => id.startsWith(prefix));
}

/**
 * Switches grants off, or deletes them.
 * @param patterns as they were allowed
 * @returns of each the active grants through which the same models, or some of them, can still be used; beside the
 *   record: whether no grant is left: a gate with this organization in its environment links all models at its start
 * @throws OperationFailure where one of them is no grant, or where the table cannot hold one that is off
 */
export const denyModels = (
  operation: Operation,
  chosen: ChosenOrganization,
  { patterns, purge }: { readonly patterns: readonly string[]; readonly purge: boolean },
) =>
  changing(operation, 'organizations', (connection, schema) => {
    const { id } = chosen;
    requireOrganization(connection, chosen, 'change');
    const grants = prepareGrants(connection, schema);
    const unique = [...new Set(patterns)];
    refuseUngranted(unique, id, storedPatterns(connection, id), grants.patternsOf(id));
    const denied = writeRows(connection, GRANTS, id, (rows) =>
      unique.map((pattern) => ({ pattern, outcome: purge ? rows.purge(pattern) : rows.switchOff(pattern) })),
    );
    const left = grants.patternsOf(id);
    const models = denied.map((one) => ({
      ...one,
      still_allowed_by: left.filter((other) => overlap(one.pattern, other)),
    }));
    return { record: { organization: id, models }, isEmpty: storedPatterns(connection, id).length === 0 };
  });

const storedPatterns = (connection: Connection, organization: string): readonly unknown[] =>
  connection
    .prepare<[string]>('SELECT model_id FROM organization_models WHERE organization_id = ?')
    .pluck()
    .all(organization);

function refuseUngranted(
  patterns: readonly string[],
  organization: string,
  stored: readonly unknown[],
  active: readonly string[],
): void {
  const problems = patterns
    .filter((pattern) => !stored.includes(pattern))
    .map((pattern) => {
      const wider = active.filter((other) => other.endsWith('*') && overlap(pattern, other)).slice(0, 3);
      const through = wider.map((other) => quoted(other)).join(' and ');
      const covered =
        wider.length === 0 ? '.' : `: ${through} covers it, and no single model can be taken out of that.`;
      const meant = closestModel(
        pattern,
        stored.filter((other) => typeof other === 'string'),
      );
      const hint = meant === undefined || wider.length > 0 ? '' : ` Did you mean ${quoted(meant)}?`;
      return `${quoted(organization)} has no grant ${quoted(pattern)}${covered}${hint}`;
    });
  const remedy = `Its grants: \`${shellCommand('modelgate', 'model', 'list', '--org', organization)}\``;
  refuseAll(problems, 'Nothing was denied.', { remedy });
}

/** Is there an id that both cover? */
function overlap(one: string, other: string): boolean {
  const [left, right] = [one, other].map((pattern) => (pattern.endsWith('*') ? pattern.slice(0, -1) : pattern));
  if (left === undefined || right === undefined) return false;
  if (one.endsWith('*') && right.startsWith(left)) return true;
  if (other.endsWith('*') && left.startsWith(right)) return true;
  return left === right;
}
