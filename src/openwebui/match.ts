/**
 * Routes under `/api` that were read in the source of both pinned releases and run no model that a request names.
 * They pass untouched, bodies included: chats, settings and feedback may rightly name models of the past.
 * What stands in neither table is `unlisted`: it passes too, but a JSON body is searched for model names first.
 */
import type { Surface } from './surface.ts';
import { type Route, MODEL_BEARING_ROUTES } from './surfaces.ts';

const NEUTRAL = { kind: 'neutral' } as const;

const PREFIXES: readonly string[] = [
  '/api/changelog',
  '/api/events',
  '/api/tasks',
  '/api/version',
  '/api/webhook',
  '/api/v1/analytics',
  '/api/v1/apps',
  '/api/v1/audio',
  '/api/v1/auths',
  '/api/v1/automations',
  '/api/v1/calendars',
  '/api/v1/channels',
  '/api/v1/chats',
  '/api/v1/configs',
  '/api/v1/evaluations',
  '/api/v1/files',
  '/api/v1/folders',
  '/api/v1/functions',
  '/api/v1/groups',
  '/api/v1/images',
  '/api/v1/knowledge',
  '/api/v1/memories',
  '/api/v1/notes',
  '/api/v1/notifications',
  '/api/v1/pipelines',
  '/api/v1/prompts',
  '/api/v1/retrieval',
  '/api/v1/scim',
  '/api/v1/search',
  '/api/v1/skills',
  '/api/v1/terminals',
  '/api/v1/tools',
  '/api/v1/users',
  '/api/v1/utils',
];

export const NEUTRAL_ROUTES: readonly Route[] = PREFIXES.flatMap((prefix): Route[] => [
  ['*', prefix, NEUTRAL],
  ['*', `${prefix}/**`, NEUTRAL],
]);

interface SurfaceMatch {
  readonly surface: Surface;
  /** What stands at the pattern's `:names`. */
  readonly ids: Readonly<Record<string, string>>;
}

interface PatternRoute {
  readonly method: string;
  readonly pattern: RegExp;
  readonly surface: Surface;
}

const UNLISTED: SurfaceMatch = { surface: { kind: 'neutral', unlisted: true }, ids: {} };
const PAGE: SurfaceMatch = { surface: { kind: 'neutral' }, ids: {} };

/**
 * Compiles the tables once: fixed paths into a map, patterns into lists by their first three segments, so that a
 * request looks at a handful of patterns.
 */
export function createSurfaceMatcher(routes: readonly Route[] = [...MODEL_BEARING_ROUTES, ...NEUTRAL_ROUTES]) {
  const fixed = new Map<string, SurfaceMatch>();
  const patterns = new Map<string, PatternRoute[]>();
  for (const [method, path, surface] of routes) {
    if (!path.includes(':') && !path.endsWith('**')) {
      const key = `${method} ${path}`;
      if (!fixed.has(key)) fixed.set(key, { surface, ids: {} });
      continue;
    }
    const list = patterns.get(bucketOf(path)) ?? [];
    list.push({ method, pattern: compile(path), surface });
    patterns.set(bucketOf(path), list);
  }

  /**
   * @param method as in the request line; HEAD is judged as the GET it stands for, OPTIONS carries no model
   * @param path the canonical path
   */
  return function matchSurface(method: string, path: string): SurfaceMatch {
    if (method === 'OPTIONS') return PAGE;
    const effective = method === 'HEAD' ? 'GET' : method;
    const exact = fixed.get(`${effective} ${path}`) ?? fixed.get(`* ${path}`);
    if (exact !== undefined) return exact;
    for (const route of patterns.get(bucketOf(path)) ?? []) {
      if (route.method !== '*' && route.method !== effective) continue;
      const match = route.pattern.exec(path);
      if (match !== null) return { surface: route.surface, ids: match.groups ?? {} };
    }
    return path.startsWith('/api/') ? UNLISTED : PAGE;
  };
}

/** `/ollama/api/chat/0` and `/api/v1/chats/7/compact` fall into the buckets of their prefixes. */
function bucketOf(path: string): string {
  const [, first = '', second = '', third = ''] = path.split('/', 4);
  if (first !== 'api') return `/${first}`;
  return second === 'v1' ? `/api/v1/${third}` : `/api/${second}`;
}

/** `.` and the end are meant literally: Starlette's own pattern lets a final newline pass, canonical paths have none. */
function compile(path: string): RegExp {
  const source = path
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/\/\*\*$/, '/.*')
    .replace(/:(\w+)/g, '(?<$1>[^/]+)');
  return new RegExp(`^${source}$`, 's');
}
