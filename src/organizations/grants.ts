/** What an organization grants: listed, allowed, denied. Each change is one transaction, done whole or not at all. */
import { refuseAll } from '../backend-file/failure.ts';
import { quoted, shellCommand } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { MAX_MODEL_ID_LENGTH, parsePattern } from '../policy/grant.ts';
import type { Connection } from '../store/database.ts';
import { prepareGrants } from '../store/queries.ts';
import { type Schema, activeCondition } from '../store/schema.ts';
import { closestModel, createUseFinder, readKnownModels } from './catalogue.ts';
import {
  type ChosenOrganization,
  requireOrganization,
  GRANTS,
  MODELS_OF,
  readAll,
  readColumn,
  changeRows,
} from './organizations.ts';
import { judged } from './standing.ts';

export const listGrants = (operation: Operation, chosen: ChosenOrganization) =>
  reading(operation, 'organizations', (connection, schema) => {
    const { isActive } = requireOrganization(connection, schema, chosen, 'read');
    return { organization: chosen.id, models: readGrants(connection, schema, chosen.id, isActive) };
  });

/** @returns each with its name and how many rows it covers in the backend's `model` table: most models of providers have none */
export function readGrants(connection: Connection, schema: Schema, organization: string, isOn: boolean) {
  // a row whose model is no text is as invisible here as it is to the gate
  const rows = readAll<{ readonly pattern: string; readonly active: number }>(
    connection,
    `SELECT model_id AS pattern, ${activeCondition(schema.grantActive)} AS active
     FROM organization_models WHERE organization_id = $organization AND typeof(model_id) = 'text' ORDER BY model_id`,
    { organization },
  );
  const names = new Map(connection.prepare<[], [string, unknown]>('SELECT id, name FROM model').raw().all());
  return rows.map(({ pattern, active }) => {
    const [kind, covers] = [kindOf(pattern), countCovered(pattern, names)];
    const name = kind === 'exact' ? names.get(pattern) : undefined;
    const state = judged(
      active !== 1 && 'inactive',
      parsePattern(pattern) === undefined && 'matches_nothing',
      !isOn && 'organization_inactive',
    );
    return {
      ...{ pattern, kind, name: typeof name === 'string' ? name : null, active: active === 1 },
      ...{ in_table: covers > 0, covers, ...state },
    };
  });
}

const kindOf = (pattern: string) => (pattern.endsWith('*') ? 'prefix' : 'exact');

function countCovered(pattern: string, ids: ReadonlyMap<string, unknown> | ReadonlySet<string>): number {
  if (kindOf(pattern) === 'exact') return Number(ids.has(pattern));
  return [...ids.keys()].filter((id) => covers(pattern, id)).length;
}

/** @throws OperationFailure where a pattern would cover nothing, or looks like a mistake and is not taken `asIs` */
export const allowModels = (
  operation: Operation,
  chosen: ChosenOrganization,
  { patterns, asIs = false }: { readonly patterns: readonly string[]; readonly asIs?: boolean | undefined },
) =>
  changeRows(operation, chosen, 'add', GRANTS, ({ connection, schema, organization, rows, created, isActive }) => {
    const known = readKnownModels(connection, schema);
    const isUsed = createUseFinder(connection, schema);
    refuseMistakes(patterns, known, chosen, asIs);
    const models = [...new Set(patterns)].map((pattern) => {
      const [kind, outcome] = [kindOf(pattern), rows.add(pattern)];
      return { pattern, kind, outcome, known: countCovered(pattern, known) > 0 || isUsed(pattern) } as const;
    });
    const ambiguous = models.map(({ pattern }) => pattern).filter((id) => id.endsWith('*') && known.has(id));
    return { record: { organization, created, models }, ambiguous, known: [...known], isActive };
  });

/** The remedy is the command with every id as it was meant, and the one that takes them as they are, where each would work. */
function refuseMistakes(
  patterns: readonly string[],
  known: ReadonlySet<string>,
  { id, mayBeNew }: ChosenOrganization,
  asIs: boolean,
): void {
  const doubts = patterns.map((pattern) => (asIs ? undefined : doubtOf(pattern, known)));
  const problems = patterns.flatMap((pattern, at) => {
    const doubt = doubts[at];
    return doubt === undefined ? (whyUnusable(pattern, known) ?? []) : [`${quoted(pattern)} ${doubt.found}.`];
  });
  const meant = patterns.map((pattern, at) => doubts[at]?.meant ?? [pattern]);
  const right = meant.some((ids) => ids.length === 0) ? [''] : [...new Set(meant.flat())];
  const rest = ['--org', id, ...(mayBeNew ? ['--create'] : [])];
  const advised = [
    ['What was meant', right, rest],
    ['As it is written', patterns, [...rest, '--as-is']],
  ] as const;
  const remedy = advised
    .filter(([, ids]) => ids.every((pattern) => parsePattern(pattern) !== undefined))
    .map(([before, ids, more]) => `${before}: \`${shellCommand('modelgate', 'model', 'allow', ...ids, ...more)}\``)
    .join(' ');
  const isDoubted = doubts.some((doubt) => doubt !== undefined) && remedy !== '';
  refuseAll(problems, 'Nothing was allowed.', { code: 'misused', ...(isDoubted ? { remedy } : {}) });
}

function whyUnusable(pattern: string, known: ReadonlySet<string>): string | undefined {
  if (parsePattern(pattern) === undefined) {
    return `${quoted(pattern)} can be the id of no model: an id has 1 to ${MAX_MODEL_ID_LENGTH} characters, and no line break, tab or other control character.`;
  }
  if (!pattern.slice(0, -1).includes('*') || known.has(pattern)) return undefined;
  return `${quoted(pattern)} has a * before its end. Only a * at the very end stands for anything, as in openai/*; anywhere else it would be read as part of the id.`;
}

/** Switches grants off, or deletes them. @throws OperationFailure where one is no grant, or cannot be off in this table */
export const denyModels = (
  operation: Operation,
  chosen: ChosenOrganization,
  { patterns, purge }: { readonly patterns: readonly string[]; readonly purge: boolean },
) =>
  changeRows(operation, chosen, 'change', GRANTS, ({ connection, schema, organization, rows }) => {
    const { patternsOf } = prepareGrants(connection, schema);
    const unique = [...new Set(patterns)];
    const stored = readColumn<unknown>(connection, MODELS_OF, { organization });
    refuseUngranted(unique, organization, stored, patternsOf(organization));
    const denied = unique.map((pattern) => ({ pattern, outcome: rows.remove(pattern, purge) }));
    const left = patternsOf(organization);
    const models = denied.map((one) => ({
      ...one,
      still_allowed_by: left.filter((other) => overlap(one.pattern, other)),
    }));
    return { record: { organization, models }, isEmpty: rows.areGone() };
  });

function refuseUngranted(
  patterns: readonly string[],
  organization: string,
  stored: readonly unknown[],
  active: readonly string[],
): void {
  const ids = stored.filter((other) => typeof other === 'string');
  const whyNot = (pattern: string): string => {
    const wider = active.filter((other) => other.endsWith('*') && overlap(pattern, other)).slice(0, 3);
    const through = wider.map((other) => quoted(other)).join(' and ');
    if (wider.length > 0) return `: ${through} covers it, and no single model can be taken out of that.`;
    const meant = closestModel(pattern, ids);
    return meant === undefined ? '.' : `. Did you mean ${quoted(meant)}?`;
  };
  const problems = patterns
    .filter((pattern) => !stored.includes(pattern))
    .map((pattern) => `${quoted(organization)} has no grant ${quoted(pattern)}${whyNot(pattern)}`);
  const remedy = `Its grants: \`${shellCommand('modelgate', 'model', 'list', '--org', organization)}\``;
  refuseAll(problems, 'Nothing was denied.', { remedy });
}

const covers = (pattern: string, id: string): boolean => pattern.endsWith('*') && id.startsWith(pattern.slice(0, -1));

const overlap = (one: string, other: string): boolean => covers(one, other) || covers(other, one);

/** @returns why the text is hardly what was meant, and what most likely was; undefined where nothing is odd about it */
function doubtOf(id: string, known: ReadonlySet<string>): { found: string; meant: readonly string[] } | undefined {
  if (known.has(id)) return undefined;
  const odd = ODDITIES.find(([isOdd]) => isOdd.test(id));
  if (odd !== undefined) {
    const meant = odd[2](id).filter((part) => part !== '' && part !== id);
    return { found: odd[1], meant: meant.flatMap((part) => doubtOf(part, known)?.meant ?? [part]) };
  }
  const parts = id.split(' ');
  return parts.length > 1 && parts.every((part) => known.has(part)) ? { found: A_LIST, meant: parts } : undefined;
}

const A_LIST = 'looks like a list, and an id is never split';

const without =
  (part: RegExp, instead = '') =>
  (id: string): readonly string[] => [id.replace(part, instead)];

/** Controls, characters that turn or hide the text around them, and those without width. */
const UNSEEN =
  /[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]/u;

const ODDITIES: readonly (readonly [isOdd: RegExp, found: string, mend: (id: string) => readonly string[]])[] = [
  [UNSEEN, 'holds a character that cannot be seen', without(new RegExp(UNSEEN.source, 'gu'))],
  [/^\s+$/u, 'is nothing but space', () => []],
  [/^\s/u, 'begins with a space', (id) => [id.trim()]],
  [/\s$/u, 'ends in a space', (id) => [id.trim()]],
  [/[^\S ]/u, 'holds a space of another kind, or a line break', without(/[^\S ]+/gu, ' ')],
  [/^(["'`“”„‘’«»]).*["'`“”„‘’«»]$/u, 'stands between quotes', (id) => [id.slice(1, -1)]],
  [/^["'`“”„]|["'`“”„]$/u, 'has a quote at one end', without(/^["'`“”„]|["'`“”„]$/gu)],
  [/^[^\s,;]*(?:\s*[,;]\s*[^\s,;]*)+$/, A_LIST, (id) => id.split(/[,;]/).map((part) => part.trim())],
  [/^[a-z]+:\/\//i, 'is an address', () => []],
  [/%[0-9a-f]{2}/i, 'is percent-encoded', (id) => [decoded(id)]],
  [/\s\*$/u, 'has a space before its *', without(/\s+\*$/u, '*')],
  [/\\\*$/, 'has a backslash before its *', without(/\\+\*$/, '*')],
  [/\/\.\*$/, 'ends in .*, where only the * stands for anything', without(/\.\*$/, '*')],
  [/\/$/, 'ends in a slash', (id) => [`${id}*`]],
];

function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}
