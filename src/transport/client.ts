/** Who is at the other end of a connection, and whether what it says about the client is believed. */
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { BlockList, isIP, isIPv6 } from 'node:net';

/** One address range, as `BlockList.addSubnet` takes it. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Decided once per connection. */
export interface Peer {
  /** IPv4 in dotted form also where the socket is IPv6 (`::ffff:…`); `unknown` once the connection is gone. */
  readonly address: string;
  readonly trusted: boolean;
  readonly encrypted: boolean;
}

export type PeerLookup = (socket: Socket) => Peer;

const MAPPED_IPV4 = '::ffff:';

/** @param trustedProxies whose `X-Forwarded-…` is believed; none: nobody's */
export function createPeerLookup(trustedProxies: readonly AddressRange[]): PeerLookup {
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

/**
 * The address of the client itself: the peer's, or behind trusted proxies the last address in `X-Forwarded-For` that
 * is not one of theirs. What limits by address are counted on.
 *
 * @param onDisbelieved told whenever a peer that is not trusted says for whom it speaks
 */
export function createClientAddress(
  trustedProxies: readonly AddressRange[],
  onDisbelieved?: (peer: string) => void,
): (incoming: IncomingMessage) => string {
  const isTrusted = createTrust(trustedProxies);
  const peerOf = createPeerLookup(trustedProxies);
  return function clientAddress(incoming) {
    const peer = peerOf(incoming.socket);
    const chain = incoming.headers['x-forwarded-for'];
    if (!peer.trusted) {
      if (chain !== undefined) onDisbelieved?.(peer.address);
      return peer.address;
    }
    const hops = (typeof chain === 'string' ? chain : '').split(',');
    let nearest = peer.address;
    for (let index = hops.length - 1; index >= 0; index -= 1) {
      const text = hops[index]?.trim() ?? '';
      // RFC 9110 5.6.1.2: empty elements of a list do not count
      if (text === '') continue;
      const hop = plainAddress(withoutPort(text));
      if (isIP(hop) === 0) return nearest;
      nearest = hop;
      if (!isTrusted(hop)) return hop;
    }
    return nearest;
  };
}

/**
 * Whether the client's own connection was encrypted: ours, or the one in front of a proxy that is trusted to say so.
 * Of several values the first counts, as in what is sent upstream.
 */
export function cameByHttps(incoming: IncomingMessage, peer: Peer): boolean {
  if (!peer.trusted) return peer.encrypted;
  const said = incoming.headers['x-forwarded-proto'];
  if (typeof said !== 'string' || said === '') return peer.encrypted;
  return firstElement(said) === 'https';
}

/** @returns what stands before the first comma of a field's value, which is all of it where there is none */
export function firstElement(list: string): string {
  const comma = list.indexOf(',');
  return comma === -1 ? list : list.slice(0, comma).trim();
}

function createTrust(ranges: readonly AddressRange[]): (address: string) => boolean {
  if (ranges.length === 0) return () => false;
  const list = new BlockList();
  for (const { address, prefix, family } of ranges) list.addSubnet(address, prefix, family);
  return (address) => {
    const version = isIP(address);
    return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4');
  };
}

/** Some proxies write the client's port behind its address, with IPv6 in brackets (RFC 7239 6). */
function withoutPort(text: string): string {
  const [, bracketed, dotted] = WITH_PORT.exec(text) ?? [];
  return bracketed ?? dotted ?? text;
}

const WITH_PORT = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/;

function plainAddress(address: string | undefined): string {
  if (address === undefined || address === '') return 'unknown';
  return address.startsWith(MAPPED_IPV4) && address.includes('.') ? address.slice(MAPPED_IPV4.length) : address;
}

// Which addresses count as one client.

const GROUPS = 8;
/** A subscriber gets at least a /64 and may use any address in it (RFC 6177, RFC 8981). */
const NETWORK_GROUPS = 4;

/**
 * @param address as a socket or a trusted proxy spells it
 * @returns an IPv4 address as it is, also where it is written as IPv6; of IPv6 the /64, in one spelling
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address;
  const [plain = ''] = address.split('%');
  if (!isIPv6(plain)) return address;
  const groups = groupsOf(plain);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return [groups[6], groups[7]].flatMap((group = 0) => [group >> 8, group & 0xff]).join('.');
  return `${groups
    .slice(0, NETWORK_GROUPS)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

/** @returns the eight groups of a valid IPv6 address (RFC 4291 2.2, dotted tail included) */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const before = toGroups(head);
  if (tail === undefined) return before;
  const after = toGroups(tail);
  return [...before, ...new Array<number>(GROUPS - before.length - after.length).fill(0), ...after];
}

function toGroups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((part) => {
    if (!part.includes('.')) return [Number.parseInt(part, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
    return [a * 256 + b, c * 256 + d];
  });
}
