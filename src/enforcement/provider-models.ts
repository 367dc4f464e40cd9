import { isObject } from '../references/references.ts';

/**
 * Which ids are the providers' own, as the backend's lists said before they were filtered. The database does not know
 * them: a provider model needs no row. Kept because a preset on such an id would redirect everybody who uses it; what
 * has not been listed since the start is unknown here, and then the grants alone protect it.
 */
export interface ProviderModels {
  /** @param ids of `providerIdsIn` */
  learn(ids: readonly string[]): void;
  has(id: string): boolean;
}

/** More than any provider lists; beyond it nothing is learnt, so that nobody can fill the memory. */
const MAX_IDS = 20_000;

export function createProviderModels(): ProviderModels {
  const ids = new Set<string>();
  return {
    learn(listed) {
      for (const id of listed) {
        if (ids.size >= MAX_IDS) return;
        // A row on the part before the tag changes what everybody sees of the model (utils/models.py)
        ids.add(id).add(id.split(':', 1)[0] ?? '');
      }
    },
    has: (id) => ids.has(id),
  };
}

/** @param list the parsed answer of a route of the shape `models`: `{data: [{id, preset?, arena?}]}` */
export function providerIdsIn(list: unknown): readonly string[] {
  const entries = isObject(list) && Array.isArray(list['data']) ? (list['data'] as unknown[]) : [];
  return entries.flatMap((entry) =>
    isObject(entry) && entry['preset'] !== true && typeof entry['id'] === 'string' ? [entry['id']] : [],
  );
}
