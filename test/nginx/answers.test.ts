/** What a client, the backend and both logs get at the committed edge, from each of the three that answer. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { chat } from '../support/gate/attacks.ts';
import { NGINX_BINARIES, edgeOfSuite, startEdge } from '../support/gate/edge.ts';
import { type TestGate, gateOfTest, startTestGate } from '../support/gate/gate.ts';
import { type ClientAnswer, askOnce } from '../support/gate/https-client.ts';
import { rawRequest } from '../support/gate/raw-connection.ts';
import { startRecordingUpstream, type RecordingUpstream } from '../support/upstream/upstreams.ts';
import { freePort } from '../support/process/ports.ts';
import { withTimeout, inTurn } from '../support/process/with-timeout.ts';

/** What the gate puts on every answer, and nginx on what it answers itself. */
const OF_THE_GATE = [
  'x-frame-options',
  'x-content-type-options',
  'x-xss-protection',
  'referrer-policy',
  'permissions-policy',
  'cross-origin-resource-policy',
  'strict-transport-security',
];
const TRUSTING = { MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' };
const SMALL_RATE = [
  ['rate=100r/s', 'rate=1r/m'],
  ['burst=200 nodelay', 'burst=2 nodelay'],
] as const;

/** A backend that itself sends what the edge and the gate send too. */
function answer({ url = '' }: IncomingMessage, outgoing: ServerResponse): void {
  const own = { server: 'uvicorn', date: 'Mon, 01 Jan 2024 00:00:00 GMT', 'x-request-id': 'of-the-backend' };
  const headers = { ...own, 'x-frame-options': 'DENY', 'strict-transport-security': 'max-age=1', etag: '"1"' };
  if (url.startsWith('/static/same')) outgoing.writeHead(304, headers).end();
  else if (url.startsWith('/static/moved')) outgoing.writeHead(302, { ...headers, location: '/static/x' }).end();
  else if (url.startsWith('/static/steering'))
    outgoing.writeHead(200, { ...headers, 'x-accel-redirect': '/api/other', 'x-accel-limit-rate': '1' }).end('ok');
  else if (url.startsWith('/oauth/')) {
    // Open WebUI keeps the tokens of its provider in cookies of the browser: they grow with the groups of the user
    const count = Number(new URL(url, 'http://a').searchParams.get('bytes')) / 4_000;
    const cookies = Array.from({ length: count }, (_value, index) => `oauth_${index}=${'a'.repeat(3_980)}`);
    outgoing.writeHead(302, { ...headers, location: '/', 'set-cookie': cookies }).end();
  } else if (url.startsWith('/static/missing')) outgoing.writeHead(404, headers).end('no');
  else outgoing.writeHead(200, { ...headers, 'content-type': 'text/html' }).end('ok');
}

const expectEachOnce = ({ headers }: ClientAnswer) => {
  const names = headers.map(([name]) => name);
  expect(names.filter((name, at) => name !== 'set-cookie' && names.indexOf(name) !== at)).toEqual([]);
};

describe.each(NGINX_BINARIES)('through %s', (binary) => {
  let backend: RecordingUpstream;
  let gate: TestGate;
  beforeAll(async () => {
    backend = await startRecordingUpstream(answer);
    gate = await startTestGate({ MODELGATE_UPSTREAM_URL: backend.origin, MODELGATE_MAX_BODY: '1MB', ...TRUSTING });
    return async () => {
      await gate[Symbol.asyncDispose]();
      await backend.close();
    };
  });
  const edge = edgeOfSuite(() => ({ gate: gate.url, binary }));

  /** An edge of the test's own before such a gate, both gone with it. */
  const start = async (settings: Record<string, string>, replace: readonly (readonly [string, string])[] = []) => {
    const own = await gateOfTest({ MODELGATE_UPSTREAM_URL: backend.origin, ...TRUSTING, ...settings });
    const ownEdge = await startEdge({ gate: own.url, binary, replace });
    onTestFinished(() => ownEdge[Symbol.asyncDispose]());
    return ownEdge;
  };
  const bearer = async (user: string) => ({ authorization: `Bearer ${await gate.token(user)}` });

  const CHAT = '/api/chat/completions';

  describe('no header stands twice, and the gate’s protection once,', () => {
    test.each([
      ['a page', 200, '/static/x', {}],
      ['an API answer', 200, '/api/version', {}],
      ['a 304', 304, '/static/same', { headers: { 'if-none-match': '"1"' } }],
      ['a redirect', 302, '/static/moved', {}],
      ['a missing page', 404, '/static/missing', {}],
      ['no user', 401, CHAT, { body: JSON.stringify(chat('A')) }],
      ['a refusal', 403, CHAT, { user: 'ann', body: JSON.stringify(chat('F')) }],
      ['a path that is refused', 400, '/x/..%2fapi/models', {}],
      ['a body beyond the gate’s limit', 413, CHAT, { user: 'ann', body: ' '.repeat(1_100_000) }],
    ])('on %s', async (_what, status, path, { user, headers, body }: Case) => {
      const all = { ...headers, ...(user === undefined ? {} : await bearer(user)) };
      const got = await askOnce(`${edge.url}${path}`, { headers: all, ...(body === undefined ? {} : { body }) });
      expect(got.status, got.body).toBe(status);
      expectEachOnce(got);
      for (const name of OF_THE_GATE) expect(got.field(name), name).toBeTruthy();
      expect(got.field('server')).toBe('nginx');
      expect(got.field('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
    });

    test('on an unreachable backend', async () => {
      const other = await start({ MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9' });
      const got = await askOnce(`${other.url}/api/version`);
      expect([got.status, JSON.parse(got.body)]).toEqual([
        502,
        { detail: expect.stringContaining('backend') as unknown },
      ]);
      expectEachOnce(got);
      for (const name of OF_THE_GATE) expect(got.field(name), name).toBeTruthy();
    });

    test.each([
      ['a body beyond its limit', 413, '/api/v1/files/', { 'content-length': String(2 ** 30 + 1) }, 'POST'],
      ['a method that it does not know how to serve', 405, '/static/x', {}, 'TRACE'],
      ['a path beyond its buffer', 414, `/${'x'.repeat(70_000)}`, {}, 'GET'],
      ['a field beyond its buffer', 431, '/static/x', { 'x-long': 'x'.repeat(70_000) }, 'GET'],
    ])('on %s, which nginx answers itself', async (_what, status, path, headers, method) => {
      const got = await askOnce(`${edge.url}${path}`, { method, headers });
      expect(got.status).toBe(status);
      expectEachOnce(got);
      const ofTheGate = await askOnce(`${edge.url}${CHAT}`, { body: '{}' });
      for (const name of OF_THE_GATE) expect(got.field(name), name).toBe(ofTheGate.field(name));
      expect([got.field('cache-control'), got.field('server')]).toEqual(['no-store', 'nginx']);
      expect(got.field('x-request-id')).toMatch(/^[0-9a-f]{32}$/);
      expect(got.body).not.toMatch(/\d\.\d/);
    });

    test('and a page of another origin can read it, and no other answer is touched', async () => {
      const origin = 'https://intranet.acme.test';
      const own = await askOnce(`${edge.url}/static/x`, { headers: { origin, 'x-long': 'x'.repeat(70_000) } });
      expect(own.status).toBe(431);
      expect([own.field('access-control-allow-origin'), own.field('access-control-allow-credentials')]).toEqual([
        origin,
        'true',
      ]);
      expect([own.field('vary'), own.field('access-control-expose-headers')]).toEqual([
        'Origin',
        'Retry-After, X-Request-Id',
      ]);
      expectEachOnce(own);
      const ofTheGate = await askOnce(`${edge.url}${CHAT}`, { headers: { origin }, body: '{}' });
      expect([ofTheGate.status, ofTheGate.field('access-control-allow-origin')]).toEqual([401, origin]);
      expectEachOnce(ofTheGate);
      const ofTheBackend = await askOnce(`${edge.url}/static/x`, { headers: { origin } });
      expect(ofTheBackend.headers.filter(([name]) => name.startsWith('access-control-'))).toEqual([]);
      const sameOrigin = await askOnce(`${edge.url}/static/x`, { headers: { 'x-long': 'x'.repeat(70_000) } });
      expect(sameOrigin.headers.filter(([name]) => /^(?:access-control-|vary)/.test(name))).toEqual([]);
    });

    test('on what is no HTTP, and on plain HTTP where TLS is spoken', async () => {
      const plainPort = Number(new URL(edge.plainUrl).port);
      for (const [port, bytes] of [
        [edge.port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
        [plainPort, 'GET / HTTP/1.1\r\n\r\n'],
        [plainPort, 'GET / HTTP/x\r\n\r\n'],
      ] as const) {
        const { status, headers } = await rawRequest(port, bytes);
        expect(status).toBe(400);
        for (const name of OF_THE_GATE.slice(0, -1)) expect(headers.filter(([one]) => one === name)).toHaveLength(1);
      }
    });

    test('on the way from http to https, where nothing may speak of https for ever', async () => {
      const got = await askOnce(`${edge.plainUrl}/static/x`);
      expect(got.status).toBe(308);
      expectEachOnce(got);
      for (const name of OF_THE_GATE) expect(Boolean(got.field(name)), name).toBe(name !== 'strict-transport-security');
    });
  });

  describe('the two kinds of 429', () => {
    test('nginx’s own names nginx, counts addresses, and leaves pages alone', async () => {
      const small = await start({}, SMALL_RATE);
      const paths = ['/api/version', '//api/version', '/%61pi/version', '/api/x', '/openai/x', '/ws/x'];
      const statuses = await inTurn(paths, async (path) => (await askOnce(`${small.url}${path}`)).status);
      expect(statuses.map((status) => status === 429)).toEqual([false, false, false, true, true, true]);
      const flooded = await askOnce(`${small.url}/api/version`);
      expect([flooded.status, JSON.parse(flooded.body)]).toEqual([
        429,
        { detail: expect.stringContaining('(nginx)') as unknown },
      ]);
      expect([flooded.field('retry-after'), flooded.field('ratelimit')]).toEqual(['1', undefined]);
      expectEachOnce(flooded);
      for (const name of OF_THE_GATE) expect(flooded.field(name), name).toBeTruthy();
      const line = await small.line(flooded.field('x-request-id') ?? '');
      expect(line).toMatchObject({ status: '429', gate_status: '', flood: 'REJECTED' });
      for (const path of ['/', '/static/x', '/health', '/apix']) {
        expect((await askOnce(`${small.url}${path}`)).status, path).toBe(200);
      }
      expect((await askOnce(`${small.url}/api/version`, { from: '127.0.0.2' })).status).toBe(200);
    });

    test('the gate’s says which of its limits, and counts the address that nginx saw', async () => {
      const other = await start({ MODELGATE_LIMIT_ADDRESS: '2/1h' });
      const from = (address: string, index: number) =>
        askOnce(`${other.url}/api/version`, {
          from: address,
          headers: {
            'x-forwarded-for': `203.0.113.${index}`,
            'x-real-ip': `203.0.113.${index}`,
            forwarded: `for=203.0.113.${index}`,
          },
        });
      expect(await inTurn([0, 1, 2], async (index) => (await from('127.0.0.2', index)).status)).toEqual([
        200, 200, 429,
      ]);
      const limited = await from('127.0.0.2', 4);
      expect(limited.field('ratelimit')).toMatch(/^"address";r=0;t=/);
      expect(limited.body).not.toContain('nginx');
      expectEachOnce(limited);
      const line = await other.line(limited.field('x-request-id') ?? '');
      expect(line).toMatchObject({ client: '127.0.0.2', status: '429', gate_status: '429', flood: 'PASSED' });
      expect((await from('127.0.0.3', 5)).status).toBe(200);
    });
  });

  describe('heads as large as the gate’s own limit pass', () => {
    test.each([4_000, 16_000, 32_000, 60_000])('with %i bytes of cookies in a callback of OAuth', async (bytes) => {
      const got = await askOnce(`${edge.url}/oauth/oidc/callback?bytes=${bytes}`);
      expect(got.status, got.body).toBe(302);
      expect(got.headers.filter(([name]) => name === 'set-cookie')).toHaveLength(bytes / 4_000);
    });

    test.each([16_000, 32_000, 60_000])('with %i bytes of cookies in a request', async (bytes) => {
      const cookie = `a=${'a'.repeat(bytes)}`;
      expect((await askOnce(`${edge.url}/static/x`, { headers: { cookie } })).status).toBe(200);
      expect(backend.last().all('cookie')).toEqual([cookie]);
    });

    test('with 60 KB of cookies over HTTP/2, which splits them', async () => {
      const session = connectHttp2(edge.url);
      onTestFinished(() => session.destroy());
      const cookies = Array.from({ length: 15 }, (_value, index) => `c${index}=${'a'.repeat(4_000)}`);
      const stream = session.request({ ':path': '/static/x', cookie: cookies });
      const [headers] = (await withTimeout(once(stream, 'response'), 10_000, 'an answer')) as [IncomingHttpHeaders];
      stream.close();
      expect(headers[':status']).toBe(200);
      expect(backend.last().all('cookie')).toEqual([cookies.join('; ')]);
    });

    test('with a query of 60 KB', async () => {
      const target = `/static/x?${'a'.repeat(60_000)}`;
      expect((await askOnce(`${edge.url}${target}`)).status).toBe(200);
      expect(backend.last().url).toBe(target);
    });

    test('and beyond it the gate says what was too large, in both directions', async () => {
      const headers = Object.fromEntries(
        Array.from({ length: 70 }, (_value, index) => [`x-${index}`, 'a'.repeat(1_000)]),
      );
      const request = await askOnce(`${edge.url}/static/x`, { headers });
      expect([request.status, JSON.parse(request.body)]).toEqual([
        431,
        {
          detail: expect.stringContaining('more than 64 KB (MODELGATE_MAX_HEADER)') as unknown,
          code: 'headers_too_large',
        },
      ]);
      const answered = await askOnce(`${edge.url}/oauth/oidc/callback?bytes=72000`);
      expect([answered.status, JSON.parse(answered.body)]).toEqual([
        502,
        { detail: expect.stringContaining('answer whose headers are larger than this gateway accepts') as unknown },
      ]);
    });

    test('and beyond its own buffers nginx says it, in JSON', async () => {
      const got = await askOnce(`${edge.url}/static/x`, { headers: { cookie: `a=${'a'.repeat(70_000)}` } });
      expect([got.status, JSON.parse(got.body)]).toEqual([
        431,
        { detail: expect.stringMatching(/64 KB \(nginx\).*cookies/) as unknown },
      ]);
    });
  });

  test('an answer cannot steer nginx', async () => {
    const got = await askOnce(`${edge.url}/static/steering`);
    expect([got.status, got.body]).toEqual([200, 'ok']);
    expect(backend.last().url).toBe('/static/steering');
    for (const name of OF_THE_GATE) expect(got.field(name), name).toBeTruthy();
  });

  test('the backend learns the client that nginx saw, and nothing that the client claimed', async () => {
    await askOnce(`${edge.url}/api/version`, {
      from: '127.0.0.2',
      headers: {
        'x-forwarded-for': '203.0.113.7',
        'x-real-ip': '203.0.113.7',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': 'evil.test',
        'x-forwarded-port': '1',
        forwarded: 'for=203.0.113.7',
      },
    });
    const arrived = backend.last();
    expect(arrived.all('x-forwarded-for')).toEqual(['127.0.0.2, 127.0.0.1']);
    expect(arrived.all('x-real-ip')).toEqual(['127.0.0.2']);
    expect(arrived.all('x-forwarded-proto')).toEqual(['https']);
    expect(arrived.all('x-forwarded-host')).toEqual([`127.0.0.1:${edge.port}`]);
    expect(JSON.stringify(arrived.rawHeaders)).not.toMatch(/203\.0\.113|evil/);
  });

  describe('one id stands in the answer, at the backend and in both logs', () => {
    test.each([
      ['the caller’s own', 'Caller_1:2@3/4+5=6.7-8', true],
      ['another one where the caller’s is too short', 'short', false],
      ['another one where the caller’s would not fit into a log', 'quote" and blank', false],
      ['another one where the caller’s is long', 'x'.repeat(129), false],
      ['one that nginx makes', undefined, false],
    ])('%s', async (_what, offered, isKept) => {
      const got = await askOnce(`${edge.url}/api/version`, {
        headers: offered === undefined ? {} : { 'x-request-id': offered },
      });
      const id = got.field('x-request-id') ?? '';
      expect(id).toMatch(isKept ? /^Caller_1/ : /^[0-9a-f]{32}$/);
      if (isKept) expect(id).toBe(offered);
      expect(backend.last().all('x-request-id')).toEqual([id]);
      expect(await edge.line(id)).toMatchObject({ path: '/api/version', status: '200', gate_status: '200' });
      const ofTheGate = { request_id: id, path: '/api/version' };
      await expect.poll(() => gate.lines).toContainEqual(expect.objectContaining(ofTheGate));
    });
  });

  test('a gate that is away is said in the caller’s words, and its return is noticed at once', async () => {
    const settings = { MODELGATE_UPSTREAM_URL: backend.origin, ...TRUSTING, MODELGATE_PORT: String(await freePort()) };
    const first = await startTestGate(settings);
    const other = await startEdge({ gate: first.url, binary });
    onTestFinished(() => other[Symbol.asyncDispose]());
    const ask = (headers: Record<string, string> = {}, body?: string) =>
      askOnce(`${other.url}/api/version`, { headers, ...(body === undefined ? {} : { body }) });
    expect((await ask()).status).toBe(200);
    await first[Symbol.asyncDispose]();

    for (const got of [await ask(), await ask({}, '{"model":"A"}')]) {
      expect([got.status, got.field('content-type'), got.field('retry-after')]).toEqual([502, 'application/json', '5']);
      expect(JSON.parse(got.body)).toEqual({ detail: expect.stringContaining('(nginx)') as unknown });
      expect(await other.line(got.field('x-request-id') ?? '')).toMatchObject({ status: '502' });
      expectEachOnce(got);
      for (const name of OF_THE_GATE) expect(got.field(name), name).toBeTruthy();
    }
    const page = await ask({ accept: 'text/html,application/xhtml+xml' });
    expect([page.status, page.field('content-type')]).toEqual([502, 'text/plain']);
    expect(page.body).toMatch(/^The service is being restarted/);
    expectEachOnce(page);

    await gateOfTest(settings);
    expect((await ask()).status).toBe(200);
  });
});

interface Case {
  readonly user?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}
