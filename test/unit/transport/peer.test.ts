import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { cameByHttps, createClientAddress, createPeerLookup } from '../../../src/transport/client.ts';

const TRUSTED = [
  { address: '10.0.0.0', prefix: 8, family: 'ipv4' as const },
  { address: 'fd00::', prefix: 8, family: 'ipv6' as const },
];

function socketFrom(address: string | undefined): Socket {
  return Object.defineProperty(new Socket(), 'remoteAddress', { value: address });
}

function requestFrom(address: string, forwardedFor?: string): IncomingMessage {
  const headers = forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor };
  // Only what the function reads: building a whole request needs a connection.
  return { socket: socketFrom(address), headers } as unknown as IncomingMessage;
}

describe('a peer', () => {
  test.each([
    ['10.1.2.3', '10.1.2.3', true],
    ['::ffff:10.1.2.3', '10.1.2.3', true],
    ['11.1.2.3', '11.1.2.3', false],
    ['::ffff:11.1.2.3', '11.1.2.3', false],
    ['fd00::5', 'fd00::5', true],
    ['fe80::5', 'fe80::5', false],
    [undefined, 'unknown', false],
  ])('at %s is %s, trusted: %s', (remote, address, trusted) => {
    expect(createPeerLookup(TRUSTED)(socketFrom(remote))).toEqual({ address, trusted, encrypted: false });
  });

  test('is decided once per connection', () => {
    const peerOf = createPeerLookup(TRUSTED);
    const socket = socketFrom('10.0.0.1');
    expect(peerOf(socket)).toBe(peerOf(socket));
  });

  test('is not trusted without a list', () => {
    expect(createPeerLookup([])(socketFrom('127.0.0.1')).trusted).toBe(false);
  });
});

describe('the address of the client', () => {
  const clientAddress = createClientAddress(TRUSTED, createPeerLookup(TRUSTED), () => undefined);

  test.each([
    ['11.1.1.1', undefined, '11.1.1.1'],
    ['11.1.1.1', '6.6.6.6', '11.1.1.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    ['10.0.0.1', '6.6.6.6', '6.6.6.6'],
    ['10.0.0.1', '6.6.6.6, 7.7.7.7', '7.7.7.7'],
    ['10.0.0.1', '6.6.6.6, 7.7.7.7, 10.0.0.2', '7.7.7.7'],
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['10.0.0.1', '6.6.6.6, nonsense', '10.0.0.1'],
    ['10.0.0.1', '::ffff:6.6.6.6', '6.6.6.6'],
    ['10.0.0.1', 'fe80::1', 'fe80::1'],
    ['10.0.0.1', '6.6.6.6:4711', '6.6.6.6'],
    ['10.0.0.1', '6.6.6.6, 10.0.0.2:443', '6.6.6.6'],
    ['10.0.0.1', '[2001:db8::1]:4711, [fd00::2]', '2001:db8::1'],
    ['10.0.0.1', '[::ffff:6.6.6.6]:1', '6.6.6.6'],
    ['10.0.0.1', '6.6.6.6, ,10.0.0.2,\t,', '6.6.6.6'],
    ['10.0.0.1', ',', '10.0.0.1'],
    ['10.0.0.1', '6.6.6.6:port', '10.0.0.1'],
    ['10.0.0.1', '6.6.6.6, [7.7.7.7', '10.0.0.1'],
  ])('behind %s with "%s" is %s', (remote, chain, expected) => {
    expect(clientAddress(requestFrom(remote, chain))).toBe(expected);
  });
});

describe('the scheme that the client used', () => {
  const came = (said: string | string[] | undefined, peer: { trusted: boolean; encrypted: boolean }) =>
    cameByHttps({ headers: said === undefined ? {} : { 'x-forwarded-proto': said } } as unknown as IncomingMessage, {
      address: '10.0.0.1',
      ...peer,
    });

  test.each([
    ['https', true],
    ['http', false],
    // What several lines, or several proxies, come to: the first was nearest to the client
    ['https, http', true],
    ['http, https', false],
    ['HTTPS', false],
    ['', false],
    [undefined, false],
  ])('is what a trusted proxy says: %j', (said, expected) => {
    expect(came(said, { trusted: true, encrypted: false })).toBe(expected);
  });

  test('is our own where no proxy is trusted', () => {
    expect(came('https', { trusted: false, encrypted: false })).toBe(false);
    expect(came('http', { trusted: false, encrypted: true })).toBe(true);
  });

  test('is our own where a trusted proxy says nothing', () => {
    expect(came(undefined, { trusted: true, encrypted: true })).toBe(true);
  });
});
