/** What undici and the socket say, in the words of the error table. */
import { errors } from 'undici';
import { GatewayError } from '../errors.ts';
import { beyondHeaderLimit } from './header-limit.ts';

/** Codes of an answer that was there but is not HTTP, or not the HTTP we accept. */
const INVALID_ANSWER: ReadonlySet<string> = new Set([
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  // Node's own refusal to pass on a field or status that the upstream gave.
  'ERR_INVALID_CHAR',
  'ERR_INVALID_HTTP_TOKEN',
  'ERR_HTTP_INVALID_HEADER_VALUE',
  'ERR_HTTP_INVALID_STATUS_CODE',
]);

/**
 * Total: an error that is not known means that the upstream could not be reached.
 *
 * @param maxHeaderBytes what the answer's head was allowed
 */
export function toGatewayError(error: Error, maxHeaderBytes: number): GatewayError {
  if (error instanceof GatewayError) return error;
  const cause = { cause: error };
  // undici refuses what it will not put on the wire: a target or field of the request.
  if (error instanceof errors.InvalidArgumentError) return new GatewayError('request_malformed', cause);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return new GatewayError('upstream_timeout', cause);
  }
  if (code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new GatewayError('upstream_headers_too_large', { ...cause, detail: beyondHeaderLimit(maxHeaderBytes) });
  }
  return new GatewayError(isInvalidAnswer(error, code) ? 'upstream_invalid' : 'upstream_unreachable', cause);
}

function isInvalidAnswer(error: Error, code: string): boolean {
  if (error instanceof errors.HTTPParserError || INVALID_ANSWER.has(code)) return true;
  // undici's words for 100 or 101 that nobody asked for, the one kind of bad answer that shares its code with a close.
  return code === 'UND_ERR_SOCKET' && (error.message === 'bad response' || error.message === 'bad upgrade');
}
