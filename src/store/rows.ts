/** What the rows of a decision mean, whichever engine has read them: columns in the order in which `queries.ts` asks for them. */
import type { Preset } from '../policy/decide.ts';
import { type ModelId, parseModelId } from '../policy/grant.ts';
import { type OrganizationId, toOrganizationId } from '../policy/principal.ts';
import { modelsInParameters } from './models.ts';

type Row = readonly unknown[];

export const toText = (value: unknown): readonly string[] => (typeof value === 'string' ? [value] : []);

interface Account {
  readonly role: string;
  /** What the claim of the same name must be in each token of the user (from 0.12); absent where the backend keeps none. */
  readonly sessionStamp?: unknown;
}

/** @param row the role, whether there is a row with a stamp, and the stamp */
export function toAccount(row: Row | undefined): Account | undefined {
  if (row === undefined) return undefined;
  const [role, isStamped, sessionStamp] = row;
  // no role, or one that is no text: the backend lets such a user nowhere, and an empty role would pass for an ordinary one
  const account = { role: typeof role === 'string' ? role : 'pending' };
  return isStamped === 1 ? { ...account, sessionStamp } : account;
}

/**
 * @param rows of organization, user and switch, the oldest membership first
 * @returns organizations in which the user is active; undefined where there is no row, switched on or off, in any
 */
export function toMemberships(rows: readonly Row[], user: string): readonly OrganizationId[] | undefined {
  if (rows.length === 0) return undefined;
  // to a column of numbers, `7` and `07` are one id; a row whose organization is no text gives nothing, and is there
  const active = rows.filter(([id, found, isActive]) => typeof id === 'string' && isActive === 1 && found === user);
  const organizations = active.map(([organization]) => toOrganizationId(organization as string));
  return organizations.length > 1 ? [...new Set(organizations)] : organizations;
}

/** @param row the base, the parameters and the owner */
export function toPreset(row: Row | undefined, id: ModelId): Preset | undefined {
  if (row === undefined) return undefined;
  const [base, params, owner] = row;
  const preset = { id, base: parseModelId(base), parameterModels: modelsInParameters(params) };
  return typeof owner === 'string' ? { ...preset, owner } : preset;
}
