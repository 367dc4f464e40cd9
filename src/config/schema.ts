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
  /** Users without any membership become members when first seen. */
  readonly autoEnroll: boolean;
}

/** `count` requests a window in the long run, and `burst` more than are due at once (nginx's `burst … nodelay`). */
export interface RateLimit {
  readonly count: number;
  /** Whole, at least 1. */
  readonly windowSeconds: number;
  readonly burst: number;
}

export interface LimitsConfig {
  /** API requests without a known user, by client address. */
  readonly address: RateLimit | 'off';
  /** All API requests, by user. */
  readonly user: RateLimit | 'off';
  /** Requests that run a model, by user. */
  readonly chat: RateLimit | 'off';
  /** The same, by the organization that permitted them. */
  readonly organization: RateLimit | 'off';
  /** Requests that run a model at the same time, by user. */
  readonly concurrentChats: number | 'off';
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** The switch that turns filtering and refusing off, by the name the operator typed. */
export type Bypass = 'ENABLE_MODEL_FILTER' | 'BYPASS_MODEL_ACCESS_CONTROL';

/** Lower-case names of the headers that every answer can be given. */
export type SecurityHeader =
  | 'x-frame-options'
  | 'x-content-type-options'
  | 'x-xss-protection'
  | 'referrer-policy'
  | 'strict-transport-security'
  | 'permissions-policy'
  | 'cross-origin-resource-policy'
  | 'cross-origin-opener-policy'
  | 'cross-origin-embedder-policy'
  | 'content-security-policy'
  | 'content-security-policy-report-only';

/** What is enforced on one kind of cookie. */
export interface CookieRules {
  /** `Secure` is added where it is missing, and never taken away. */
  readonly secure: boolean;
  /** Undefined: as the backend writes it. */
  readonly sameSite: 'lax' | 'strict' | 'none' | undefined;
}

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
  readonly answers: {
    /** Origins whose pages may read the gate's own answers. */
    readonly origins: 'any' | ReadonlySet<string>;
    /** A value, `off` (in no answer) or `backend` (the backend's own alone). */
    readonly headers: Readonly<Record<SecurityHeader, string>>;
    /** What becomes of the backend's own line where there is a value here. */
    readonly backendHeaders: 'wins' | 'replaced';
    /** `session`: what a sign-in remembers on its way through OAuth. `auth`: what proves who somebody is. */
    readonly cookies: { readonly session: CookieRules; readonly auth: CookieRules };
  };
  readonly limits: LimitsConfig;
  /** Peers whose `X-Forwarded-…` is believed. */
  readonly trustedProxies: readonly Cidr[];
  /** Largest body that is read to be judged. Bodies that only pass through are not bounded by it. */
  readonly maxBodyBytes: number;
  readonly maxHeaderBytes: number;
  /** How long running requests may finish after SIGTERM. */
  readonly drainTimeoutMs: number;
  readonly logLevel: LogLevel;
  /** Undefined: text where standard output is a terminal. */
  readonly logFormat: 'json' | 'text' | undefined;
  /** Of the lines that explain decisions. */
  readonly modelLogLevel: LogLevel;
}
