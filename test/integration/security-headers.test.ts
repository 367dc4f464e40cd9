/** Security headers and cookies on real sockets: on every answer of gate and backend, and each of them once. */
import { createHash } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { gateOfTest } from '../support/gate/gate.ts';
import {
  type RawAnswer,
  openConnection,
  parseAnswer,
  rawRequest,
  requestText,
} from '../support/gate/raw-connection.ts';
import { EXPECTED, gateWith, securityOf } from '../support/gate/security-headers.ts';
import { closing } from '../support/gate/transport.ts';
import { listening } from '../support/upstream/upstreams.ts';
import { createServer } from 'node:http';

const TELLTALES = ['server', 'via', 'x-powered-by', 'x-process-time'];

function expectSecured(answer: RawAnswer, more: Record<string, string> = {}): void {
  expect(securityOf(answer)).toEqual({ ...EXPECTED, ...more });
  expect(answer.headers.map(([name]) => name).filter((name) => TELLTALES.includes(name))).toEqual([]);
}

const json = (line: string, headers: string[], body: object) => {
  const text = JSON.stringify(body);
  return requestText(line, ['Content-Type: application/json', `Content-Length: ${text.length}`, ...headers], text);
};
const upgrade = (path: string, headers: string[] = []) =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: gate.test',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
    '',
    '',
  ].join('\r\n');

describe('every answer carries them once', () => {
  test.each([
    ['passed on', 'GET /', 200],
    ['to HEAD', 'HEAD /', 200],
    ['without a body', 'DELETE /api/v1/chats/1?status=204', 204],
    ['not modified', 'GET /static/a.js?status=304', 304],
    ['redirected', 'GET /oauth/x/login?status=302', 302],
    ['not found there', 'GET /nothing?status=404', 404],
    ['failed there', 'GET /api/version?status=500', 500],
    ['an ambiguous path', 'GET /api/%2e%2e/config', 400],
    ['an encoded slash', 'GET /api%2fmodels', 400],
    ['models without a credential', 'POST /api/chat/completions', 401],
    ['a server-wide OPTIONS', 'OPTIONS *', 204],
    ['TRACE', 'TRACE /', 405],
    ['CONNECT', 'CONNECT backend:80', 405],
  ])('%s: %s', async (_what, line, status) => {
    const { port } = await gateWith();
    const answer = await rawRequest(port, requestText(line));
    expect(answer.status).toBe(status);
    expectSecured(answer);
  });

  test.each([
    ['two Host fields', requestText('GET /', ['Host: other.test']), 400],
    ['an expectation', requestText('GET /', ['Expect: a-miracle']), 417],
    ['a head too large', requestText('GET /', [`X-Long: ${'x'.repeat(70_000)}`]), 431],
    ['no HTTP at all', 'HELLO\r\n\r\n', 400],
    [
      'a body with two lengths',
      requestText('POST /', ['Content-Length: 1', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
      400,
    ],
  ])('%s', async (_what, bytes, status) => {
    const { port } = await gateWith();
    const answer = await rawRequest(port, bytes);
    expect(answer.status).toBe(status);
    expectSecured(answer);
  });

  test('a refused chat, and a body too large to be judged', async () => {
    const { gate, port } = await gateWith({ MODELGATE_MAX_BODY: '1KB' });
    const chat = (content: string) => ({ model: 'F', messages: [{ role: 'user', content }] });
    const line = 'POST /openai/chat/completions';
    const refused = await rawRequest(port, json(line, [await gate.authorization('ann')], chat('Who?')));
    expect(refused.status).toBe(403);
    expectSecured(refused);
    const large = await rawRequest(port, json(line, [await gate.authorization('ann')], chat('x'.repeat(2_000))));
    expect(large.status).toBe(413);
    expectSecured(large);
  });

  test('a list that was rewritten', async () => {
    const gate = await gateOfTest();
    const answer = await rawRequest(gate.port, requestText('GET /api/models', [await gate.authorization('ann')]));
    expect(JSON.parse(answer.body)).toMatchObject({ data: [{ id: 'A' }, { id: 'acme/one' }] });
    expectSecured(answer);
  });

  test('a backend that is away, and one that speaks no HTTP', async () => {
    const { port, upstream } = await gateWith(
      {},
      (_incoming, outgoing) => void outgoing.socket?.end('nonsense\r\n\r\n'),
    );
    const invalid = await rawRequest(port, requestText('GET /'));
    expect(invalid.status).toBe(502);
    expectSecured(invalid);
    await upstream.close();
    const away = await rawRequest(port, requestText('GET /'));
    expect(away.status).toBe(502);
    expectSecured(away);
  });

  test('an upgrade that we refuse, one that the backend refuses, and one in its wrong place', async () => {
    const { port } = await gateWith();
    const ours = await rawRequest(port, upgrade('/ws/%2e%2e/socket.io/?transport=websocket'));
    expect(ours.status).toBe(400);
    expectSecured(ours);
    const theirs = await rawRequest(port, upgrade('/ws/socket.io/?transport=websocket&status=403'));
    expect(theirs.status).toBe(403);
    expectSecured(theirs);
    const elsewhere = await rawRequest(port, upgrade('/api/version'));
    expect(elsewhere.status).toBe(200);
    expectSecured(elsewhere);
  });

  test('a stream', async () => {
    const { port } = await gateWith({}, (_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/event-stream', 'x-powered-by': 'Express' });
      outgoing.write('data: 1\n\n');
      outgoing.end('data: 2\n\n');
    });
    const answer = await rawRequest(port, requestText('GET /api/v1/events'));
    expect(answer.body).toBe('data: 1\n\ndata: 2\n\n');
    expectSecured(answer);
  });

  test('without a gate that judges, too', async () => {
    const { port } = await gateWith({ BYPASS_MODEL_ACCESS_CONTROL: 'true' });
    expectSecured(await rawRequest(port, requestText('GET /')));
  });
});

test('a 101 has none: it shows nothing; but it does not tell of the backend, and its cookies obey', async () => {
  const server = createServer();
  server.on('upgrade', (incoming, socket) => {
    const accept = createHash('sha1')
      .update(`${incoming.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.end(
      [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${accept}`,
        'Server: uvicorn',
        'Set-Cookie: token=a; Path=/',
        '',
        '',
      ].join('\r\n'),
    );
  });
  const port = await listening(server);
  onTestFinished(() => void server.close());
  const { port: gatePort } = await gateWith({
    MODELGATE_UPSTREAM_URL: `http://127.0.0.1:${port}`,
    MODELGATE_TRUSTED_PROXIES: '127.0.0.1',
    WEBUI_SESSION_COOKIE_SECURE: 'true',
  });
  const connection = closing(await openConnection(gatePort));
  connection.send(upgrade('/ws/socket.io/?transport=websocket'));
  const answer = parseAnswer(await connection.receives('\r\n\r\n'));
  expect(answer.status).toBe(101);
  expect(securityOf(answer)).toEqual({});
  expect(answer.field('server')).toBeUndefined();
  expect(answer.field('set-cookie')).toBe('token=a; Path=/; Secure');
});

describe('Strict-Transport-Security', () => {
  const NAME = 'strict-transport-security';
  const DEFAULT = 'max-age=31536000';

  test('is sent where a trusted proxy says https, on refusals too', async () => {
    const { port } = await gateWith({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' });
    for (const line of ['GET /', 'POST /api/chat/completions', 'GET /api%2fmodels']) {
      expectSecured(await rawRequest(port, requestText(line, ['X-Forwarded-Proto: https'])), { [NAME]: DEFAULT });
    }
  });

  test.each<[string, string[], Record<string, string>]>([
    ['http', ['X-Forwarded-Proto: http'], { MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' }],
    ['nothing', [], { MODELGATE_TRUSTED_PROXIES: '127.0.0.1/32' }],
    ['https, but no proxy is trusted', ['X-Forwarded-Proto: https'], {}],
    ['https, but another proxy is trusted', ['X-Forwarded-Proto: https'], { MODELGATE_TRUSTED_PROXIES: '10.0.0.0/8' }],
    [
      'https to another proxy',
      ['X-Forwarded-Proto: http', 'X-Forwarded-Proto: https'],
      { MODELGATE_TRUSTED_PROXIES: '127.0.0.1' },
    ],
  ])('is not where the proxy says %s', async (_what, headers, settings) => {
    const { port } = await gateWith(settings);
    expectSecured(await rawRequest(port, requestText('GET /', headers)));
  });

  test('of the backend is dropped over http, and is left alone where the scheme is unknown', async () => {
    const own = 'X-Answer: Strict-Transport-Security:max-age=1';
    const told = await gateWith({ MODELGATE_TRUSTED_PROXIES: '127.0.0.1' });
    expectSecured(await rawRequest(told.port, requestText('GET /', [own])));
    expectSecured(await rawRequest(told.port, requestText('GET /', [own, 'X-Forwarded-Proto: https'])), {
      [NAME]: 'max-age=1',
    });
    const untold = await gateWith();
    expectSecured(await rawRequest(untold.port, requestText('GET /', [own])), { [NAME]: 'max-age=1' });
  });
});

describe("the backend's own", () => {
  const own =
    'X-Answer: X-Frame-Options:DENY|x-frame-options:DENY|CONTENT-SECURITY-POLICY:sandbox|content-security-policy:img-src *';
  const csp = { 'content-security-policy': 'sandbox, img-src *' };

  test('wins, once', async () => {
    const { port } = await gateWith();
    expectSecured(await rawRequest(port, requestText('GET /', [own])), { 'x-frame-options': 'DENY', ...csp });
  });

  test('is replaced where the operator says so, and only where there is something to replace it', async () => {
    const { port } = await gateWith({ MODELGATE_HEADERS_BACKEND: 'replaced' });
    expectSecured(await rawRequest(port, requestText('GET /', [own])), csp);
  });

  test('goes where a header is off', async () => {
    const { port } = await gateWith({
      MODELGATE_HEADERS_FRAME_OPTIONS: 'off',
      MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: 'off',
    });
    const { 'x-frame-options': _, ...others } = EXPECTED;
    expect(securityOf(await rawRequest(port, requestText('GET /', [own])))).toEqual(others);
  });
});

test('what the frame of the Python interpreter loads may be loaded by it', async () => {
  const { port } = await gateWith();
  expectSecured(await rawRequest(port, requestText('GET /pyodide/pyodide.js')), {
    'cross-origin-resource-policy': 'cross-origin',
  });
});

describe('cookies', () => {
  const lines = [
    'token=ey.a,b; HttpOnly; Max-Age=60; Path=/; SameSite=lax',
    'owui-session=x; path=/; httponly; samesite=lax',
    'oauth_id_token=i; HttpOnly; Path=/; SameSite=lax; Secure',
    'route=r; Path=/',
    'token=""; Max-Age=0; Path=/; SameSite=lax',
  ];
  const own = `X-Answer: ${lines.map((line) => `Set-Cookie:${line}`).join('|')}`;
  const cookiesOf = ({ headers }: RawAnswer) =>
    headers.filter(([name]) => name === 'set-cookie').map(([, value]) => value);

  test('pass byte for byte, one line each, where nothing is asked for', async () => {
    const { port } = await gateWith();
    expect(cookiesOf(await rawRequest(port, requestText('GET /', [own])))).toEqual(lines);
  });

  test("obey the backend's own settings, also where the backend was not told", async () => {
    const { port } = await gateWith({
      MODELGATE_TRUSTED_PROXIES: '127.0.0.1',
      WEBUI_SESSION_COOKIE_SECURE: 'true',
      WEBUI_SESSION_COOKIE_SAME_SITE: 'lax',
      WEBUI_AUTH_COOKIE_SAME_SITE: 'strict',
    });
    expect(cookiesOf(await rawRequest(port, requestText('GET /', [own])))).toEqual([
      'token=ey.a,b; HttpOnly; Max-Age=60; Path=/; SameSite=strict; Secure',
      'owui-session=x; path=/; httponly; samesite=lax; Secure',
      'oauth_id_token=i; HttpOnly; Path=/; SameSite=strict; Secure',
      'route=r; Path=/',
      'token=""; Max-Age=0; Path=/; SameSite=strict; Secure',
    ]);
  });
});
