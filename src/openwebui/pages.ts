/** What the answer to a request lists, and the pages that the gate searches, counts and cuts itself. */
import type { FilterPage, Listed } from '../enforcement/filter-models.ts';
import { isObject, tryParseJson } from '../references/json.ts';
import type { AnswerRewrite, BufferedAnswer } from '../transport/exchange.ts';
import { queryValue, type OpenWebUiScope } from './endpoints.ts';
import { SHAPES } from './lists.ts';

/** @returns what the answer to the request lists; undefined where it is passed on as it comes */
export function listedBy({ surface, principal, query }: OpenWebUiScope): Listed | undefined {
  const isAdmin = principal.kind === 'user' && principal.role === 'admin';
  if (surface.kind === 'lists' && !(surface.admins === 'pass' && isAdmin)) {
    const { shape, names, public: isPublic = false, paged } = surface;
    return { shape, names, isPublic, pages: paged && ((filter) => pagesOf(query, paged, filter)) };
  }
  if (surface.kind === 'manages' && !isAdmin) return { shape: SHAPES.modelRow, names: 'chat', isPublic: false };
  if (surface.kind !== 'invokes' || surface.answer === undefined) return undefined;
  return { shape: surface.answer, names: surface.names, isPublic: false };
}

/** routers/models.py `get_models`, models/models.py `search_models` (0.6.35 to 0.12.4). */
const LIST = '/api/v1/models/list';
const PAGE_ITEMS = 30;
/** More entries than a workspace holds; beyond them the list ends. */
const MAX_PAGES = 100;

/**
 * The backend searches entries that are not shown, and counts and cuts before the gate filters: the gate asks for all, and
 * does it itself. @throws GatewayError `path_ambiguous` where a parameter is repeated
 */
function pagesOf(asked: string, wanted: 'entries' | 'tags', filter: FilterPage) {
  const query = wanted === 'tags' ? '' : asked;
  const [search = '', tag = '', page = ''] = ['query', 'tag', 'page'].map((key) => queryValue(query, key));
  const kept = new URLSearchParams(query);
  for (const key of ['query', 'tag', 'page']) kept.delete(key);
  const target = (number: number) => `${LIST}?${new URLSearchParams([...kept, ['page', String(number)]]).toString()}`;
  const select = (items: readonly unknown[]): unknown => {
    if (wanted === 'tags') return tagsOf(items);
    const found = items.filter((item) => isObject(item) && matches(item, search) && hasTag(item, tag));
    const start = (Math.max(1, Math.trunc(Number(page)) || 1) - 1) * PAGE_ITEMS;
    return { items: found.slice(start, start + PAGE_ITEMS), total: found.length };
  };
  const rewrite: AnswerRewrite = async (first, ask) => {
    const filtered = await filter(first);
    const items = [...itemsOf(filtered)];
    // The backend's own count of entries, before anything is taken out
    const total = Number(parsePage(first)['total'] ?? 0) || 0;
    for (let number = 2; number <= Math.min(MAX_PAGES, Math.ceil(total / PAGE_ITEMS)); number++) {
      for (const item of itemsOf(await filter(await ask(target(number))))) items.push(item);
    }
    return { ...filtered, body: Buffer.from(JSON.stringify(select(items))) };
  };
  return { firstTarget: target(1), rewrite };
}

const itemsOf = (page: BufferedAnswer): readonly unknown[] => listOf(parsePage(page)['items']);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? (value as unknown[]) : []);

function parsePage({ body }: BufferedAnswer): Record<string, unknown> {
  const page = tryParseJson(body.toString('utf8'));
  return isObject(page) ? page : {};
}

/** As the backend searches, in what the caller is shown. */
function matches(item: Record<string, unknown>, search: string): boolean {
  const owner = isObject(item['user']) ? item['user'] : {};
  const texts = [item['name'], item['base_model_id'], owner['name'], owner['email'], owner['username']];
  const wanted = search.toLowerCase();
  return search === '' || texts.some((text) => typeof text === 'string' && text.toLowerCase().includes(wanted));
}

const inLowerCase = (value: unknown): string => JSON.stringify(value).toLowerCase();
const hasTag = ({ meta = null }: Record<string, unknown>, tag: string): boolean =>
  tag === '' || inLowerCase(meta).includes(inLowerCase(tag));

/** `GET /api/v1/models/tags`: the names, sorted. */
function tagsOf(items: readonly unknown[]): string[] {
  const metas = items.filter(isObject).map(({ meta }) => meta);
  const tags = metas.filter(isObject).flatMap((meta) => listOf(meta['tags']));
  const names = tags.map((tag) => (isObject(tag) ? tag['name'] : tag)).filter((name) => typeof name === 'string');
  return [...new Set(names)].sort();
}
