/** The backend as the transport sees it: a pool of HTTP/1.1 connections, a probe, and what their errors mean. */
import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import { Pool, buildConnector } from 'undici';
import type { Config } from '../config/schema.ts';
import { type ErrorCode, GatewayError } from '../errors.ts';
import { MAX_FIELDS, MAX_HEADER_BYTES, beyondHeaderLimit } from './answer.ts';
import type { PeerLookup } from './client.ts';
import { type BufferedAnswer, MAX_REWRITTEN_BYTES } from './exchange.ts';
import { responseLines } from './headers.ts';

/** Why a backend cannot be reached, as what follows its name in a sentence. */
export function unreachableBecause(error: unknown): string {
  const code = codeOf(error);
  const found = REASONS.find(([pattern]) => pattern.test(code));
  return `${found?.[1] ?? 'cannot be asked'} (${code})`;
}

/** undici and `fetch` hide what has happened one or two causes deep. */
function codeOf(error: unknown): string {
  let deepest = 'no reason given';
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const code = codeIn(at);
    if (code !== undefined) return code;
    deepest = /^(Type)?Error$/.test(at.name) ? at.message : at.name;
  }
  return deepest;
}

const codeIn = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

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

/** By name, code and message of what undici, the socket, or Node at the answer's fields says. */
const GATEWAY_ERRORS: readonly (readonly [pattern: RegExp, code: ErrorCode])[] = [
  [/^InvalidArgumentError /, 'request_malformed'],
  [/^\w+ UND_ERR_(?:HEADERS|BODY)_TIMEOUT /, 'upstream_timeout'],
  [/^\w+ UND_ERR_HEADERS_OVERFLOW /, 'upstream_headers_too_large'],
  [
    /^HTTPParserError |^\w+ (?:UND_ERR_RES_CONTENT_LENGTH_MISMATCH|ERR_INVALID_CHAR|ERR_INVALID_HTTP_TOKEN) /,
    'upstream_invalid',
  ],
  [/^\w+ ERR_HTTP_INVALID_(?:HEADER_VALUE|STATUS_CODE) /, 'upstream_invalid'],
  // A 100 or 101 that was not asked for shares its code with a close
  [/^SocketError \w+ bad (?:response|upgrade)$/, 'upstream_invalid'],
];

export function toGatewayError(error: unknown, maxHeaderBytes: number, wasSent = false): GatewayError {
  if (error instanceof GatewayError) return error;
  const text = error instanceof Error ? `${error.name} ${codeIn(error) ?? 'none'} ${error.message}` : '';
  const code = GATEWAY_ERRORS.find(([pattern]) => pattern.test(text))?.[1] ?? 'upstream_unreachable';
  const detail = code === 'upstream_headers_too_large' ? { detail: beyondHeaderLimit(maxHeaderBytes) } : {};
  return new GatewayError(code, { cause: error, wasSent, ...detail });
}

interface UpstreamOptions extends Readonly<Config['upstream']> {
  readonly probePath: string;
  readonly maxHeaderBytes?: number;
}

export type Upstream = ReturnType<typeof createUpstream> & { readonly peerOf: PeerLookup | undefined };

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
          // undici takes a reset for the end of a body without length (RFC 9112 8)
          socket.on('error', (failure: NodeJS.ErrnoException) => {
            if (failure.code === 'ECONNRESET') failure.code = 'UPSTREAM_RESET';
          });
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
    via: `modelgate-${randomBytes(4).toString('hex')}`,
    forwardsEarlyHints: options.earlyHints === 'forward',
    idleTimeoutMs: options.idleTimeoutMs,
    maxHeaderBytes,
    /** @returns why one small request is not answered in time; never rejects */
    findProblem: () => probe(pool, options.probePath),
    close(): Promise<void> {
      interim.close();
      return pool.destroy();
    },
  };
}

const PROBE_MS = 2_000;

async function probe(pool: Pool, path: string): Promise<string | undefined> {
  try {
    const { statusCode, body } = await pool.request({ method: 'GET', path, signal: AbortSignal.timeout(PROBE_MS) });
    await body.dump();
    return statusCode < 500 ? undefined : `it answers ${path} with ${statusCode}`;
  } catch (error) {
    return `it ${unreachableBecause(error)}`;
  }
}

const isRedirect = (status: number): boolean => [301, 302, 303, 307, 308].includes(status);

/** The backend would follow a provider's redirect, and take its keys and the user's words along (aiohttp). */
const redirected = (): GatewayError =>
  new GatewayError('upstream_invalid', { detail: 'It redirects elsewhere, which is not followed.' });

/** Asks for further pages of an answer, with the headers of its request. @param most bytes of all of them */
export function createAsk(upstream: Upstream, headers: string[], signal?: AbortSignal, most = MAX_REWRITTEN_BYTES) {
  let bytes = 0;
  return async function ask(path: string): Promise<BufferedAnswer> {
    try {
      const answer = await upstream.pool.request({ path, method: 'GET', headers, signal: signal ?? null });
      const isElsewhere = upstream.peerOf === undefined && isRedirect(answer.statusCode);
      const chunks: Buffer[] = [];
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        // what is left unread without an end of it would keep its connection
        if (isElsewhere) break;
        if (bytes > most)
          throw new GatewayError('upstream_invalid', { detail: `Its pages have more than ${most / 1024 ** 2} MB.` });
        chunks.push(chunk);
      }
      if (isElsewhere) throw redirected();
      const lines = responseLines(answer.headers, answer.statusCode, undefined);
      return { status: answer.statusCode, headers: lines, body: Buffer.concat(chunks) };
    } catch (cause) {
      throw toGatewayError(cause, upstream.maxHeaderBytes);
    }
  };
}

// undici takes a 100 without `Expect` for the end; a client must bear it (RFC 9110 15.2), so it is shown a 102.

/** More interim answers to one request, and the upstream counts as broken. */
export const MAX_INTERIM = 100;
const REQUEST_HEAD = 'undici:client:sendHeaders';

/** `HTTP/1.1 100`: the parser takes no other form of a status line. */
const FIRST_DIGIT = 9;
const LAST_DIGIT = 11;
const [ZERO, TWO, CR, LF] = [0x30, 0x32, 0x0d, 0x0a];

function watchInterimAnswers() {
  const heads = new WeakMap<object, AnswerHead>();
  const onRequest = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket };
    heads.get(socket)?.expect();
  };
  subscribe(REQUEST_HEAD, onRequest);
  return {
    watch(socket: Socket): void {
      const head = new AnswerHead();
      heads.set(socket, head);
      const read = socket.read.bind(socket);
      socket.read = (size?: number): unknown => {
        const chunk: unknown = read(size);
        if (head.isOpen && Buffer.isBuffer(chunk)) head.pass(chunk);
        return chunk;
      };
    },
    close: () => unsubscribe(REQUEST_HEAD, onRequest),
  };
}

/** Follows the bytes of one connection as far as the status line of the final answer. */
class AnswerHead {
  isOpen = false;
  #at = 0;
  #status = 0;
  #ending = 0;

  expect(): void {
    this.isOpen = true;
    this.#at = this.#status = this.#ending = 0;
  }

  pass(chunk: Buffer): void {
    for (let index = 0; index < chunk.length && this.isOpen; index += 1) {
      const byte = chunk[index] ?? 0;
      if (this.#at > LAST_DIGIT) this.#skip(byte);
      else if (this.#at > 0 || (byte !== CR && byte !== LF)) this.#readStatus(chunk, index, byte);
    }
  }

  #readStatus(chunk: Buffer, index: number, byte: number): void {
    if (this.#at >= FIRST_DIGIT) this.#status = this.#status * 10 + byte - ZERO;
    if (this.#at === LAST_DIGIT) {
      if (this.#status === 100) chunk[index] = TWO;
      // 101 ends what is HTTP on this connection.
      else if (this.#status === 101 || this.#status >= 200) this.isOpen = false;
    }
    this.#at += 1;
  }

  #skip(byte: number): void {
    if (byte === CR) this.#ending = this.#ending === 2 ? 3 : 1;
    else if (byte !== LF) this.#ending = 0;
    else if (this.#ending === 3) this.expect();
    else this.#ending = this.#ending === 1 ? 2 : 0;
  }
}

/** What makes an answer one that is not passed on. */
export function findFault(
  { peerOf }: Upstream,
  status: number,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly unknown[],
): GatewayError | undefined {
  if (rawHeaders.length > 2 * MAX_FIELDS) {
    return new GatewayError('upstream_headers_too_large', { detail: `It has more than ${MAX_FIELDS} lines.` });
  }
  const coding: unknown = headers['transfer-encoding'];
  // A coding beside chunked would be left in the body while the field that names it is dropped
  if (coding !== undefined && (typeof coding !== 'string' || coding.trim().toLowerCase() !== 'chunked')) {
    return new GatewayError('upstream_invalid', { detail: 'Its Transfer-Encoding is not chunked.' });
  }
  return peerOf === undefined && isRedirect(status) ? redirected() : undefined;
}
