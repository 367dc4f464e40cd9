/** A policy in plain records, for tests of the decision alone: no database, no cache. */
import { type UserPrincipal, toOrganizationId, toUserId } from '../../../src/policy/principal.ts';
import type { Preset } from '../../../src/policy/decide.ts';
import { type ModelId, compileGrants, coveringGrant } from '../../../src/policy/grant.ts';
import type { StoreView } from '../../../src/store/store-view.ts';

export interface PresetRow {
  readonly base?: string;
  readonly parameterModels?: readonly string[];
}

export interface World {
  /** Organization to the patterns of its grants. */
  readonly grants: Readonly<Record<string, readonly string[]>>;
  /** User to organizations. */
  readonly members: Readonly<Record<string, readonly string[]>>;
  readonly presets?: Readonly<Record<string, PresetRow>>;
  readonly composites?: readonly string[];
  /** `prefix_id` of the connections, each with its dot. */
  readonly prefixes?: readonly string[];
}

export const userOf = (id: string, role = 'user'): UserPrincipal => ({ kind: 'user', id: toUserId(id), role });
export const modelOf = (id: string): ModelId => id as ModelId;

export function viewOf({ grants, members, presets = {}, composites = [], prefixes = [] }: World): StoreView {
  const sets = new Map(
    Object.entries(grants).map(([name, patterns]) => [name, compileGrants(toOrganizationId(name), patterns)]),
  );
  const preset = (id: string): Preset | undefined => {
    if (!Object.hasOwn(presets, id)) return undefined;
    const { base, parameterModels = [] } = presets[id] ?? {};
    return {
      id: modelOf(id),
      base: base === undefined ? undefined : modelOf(base),
      parameterModels: parameterModels.map(modelOf),
    };
  };
  return {
    grantsOf: ({ id }) =>
      (members[id] ?? [])
        .flatMap((name) => sets.get(name) ?? [])
        .filter((set) => set.exact.size + set.prefixes.length > 0),
    preset,
    isComposite: (id) => composites.includes(id),
    connectionPrefixes: () => prefixes,
    user: () => undefined,
    isSessionOver: () => false,
    userOfApiKey: () => undefined,
    isGrantedAnywhere: (id) =>
      [...sets.values()].some((set) => {
        const pattern = coveringGrant(set, id);
        return pattern !== undefined && pattern !== '*';
      }),
    openrouterKeyOf: () => undefined,
    providerSettings: () => ({ connections: [], serviceModels: { listed: [], sent: [] }, named: [] }),
    presetsOn: (base) => Object.entries(presets).flatMap(([id, row]) => (row.base === base ? [modelOf(id)] : [])),
    budgetsOf: () => [],
    allBudgets: () => [],
    organizationName: (organization) => organization,
    hasModelRow: (id) => Object.hasOwn(presets, id),
  };
}
