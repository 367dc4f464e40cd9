/** The models that an organization could be allowed, wherever the list of them comes from. */
import type { ModelId } from '../../policy/model-id.ts';
import { parsePattern } from '../../policy/grant.ts';
import type { Maker } from '../../store/model-rows.ts';

/** Why a model of the source is not in the catalogue; its grants are left as they are. */
export type LeftOut =
  | 'preset'
  /** Picks another model by chance, so it is granted by its own id, by whoever means it. */
  | 'arena'
  /** By its row in the backend's `model` table. */
  | 'switched_off'
  /** An id that no request can name, or that would be read as a pattern. */
  | 'unusable'
  /** Its row was made by a user who is no admin. */
  | 'of_user'
  /** A private preset that another organization was granted by its own id. */
  | 'of_organization';

/** Whose model it is that was left out. */
export type Owner = { readonly user: Maker } | { readonly organization: string };

/** Something that may have models which the source does not show. */
export interface Gap {
  /** A sentence for the operator. */
  readonly why: string;
  mayHave(id: string): boolean;
}

export interface Catalogue {
  /** In the order of the source, each once. */
  readonly models: readonly ModelId[];
  readonly leftOut: ReadonlyMap<string, LeftOut>;
  /** Of what was left out because it is somebody's. */
  readonly owners: ReadonlyMap<string, Owner>;
  /** What is there without being offered, such as the arena of a backend that has not been told of any. */
  readonly beside: ReadonlySet<string>;
  /** What is not in the catalogue and may be of a gap is not switched off. */
  readonly gaps: readonly Gap[];
}

/** What a source says about one model. */
export interface Offer {
  readonly id: string;
  readonly leftOut?: LeftOut | undefined;
  readonly owner?: Owner | undefined;
}

/** @param offers in the order of the source; an id that is offered and left out is offered */
export function toCatalogue(
  offers: Iterable<Offer>,
  { beside, gaps = [] }: { readonly beside: ReadonlySet<string>; readonly gaps?: readonly Gap[] },
): Catalogue {
  const models = new Set<ModelId>();
  const leftOut = new Map<string, LeftOut>();
  const owners = new Map<string, Owner>();
  for (const { id, leftOut: why, owner } of offers) {
    const pattern = parsePattern(id);
    // nobody should be advised to allow such an id by itself
    if (pattern?.kind !== 'exact') leftOut.set(id, 'unusable');
    else if (why === undefined) models.add(pattern.model);
    else leftOut.set(id, why);
    if (owner !== undefined) owners.set(id, owner);
  }
  for (const model of models) leftOut.delete(model);
  for (const id of owners.keys()) if (!leftOut.has(id)) owners.delete(id);
  return { models: [...models], leftOut, owners, beside, gaps };
}
