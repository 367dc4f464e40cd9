/** What an organization grants: listed, allowed, denied. Each change is one transaction, done whole or not at all. */
import { unescape } from 'node:querystring';
import { refuseAll } from '../backend-file/failure.ts';
import { quoted, quotedFew, shellCommand } from '../backend-file/text.ts';
import { type Operation, reading } from '../backend-file/transaction.ts';
import { MAX_MODEL_ID_LENGTH, parsePattern } from '../policy/grant.ts';
import { prepareGrants } from '../store/queries.ts';
import { activeCondition } from '../store/schema.ts';
import { closestModel, createUseFinder, readKnownModels } from './catalogue.ts';
import {
  type ChosenOrganization,
  type FoundOrganization,
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
    const found = requireOrganization(connection, schema, chosen, 'read');
    return { organization: chosen.id, models: readGrants(found) };
  });

/** @returns each with its name and how many rows it covers in the backend's `model` table: most models of providers have none */
export function readGrants({ connection, schema, organization, isActive }: FoundOrganization) {
  // a row whose model is no text is as invisible here as it is to the gate
  const sql = `SELECT model_id AS pattern, ${activeCondition(schema.grantActive)} AS active
    FROM organization_models WHERE organization_id = $organization AND typeof(model_id) = 'text' ORDER BY model_id COLLATE BINARY`;
  const rows = readAll<{ readonly pattern: string; readonly active: number }>(connection, sql, { organization });
  const names = new Map(connection.prepare<[], [string, unknown]>('SELECT id, name FROM model').raw().all());
  return rows.map(({ pattern, active: flag }) => {
    const [kind, active, covers] = [kindOf(pattern), flag === 1, countCovered(pattern, names)];
    const name = kind === 'exact' ? names.get(pattern) : undefined;
    const cannotMatch = parsePattern(pattern) === undefined && 'matches_nothing';
    return {
      ...{ pattern, kind, name: typeof name === 'string' ? name : null, active, in_table: covers > 0, covers },
      ...judged(!active && 'inactive', cannotMatch, !isActive && 'organization_inactive'),
    };
  });
}

const kindOf = (pattern: string) => (pattern.endsWith('*') ? 'prefix' : 'exact');
const covers = (pattern: string, id: string): boolean => pattern.endsWith('*') && id.startsWith(pattern.slice(0, -1));

const countCovered = (pattern: string, ids: ReadonlyMap<string, unknown> | ReadonlySet<string>): number =>
  kindOf(pattern) === 'exact' ? Number(ids.has(pattern)) : [...ids.keys()].filter((id) => covers(pattern, id)).length;

type Wanted = Readonly<{ patterns: readonly string[]; asIs?: boolean | undefined }>;

/** @throws OperationFailure where a pattern would cover nothing, or looks like a mistake and is not taken `asIs` */
export const allowModels = (operation: Operation, chosen: ChosenOrganization, wanted: Wanted) =>
  changeRows(operation, chosen, 'add', GRANTS, ({ connection, schema, organization, rows, created, isActive }) => {
    const known = readKnownModels(connection, schema);
    const isUsed = createUseFinder(connection, schema);
    refuseMistakes(wanted, known, chosen);
    const models = [...new Set(wanted.patterns)].map((pattern) => {
      const [kind, outcome] = [kindOf(pattern), rows.add(pattern)];
      return { pattern, kind, outcome, known: countCovered(pattern, known) > 0 || isUsed(pattern) } as const;
    });
    const ambiguous = models.map(({ pattern }) => pattern).filter((id) => id.endsWith('*') && known.has(id));
    return { record: { organization, created, models }, ambiguous, known: [...known], isActive };
  });

/** The remedy is the command with every id as it was meant, and the one that takes them as they are, where each would work. */
function refuseMistakes({ patterns, asIs }: Wanted, known: ReadonlySet<string>, chosen: ChosenOrganization): void {
  const doubts = patterns.map((pattern) => (asIs === true ? undefined : doubtOf(pattern, known)));
  const problems = patterns.flatMap((pattern, at) => {
    const found = doubts[at]?.found ?? whyUnusable(pattern, known);
    return found === undefined ? [] : [`${quoted(pattern)} ${found}.`];
  });
  const advised = (before: string, ids: readonly string[], ...more: readonly string[]): string => {
    if (ids.length === 0 || ids.some((id) => parsePattern(id) === undefined)) return '';
    const where = ['--org', chosen.id, ...(chosen.mayBeNew ? ['--create'] : [])];
    return `${before}: \`${shellCommand('modelgate', 'model', 'allow', ...ids, ...where, ...more)}\` `;
  };
  const meant = patterns.map((pattern, at) => doubts[at]?.meant ?? [pattern]);
  const right = meant.some((ids) => ids.length === 0) ? [] : [...new Set(meant.flat())];
  const remedy = `${advised('What was meant', right)}${advised('As it is written', patterns, '--as-is')}`;
  const isDoubted = doubts.some((doubt) => doubt !== undefined);
  refuseAll(problems, 'Nothing was allowed.', { code: 'misused', remedy: isDoubted ? remedy : '' });
}

function whyUnusable(pattern: string, known: ReadonlySet<string>): string | undefined {
  if (parsePattern(pattern) === undefined) {
    return `can be the id of no model: an id has 1 to ${MAX_MODEL_ID_LENGTH} characters, and no line break, tab or other control character`;
  }
  if (!pattern.slice(0, -1).includes('*') || known.has(pattern)) return undefined;
  return 'has a * before its end. Only a * at the very end stands for anything, as in openai/*; anywhere else it would be read as part of the id';
}

type Unwanted = Readonly<{ patterns: readonly string[]; purge: boolean }>;

/** Switches grants off, or deletes them. @throws OperationFailure where one is no grant, or cannot be off in this table */
export const denyModels = (operation: Operation, chosen: ChosenOrganization, { patterns, purge }: Unwanted) =>
  changeRows(operation, chosen, 'change', GRANTS, ({ connection, schema, organization, rows }) => {
    const { patternsOf } = prepareGrants(connection, schema);
    const overlapping = (pattern: string): readonly string[] =>
      patternsOf(organization).filter((other) => covers(pattern, other) || covers(other, pattern));
    const unique = [...new Set(patterns)];
    const stored = readColumn<string>(connection, `${MODELS_OF} AND typeof(model_id) = 'text'`, { organization });
    const problems = unique
      .filter((pattern) => !stored.includes(pattern))
      .map((pattern) => `${quoted(organization)} ${whyNoGrant(pattern, stored, overlapping(pattern))}`);
    const remedy = `Its grants: \`${shellCommand('modelgate', 'model', 'list', '--org', organization)}\``;
    refuseAll(problems, 'Nothing was denied.', { remedy });
    const denied = unique.map((pattern) => ({ pattern, outcome: rows.remove(pattern, purge) }));
    const models = denied.map((one) => ({ ...one, still_allowed_by: overlapping(one.pattern) }));
    return { record: { organization, models }, isEmpty: rows.areGone() };
  });

function whyNoGrant(pattern: string, stored: readonly string[], active: readonly string[]): string {
  const none = `has no grant ${quoted(pattern)}`;
  const wider = active.filter((other) => other.endsWith('*'));
  const taken = `: ${quotedFew(wider, 3)} covers it, and no single model can be taken out of that.`;
  const meant = closestModel(pattern, stored);
  return `${none}${wider.length > 0 ? taken : meant === undefined ? '.' : `. Did you mean ${quoted(meant)}?`}`;
}

/** @returns why the text is hardly what was meant, and what most likely was; undefined where nothing is odd about it */
function doubtOf(id: string, known: ReadonlySet<string>): { found: string; meant: readonly string[] } | undefined {
  if (known.has(id)) return undefined;
  const odd = ODDITIES.find(([isOdd]) => isOdd.test(id));
  if (odd !== undefined) {
    const meant = odd[2](id).filter((part) => part !== '' && part !== id && !part.includes('\ufffd'));
    return { found: odd[1], meant: meant.flatMap((part) => doubtOf(part, known)?.meant ?? [part]) };
  }
  const parts = id.split(' ');
  return parts.length > 1 && parts.every((part) => known.has(part)) ? { found: A_LIST, meant: parts } : undefined;
}

const A_LIST = 'looks like a list, and an id is never split';

/** Controls, characters that turn or hide the text around them, and those without width. */
const UNSEEN = /(?!\s)\p{Cc}|[\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]/u;

const ODDITIES: readonly (readonly [isOdd: RegExp, found: string, mend: (id: string) => readonly string[]])[] = [
  [UNSEEN, 'holds a character that cannot be seen', (id) => [id.replaceAll(new RegExp(UNSEEN, 'gu'), '')]],
  [/^\s+$/u, 'is nothing but space', () => []],
  [/^\s/u, 'begins with a space', (id) => [id.trim()]],
  [/\s$/u, 'ends in a space', (id) => [id.trim()]],
  [/[^\S ]/u, 'holds a space of another kind, or a line break', (id) => [id.replaceAll(/[^\S ]+/gu, ' ')]],
  [/^(["'`“”„‘’«»]).*["'`“”„‘’«»]$/u, 'stands between quotes', (id) => [id.slice(1, -1)]],
  [/^["'`“”„]|["'`“”„]$/u, 'has a quote at one end', (id) => [id.replaceAll(/^["'`“”„]|["'`“”„]$/gu, '')]],
  [/^[^\s,;]*(?:\s*[,;]\s*[^\s,;]*)+$/, A_LIST, (id) => id.split(/[,;]/).map((part) => part.trim())],
  [/^[a-z]+:\/\//i, 'is an address', () => []],
  [/%[0-9a-f]{2}/i, 'is percent-encoded', (id) => [unescape(id)]],
  [/\s\*$/u, 'has a space before its *', (id) => [id.replace(/\s+\*$/u, '*')]],
  [/\\\*$/, 'has a backslash before its *', (id) => [id.replace(/\\+\*$/, '*')]],
  [/\/\.\*$/, 'ends in .*, where only the * stands for anything', (id) => [id.replace(/\.\*$/, '*')]],
  [/\/$/, 'ends in a slash', (id) => [`${id}*`]],
];
