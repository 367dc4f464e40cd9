/** The backend as the transport sees it: a pool of HTTP/1.1 connections, a probe, and what their errors mean. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Pool, buildConnector, errors } from 'undici';
import type { Config } from '../config/schema.ts';
import { GatewayError } from '../errors.ts';
import { createPeerLookup } from './client.ts';
import { watchInterimAnswers } from './interim.ts';
import { MAX_HEADER_BYTES, beyondHeaderLimit } from './request-rules.ts';

/**
 * Why a backend cannot be reached, in words for operators; clients learn only that it cannot.
 *
 * @returns what follows its name in a sentence, without the full stop: `refuses the connection: … (ECONNREFUSED)`
 */
export function unreachableBecause(error: unknown): string {
  const code = codeOf(error);
  const found = REASONS.find(([pattern]) => pattern.test(code));
  return `${found?.[1] ?? 'cannot be asked'} (${code})`;
}

/** undici and `fetch` hide what has happened one or two causes deep. */
function codeOf(error: unknown): string {
  let deepest = 'no reason given';
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if ('code' in at && typeof at.code === 'string') return at.code;
    deepest = /^(Type)?Error$/.test(at.name) ? at.message : at.name;
  }
  return deepest;
}

const REASONS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^ECONNREFUSED/, 'refuses the connection: does the backend run, and is the port right?'],
  [/^(ENOTFOUND|EAI_)/, 'is a name that cannot be resolved'],
  [/^(EHOSTUNREACH|ENETUNREACH)/, 'cannot be reached from here'],
  [/^(ECONNRESET|UND_ERR_SOCKET|EPIPE)/, 'has closed the connection without an answer'],
  [/TIMEOUT/i, 'does not answer in time'],
  [/^HPE_|^HTTPParser|^UND_ERR_(HEADERS|INVALID)/, 'does not speak HTTP there'],
  [/^(EPROTO|ERR_SSL)/, 'does not speak TLS there: is it http and not https?'],
  [/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/, 'shows a certificate that is not trusted; NODE_EXTRA_CA_CERTS=FILE adds one'],
];

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
 * What undici and the socket say, as a row of the error table. An error that is not known means that the upstream could
 * not be reached.
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
  // undici's words for a 100 or 101 that was not asked for, the one kind of bad answer that shares its code with a close.
  return code === 'UND_ERR_SOCKET' && (error.message === 'bad response' || error.message === 'bad upgrade');
}

interface UpstreamOptions extends Readonly<Config['upstream']>, Pick<Config, 'trustedProxies'> {
  /** What the readiness probe asks for; any answer below 500 will do. */
  readonly probePath: string;
  /** Longest status line and header lines of an answer together. */
  readonly maxHeaderBytes?: number;
}

export type Upstream = ReturnType<typeof createUpstream>;

/** Below the 5 s after which uvicorn drops an idle connection, so that it is not reused in that very moment. */
const IDLE_CONNECTION_MS = 4_000;

export function createUpstream(options: UpstreamOptions) {
  const { maxHeaderBytes = MAX_HEADER_BYTES } = options;
  const connect = buildConnector({ timeout: options.connectTimeoutMs, allowH2: false });
  const interim = watchInterimAnswers();
  const pool = new Pool(options.url.origin, {
    connect: (target, callback) => {
      connect(target, (error, socket) => {
        if (error === null) {
          markResets(socket);
          interim.watch(socket);
        }
        (callback as (error: Error | null, socket: unknown) => void)(error, socket);
      });
    },
    allowH2: false,
    pipelining: 1,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    keepAliveMaxTimeout: IDLE_CONNECTION_MS,
    keepAliveTimeoutThreshold: 1_000,
    headersTimeout: options.responseTimeoutMs,
    bodyTimeout: options.idleTimeoutMs,
    maxHeaderSize: maxHeaderBytes,
  });
  return {
    pool,
    /** Our name in `Via`, of this process alone: a request that carries it has gone in a circle. */
    via: `modelgate-${randomBytes(4).toString('hex')}`,
    peerOf: createPeerLookup(options.trustedProxies),
    forwardsEarlyHints: options.earlyHints === 'forward',
    idleTimeoutMs: options.idleTimeoutMs,
    maxHeaderBytes,
    /** One small request. @returns why it is not answered in time, or undefined where it is; never rejects */
    findProblem: (withinMs = 2_000) => probe(pool, options.probePath, withinMs),
    /** Closes every connection; what still runs is cut. */
    close(): Promise<void> {
      interim.close();
      return pool.destroy();
    },
  };
}

/**
 * undici takes a reset for the end of a body without length; such a body would look complete although it was cut
 * (RFC 9112 8). Under another code the reset stays the failure that it is.
 */
function markResets(socket: Socket): void {
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET') error.code = 'UPSTREAM_RESET';
  });
}

async function probe(pool: Pool, path: string, withinMs: number): Promise<string | undefined> {
  try {
    const { statusCode, body } = await pool.request({ method: 'GET', path, signal: AbortSignal.timeout(withinMs) });
    await body.dump();
    return statusCode < 500 ? undefined : `it answers ${path} with ${statusCode}`;
  } catch (error) {
    return `it ${unreachableBecause(error)}`;
  }
}
