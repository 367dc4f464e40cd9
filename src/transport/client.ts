/** Who is at the other end of a connection, and whether its `X-Forwarded-…` are believed. */
import type { IncomingMessage } from 'node:http';
import { type Socket, BlockList, isIP, isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import type { Cidr } from '../config/schema.ts';

export interface Peer {
  /** IPv4 in dotted form also where the socket is IPv6 (`::ffff:…`); `unknown` once the connection is gone. */
  readonly address: string;
  readonly trusted: boolean;
  readonly encrypted: boolean;
}

export type PeerLookup = (socket: Socket) => Peer;

export function createPeerLookup(trustedProxies: readonly Cidr[]): PeerLookup {
  const isTrusted = createTrust(trustedProxies);
  const known = new WeakMap<Socket, Peer>();
  return function peerOf(socket) {
    const seen = known.get(socket);
    if (seen !== undefined) return seen;
    const address = plainAddress(socket.remoteAddress);
    const peer: Peer = { address, trusted: isTrusted(address), encrypted: 'encrypted' in socket };
    if (socket.remoteAddress !== undefined) known.set(socket, peer);
    return peer;
  };
}

/** The peer's, or behind trusted proxies the last in `X-Forwarded-For` that is not theirs. */
export function createClientAddress(
  trustedProxies: readonly Cidr[],
  peerOf: PeerLookup,
  onDisbelieved: (peer: string) => void,
): (incoming: IncomingMessage) => string {
  const isTrusted = createTrust(trustedProxies);
  return function clientAddress(incoming) {
    const peer = peerOf(incoming.socket);
    const chain = incoming.headers['x-forwarded-for'];
    if (!peer.trusted) {
      if (chain !== undefined) onDisbelieved(peer.address);
      return peer.address;
    }
    const hops = (typeof chain === 'string' ? chain : '').split(',');
    let nearest = peer.address;
    for (let index = hops.length - 1; index >= 0; index -= 1) {
      const text = hops[index]?.trim() ?? '';
      // RFC 9110 5.6.1.2: empty elements of a list are ignored
      if (text === '') continue;
      const hop = plainAddress(withoutPort(text));
      if (isIP(hop) === 0) return nearest;
      nearest = hop;
      if (!isTrusted(hop)) return hop;
    }
    return nearest;
  };
}

/** Whether the client's own connection was encrypted: ours, or the one in front of a trusted proxy. */
export function cameByHttps(incoming: IncomingMessage, peer: Peer): boolean {
  const said = peer.trusted ? incoming.headers['x-forwarded-proto'] : undefined;
  return typeof said === 'string' && said !== '' ? firstElement(said) === 'https' : peer.encrypted;
}

export const firstElement = (list: string): string =>
  list.includes(',') ? (list.split(',', 1)[0] ?? '').trim() : list;

function createTrust(ranges: readonly Cidr[]): (address: string) => boolean {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const { address, prefix, family } of ranges) list.addSubnet(address, prefix, family);
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4');
  };
}

/** Some proxies write the client's port behind its address, with IPv6 in brackets (RFC 7239 6). */
const WITH_PORT = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/;

function withoutPort(text: string): string {
  const [, bracketed, dotted] = WITH_PORT.exec(text) ?? [];
  return bracketed ?? dotted ?? text;
}

const plainAddress = (address = ''): string =>
  address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address || 'unknown';

/** A subscriber gets at least a /64 and may use any address in it (RFC 6177, RFC 8981). */
const NETWORK_GROUPS = 4;

/** @returns what limits treat as one client: an IPv4 address, also where it is written as IPv6; of IPv6 the /64 */
export function clientNetwork(address: string): string {
  if (!address.includes(':') || !isIPv6(address)) return address;
  // ipaddr.js reads the deprecated `::192.0.2.7` as `::ffff:192.0.2.7`
  const ip = ipaddr.IPv6.parse(address.replace(/^::(?=\d+\.)/, '0::'));
  if (ip.isIPv4MappedAddress()) return ip.toIPv4Address().toString();
  const network = ip.parts.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}
