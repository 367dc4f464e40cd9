import { describe, expect, test } from 'vitest';
import { GatewayError } from '../../../src/errors.ts';
import { connectionOptions, responseLines, rewrittenLines } from '../../../src/transport/headers.ts';
import { type RequestFacts, linesOf } from '../../support/gate/request-lines.ts';

const FACTS: RequestFacts = {
  rawHeaders: [],
  method: 'GET',
  httpVersion: '1.1',
  peer: { address: '9.9.9.9', trusted: false, encrypted: false },
  edit: { remove: new Set(), add: [] },
  via: 'gate-1',
  streamed: false,
  rewritten: false,
};

function sent(rawHeaders: readonly string[], facts: Partial<RequestFacts> = {}): [string, string][] {
  return pairs(linesOf({ ...FACTS, ...facts, rawHeaders }));
}

function pairs(lines: readonly string[]): [string, string][] {
  const result: [string, string][] = [];
  for (let index = 0; index < lines.length; index += 2) result.push([lines[index] ?? '', lines[index + 1] ?? '']);
  return result;
}

function valuesOf(lines: readonly [string, string][], name: string): string[] {
  return lines.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

describe('request lines', () => {
  test('are exactly these for a plain request', () => {
    expect(sent(['Host', 'a.test', 'Accept', '*/*', 'X-Twice', '1', 'X-Twice', '2'])).toEqual([
      ['Host', 'a.test'],
      ['Accept', '*/*'],
      ['X-Twice', '1'],
      ['X-Twice', '2'],
      ['x-forwarded-for', '9.9.9.9'],
      ['x-forwarded-proto', 'http'],
      ['x-forwarded-host', 'a.test'],
      ['via', '1.1 gate-1'],
      ['x-request-id', 'the-id'],
    ]);
  });

  test.each([
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'Proxy-Anything',
    'TE',
    'Trailer',
    'Transfer-Encoding',
    'Upgrade',
    'HTTP2-Settings',
    'Expect',
    'X_Real_Ip',
  ])('drop %s in any letter case', (name) => {
    for (const spelled of [name, name.toLowerCase(), name.toUpperCase()]) {
      expect(valuesOf(sent(['Host', 'a', spelled, 'x']), name.toLowerCase())).toEqual([]);
    }
  });

  test('drop what any of several Connection fields nominates', () => {
    const lines = sent(['X-A', '1', 'Connection', 'close, x-A', 'X-B', '2', 'connection', ' ,X-b,', 'X-C', '3']);
    expect(lines.map(([name]) => name)).not.toContain('X-A');
    expect(lines.map(([name]) => name)).not.toContain('X-B');
    expect(valuesOf(lines, 'x-c')).toEqual(['3']);
  });

  test('state our own fields even where a client nominates them', () => {
    const lines = sent(['Connection', 'x-forwarded-for, via, x-request-id', 'Host', 'a']);
    expect(valuesOf(lines, 'x-forwarded-for')).toEqual(['9.9.9.9']);
    expect(valuesOf(lines, 'via')).toEqual(['1.1 gate-1']);
    expect(valuesOf(lines, 'x-request-id')).toEqual(['the-id']);
  });

  test('apply the edit: every copy removed, then its lines added', () => {
    const lines = sent(['Cookie', 'a', 'COOKIE', 'b', 'X-Api-Key', 'k'], {
      edit: { remove: new Set(['cookie', 'x-api-key']), add: ['cookie', 'token=judged'] },
    });
    expect(valuesOf(lines, 'cookie')).toEqual(['token=judged']);
    expect(valuesOf(lines, 'x-api-key')).toEqual([]);
  });

  test('have a Content-Length only where the body streams', () => {
    expect(valuesOf(sent(['Content-Length', '5']), 'content-length')).toEqual([]);
    expect(valuesOf(sent(['Content-Length', '5'], { streamed: true }), 'content-length')).toEqual(['5']);
  });

  test('ask for a whole uncoded answer where it will be rewritten, and only there', () => {
    const asked = ['Accept-Encoding', 'gzip', 'Range', 'bytes=0-1', 'If-None-Match', '"a"', 'If-Modified-Since', 'x'];
    const rewritten = sent(asked, { rewritten: true });
    expect(valuesOf(rewritten, 'accept-encoding')).toEqual(['identity']);
    for (const name of ['range', 'if-none-match', 'if-modified-since']) expect(valuesOf(rewritten, name)).toEqual([]);
    expect(sent(asked).slice(0, 4)).toEqual(pairs(asked));
  });

  test('refuse a loop by our own name, not by one that looks like it', () => {
    expect(() => sent(['Via', '1.1 other', 'Via', '1.0  gate-1 (comment)'])).toThrow(GatewayError);
    expect(valuesOf(sent(['Via', '1.1 gate-11, 1.1 xgate-1']), 'via')).toEqual([
      '1.1 gate-11, 1.1 xgate-1, 1.1 gate-1',
    ]);
  });

  test('believe a trusted proxy, but not a scheme that is none', () => {
    const peer = { address: '10.0.0.1', trusted: true, encrypted: false };
    const lines = sent(
      ['Host', 'in', 'X-Forwarded-For', '1.1.1.1', 'X-Forwarded-Proto', 'gopher', 'X-Forwarded-Prefix', '/p'],
      { peer },
    );
    expect(valuesOf(lines, 'x-forwarded-for')).toEqual(['1.1.1.1, 10.0.0.1']);
    expect(valuesOf(lines, 'x-forwarded-proto')).toEqual(['http']);
    expect(valuesOf(lines, 'x-forwarded-host')).toEqual(['in']);
    expect(valuesOf(lines, 'x-forwarded-prefix')).toEqual(['/p']);
  });

  test.each([
    ['https, http', 'https'],
    ['https,http', 'https'],
    ['http, https', 'http'],
    ['gopher, https', 'http'],
  ])('of several schemes, "%s", tell the one nearest to the client: %s', (said, expected) => {
    const peer = { address: '10.0.0.1', trusted: true, encrypted: false };
    expect(valuesOf(sent(['X-Forwarded-Proto', said], { peer }), 'x-forwarded-proto')).toEqual([expected]);
  });

  test('bracket an IPv6 peer in Forwarded (RFC 7239 6)', () => {
    const lines = sent(['Forwarded', 'for=a'], { peer: { address: 'fd00::1', trusted: true, encrypted: true } });
    expect(valuesOf(lines, 'forwarded')).toEqual(['for=a, for="[fd00::1]"']);
    expect(valuesOf(lines, 'x-forwarded-proto')).toEqual(['https']);
  });

  test('count Max-Forwards down for OPTIONS only, and leave nonsense alone', () => {
    expect(valuesOf(sent(['Max-Forwards', '10'], { method: 'OPTIONS' }), 'max-forwards')).toEqual(['9']);
    expect(valuesOf(sent(['Max-Forwards', '10']), 'max-forwards')).toEqual(['10']);
    expect(valuesOf(sent(['Max-Forwards', 'x'], { method: 'OPTIONS' }), 'max-forwards')).toEqual(['x']);
  });

  test('do not touch the list they are made from', () => {
    const raw = Object.freeze(['Host', 'a', 'Connection', 'x-a', 'X-A', '1']);
    expect(() => sent(raw)).not.toThrow();
  });
});

describe('response lines', () => {
  test('have names in lower case, as they are read, and each value of a name in its order', () => {
    const received = { 'set-cookie': ['a', 'b'], x: 'caf\xe9' };
    expect(responseLines(received, 200, 'id')).toEqual([
      ...['set-cookie', 'a', 'set-cookie', 'b'],
      ...['x', 'caf\xe9', 'x-request-id', 'id'],
    ]);
  });

  test('drop what is for one connection, and what it nominates', () => {
    const received = { connection: 'close, X-Hop', 'x-hop': '1', 'proxy-authenticate': 'x', trailer: 'x', te: 'x' };
    expect(responseLines(received, 200, 'id')).toEqual(['x-request-id', 'id']);
  });

  test('have no Content-Length for 204, and keep it for 304', () => {
    expect(responseLines({ 'content-length': '3' }, 204, 'id')).toEqual(['x-request-id', 'id']);
    expect(responseLines({ 'content-length': '3' }, 304, 'id')).toContain('content-length');
  });
});

test('rewritten lines have the new length and nothing that was true of the old body', () => {
  const lines = ['etag', '"a"', 'content-length', '9', 'content-md5', 'x', 'cache-control', 'public', 'x', 'y'];
  expect(rewrittenLines(lines, 200, 4)).toEqual([
    'x',
    'y',
    'content-length',
    '4',
    'cache-control',
    'private, no-store',
  ]);
  expect(rewrittenLines(['X', 'y'], 204, 0)).toEqual(['X', 'y', 'cache-control', 'private, no-store']);
});

test('connection options are a list, never a string', () => {
  expect(connectionOptions(' Keep-Alive ,, upgrade\t')).toEqual(['keep-alive', 'upgrade']);
  expect(connectionOptions('')).toEqual([]);
});
