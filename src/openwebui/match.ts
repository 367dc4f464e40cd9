/** Finds the surface of a path. What stands in neither table is `unlisted`. */
import type { Stage } from '../stage.ts';
import { type OpenWebUiScope, readTarget } from './endpoints.ts';
import { type Surface, MODEL_BEARING_ROUTES, NEUTRAL_ROUTES } from './surfaces.ts';

type SurfaceMatch = Readonly<{ surface: Surface; ids: OpenWebUiScope['pathIds'] }>;

const UNLISTED: SurfaceMatch = { surface: { kind: 'neutral', unlisted: true }, ids: {} };
const PAGE: SurfaceMatch = { surface: { kind: 'neutral' }, ids: {} };

/** Fixed paths go into a map, patterns into lists by their first segments. */
function createSurfaceMatcher() {
  const routes = [...MODEL_BEARING_ROUTES, ...NEUTRAL_ROUTES];
  const isPattern = ([, path]: (typeof routes)[number]) => path.includes(':') || path.endsWith('**');
  const inOrder = routes.filter((route) => !isPattern(route)).toReversed();
  const fixed = new Map<string, SurfaceMatch>(
    inOrder.map(([method, path, surface]) => [`${method} ${path}`, { surface, ids: {} }]),
  );
  const compiled = routes.filter(isPattern).map((route) => ({ route, pattern: compile(route[1]) }));
  const patterns = Map.groupBy(compiled, ({ route: [, path] }) => bucketOf(path));

  /** HEAD is judged as the GET it stands for, OPTIONS carries no model. */
  return function matchSurface(method: string, path: string): SurfaceMatch {
    if (method === 'OPTIONS') return PAGE;
    const effective = method === 'HEAD' ? 'GET' : method;
    const exact = fixed.get(`${effective} ${path}`) ?? fixed.get(`* ${path}`);
    if (exact !== undefined) return exact;
    for (const { route, pattern } of patterns.get(bucketOf(path)) ?? []) {
      const [only, , surface] = route;
      const match = only === '*' || only === effective ? pattern.exec(path) : null;
      if (match !== null) return { surface, ids: match.groups ?? {} };
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
