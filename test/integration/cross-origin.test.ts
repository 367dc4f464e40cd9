/**
 * What a page of another origin can read: each answer of the gate's own carries what the backend's would (Starlette's CORS
 * middleware with credentials, as 0.6.18 and 0.12.4 set it up), and preflights are the backend's.
 */
import type { RequestListener } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { chat } from '../support/gate/attacks.ts';
import { type TestGate, gateOfSuite, gateOfTest } from '../support/gate/gate.ts';
import { type ClientAnswer, type ClientRequest, askOnce } from '../support/gate/https-client.ts';
import { rawRequest } from '../support/gate/raw-connection.ts';
import { closing } from '../support/gate/transport.ts';
import { startRecordingUpstream } from '../support/upstream/upstreams.ts';

const PAGE = 'https://intranet.acme.test';
const CHAT = '/api/chat/completions';
const READABLE = [
  'x-request-id',
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'retry-after',
];

async function gateWith(settings: Record<string, string> = {}, backend?: RequestListener) {
  const upstream = backend === undefined ? undefined : closing(await startRecordingUpstream(backend));
  const target = upstream === undefined ? {} : { MODELGATE_UPSTREAM_URL: upstream.origin };
  const gate = await gateOfTest({ ...target, ...settings });
  return { gate, upstream };
}

/** As a browser asks for a page of `origin`, with its session. */
async function ask(gate: TestGate, user: string | undefined, path: string, init: ClientRequest = {}, origin = PAGE) {
  const session = user === undefined ? {} : { authorization: `Bearer ${await gate.token(user)}` };
  return askOnce(`${gate.url}${path}`, { ...init, headers: { origin, ...session, ...init.headers } });
}

const post = (body: object): ClientRequest => ({ body: JSON.stringify(body) });
const listOf = (answer: Pick<ClientAnswer, 'field'>, name: string) =>
  (answer.field(name) ?? '').split(',').map((item) => item.trim().toLowerCase());

function expectReadable(answer: Pick<ClientAnswer, 'field' | 'headers'>, origin = PAGE): void {
  expect(answer.field('access-control-allow-origin')).toBe(origin);
  expect(answer.field('access-control-allow-credentials')).toBe('true');
  expect(listOf(answer, 'vary')).toContain('origin');
  expect(listOf(answer, 'access-control-expose-headers')).toEqual(expect.arrayContaining(READABLE));
  const names = answer.headers.map(([name]) => name).filter((name) => name.startsWith('access-control-'));
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
}

const DENIED: readonly (readonly [
  name: string,
  status: number,
  user: string | undefined,
  path: string,
  ClientRequest,
])[] = [
  ['no user', 401, undefined, CHAT, post(chat('A'))],
  ['a forged session', 401, undefined, '/api/models', { headers: { authorization: 'Bearer forged' } }],
  ['a model of others', 403, 'ann', CHAT, post(chat('F'))],
  ['a model of others, in OpenAI’s words', 403, 'ann', '/openai/chat/completions', post(chat('F'))],
  ['a model of others, in Ollama’s words', 403, 'ann', '/ollama/api/chat', post(chat('F'))],
  ['a model of others, in Anthropic’s words', 403, 'ann', '/api/v1/messages', post(chat('F'))],
  ['an unknown endpoint', 403, 'ann', '/openai/unknown', post({})],
  ['no model', 400, 'ann', CHAT, post({})],
  ['an ambiguous path', 400, 'ann', '/x/..%2fapi/models', {}],
  ['a Host of two', 400, 'ann', '/api/models', { headers: { connection: 'x-hop' } }],
  ['a method that is not served', 405, 'ann', '/api/models', { method: 'TRACE' }],
  ['a body beyond the limit', 413, 'ann', CHAT, { body: ' '.repeat(2_000) }],
  ['an expectation', 417, 'ann', CHAT, { ...post({}), headers: { expect: 'tea' } }],
  [
    'a hundred fields',
    431,
    'ann',
    '/api/models',
    { headers: Object.fromEntries(Array.from({ length: 101 }, (_value, index) => [`x-${index}`, 'a'])) },
  ],
];

describe('by default every page can read', () => {
  const refusing = gateOfSuite({ MODELGATE_MAX_BODY: '1KB' });
  test.each(DENIED)('the refusal of %s', async (_name, status, user, path, init) => {
    const answer = await ask(refusing, user, path, init);
    expect(answer.status, answer.body).toBe(status);
    expectReadable(answer);
  });

  test('the refusal of a model that is hidden', async () => {
    const { gate } = await gateWith({ MODELGATE_DENIAL: 'hide' });
    const answer = await ask(gate, 'ann', CHAT, post(chat('F')));
    expect(answer.status).toBe(404);
    expectReadable(answer);
  });

  test.each(['0.9', '2.0'])('the refusal of HTTP/%s', async (version) => {
    const { gate } = await gateWith();
    const answer = await rawRequest(gate.port, `GET / HTTP/${version}\r\nHost: a\r\nOrigin: ${PAGE}\r\n\r\n`);
    expect(answer.status).toBe(505);
    expectReadable(answer);
  });

  test('what is left of a limit, and when to come again', async () => {
    const { gate } = await gateWith({
      MODELGATE_LIMIT_USER: '1/1h:0',
      MODELGATE_LIMIT_CHAT: 'off',
      MODELGATE_LIMIT_CONCURRENT_CHATS: 'off',
    });
    await ask(gate, 'ann', '/api/v1/chats/');
    const limited = await ask(gate, 'ann', '/api/v1/chats/');
    expect(limited.status).toBe(429);
    for (const name of READABLE) expect(limited.field(name), name).toBeTruthy();
    expectReadable(limited);
  });

  test('that too many run at once', async () => {
    const waiting: (() => void)[] = [];
    const { gate, upstream } = await gateWith({ MODELGATE_LIMIT_CONCURRENT_CHATS: '1' }, (_incoming, outgoing) => {
      waiting.push(() => void outgoing.end('{}'));
    });
    const first = ask(gate, 'ann', CHAT, post(chat('A')));
    await expect.poll(() => upstream?.requests.length).toBe(1);
    const second = await ask(gate, 'ann', CHAT, post(chat('A')));
    expect(second.status).toBe(429);
    waiting[0]?.();
    await first;
    expectReadable(second);
  });

  test('that the backend is away, is late, or speaks no HTTP', async () => {
    const { gate: away } = await gateWith({ MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9' });
    const { gate: late } = await gateWith({ MODELGATE_RESPONSE_TIMEOUT: '200ms' }, () => undefined);
    const { gate: broken } = await gateWith({}, ({ socket }) => void socket.end('HTTP/9.9 what\r\n\r\n'));
    for (const [gate, status] of [
      [away, 502],
      [late, 504],
      [broken, 502],
    ] as const) {
      const answer = await ask(gate, 'ann', '/api/version');
      expect(answer.status).toBe(status);
      expectReadable(answer);
    }
  });

  test('that policy cannot be read', async () => {
    const { gate } = await gateWith({ MODELGATE_POLICY_MAX_STALE: '0s' });
    gate.database.sql.exec('BEGIN EXCLUSIVE');
    onTestFinished(() => void (gate.database.sql.inTransaction && gate.database.sql.exec('COMMIT')));
    const answer = await ask(gate, 'ann', '/api/models');
    expect(answer.status).toBe(503);
    expectReadable(answer);
    gate.database.sql.exec('COMMIT');
  });

  test('what is no request at all, where it can be read without credentials', async () => {
    const { gate } = await gateWith();
    for (const [bytes, status] of [
      [`GET / HTTP/1.1\r\nHost: a\r\nOrigin: ${PAGE}\r\nCookie: a=${'a'.repeat(70_000)}\r\n\r\n`, 431],
      [`GET / HTTP/3.0\r\nHost: a\r\nOrigin: ${PAGE}\r\n\r\n`, 400],
    ] as const) {
      const answer = await rawRequest(gate.port, bytes);
      expect(answer.status).toBe(status);
      expect(answer.field('access-control-allow-origin')).toBe('*');
      expect(answer.field('access-control-allow-credentials')).toBeUndefined();
    }
  });
});

describe('with CORS_ALLOW_ORIGIN', () => {
  const LISTED = { CORS_ALLOW_ORIGIN: `https://wiki.acme.test;${PAGE}` };

  test('a page of the list can read refusals, another one cannot', async () => {
    const { gate } = await gateWith(LISTED);
    for (const origin of [PAGE, 'https://wiki.acme.test']) {
      const answer = await ask(gate, 'ann', CHAT, post(chat('F')), origin);
      expect(answer.status).toBe(403);
      expectReadable(answer, origin);
    }
    for (const origin of ['https://evil.test', 'http://intranet.acme.test', `${PAGE}.evil.test`, 'null']) {
      const answer = await ask(gate, 'ann', CHAT, post(chat('F')), origin);
      expect(answer.status).toBe(403);
      expect(answer.headers.filter(([name]) => name.startsWith('access-control-'))).toEqual([]);
      expect(answer.field('vary')).toBe('origin');
    }
  });

  test('adds nothing to what is no request, nor to a request without an origin', async () => {
    const { gate } = await gateWith(LISTED);
    const broken = await rawRequest(gate.port, 'GET / HTTP/3.0\r\n\r\n');
    const plain = await gate.ask('ann', CHAT, chat('F'));
    expect([broken.status, broken.field('access-control-allow-origin')]).toEqual([400, undefined]);
    expect([plain.status, plain.headers.get('access-control-allow-origin'), plain.headers.get('vary')]).toEqual([
      403,
      null,
      null,
    ]);
  });
});

describe('answers of the backend', () => {
  /** What it allows depends on the path, as its middleware would make it depend on the origin. */
  const backend: RequestListener = ({ url = '', method, headers }, outgoing) => {
    if (method === 'OPTIONS') {
      outgoing.writeHead(200, {
        'access-control-allow-origin': headers.origin,
        'access-control-allow-methods': 'GET, POST',
      });
      outgoing.end('OK');
      return;
    }
    if (url.includes('allowed')) outgoing.setHeader('access-control-allow-origin', headers.origin ?? '*');
    if (url.includes('exposing')) outgoing.setHeader('Access-Control-Expose-Headers', 'X-Of-The-Backend');
    outgoing.end('{}');
  };

  test('can be read in what the gate adds, where the backend lets them be read', async () => {
    const { gate } = await gateWith({}, backend);
    const answer = await ask(gate, 'ann', '/api/v1/allowed');
    expect(answer.status).toBe(200);
    expect(answer.field('ratelimit')).toBeTruthy();
    expect(answer.field('access-control-allow-origin')).toBe(PAGE);
    expect(listOf(answer, 'access-control-expose-headers')).toEqual(READABLE);
  });

  test('keep what the backend exposes', async () => {
    const { gate } = await gateWith({}, backend);
    const answer = await ask(gate, 'ann', '/api/v1/allowed/exposing');
    expect(listOf(answer, 'access-control-expose-headers')).toEqual(['x-of-the-backend', ...READABLE]);
    expect(answer.headers.filter(([name]) => name === 'access-control-expose-headers')).toHaveLength(1);
  });

  test('stay unreadable where the backend says nothing, whatever the gate’s own setting', async () => {
    const { gate } = await gateWith({}, backend);
    const answer = await ask(gate, 'ann', '/api/v1/silent');
    expect(answer.status).toBe(200);
    expect(answer.headers.filter(([name]) => name.startsWith('access-control-'))).toEqual([]);
  });

  test('to a request without an origin stay as they are', async () => {
    const { gate } = await gateWith({}, backend);
    const answer = await gate.ask('ann', '/api/v1/allowed');
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('access-control-expose-headers')).toBeNull();
  });

  test.each([
    CHAT,
    '/api/models',
    '/openai/chat/completions',
    '/openai/unknown',
    '/ollama/api/chat',
    '/api/v1/messages',
  ])('to a preflight of %s are the backend’s alone', async (path) => {
    const { gate, upstream } = await gateWith({ CORS_ALLOW_ORIGIN: 'https://wiki.acme.test' }, backend);
    const headers = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' };
    const answer = await ask(gate, undefined, path, { method: 'OPTIONS', headers });
    expect([answer.status, answer.body]).toEqual([200, 'OK']);
    expect(answer.headers.filter(([name]) => name.startsWith('access-control-'))).toEqual([
      ['access-control-allow-origin', PAGE],
      ['access-control-allow-methods', 'GET, POST'],
    ]);
    expect(upstream?.last().all('origin')).toEqual([PAGE]);
  });
});
