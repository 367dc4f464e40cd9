/** Finds the surface of a path. What stands in neither table is `unlisted`. */
import type { Stage } from '../stage.ts';
import { type OpenWebUiScope, readTarget } from './endpoints.ts';
import { type Route, type Surface, MODEL_BEARING_ROUTES, NEUTRAL_ROUTES } from './surfaces.ts';

interface SurfaceMatch {
  readonly surface: Surface;
  readonly ids: Readonly<Record<string, string>>;
}

const UNLISTED: SurfaceMatch = { surface: { kind: 'neutral', unlisted: true }, ids: {} };
const PAGE: SurfaceMatch = { surface: { kind: 'neutral' }, ids: {} };

/** Fixed paths go into a map, patterns into lists by their first segments. */
export function createSurfaceMatcher(routes: readonly Route[] = [...MODEL_BEARING_ROUTES, ...NEUTRAL_ROUTES]) {
  const fixed = new Map<string, SurfaceMatch>();
  const patterns = new Map<string, { method: string; pattern: RegExp; surface: Surface }[]>();
  for (const [method, path, surface] of routes) {
    const [key, bucket] = [`${method} ${path}`, bucketOf(path)];
    if (path.includes(':') || path.endsWith('**')) {
      patterns.set(bucket, [...(patterns.get(bucket) ?? []), { method, pattern: compile(path), surface }]);
    } else if (!fixed.has(key)) fixed.set(key, { surface, ids: {} });
  }

  /** HEAD is judged as the GET it stands for, OPTIONS carries no model. */
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

const matchSurface = createSurfaceMatcher();

/** Reads the target and finds its surface, at both doors. */
export function readTargetInto(scope: OpenWebUiScope): void {
  const { method = '', url = '' } = scope.incoming;
  ({ path: scope.path, target: scope.target, query: scope.query } = readTarget(url));
  ({ surface: scope.surface, ids: scope.pathIds } = matchSurface(method, scope.path));
}

/** The stage. */
export const canonicalPath: Stage<OpenWebUiScope> = function canonicalPath(c, next) {
  readTargetInto(c.get('scope'));
  return next();
};
