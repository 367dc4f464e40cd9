/**
 * What an answer lists, and the pages of the workspace's models. The backend searches, counts and cuts
 * pages before the gate takes out what the caller may not use, and its search looks at base models and people of entries
 * that are not shown. So the gate asks for all entries without a search, filters them, and searches, counts and cuts the
 * pages itself.
 * Source: `GET /api/v1/models/list`, routers/models.py `get_models`, models/models.py `search_models` (0.6.35 to 0.12.4).
 */
import type { Listed, Pages } from '../enforcement/filter-models.ts';
import type { Scope } from '../gate/scope.ts';
import { isObject } from '../references/json.ts';
import type { BufferedAnswer } from '../transport/exchange.ts';
import { SHAPES } from './lists.ts';
import { queryValue } from './target.ts';

/** @returns what the answer to the request lists; undefined where it is passed on as it comes */
export function listedBy({ surface, principal, query }: Scope): Listed | undefined {
  const isAdmin = principal.kind === 'user' && principal.role === 'admin';
  switch (surface.kind) {
    case 'lists': {
      if (surface.admins === 'pass' && isAdmin) return undefined;
      const { shape, names, public: isPublic = false, paged } = surface;
      return { shape, names, isPublic, pages: paged && (() => pagesOf(query, paged)) };
    }
    case 'manages':
      // The row that was written is shown as the list shows it
      return isAdmin ? undefined : { shape: SHAPES.modelRow, names: 'chat', isPublic: false };
    case 'invokes':
      return surface.answer && { shape: surface.answer, names: surface.names, isPublic: false };
    case 'saves':
    case 'neutral':
    case 'refused':
      return undefined;
  }
}

const LIST = '/api/v1/models/list';
/** `PAGE_ITEM_COUNT` of the backend. */
const PAGE_ITEMS = 30;
/** More entries than a workspace holds; beyond them the list ends. */
const MAX_PAGES = 100;

interface PageRequest {
  /** What is asked of the backend for its page `number`, from 1 on. */
  target(number: number): string;
  /** @param items entries that the caller may see, of all pages @returns the answer: a page of them, or their tags */
  select(items: readonly unknown[]): unknown;
}

function readPageRequest(query: string, wanted: 'entries' | 'tags'): PageRequest {
  if (wanted === 'tags') return { target: (number) => `${LIST}?page=${number}`, select: tagsOf };
  const search = queryValue(query, 'query') ?? '';
  const tag = queryValue(query, 'tag') ?? '';
  const page = Math.max(1, Math.trunc(Number(queryValue(query, 'page') ?? 1)) || 1);
  const kept = new URLSearchParams(query);
  for (const key of ['query', 'tag', 'page']) kept.delete(key);
  return {
    target(number) {
      kept.set('page', String(number));
      return `${LIST}?${kept.toString()}`;
    },
    select(all) {
      const found = all.filter((item) => isObject(item) && matches(item, search) && hasTag(item, tag));
      return { items: found.slice((page - 1) * PAGE_ITEMS, page * PAGE_ITEMS), total: found.length };
    },
  };
}

/** @throws GatewayError `path_ambiguous` where a parameter is repeated */
function pagesOf(query: string, wanted: 'entries' | 'tags'): Pages {
  const request = readPageRequest(query, wanted);
  return {
    firstTarget: request.target(1),
    assemble: (first, ask, filter) => assemblePage(request, first, ask, filter),
  };
}

async function assemblePage(
  request: PageRequest,
  ...[first, ask, filter]: Parameters<Pages['assemble']>
): Promise<BufferedAnswer> {
  const filtered = await filter(first);
  const items = itemsOf(filtered);
  const pages = Math.min(MAX_PAGES, Math.ceil(totalOf(first) / PAGE_ITEMS));
  for (let number = 2; number <= pages; number++) {
    for (const item of itemsOf(await filter(await ask(request.target(number))))) items.push(item);
  }
  return { ...filtered, body: Buffer.from(JSON.stringify(request.select(items))) };
}

/** The backend's own count of entries, before anything is taken out. */
const totalOf = (page: BufferedAnswer): number => Number(parsePage(page)['total'] ?? 0) || 0;

function itemsOf(page: BufferedAnswer): unknown[] {
  const { items } = parsePage(page);
  return Array.isArray(items) ? (items as unknown[]) : [];
}

function parsePage({ body }: BufferedAnswer): Record<string, unknown> {
  try {
    const page: unknown = JSON.parse(body.toString('utf8'));
    return isObject(page) ? page : {};
  } catch {
    // What is no page holds no entry
    return {};
  }
}

/** The fields that the backend searches, as far as the caller is shown them. */
function matches(item: Record<string, unknown>, search: string): boolean {
  if (search === '') return true;
  const owner = isObject(item['user']) ? item['user'] : {};
  const texts = [item['name'], item['base_model_id'], owner['name'], owner['email'], owner['username']];
  const wanted = search.toLowerCase();
  return texts.some((text) => typeof text === 'string' && text.toLowerCase().includes(wanted));
}

const hasTag = ({ meta }: Record<string, unknown>, tag: string): boolean =>
  tag === '' ||
  JSON.stringify(meta ?? null)
    .toLowerCase()
    .includes(JSON.stringify(tag).toLowerCase());

/** `GET /api/v1/models/tags`: the names, sorted. */
function tagsOf(items: readonly unknown[]): string[] {
  const tags = items.flatMap((item) => {
    const meta = isObject(item) ? item['meta'] : undefined;
    return isObject(meta) && Array.isArray(meta['tags']) ? (meta['tags'] as unknown[]) : [];
  });
  const names = tags.map((tag) => (isObject(tag) ? tag['name'] : tag)).filter((name) => typeof name === 'string');
  return [...new Set(names)].sort();
}
