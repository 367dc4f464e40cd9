/** The backend as the transport sees it: a pool of HTTP/1.1 connections, its timeouts, and a probe. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Pool, buildConnector } from 'undici';
import { unreachableBecause } from '../unreachable.ts';
import { MAX_HEADER_BYTES } from './header-limit.ts';
import { watchInterimAnswers } from './interim.ts';
import { createPeerLookup } from './peer.ts';
import type { AddressRange, PeerLookup } from './peer.ts';

export interface UpstreamOptions {
  /** Scheme, host and port. */
  readonly url: URL;
  readonly connectTimeoutMs: number;
  /** From the request sent to the response headers there. */
  readonly responseTimeoutMs: number;
  /** Longest silence inside a response body, and on a tunnel. */
  readonly idleTimeoutMs: number;
  /** Whether `103 Early Hints` are passed on, for a front proxy that knows them (RFC 8297); `drop` by default. */
  readonly earlyHints?: 'drop' | 'forward';
  /** Peers whose `X-Forwarded-…` is extended; everyone else's is replaced. */
  readonly trustedProxies: readonly AddressRange[];
  /** What the readiness probe asks for; any answer below 500 will do. */
  readonly probePath: string;
  /** Longest status line and header lines of an answer together. */
  readonly maxHeaderBytes?: number;
}

export interface Upstream {
  readonly pool: Pool;
  /** Our name in `Via`, of this process alone: a request that carries it has gone in a circle. */
  readonly via: string;
  readonly peerOf: PeerLookup;
  readonly forwardsEarlyHints: boolean;
  readonly idleTimeoutMs: number;
  readonly maxHeaderBytes: number;
  /** One small request. @returns why it is not answered, within `withinMs`, or undefined where it is; never rejects */
  findProblem(withinMs?: number): Promise<string | undefined>;
  /** Closes every connection; what still runs is cut. */
  close(): Promise<void>;
}

/** Below the 5 s after which uvicorn drops an idle connection, so that it is not reused in that very moment. */
const IDLE_CONNECTION_MS = 4_000;

export function createUpstream(options: UpstreamOptions): Upstream {
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
    via: `modelgate-${randomBytes(4).toString('hex')}`,
    peerOf: createPeerLookup(options.trustedProxies),
    forwardsEarlyHints: options.earlyHints === 'forward',
    idleTimeoutMs: options.idleTimeoutMs,
    maxHeaderBytes,
    findProblem: (withinMs = 2_000) => probe(pool, options.probePath, withinMs),
    close() {
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
