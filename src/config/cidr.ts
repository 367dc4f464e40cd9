/** Address ranges of proxies. Pure; a range is only accepted as what it says, never as what it may have meant. */
import { isIP } from 'node:net';
import type { Cidr } from './schema.ts';

/**
 * @param text `10.0.0.0/8`, `fd00::/8` or a single address
 * @returns the range, or a sentence that says what is wrong
 */
export function parseCidr(text: string): Cidr | string {
  const [address = '', length, ...rest] = text.split('/');
  const version = address.includes('%') ? 0 : isIP(address);
  if (version === 0 || rest.length > 0) return `${JSON.stringify(text)} is not an address range`;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const width = version === 4 ? 32 : 128;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return `${JSON.stringify(text)} is not an address range`;
  const prefix = length === undefined ? width : Number(length);
  if (prefix > width) return `the prefix of ${JSON.stringify(text)} is longer than ${width} bits`;
  const bits = addressBits(address, version);
  const network = (bits >> BigInt(width - prefix)) << BigInt(width - prefix);
  if (network !== bits) {
    return `${JSON.stringify(text)} has bits set behind its prefix: write ${addressText(network, version)}/${prefix}`;
  }
  return Object.freeze({ address: addressText(bits, version), prefix, family });
}

function addressBits(address: string, version: number): bigint {
  if (version === 4) return joinParts(address.split('.').map(Number), 8n);
  // The URL parser writes an embedded IPv4 part as two groups and shortens the longest run of zeros
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const groups = (side: string): number[] => (side === '' ? [] : side.split(':').map((group) => parseInt(group, 16)));
  const before = groups(head);
  const after = groups(tail ?? '');
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  return joinParts([...before, ...zeros, ...after], 16n);
}

function joinParts(parts: readonly number[], width: bigint): bigint {
  return parts.reduce((bits, part) => (bits << width) | BigInt(part), 0n);
}

function addressText(bits: bigint, version: number): string {
  const [count, width] = version === 4 ? [4, 8n] : [8, 16n];
  const mask = (1n << width) - 1n;
  const parts = Array.from({ length: count }, (_, index) => (bits >> (width * BigInt(count - 1 - index))) & mask);
  if (version === 4) return parts.join('.');
  return new URL(`http://[${parts.map((part) => part.toString(16)).join(':')}]`).hostname.slice(1, -1);
}
