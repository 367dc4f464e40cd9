/** The models that an organization could be allowed, wherever the list of them comes from. */
import type { ModelId } from '../../policy/model-id.ts';
import { parseModelId } from '../../policy/model-id.ts';

/** Why a model of the source is not in the catalogue; its grants are left as they are. */
export type LeftOut =
  | 'preset'
  /** Picks another model by chance, so it is granted by its own id, by whoever means it. */
  | 'arena'
  /** By its row in the backend's `model` table. */
  | 'switched_off'
  /** An id that no request can name, or that would be read as a pattern. */
  | 'unusable';

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
  /** What is there without being offered, such as the arena of a backend that has not been told of any. */
  readonly beside: ReadonlySet<string>;
  /** What is not in the catalogue and may be of a gap is not switched off. */
  readonly gaps: readonly Gap[];
}

/** What a source says about one model. */
export interface Offer {
  readonly id: string;
  readonly leftOut?: LeftOut | undefined;
}

/** @param offers in the order of the source; an id that is offered and left out is offered */
export function toCatalogue(
  offers: Iterable<Offer>,
  { beside, gaps = [] }: { readonly beside: ReadonlySet<string>; readonly gaps?: readonly Gap[] },
): Catalogue {
  const models = new Set<ModelId>();
  const leftOut = new Map<string, LeftOut>();
  for (const { id, leftOut: why } of offers) {
    const model = parseModelId(id);
    if (why !== undefined) leftOut.set(id, why);
    else if (model === undefined || id.endsWith('*')) leftOut.set(id, 'unusable');
    else models.add(model);
  }
  for (const model of models) leftOut.delete(model);
  return { models: [...models], leftOut, beside, gaps };
}
