/** What an organization grants, changed: each call is one transaction, done whole or not at all. */
import { parsePattern } from '../../policy/grant.ts';
import { MAX_MODEL_ID_LENGTH } from '../../policy/model-id.ts';
import type { Connection } from '../../store/database.ts';
import { prepareGrants } from '../../store/grants.ts';
import type { Operation } from '../backend-file.ts';
import { changing } from '../backend-file.ts';
import { refuseAll } from '../problems.ts';
import { quoted } from '../quoted.ts';
import { shellCommand } from '../shell-words.ts';
import type { Doubt } from '../spelling.ts';
import { describeDoubt, doubtOf } from '../spelling.ts';
import { closestModel, createUseFinder, readKnownModels } from './known-models.ts';
import type { Added, SwitchedOff } from './organization-rows.ts';
import { requireSwitch, createRowWriter, GRANTS } from './organization-rows.ts';
import type { OrganizationState, ChosenOrganization } from './organizations.ts';
import { requireOrganization } from './organizations.ts';

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
