/** Which addresses count as one client. */
import { isIPv6 } from 'node:net';

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
