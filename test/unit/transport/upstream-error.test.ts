import { errors } from 'undici';
import { expect, test } from 'vitest';
import { GatewayError } from '../../../src/errors.ts';
import { toGatewayError } from '../../../src/transport/upstream.ts';

const coded = (code: string) => Object.assign(new Error(code), { code });

test.each([
  [coded('ECONNREFUSED'), 'upstream_unreachable'],
  [coded('UPSTREAM_RESET'), 'upstream_unreachable'],
  [coded('ENOTFOUND'), 'upstream_unreachable'],
  [coded('UND_ERR_CONNECT_TIMEOUT'), 'upstream_unreachable'],
  [coded('ERR_TLS_CERT_ALTNAME_INVALID'), 'upstream_unreachable'],
  [new errors.SocketError('other side closed'), 'upstream_unreachable'],
  [new Error('anything'), 'upstream_unreachable'],
  [new errors.HeadersTimeoutError(), 'upstream_timeout'],
  [new errors.BodyTimeoutError(), 'upstream_timeout'],
  [new errors.SocketError('bad response'), 'upstream_invalid'],
  [new errors.HeadersOverflowError(), 'upstream_headers_too_large'],
  [new errors.ResponseContentLengthMismatchError(), 'upstream_invalid'],
  [coded('ERR_INVALID_CHAR'), 'upstream_invalid'],
  [new errors.InvalidArgumentError('invalid request path'), 'request_malformed'],
])('%s is %s', (error, code) => {
  expect(toGatewayError(error, 65_536).code).toBe(code);
  expect(toGatewayError(error, 65_536).cause).toBe(error);
});

test('an error of our own stays what it is', () => {
  const error = new GatewayError('request_timeout');
  expect(toGatewayError(error, 65_536)).toBe(error);
});

test.each([
  [65_536, '64 KB'],
  [10_000, '10000 bytes'],
])('headers beyond %i bytes are reported with their limit and its setting', (limit, text) => {
  expect(toGatewayError(new errors.HeadersOverflowError(), limit).message).toBe(
    `The backend sent an answer whose headers are larger than this gateway accepts. They have more than ${text} (MODELGATE_MAX_HEADER).`,
  );
});
