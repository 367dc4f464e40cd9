import { describe, expect, test } from 'vitest';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { asksForWebSocket, findMalformation } from '../../../src/transport/answer.ts';

const find = (headers: readonly string[], target = '/x', method = 'GET', version = '1.1') =>
  findMalformation({ method, url: target, httpVersion: version, rawHeaders: [...headers] })?.code;

describe('a request', () => {
  test.each([
    ['a host name', ['Host', 'chat.example.org']],
    ['a port', ['Host', 'localhost:8080']],
    ['an underscore, as in Compose', ['Host', 'open_webui:8080']],
    ['an IPv6 address', ['Host', '[::1]:80']],
    ['options we serve', ['Host', 'a', 'Connection', 'Keep-Alive, Upgrade, TE, HTTP2-Settings', 'connection', 'close']],
    ['one length', ['Host', 'a', 'Content-Length', '0']],
    ['chunked', ['Host', 'a', 'Transfer-Encoding', 'CHUNKED']],
  ])('with %s is well formed', (_name, headers) => {
    expect(find(headers)).toBeUndefined();
  });

  test.each([
    ['no host', []],
    ['two hosts', ['Host', 'a', 'host', 'a']],
    ['an empty host', ['Host', '']],
    ['a bracketed name', ['Host', '[a]x']],
    ['a nominated field', ['Host', 'a', 'Connection', 'authorization']],
    ['a length of letters', ['Host', 'a', 'Content-Length', 'x']],
    ['a length beyond what a number holds', ['Host', 'a', 'Content-Length', '9'.repeat(16)]],
    ['a length twice', ['Host', 'a', 'Content-Length', '1', 'content-length', '1']],
    ['a length and a coding', ['Host', 'a', 'Content-Length', '1', 'Transfer-Encoding', 'chunked']],
    ['an empty coding', ['Host', 'a', 'Transfer-Encoding', '']],
    ['an obfuscated coding', ['Host', 'a', 'Transfer-Encoding', '\x0bchunked']],
  ])('with %s is malformed', (_name, headers) => {
    expect(find(headers)).toBe('request_malformed');
  });

  test('of HTTP/1.0 needs no host and has no coding', () => {
    expect(find([], '/x', 'GET', '1.0')).toBeUndefined();
    expect(find(['Transfer-Encoding', 'chunked'], '/x', 'POST', '1.0')).toBe('request_malformed');
  });

  test.each(['2.0', '0.9'])('of HTTP/%s is not served, whatever else is wrong with it', (version) => {
    expect(find(['Host', 'a'], '/x', 'GET', version)).toBe('version_not_supported');
    expect(find(['Transfer-Encoding', 'chunked'], '/x', 'POST', version)).toBe('version_not_supported');
    expect(find([], 'x', 'CONNECT', version)).toBe('version_not_supported');
  });

  test('has a path, or an asterisk for OPTIONS', () => {
    expect(find(['Host', 'a'], '*', 'OPTIONS')).toBeUndefined();
    for (const target of ['*', 'http://a/x', '', 'x', '?x'])
      expect(find(['Host', 'a'], target)).toBe('request_malformed');
  });

  test('is neither TRACE nor CONNECT', () => {
    expect(find(['Host', 'a'], '/x', 'TRACE')).toBe('method_not_allowed');
    expect(find(['Host', 'a'], 'a:443', 'CONNECT')).toBe('method_not_allowed');
  });

  test('has at most a hundred fields', () => {
    const fields = (count: number) => ['Host', 'a', ...Array.from({ length: (count - 1) * 2 }, () => 'x')];
    expect(find(fields(100))).toBeUndefined();
    expect(find(fields(101))).toBe('headers_too_large');
  });
});

/** As Node joins lines of one name. */
function incomingWith(headers: readonly string[]): IncomingMessage {
  const incoming = new IncomingMessage(new Socket());
  incoming.rawHeaders = [...headers];
  for (let at = 0; at < headers.length; at += 2) {
    const [name = '', value = ''] = [headers[at]?.toLowerCase(), headers[at + 1]];
    const before = incoming.headers[name];
    incoming.headers[name] = before === undefined ? value : `${String(before)}, ${value}`;
  }
  return incoming;
}

describe('an upgrade to WebSocket', () => {
  const asks = (headers: readonly string[], method = 'GET', version = '1.1') =>
    asksForWebSocket(Object.assign(incomingWith(headers), { method, httpVersion: version }));

  test('is GET with the two fields, in any letter case and company', () => {
    expect(asks(['Upgrade', 'WebSocket', 'Connection', 'keep-alive, UPGRADE'])).toBe(true);
  });

  test.each([
    ['another method', ['Upgrade', 'websocket', 'Connection', 'upgrade'], 'POST', '1.1'],
    ['HTTP/1.0', ['Upgrade', 'websocket', 'Connection', 'upgrade'], 'GET', '1.0'],
    ['another protocol', ['Upgrade', 'h2c', 'Connection', 'upgrade'], 'GET', '1.1'],
    ['a choice of protocols', ['Upgrade', 'websocket, h2c', 'Connection', 'upgrade'], 'GET', '1.1'],
    ['two protocols', ['Upgrade', 'websocket', 'Upgrade', 'h2c', 'Connection', 'upgrade'], 'GET', '1.1'],
    ['the protocol twice', ['Upgrade', 'websocket', 'Upgrade', 'websocket', 'Connection', 'upgrade'], 'GET', '1.1'],
    ['no Connection', ['Upgrade', 'websocket'], 'GET', '1.1'],
    ['a body', ['Upgrade', 'websocket', 'Connection', 'upgrade', 'Content-Length', '3'], 'GET', '1.1'],
    ['a chunked body', ['Upgrade', 'websocket', 'Connection', 'upgrade', 'Transfer-Encoding', 'chunked'], 'GET', '1.1'],
  ])('is not %s', (_name, headers, method, version) => {
    expect(asks(headers, method, version)).toBe(false);
  });
});
