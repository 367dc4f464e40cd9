/**
 * The one reading of the request path: decoded once, as uvicorn and Starlette decode it. A spelling that the backend could
 * route otherwise is refused with 400, never guessed: encoded slashes and backslashes, dot and empty segments, control
 * characters, fragments, the absolute form, bytes that are not UTF-8 (GHSA-pxq7-h93f-9jrg, CVE-2026-29087 and kin).
 */
import { GatewayError } from '../errors.ts';

/**
 * @param target the request target as it stood in the request line
 * @returns the path, decoded once; the target as it came, which is what is sent; the query without its question mark
 * @throws GatewayError `path_ambiguous` (400)
 */
export function readTarget(target: string) {
  if (!target.startsWith('/')) throw ambiguous('Expected a path that starts with a slash.');
  if (!PRINTABLE_ASCII.test(target)) throw ambiguous('Found a character that must be percent-encoded.');
  const question = target.indexOf('?');
  const raw = question === -1 ? target : target.slice(0, question);
  return { path: decodePath(raw), target, query: question === -1 ? '' : target.slice(question + 1) };
}

/**
 * @returns the value that the backend sees for a query key, or undefined if it is absent
 * @throws GatewayError `path_ambiguous` if the key is repeated: Starlette takes the last value, others the first
 */
export function queryValue(query: string, key: string): string | undefined {
  const [value, ...further] = new URLSearchParams(query).getAll(key);
  if (further.length > 0) throw ambiguous(`Found the query parameter "${key}" more than once.`);
  return value;
}

function decodePath(raw: string): string {
  if (raw.includes('\\')) throw ambiguous('Found a backslash.');
  const isEncoded = raw.includes('%');
  if (isEncoded && ENCODED_DELIMITER.test(raw) && !ENCODES_MODEL_ID.test(raw)) {
    throw ambiguous('Found an encoded slash, backslash, dot or control character.');
  }
  let path: string;
  try {
    path = isEncoded ? decodeURIComponent(raw) : raw;
  } catch {
    throw ambiguous('Found percent-encoding that is not UTF-8.');
  }
  if (EMPTY_OR_DOT_SEGMENT.test(path)) throw ambiguous('Found an empty or dot segment.');
  return path;
}

/** `%2F` `%5C` `%2E` `%00`–`%1F` `%7F`, and encoded twice, which a reader might decode twice. */
const ENCODED_DELIMITER = /%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f)/i;
/** The only paths into which the backend's own page (0.12.4, for admins) encodes an id that may hold a slash. */
const ENCODES_MODEL_ID = /^\/api\/v1\/(?:evaluations\/leaderboard|analytics\/models)\/(?!.*%(?:25|5c|2e|[01]|7f))/i;
const EMPTY_OR_DOT_SEGMENT = /\/\/|\/\.{1,2}(?:\/|$)/;
/** Without `#`: uvicorn's parser cuts the target there. */
const PRINTABLE_ASCII = /^[!"$-~]+$/;

const ambiguous = (detail: string) => new GatewayError('path_ambiguous', { detail });
