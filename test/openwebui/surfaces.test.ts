/**
 * No endpoint is unknown by accident: every route of the installed backend that takes a body, lists models or lies
 * under a model prefix was read by a developer, and its class in `src/openwebui/surfaces.ts` is what they decided.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { surfaceOf } from '../support/gate/sample-scope.ts';
import { RELEASES } from './release.ts';
import { type BackendRoute, listRoutes } from './routes.ts';

const reviewed = JSON.parse(readFileSync(new URL('reviewed-routes.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;

/** `neutral!` is a path that no table lists. */
function classOf({ method, path }: BackendRoute): string {
  const { surface } = surfaceOf(method, path.replace(/\{[^}]*\}/g, 'x1'));
  return surface.kind === 'neutral' && surface.unlisted === true ? 'neutral!' : surface.kind;
}

const mustBeReviewed = ({ method, path, hasBody, websocket }: BackendRoute) =>
  !websocket &&
  !['*', 'HEAD', 'OPTIONS'].includes(method) &&
  (hasBody || /^\/(?:openai|ollama|api\/chat|api\/models|api\/v1\/models)(?:\/|$)|model/.test(path));

describe.each(RELEASES)('of Open WebUI %s', (version) => {
  let all: BackendRoute[] = [];
  beforeAll(async () => {
    all = await listRoutes(version);
  });

  test('the list holds routes with declared, raw and no bodies, and mounted applications', () => {
    const route = (method: string, path: string) => all.find((one) => one.method === method && one.path === path);
    expect(route('POST', '/api/v1/auths/signin')).toMatchObject({ hasBody: true, websocket: false });
    expect(route('POST', '/openai/audio/speech')).toMatchObject({ hasBody: true, module: 'open_webui.routers.openai' });
    expect(route('POST', '/openai/{path:path}')).toMatchObject({ hasBody: true });
    expect(route('GET', '/api/version')).toMatchObject({ hasBody: false });
    expect(route('*', '/ws/*')).toBeDefined();
    expect(all.length).toBeGreaterThan(300);
  });

  test('every route that could name a model was reviewed, and is what the review says', () => {
    const routes = all.filter(mustBeReviewed);
    expect(routes.length).toBeGreaterThan(150);
    const problems = routes.flatMap((route) => {
      const name = `${route.method} ${route.path}`;
      const decided = reviewed[name];
      const found = classOf(route);
      if (decided === undefined) {
        return `${name} (${route.module} ${route.name}) is new: read what it does with models, give it a row in src/openwebui/surfaces.ts, then add it to reviewed-routes.json`;
      }
      return decided === found ? [] : `${name} was reviewed as ${decided}, but the table says ${found}`;
    });
    expect(problems).toEqual([]);
  });

  test('no route under /api is left to chance', () => {
    const unlisted = all.filter(
      (route) => !route.websocket && !route.path.endsWith('*') && classOf(route) === 'neutral!',
    );
    expect(unlisted.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
  });
});
