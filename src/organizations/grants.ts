/** What an organization grants, beside what the backend's `model` table holds. */
import { refuseAll } from '../backend-file/failure.ts';
import { quoted, shellCommand } from '../backend-file/text.ts';
import type { Operation } from '../backend-file/transaction.ts';
import { changing, reading } from '../backend-file/transaction.ts';
import { MAX_MODEL_ID_LENGTH, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/grants.ts';
import type { Schema } from '../store/schema-reader.ts';
import { activeCondition } from '../store/schema-reader.ts';
import { closestModel, createUseFinder, readKnownModels } from './known-models.ts';
import type { ChosenOrganization, OrganizationState } from './organizations.ts';
import { requireOrganization } from './organizations.ts';
import type { Added, SwitchedOff } from './rows.ts';
import { GRANTS, createRowWriter, requireSwitch } from './rows.ts';
import type { Doubt } from './spelling.ts';
import { describeDoubt, doubtOf } from './spelling.ts';

/** Why a grant gives nothing. */
export type GrantObstacle = 'inactive' | 'matches_nothing' | 'organization_inactive';

export interface GrantRow {
  /** As it is stored. */
  readonly pattern: string;
  readonly kind: 'exact' | 'prefix';
  /** Of the backend's row; null for a prefix and where there is no row. */
  readonly name: string | null;
  readonly isActive: boolean;
  /** How many rows of the backend's `model` table it covers; most models of providers have none. */
  readonly rows: number;
  /** None: the gate counts it. */
  readonly obstacles: readonly GrantObstacle[];
}

/** @returns grants by pattern @throws OperationFailure as `reading`, and where nobody has named the organization */
export function listGrants(operation: Operation, chosen: ChosenOrganization): Promise<readonly GrantRow[]> {
  return reading(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'read');
    return readGrants(connection, schema, chosen.id);
  });
}

/** A row whose model is no text is as invisible here as it is to the gate. */
export function readGrants(connection: Connection, schema: Schema, organization: string): readonly GrantRow[] {
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
    const prefix = pattern.endsWith('*') ? pattern.slice(0, -1) : undefined;
    const name = prefix === undefined ? names.get(pattern) : undefined;
    const obstacles: GrantObstacle[] = [];
    if (active !== 1) obstacles.push('inactive');
    if (parsePattern(pattern) === undefined) obstacles.push('matches_nothing');
    if (!isOrganizationActive) obstacles.push('organization_inactive');
    return {
      pattern,
      kind: prefix === undefined ? 'exact' : 'prefix',
      name: typeof name === 'string' ? name : null,
      isActive: active === 1,
      rows: prefix === undefined ? Number(names.has(pattern)) : ids.filter((id) => id.startsWith(prefix)).length,
      obstacles,
    };
  });
}

// What an organization grants, changed: each call is one transaction, done whole or not at all.

export interface AllowedModel {
  readonly pattern: string;
  readonly outcome: Added;
  /** The file knows a model that it covers. */
  readonly isKnown: boolean;
  /** A pattern that is the id of a model, too. */
  readonly isIdToo: boolean;
}

export interface AllowedModels extends OrganizationState {
  readonly models: readonly AllowedModel[];
  /** What the file knows of models, for a hint at one that was misspelt. */
  readonly known: readonly string[];
}

/**
 * @param patterns ids, or beginnings of ids with a `*` after them
 * @param asIs takes ids that look like mistakes, too
 * @throws OperationFailure where one of them would cover nothing, or looks like a mistake; then nothing was allowed
 */
export function allowModels(
  operation: Operation,
  chosen: ChosenOrganization,
  patterns: readonly string[],
  { asIs = false }: { readonly asIs?: boolean } = {},
): Promise<AllowedModels> {
  return changing(operation, 'organizations', (connection, schema) => {
    const isNew = !requireOrganization(connection, chosen, 'add');
    const known = readKnownModels(connection, schema);
    const isUsed = createUseFinder(connection, schema);
    const doubts = patterns.map((pattern) => (asIs ? undefined : doubtOf(pattern, known)));
    refuseAll(
      patterns.flatMap((pattern, at) => {
        const doubt = doubts[at];
        if (doubt !== undefined) return describeDoubt(pattern, doubt);
        return whyImpossible(pattern) ?? whyMisunderstood(pattern, known) ?? [];
      }),
      'Nothing was allowed.',
      { code: 'misused', ...whatIsRight(patterns, doubts, chosen) },
    );
    const rows = createRowWriter(connection, GRANTS, chosen.id);
    const models = [...new Set(patterns)].map((pattern) => ({
      pattern,
      outcome: rows.add(pattern),
      isKnown: covers(pattern, known) || isUsed(pattern),
      isIdToo: pattern.endsWith('*') && known.has(pattern),
    }));
    return { models, known: [...known], isNew, isActive: prepareGrants(connection, schema).isActive(chosen.id) };
  });
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

export interface DeniedModel {
  readonly pattern: string;
  readonly outcome: SwitchedOff | 'deleted';
  /** Active grants through which the same models, or some of them, can still be used. */
  readonly stillBy: readonly string[];
}

export interface DeniedModels {
  readonly models: readonly DeniedModel[];
  /** No row of a grant is left: a gate that starts with this organization in its environment links all models anew. */
  readonly isEmpty: boolean;
}

/**
 * Switches grants off, or deletes them.
 * @param patterns as they were allowed
 * @throws OperationFailure where one of them is no grant, or where the table cannot hold one that is off
 */
export function denyModels(
  operation: Operation,
  chosen: ChosenOrganization,
  { patterns, purge }: { readonly patterns: readonly string[]; readonly purge: boolean },
): Promise<DeniedModels> {
  return changing(operation, 'organizations', (connection, schema) => {
    requireOrganization(connection, chosen, 'change');
    const rows = createRowWriter(connection, GRANTS, chosen.id);
    if (!purge) requireSwitch(rows, GRANTS.name);
    const unique = [...new Set(patterns)];
    refuseUngranted(unique, {
      organization: chosen.id,
      stored: storedPatterns(connection, chosen.id),
      active: prepareGrants(connection, schema).patternsOf(chosen.id),
    });
    const outcomes = unique.map((pattern) => {
      if (!purge) return { pattern, outcome: rows.switchOff(pattern) };
      rows.purge(pattern);
      return { pattern, outcome: 'deleted' as const };
    });
    const left = prepareGrants(connection, schema).patternsOf(chosen.id);
    return {
      models: outcomes.map((one) => ({ ...one, stillBy: left.filter((other) => overlap(one.pattern, other)) })),
      isEmpty: storedPatterns(connection, chosen.id).length === 0,
    };
  });
}

const storedPatterns = (connection: Connection, organization: string): readonly unknown[] =>
  connection
    .prepare<[string]>('SELECT model_id FROM organization_models WHERE organization_id = ?')
    .pluck()
    .all(organization);

interface Granted {
  readonly organization: string;
  readonly stored: readonly unknown[];
  readonly active: readonly string[];
}

function refuseUngranted(patterns: readonly string[], { organization, stored, active }: Granted): void {
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
