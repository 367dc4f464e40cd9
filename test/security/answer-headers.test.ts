/** What a backend that was broken into, or that is only odd, can do with the header lines of its answers. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type TestGate, gateOfTest, startTestGate } from '../support/gate/gate.ts';
import { type RawAnswer, rawRequest, requestText } from '../support/gate/raw-connection.ts';
import { AT_THE_EDGE } from '../support/gate/through-nginx.ts';
import { closing } from '../support/gate/transport.ts';
import { type ByteUpstream, startByteUpstream, startScriptedUpstream } from '../support/upstream/upstreams.ts';

const SECURE = { MODELGATE_TRUSTED_PROXIES: '127.0.0.1', WEBUI_SESSION_COOKIE_SECURE: 'true' };

/** One backend that answers what the test says, and a gate for each kind of settings. */
let upstream: ByteUpstream;
let answered = '';
const gates = new Map<string, TestGate>();
beforeAll(async () => {
  upstream = await startByteUpstream((socket) => void socket.end(Buffer.from(answered, 'latin1')));
  return async () => {
    for (const gate of gates.values()) await gate[Symbol.asyncDispose]();
    await upstream.close();
  };
});

/** What a client gets where the backend answers with exactly these lines. */
async function answerTo(lines: string, settings: Record<string, string> = SECURE, body = 'ok'): Promise<RawAnswer> {
  const framing = /transfer-encoding/i.test(lines) ? '' : `Content-Length: ${body.length}\r\n`;
  answered = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n${framing}${lines}\r\n\r\n${body}`;
  const key = JSON.stringify(settings);
  const gate = gates.get(key) ?? (await startTestGate({ MODELGATE_UPSTREAM_URL: upstream.origin, ...settings }));
  gates.set(key, gate);
  return rawRequest(gate.port, requestText('GET /'));
}

const valuesOf = ({ headers }: RawAnswer, name: string) =>
  headers.filter(([key]) => key === name).map(([, value]) => value);
const expectOurs = (answer: RawAnswer) => {
  expect(valuesOf(answer, 'x-frame-options')).toEqual(['SAMEORIGIN']);
  expect(valuesOf(answer, 'x-content-type-options')).toEqual(['nosniff']);
  expect(valuesOf(answer, 'referrer-policy')).toEqual(['strict-origin-when-cross-origin']);
};

describe('a value that would split the answer', () => {
  test.each([
    ['a bare line feed', 'X-Frame-Options: DENY\nX-Injected: 1'],
    ['a bare carriage return', 'X-Frame-Options: DENY\rX-Injected: 1'],
    ['a NUL', 'X-Frame-Options: DE\0NY'],
    ['a folded line', 'X-Frame-Options: DENY\r\n X-Injected: 1'],
    ['a name with a space', 'X-Frame-Options : DENY'],
    ['a carriage return in a cookie', 'Set-Cookie: token=a\rX-Injected: 1; Path=/'],
    ['a line feed in a cookie', 'Set-Cookie: token=a\nX-Injected: 1; Path=/'],
  ])('%s ends in no second header of the client', async (_what, line) => {
    const answer = await answerTo(line);
    expect(answer.headers.map(([name]) => name)).not.toContain('x-injected');
    expect(valuesOf(answer, 'x-frame-options').length).toBe(1);
    for (const [name, value] of answer.headers) expect(name + value).not.toMatch(/[\r\n\0]/);
    if (answer.status !== 200) {
      expect(answer.status).toBe(502);
      expectOurs(answer);
    }
  });
});

describe('protection cannot be taken away', () => {
  test.each([
    ['contradicting values', 'X-Frame-Options: ALLOWALL\r\nX-FRAME-OPTIONS: DENY'],
    ['empty ones', 'X-Frame-Options:\r\nx-content-type-options: \t\r\nReferrer-Policy:'],
    ['naming it in Connection', 'Connection: x-frame-options, x-content-type-options, referrer-policy'],
    ['naming its own in Connection', 'X-Frame-Options: ALLOWALL\r\nConnection: X-Frame-Options'],
    ['forty copies that differ', Array.from({ length: 40 }, (_, at) => `X-Frame-Options: ${at}`).join('\r\n')],
    ['names that only look alike', 'X-Frame-Options\u00e9: ALLOWALL'],
  ])('by %s', async (_what, lines) => expectOurs(await answerTo(lines)));

  test('by trailers', async () => {
    const body = '2\r\nok\r\n0\r\nX-Frame-Options: ALLOWALL\r\nSet-Cookie: token=evil\r\n\r\n';
    const answer = await answerTo('Transfer-Encoding: chunked\r\nTrailer: X-Frame-Options', SECURE, body);
    expectOurs(answer);
    expect(answer.body).toBe('ok');
    expect(valuesOf(answer, 'set-cookie')).toEqual([]);
  });

  test('by a policy added to another one: both hold', async () => {
    const lines = "Content-Security-Policy: default-src 'none'\r\nCONTENT-SECURITY-POLICY: default-src *";
    expect(valuesOf(await answerTo(lines), 'content-security-policy')).toEqual(["default-src 'none', default-src *"]);
  });

  test('by asking for something: what a request says stands in no answer', async () => {
    const plain = closing(await startScriptedUpstream('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
    const gate = await gateOfTest({ MODELGATE_UPSTREAM_URL: plain.origin });
    const headers = [
      'X-Frame-Options: ALLOWALL',
      'Content-Security-Policy: x',
      'X-Forwarded-Proto: https',
      'Server: a',
    ];
    const answer = await rawRequest(gate.port, requestText('GET /', headers));
    expectOurs(answer);
    for (const name of ['content-security-policy', 'strict-transport-security'])
      expect(valuesOf(answer, name)).toEqual([]);
    expect(valuesOf(answer, 'server')).toEqual(AT_THE_EDGE.server);
  });
});

test('names that every object has are names like any other', async () => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '__defineGetter__'];
  const lines = names.flatMap((name) => [`${name}: 1`, `${name.toUpperCase()}: 2`]);
  const answer = await answerTo(lines.join('\r\n'));
  expectOurs(answer);
  for (const name of names) expect(valuesOf(answer, name.toLowerCase())).toEqual(['1', '2']);
});

test('what is left with a provider, which says what others do, is not told', async () => {
  const shared = ['X-RateLimit-Remaining-Requests', 'x-ratelimit-limit-tokens', 'X-RateLimit-Reset-Tokens'];
  const anthropic = ['anthropic-ratelimit-tokens-remaining', 'Anthropic-RateLimit-Input-Tokens-Reset'];
  const lines = [...shared, ...anthropic, 'RateLimit', 'RateLimit-Policy'].map((name) => `${name}: 7`);
  const { status, headers } = await answerTo(lines.join('\r\n'));
  expect(status).toBe(200);
  expect(headers.filter(([, value]) => value === '7')).toEqual([]);
});

describe('cookies that look protected', () => {
  test.each([
    ['Secure in its value', 'token=Secure; Path=/', 'token=Secure; Path=/; Secure'],
    ['Secure in quotes', 'token="a; b=Secure"', 'token="a; b=Secure"; Secure'],
    ['a name in other letters', 'TOKEN=a', 'TOKEN=a'],
    ['a prefix', '__Host-token=a; Path=/', '__Host-token=a; Path=/'],
    ['Secure twice', 'token=a; Secure; secure', 'token=a; Secure; secure'],
    ['Secure that says false', 'token=a; Secure=false', 'token=a; Secure=false'],
    ['an attribute that ends in secure', 'token=a; insecure', 'token=a; insecure; Secure'],
    ['two in one line', 'token=a, oauth_id_token=b', 'token=a, oauth_id_token=b; Secure'],
    ['SameSite twice', 'token=a; SameSite=None; SameSite=Lax', 'token=a; SameSite=strict; Secure'],
    ['no name', '=token', '=token'],
    ['blanks around its name', '\t token =a', 'token =a; Secure'],
    ['Latin-1', 'token=\u00e9\u00ff; Path=/', 'token=\u00e9\u00ff; Path=/; Secure'],
  ])('%s', async (_what, line, expected) => {
    const sameSite = /samesite/i.test(line) ? { WEBUI_SESSION_COOKIE_SAME_SITE: 'strict' } : {};
    const answer = await answerTo(`Set-Cookie: ${line}`, { ...SECURE, ...sameSite });
    expect(valuesOf(answer, 'set-cookie')).toEqual([expected]);
  });

  test('thirty of them stay thirty lines, in their order', async () => {
    const lines = Array.from({ length: 30 }, (_, at) => `oauth_${at}=a,b; Path=/`);
    const answer = await answerTo(
      lines.map((line, at) => `${at % 2 ? 'Set-Cookie' : 'SET-COOKIE'}: ${line}`).join('\r\n'),
    );
    expect(valuesOf(answer, 'set-cookie')).toEqual(lines.map((line) => `${line}; Secure`));
  });
});
