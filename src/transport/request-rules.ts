/** What a request must look like, by its raw lines: Node's `headers` joins or drops repeated names. */
import type { IncomingMessage } from 'node:http';
import { type ErrorCode, GatewayError } from '../errors.ts';
import { connectionOptions } from './headers.ts';

/** Longest head of a message, as in Open WebUI: the cookies of a sign-in by OAuth grow with the groups of the user. */
export const MAX_HEADER_BYTES = 64 * 1024;

export function beyondHeaderLimit(maxHeaderBytes: number): string {
  const size = maxHeaderBytes % 1024 === 0 ? `${maxHeaderBytes / 1024} KB` : `${maxHeaderBytes} bytes`;
  return `They have more than ${size} (MODELGATE_MAX_HEADER).`;
}

export const MAX_FIELDS = 100;

/** Any other would ask us to delete a field that the backend relies on. */
const CONNECTION_OPTIONS: ReadonlySet<string> = new Set(['close', 'keep-alive', 'upgrade', 'te', 'http2-settings']);
type RequestHead = Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'rawHeaders'>;

/** A registered name or IPv4 address, or a bracketed IPv6 address; an optional port. */
const AUTHORITY = /^(?:[a-z\d._-]+|\[[\da-f:.]+\])(?::\d{1,5})?$/i;

/** RFC 9112 3.2 (Host), 6.1 and 6.3 (framing); RFC 9110 7.6.1 (Connection), 9.3.8 (TRACE), 15.6.6 (version). */
export function findMalformation(incoming: RequestHead): GatewayError | undefined {
  const { method = '', url = '', httpVersion, rawHeaders } = incoming;
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return fault('version_not_supported', `The request line says HTTP/${httpVersion}, or no version.`);
  }
  if (method === 'TRACE' || method === 'CONNECT') return fault('method_not_allowed', `${method} is refused.`);
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    const lines = rawHeaders.length / 2;
    return fault('headers_too_large', `There are ${lines} lines; at most ${MAX_FIELDS} are accepted.`);
  }
  if (!url.startsWith('/') && !(url === '*' && method === 'OPTIONS')) {
    return malformed('The request target must be a path.');
  }
  let hosts = 0;
  let lengths = 0;
  let codings = 0;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    const value = rawHeaders[index + 1] ?? '';
    if (name === 'host') {
      hosts += 1;
      if (!AUTHORITY.test(value)) return malformed('The Host field is not a host name with an optional port.');
    } else if (name === 'content-length') {
      lengths += 1;
      if (!/^\d{1,15}$/.test(value)) return malformed('The Content-Length field is not a number.');
    } else if (name === 'transfer-encoding') {
      codings += 1;
      if (value.toLowerCase() !== 'chunked') return malformed('The only Transfer-Encoding served here is chunked.');
    } else if (name === 'connection') {
      const odd = connectionOptions(value).find((option) => !CONNECTION_OPTIONS.has(option));
      if (odd !== undefined) return malformed('The Connection field names an option that is not served here.');
    }
  }
  if (hosts > 1 || (hosts === 0 && httpVersion !== '1.0')) return malformed('Exactly one Host field is needed.');
  if (lengths + codings > 1) return malformed('The length of the body is given more than once.');
  if (codings > 0 && httpVersion !== '1.1') return malformed('HTTP/1.0 has no Transfer-Encoding.');
  return undefined;
}

/** Whether the request asks for a WebSocket and for nothing else (RFC 6455 4.2.1): GET, no body, one known protocol. */
export function asksForWebSocket({ method, httpVersion, rawHeaders }: RequestHead): boolean {
  if (method !== 'GET' || httpVersion !== '1.1') return false;
  let protocols = 0;
  let options = 0;
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    const value = rawHeaders[index + 1] ?? '';
    if (name === 'upgrade') protocols += value.trim().toLowerCase() === 'websocket' ? 1 : Infinity;
    else if (name === 'connection') options += connectionOptions(value).includes('upgrade') ? 1 : 0;
    else if (name === 'content-length' || name === 'transfer-encoding') return false;
  }
  return protocols === 1 && options > 0;
}

const fault = (code: ErrorCode, detail: string): GatewayError => new GatewayError(code, { detail });
const malformed = (detail: string): GatewayError => fault('request_malformed', detail);
