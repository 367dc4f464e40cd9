import type { OrganizationId } from './principal.ts';

/**
 * The id of a model, exactly as the backend spells it: exact, case-sensitive, never split (ids contain `/` and `:`).
 * Source: `model.id`, TEXT primary key (Open WebUI 0.6.0 to 0.12.4).
 */
declare const brand: unique symbol;
export type ModelId = string & { readonly [brand]: 'ModelId' };

/** The backend's own column is unbounded, real ids stay below 200 characters. */
export const MAX_MODEL_ID_LENGTH = 1024;

/** @returns undefined where the value is no string, empty, too long, or has a control character or lone surrogate */
export function parseModelId(value: unknown): ModelId | undefined {
  if (typeof value !== 'string' || value === '' || value.length > MAX_MODEL_ID_LENGTH) return undefined;
  if (CONTROL.test(value) || !value.isWellFormed()) return undefined;
  return value as ModelId;
}

/** The active grants of one organization, compiled once and shared by all of its members. There is no deny grant. */
export interface GrantSet {
  readonly organization: OrganizationId;
  readonly exact: ReadonlySet<string>;
  /** What stands before the `*` of a prefix grant; an empty string covers every model. */
  readonly prefixes: readonly string[];
}

/** @param patterns `organization_models.model_id` of the active rows; a final `*` makes a prefix grant */
export function compileGrants(organization: OrganizationId, patterns: Iterable<string>): GrantSet {
  const exact = new Set<string>();
  const prefixes: string[] = [];
  for (const pattern of patterns) {
    if (pattern.endsWith('*')) prefixes.push(pattern.slice(0, -1));
    else exact.add(pattern);
  }
  return Object.freeze({ organization, exact, prefixes });
}

/** @returns an id, or the beginning of ids before a `*`; undefined where no model could ever be covered */
export function parsePattern(text: string) {
  if (text === '*') return { kind: 'prefix', prefix: '' } as const;
  const id = parseModelId(text.endsWith('*') ? text.slice(0, -1) : text);
  if (id === undefined) return undefined;
  return text.endsWith('*') ? ({ kind: 'prefix', prefix: id } as const) : ({ kind: 'exact', model: id } as const);
}

/** @param pattern of a budget or a price: an id, or a beginning of ids before a `*`. A grant asks more: see `coveringGrant` */
export const covers = (pattern: string, id: string): boolean =>
  pattern.endsWith('*') ? id.startsWith(pattern.slice(0, -1)) : id === pattern;

const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * An id that a provider, a router or an address made of it may read as another model than its beginning says: a dot
 * segment, also percent-encoded, the end of a path, a list, a preset of OpenRouter. A grant can still name it whole.
 */
const READ_OTHERWISE = /[?#%\\,]|(?:^|\/)\.{1,2}(?:\/|$)|@preset\//;

/** @returns the pattern of `grants` that covers the model as the operator wrote it, or undefined */
export function coveringGrant(grants: GrantSet, model: ModelId): string | undefined {
  if (grants.exact.has(model)) return model;
  const prefix = grants.prefixes.find((candidate) => model.startsWith(candidate));
  if (prefix === undefined || CONTROL.test(model)) return undefined;
  // A grant of everything cannot be left by a spelling
  return READ_OTHERWISE.test(model) && !grants.prefixes.includes('') ? undefined : `${prefix}*`;
}
