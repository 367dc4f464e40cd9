import { isObject } from '../references/references.ts';

/**
 * Which ids are the providers' own, as the backend's lists said before they were filtered. The database does not know
 * them: a provider model needs no row. Kept because a preset on such an id would redirect everybody who uses it; what
 * has not been listed since the start is unknown here, and then the grants alone protect it.
 */
export interface ProviderModels {
  /** @param list the parsed answer of a route of the shape `models`: `{data: [{id, preset?, arena?}]}` */
  learn(list: unknown): void;
  has(id: string): boolean;
}

/** More than any provider lists; beyond it nothing is learnt, so that nobody can fill the memory. */
const MAX_IDS = 20_000;

export function createProviderModels(): ProviderModels {
  const ids = new Set<string>();
  return {
    learn(list) {
      const entries = isObject(list) && Array.isArray(list['data']) ? (list['data'] as unknown[]) : [];
      for (const entry of entries) {
        if (!isObject(entry) || entry['preset'] === true || typeof entry['id'] !== 'string') continue;
        if (ids.size >= MAX_IDS) continue;
        // A row on the part before the tag changes what everybody sees of the model (utils/models.py)
        ids.add(entry['id']).add(entry['id'].split(':', 1)[0] ?? '');
      }
    },
    has: (id) => ids.has(id),
  };
}
