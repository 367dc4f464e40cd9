/** The guide's split: pages from a frontend of their own, the API from the gate; and the figures of the file. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config/parse.ts';
import { chat } from '../support/gate/attacks.ts';
import { NGINX_BINARIES, edgeOfSuite } from '../support/gate/edge.ts';
import { gateOfSuite } from '../support/gate/gate.ts';
import { rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { type RecordingUpstream, startRecordingUpstream } from '../support/upstream/upstreams.ts';

describe.each(NGINX_BINARIES)('with a frontend of its own, through %s', (binary) => {
  let frontend: RecordingUpstream;
  let authorization: string;
  const gate = gateOfSuite({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
  beforeAll(async () => {
    frontend = await startRecordingUpstream();
    authorization = await gate.authorization('ann');
    return () => frontend.close();
  });
  // targets that no client library sends
  const edge = edgeOfSuite(() => ({ gate: gate.url, pages: frontend.origin, binary, withoutTls: true }));
  beforeEach(() => {
    gate.backend.reset();
    gate.lines.length = 0;
    frontend.requests.length = 0;
  });

  const send = async (line: string, body = '') =>
    rawRequest(edge.port, requestText(line, [authorization, `Content-Length: ${body.length}`], body));
  const judged = () => gate.lines.filter((line) => line['msg'] === 'request').length;

  test.each([
    '/api',
    '/api/models',
    '/api/v1/chats/',
    '/openai/models',
    '/ollama/api/tags',
    '/ws/socket.io/?EIO=4&transport=polling',
    '/oauth/google/login',
    '/cache/image/generations/x.png',
    '/health',
    '/health/db',
    '/API',
    '/Api/models',
    '/OPENAI/models',
    '/api;x',
    '/api%0a/models',
    '/api\\models',
    '/api%5cmodels',
    '/api%20/models',
  ])('%s goes to the gate', async (path) => {
    await send(`GET ${path}`);
    expect(frontend.requests).toEqual([]);
    expect(judged()).toBe(1);
  });

  test.each([
    '/',
    '/c/1',
    '/_app/version.json',
    '/static/favicon.png',
    '/apix',
    '/healthy',
    '/x?/api/models',
    '/api-docs',
    '/api.js',
  ])('%s goes to the frontend, whose answer gets nothing from nginx', async (path) => {
    const got = await send(`GET ${path}`);
    expect([got.status, got.body]).toEqual([200, 'ok']);
    expect(frontend.requests.map(({ url }) => url)).toEqual([path]);
    expect(judged()).toBe(0);
    expect(got.field('x-frame-options')).toBeUndefined();
  });

  const ROUTE = '/api/chat/completions';
  test.each([
    '/API/chat/completions',
    '/Api/chat/completions',
    '//api/chat/completions',
    '///api//chat/completions',
    '/%61pi/chat/completions',
    '/%61%70%69/chat/completions',
    '/api%2Fchat%2Fcompletions',
    '/x/../api/chat/completions',
    '/x/%2e%2e/api/chat/completions',
    '/static/..%2fapi/chat/completions',
    '/./api/chat/completions',
    '/api;x/chat/completions',
    '/api/chat/completions;x',
    '/api/../api/chat/completions',
    '/api/..//openai/chat/completions',
    '/api\\chat\\completions',
    '/api%5cchat%5ccompletions',
    '/%2561pi/chat/completions',
    '/api%00/chat/completions',
    '/api%0a/chat/completions',
    `http://other.test${ROUTE}`,
    `https://other.test${ROUTE}`,
  ])('%s runs no forbidden model, and whatever passes was judged', async (target) => {
    await send(`POST ${target}`, JSON.stringify(chat('F')));
    expect(gate.ran()).toEqual([]);
    // what the backend got has a line of the gate; the frontend never gets what a server could take for the API
    expect(gate.backend.received.length).toBeLessThanOrEqual(judged());
    for (const { url } of frontend.requests) expect(takenForTheApi(url), url).toBe(false);
  });
});

/** Whether some server, decoding once and resolving dots and slashes, would find the API under this path. */
function takenForTheApi(target: string): boolean {
  const path = decodeURIComponent(target.split('?')[0] ?? '').replace(/\/+/g, '/');
  return /^\/(?:api|openai|ollama|ws|oauth|cache|health)(?:\/|$)/.test(
    new URL(path, 'http://x').pathname.toLowerCase(),
  );
}

describe('the figures of the file', () => {
  const text = readFileSync(join(import.meta.dirname, '../../nginx/modelgate.conf'), 'utf8');
  const parsed = parseConfig({
    environment: { MODELGATE_UPSTREAM_URL: 'http://backend', DATABASE_URL: 'sqlite:////x.db', WEBUI_SECRET_KEY: 'x' },
    directory: '/',
    readSecret: () => '',
  });
  if (!('config' in parsed)) throw new Error(JSON.stringify(parsed));
  const { responseTimeoutMs, idleTimeoutMs } = parsed.config.upstream;

  test.each(['proxy_read_timeout', 'proxy_send_timeout'])('%s lets the gate speak first', (name) => {
    const minutes = Number(new RegExp(`^\\s*${name} (\\d+)m;`, 'm').exec(text)?.[1]);
    expect(minutes * 60_000).toBeGreaterThan(Math.max(responseTimeoutMs, idleTimeoutMs));
  });

  test('idle connections to the gate are closed by nginx, before the gate does', () => {
    const seconds = Number(/keepalive 64;\n\s*keepalive_timeout (\d+)s;/.exec(text)?.[1]);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(75);
  });
});
