import { describe, expect, it } from 'vitest';

import { RELEASES } from './release.ts';
import { listRoutes } from './routes.ts';

describe.each(RELEASES)('the route list of the installed Open WebUI %s', (version) => {
  it('holds routes with declared, raw and no bodies, and mounted applications', async () => {
    const routes = await listRoutes(version);
    const route = (method: string, path: string): unknown =>
      routes.find((candidate) => candidate.method === method && candidate.path === path);

    expect(route('POST', '/api/v1/auths/signin')).toMatchObject({ hasBody: true, websocket: false });
    expect(route('POST', '/openai/audio/speech')).toMatchObject({ hasBody: true, module: 'open_webui.routers.openai' });
    expect(route('POST', '/openai/{path:path}')).toMatchObject({ hasBody: true });
    expect(route('GET', '/api/version')).toMatchObject({ hasBody: false });
    expect(route('*', '/ws/*')).toBeDefined();
    expect(routes.length).toBeGreaterThan(300);
  }, 300_000);
});
