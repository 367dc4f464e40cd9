/**
 * What a configured gate is. A `Config` needs no second check: URLs are parsed, durations are milliseconds, sizes are
 * bytes, everything is frozen. Only `parseConfig` makes one; how each setting is spelled stands in `settings.ts`.
 */

/** One address range in canonical form, ready for `BlockList.addSubnet(address, prefix, family)`. */
export interface Cidr {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** Where a listener binds; port 0 lets the system choose. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** The organization that existing users and models are linked to at start. */
export interface HomeOrganization {
  /** `OPENROUTER_EXTERNAL_USER` */
  readonly id: string;
  /** `ORGANIZATION_NAME` */
  readonly name: string;
  /** New users become members when first seen. */
  readonly autoEnroll: boolean;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** The switch that turns filtering and refusing off, by the name the operator typed. */
export type Bypass = 'ENABLE_MODEL_FILTER' | 'BYPASS_MODEL_ACCESS_CONTROL';

export interface Config {
  readonly listen: ListenAddress;
  readonly admin: ListenAddress;
  readonly upstream: {
    /** Scheme, host and port only: never a path, credentials or a query. */
    readonly url: URL;
    readonly connectTimeoutMs: number;
    /** From the request sent to the response headers there. */
    readonly responseTimeoutMs: number;
    /** Longest silence inside a body, in either direction. */
    readonly idleTimeoutMs: number;
    /** `forward`: `103 Early Hints` go on to the client (RFC 8297). */
    readonly earlyHints: 'drop' | 'forward';
  };
  /** The backend's SQLite file, absolute. It need not exist yet: the backend makes it at its first start. */
  readonly database: { readonly path: string };
  readonly identity: {
    /** Verification keys to be tried in this order; two where the file's trailing newline may be part of the key. */
    readonly secretKeys: readonly string[];
    /** Lower case. */
    readonly apiKeyHeader: string;
  };
  /** Undefined: nothing is linked and nobody is enrolled. */
  readonly organization: HomeOrganization | undefined;
  readonly policy: {
    readonly mode: 'enforce' | 'report';
    /** Set: nothing is filtered or refused, whatever `mode` says. */
    readonly bypass: Bypass | undefined;
    readonly adminAccess: 'organization' | 'all';
    readonly directConnections: 'refuse' | 'allow';
    /** Image and speech models that may be used: all, or exactly these. */
    readonly mediaModels: 'any' | ReadonlySet<string>;
    /** How long the last good state serves when the database cannot be read. */
    readonly maxStaleMs: number;
    /** `forbid`: 403. `hide`: 404 `model_not_found`. */
    readonly denial: 'forbid' | 'hide';
  };
  /** Peers whose `X-Forwarded-…` is believed. */
  readonly trustedProxies: readonly Cidr[];
  /** Largest body that is read to be judged. Bodies that only pass through are not bounded by it. */
  readonly maxBodyBytes: number;
  /** How long running requests may finish after SIGTERM. */
  readonly drainTimeoutMs: number;
  readonly logLevel: LogLevel;
}
