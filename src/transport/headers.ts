/** Hop-by-hop and nominated fields never survive (RFC 9110 7.6.1); facts about the client are not the client's. */
import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '../errors.ts';
import { type Peer, type PeerLookup, firstElement } from './client.ts';
import type { AnswerEdit, Forwarded, HeaderLines } from './exchange.ts';

/** Between whom the request is passed on. */
interface Hop {
  readonly via: string;
  /** Undefined for a provider, which does not learn who asks. */
  readonly peerOf: PeerLookup | undefined;
}

type Kind = 'drop' | 'connection' | 'forwarded' | 'via' | 'length' | 'conditional' | 'max-forwards';

/** RFC 9110 7.6.1 and what older peers use; `Expect` is answered by us (10.1.1), never passed. */
const REQUEST_FIELDS: ReadonlyMap<string, Kind> = new Map(
  Object.entries({
    connection: 'connection',
    'keep-alive te trailer transfer-encoding upgrade http2-settings expect x-request-id': 'drop',
    'content-length': 'length',
    via: 'via',
    'forwarded x-real-ip x-original-url x-rewrite-url': 'forwarded',
    'max-forwards': 'max-forwards',
    'accept-encoding if-none-match if-modified-since if-range range': 'conditional',
  } as const).flatMap(([names, kind]) => names.split(' ').map((name) => [name, kind] as const)),
);

const fields = (names: string): ReadonlySet<string> => new Set(names.split(' '));

const RESPONSE_DROPPED = fields(
  'connection keep-alive te trailer transfer-encoding upgrade http2-settings x-request-id content-length',
);

/** What was true of the upstream's body and not of the one we send (RFC 9110 7.7, a transformation). */
const REPRESENTATION_FIELDS = fields(
  'content-length content-range content-md5 digest content-digest repr-digest etag last-modified accept-ranges cache-control pragma expires',
);

/**
 * `Host` among them; undici writes the framing. For a rewrite the answer must be whole, uncoded, and never a 304 or 206.
 * @param isStreamed the declared length of the body must go along. @throws GatewayError `loop_detected` (RFC 9110 7.6.3)
 */
export function requestLines(
  { via: ourName, peerOf }: Hop,
  request: Pick<Forwarded, 'outgoing' | 'credentialEdit' | 'requestId' | 'rewrite'>,
  isStreamed: boolean,
): string[] {
  const { requestId, credentialEdit: edit, outgoing } = request;
  const { rawHeaders, method, httpVersion, socket } = outgoing.req;
  const rewritten = request.rewrite !== undefined;
  const lines: string[] = [];
  const forwarded: string[] = [];
  let nominated: string | undefined;
  let via = '';
  let host: string | undefined;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const written = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    const name = written.toLowerCase();
    if (name === 'host') host = value;
    if (edit.remove.has(name)) continue;
    const kind = REQUEST_FIELDS.get(name);
    if (kind === undefined) {
      if (name.startsWith('x-forwarded-')) forwarded.push(name, value);
      else if (isPlain(name)) lines.push(written, value);
    } else if (kind === 'connection') nominated = nominated === undefined ? value : `${nominated},${value}`;
    else if (kind === 'via') via = via === '' ? value : `${via}, ${value}`;
    else if (kind === 'forwarded') forwarded.push(name, value);
    else if (kind === 'max-forwards') lines.push(written, method === 'OPTIONS' ? decremented(value) : value);
    else if (kind === 'length' ? isStreamed : kind !== 'drop' && !rewritten) lines.push(written, value);
  }
  const kept = nominated === undefined ? lines : withoutNominated(lines, nominated);
  if (peerOf !== undefined) addForwarding(kept, forwarded, peerOf(socket), host);
  const chain = extendedVia(via, httpVersion, ourName);
  kept.push('via', peerOf === undefined ? `${httpVersion} ${ourName}` : chain);
  if (rewritten) kept.push('accept-encoding', 'identity');
  kept.push('x-request-id', requestId);
  for (const part of edit.add) kept.push(part);
  return kept;
}

/** The lines to send downstream, lines of one name together (RFC 9110 5.3). @param requestId undefined leaves the upstream's own */
export function responseLines(
  received: IncomingHttpHeaders,
  status: number,
  requestId: string | undefined,
  edits: readonly AnswerEdit[] = [],
): string[] {
  const lines: string[] = [];
  for (const name of Object.keys(received)) {
    if (RESPONSE_DROPPED.has(name) || name.startsWith('proxy-')) continue;
    const value = received[name];
    if (typeof value === 'string') lines.push(name, value);
    else for (const one of value ?? []) lines.push(name, one);
  }
  const { connection, 'content-length': length } = received;
  // Last: once Node knows a length it reads `Content-Disposition` as UTF-8, and sends other bytes or none
  if (length !== undefined && status !== 204) lines.push('content-length', length);
  const kept = connection === undefined ? lines : withoutNominated(lines, [connection].flat().join(','));
  for (const id of [requestId ?? received['x-request-id'] ?? []].flat()) kept.push('x-request-id', id);
  for (const edit of edits) edit(kept, status);
  return kept;
}

/** The lines of an answer whose body was replaced: validators gone, never to be cached. */
export function rewrittenLines(lines: HeaderLines, status: number, bodyBytes: number): string[] {
  const kept = without(lines, REPRESENTATION_FIELDS);
  if (status !== 204 && status !== 304) kept.push('content-length', String(bodyBytes));
  kept.push('cache-control', 'private, no-store');
  return kept;
}

/** The options of a `Connection` field, lower case (RFC 9110 7.6.1). */
export function connectionOptions(value: string): string[] {
  const options: string[] = [];
  for (const part of value.split(',')) {
    const option = part.trim().toLowerCase();
    if (option !== '') options.push(option);
  }
  return options;
}

/** CGI and WSGI servers read `a_b` as `a-b`, so that a name with an underscore could stand in for one we removed. */
const isPlain = (name: string): boolean => !name.includes('_') && !name.startsWith('proxy-');

function withoutNominated(lines: string[], connection: string): string[] {
  if (connection === 'keep-alive' || connection === 'close') return lines;
  const names = new Set(connectionOptions(connection));
  names.delete('close');
  names.delete('keep-alive');
  return names.size === 0 ? lines : without(lines, names);
}

export function without(lines: HeaderLines, names: ReadonlySet<string>): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const name = lines[index] ?? '';
    if (!names.has(name.toLowerCase())) kept.push(name, lines[index + 1] ?? '');
  }
  return kept;
}

/** RFC 7239 and its unofficial elders: extended where the peer is trusted, stated anew where it is not. */
function addForwarding(lines: string[], claimed: readonly string[], peer: Peer, host: string | undefined): void {
  let chain = '';
  let proto = '';
  let claimedHost = '';
  if (peer.trusted) {
    for (let index = 0; index + 1 < claimed.length; index += 2) {
      const name = claimed[index] ?? '';
      const value = claimed[index + 1] ?? '';
      if (name === 'x-forwarded-for') chain = chain === '' ? value : `${chain}, ${value}`;
      else if (name === 'x-forwarded-proto') proto ||= firstElement(value);
      else if (name === 'x-forwarded-host') claimedHost ||= value;
      else if (name === 'forwarded') lines.push(name, `${value}, for=${quotedNode(peer.address)}`);
      else lines.push(name, value);
    }
  }
  lines.push('x-forwarded-for', chain === '' ? peer.address : `${chain}, ${peer.address}`);
  lines.push('x-forwarded-proto', proto === 'http' || proto === 'https' ? proto : peer.encrypted ? 'https' : 'http');
  const forwardedHost = claimedHost === '' ? host : claimedHost;
  if (forwardedHost !== undefined && forwardedHost !== '') lines.push('x-forwarded-host', forwardedHost);
}

/** RFC 7239 4: an IPv6 node is bracketed and quoted. */
const quotedNode = (address: string): string => (address.includes(':') ? `"[${address}]"` : address);

function extendedVia(received: string, httpVersion: string, ourName: string): string {
  if (received === '') return `${httpVersion} ${ourName}`;
  for (const hop of received.split(',')) {
    if (hop.trim().split(/\s+/)[1] === ourName) throw new GatewayError('loop_detected');
  }
  return `${received}, ${httpVersion} ${ourName}`;
}

/** RFC 9110 7.6.2; a value of 0 never comes here, the listener answers it. */
const decremented = (value: string): string =>
  /^\d{1,9}$/.test(value) ? String(Math.max(0, Number(value) - 1)) : value;

/** @returns the value of the first line of that name, which is given in lower case */
export function fieldOf(lines: HeaderLines, name: string): string | undefined {
  const at = indexOfField(lines, name);
  return at === -1 ? undefined : lines[at];
}

/** @returns where the value of the first line of that name stands, or -1 */
export function indexOfField(lines: HeaderLines, name: string): number {
  for (let index = 0; index < lines.length; index += 2) {
    const written = lines[index] ?? '';
    if (written.length === name.length && written.toLowerCase() === name) return index + 1;
  }
  return -1;
}

/** Does the first line of its type say so? undici gives several as a list. */
export const isOfEvents = ({ 'content-type': types }: IncomingHttpHeaders): boolean =>
  [types].flat()[0]?.startsWith('text/event-stream') === true;
