/**
 * What a configured gate is. A `Config` needs no second check: URLs are parsed, durations are milliseconds, sizes are
 * bytes, everything is frozen. Only `parseConfig` makes one; `settings.ts` says what each setting means.
 */
import type { Values } from './settings.ts';

type Frozen<T> = T extends URL | ReadonlySet<string>
  ? T
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

export type Config = Frozen<ReturnType<typeof toConfig>>;

/** Where a listener binds; port 0 lets the system choose. */
export type ListenAddress = Config['listen'];

/** The switch that turns filtering and refusing off, by the name the operator typed. */
export type Bypass = NonNullable<Config['policy']['bypass']>;

export type LimitsConfig = Config['limits'];

/** `count` requests a window in the long run, and `burst` more than are due at once (nginx's `burst … nodelay`). */
export type RateLimit = Exclude<LimitsConfig['user'], 'off'>;

/** One address range in canonical form, ready for `BlockList.addSubnet(address, prefix, family)`. */
export type Cidr = Config['trustedProxies'][number];

/** Lower-case names of the headers that every answer can be given. */
export type SecurityHeader = keyof Config['answers']['headers'];

/** What is enforced on one kind of cookie. */
export type CookieRules = Config['answers']['cookies']['auth'];

export type LogLevel = Config['logLevel'];

/** What a `Config` is made of. */
interface ConfigParts {
  readonly values: Values;
  readonly path: string;
  readonly upstreamUrl: URL;
  readonly secretKeys: readonly string[];
}

export const toConfig = ({ values, path, upstreamUrl: url, secretKeys }: ConfigParts) => ({
  ...toStoreConfig(values, path),
  listen: { host: values.MODELGATE_HOST, port: values.MODELGATE_PORT },
  admin: { host: values.MODELGATE_ADMIN_HOST, port: values.MODELGATE_ADMIN_PORT },
  upstream: {
    /** Scheme, host and port only. */
    url,
    connectTimeoutMs: values.MODELGATE_CONNECT_TIMEOUT,
    responseTimeoutMs: values.MODELGATE_RESPONSE_TIMEOUT,
    idleTimeoutMs: values.MODELGATE_IDLE_TIMEOUT,
    earlyHints: values.MODELGATE_EARLY_HINTS,
  },
  identity: {
    /** To be tried in this order: the newline at the end of a key file may be part of the key. */
    secretKeys,
    /** In lower case. */
    apiKeyHeader: values.CUSTOM_API_KEY_HEADER,
  },
  answers: {
    /** Origins whose pages may read the gate's own answers. */
    origins: values.CORS_ALLOW_ORIGIN,
    /** A value, `off` (in no answer) or `backend` (the backend's own alone). */
    headers: securityHeaders(values),
    /** What happens to the backend's own line where there is a value. */
    backendHeaders: values.MODELGATE_HEADERS_BACKEND,
    /** `session`: what a sign-in remembers on its way through OAuth. `auth`: what proves a user's identity. */
    cookies: cookieRules(values),
  },
  limits: {
    address: values.MODELGATE_LIMIT_ADDRESS,
    user: values.MODELGATE_LIMIT_USER,
    chat: values.MODELGATE_LIMIT_CHAT,
    organization: values.MODELGATE_LIMIT_ORGANIZATION,
    concurrentChats: values.MODELGATE_LIMIT_CONCURRENT_CHATS,
  },
  trustedProxies: values.MODELGATE_TRUSTED_PROXIES ?? [],
  /** Of bodies that are read to be judged; those that only pass through are not bounded. */
  maxBodyBytes: values.MODELGATE_MAX_BODY,
  maxHeaderBytes: values.MODELGATE_MAX_HEADER,
  drainTimeoutMs: values.MODELGATE_DRAIN_TIMEOUT,
  /** Undefined: text where standard output is a terminal. */
  logFormat: values.LOG_FORMAT,
});

/** The part that commands on the database need. */
export function toStoreConfig(values: Values, path: string) {
  const { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name } = values;
  const hasOrganization = id !== undefined && name !== undefined;
  return {
    /** Absolute. The file need not exist yet: the backend makes it at its first start. */
    database: { path },
    /** Undefined: no users or models are linked at start, and no users enrolled. */
    organization: hasOrganization ? { id, name, autoEnroll: values.MODELGATE_AUTO_ENROLL } : undefined,
    policy: {
      mode: values.MODELGATE_MODE,
      /** The switch that turns filtering and refusing off, whatever `mode` is. */
      bypass: bypassOf(values),
      adminAccess: values.MODELGATE_ADMIN_ACCESS,
      directConnections: values.MODELGATE_DIRECT_CONNECTIONS,
      /** Image and speech models that may be used: all, or exactly these. */
      mediaModels: values.MODELGATE_MEDIA_MODELS,
      maxStaleMs: values.MODELGATE_POLICY_MAX_STALE,
      denial: values.MODELGATE_DENIAL,
    },
    logLevel: values.LOG_LEVEL,
    /** Of the lines that explain decisions. */
    modelLogLevel: values.SRC_LOG_LEVELS_MODELS ?? values.LOG_LEVEL,
  };
}

function bypassOf(values: Values): 'BYPASS_MODEL_ACCESS_CONTROL' | 'ENABLE_MODEL_FILTER' | undefined {
  if (values.BYPASS_MODEL_ACCESS_CONTROL) return 'BYPASS_MODEL_ACCESS_CONTROL';
  return values.ENABLE_MODEL_FILTER ? undefined : 'ENABLE_MODEL_FILTER';
}

const securityHeaders = (values: Values) => ({
  'x-frame-options': values.MODELGATE_HEADERS_FRAME_OPTIONS,
  'x-content-type-options': values.MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS,
  'x-xss-protection': values.MODELGATE_HEADERS_XSS_PROTECTION,
  'referrer-policy': values.MODELGATE_HEADERS_REFERRER_POLICY,
  'strict-transport-security': values.MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY,
  'permissions-policy': values.MODELGATE_HEADERS_PERMISSIONS_POLICY,
  'cross-origin-resource-policy': values.MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY,
  'cross-origin-opener-policy': values.MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY,
  'cross-origin-embedder-policy': values.MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY,
  'content-security-policy': values.MODELGATE_HEADERS_CONTENT_SECURITY_POLICY,
  'content-security-policy-report-only': values.MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY,
});

/** As the backend's `env.py` reads them (0.6.18 and 0.12.4): what is not set for `auth` is taken from `session`. */
function cookieRules(values: Values) {
  const session = {
    /** `Secure` is added where it is missing, and never taken away. */
    secure: values.WEBUI_SESSION_COOKIE_SECURE,
    /** Undefined: as the backend writes it. */
    sameSite: values.WEBUI_SESSION_COOKIE_SAME_SITE,
  };
  const auth = {
    secure: values.WEBUI_AUTH_COOKIE_SECURE ?? session.secure,
    sameSite: values.WEBUI_AUTH_COOKIE_SAME_SITE ?? session.sameSite,
  };
  return { session, auth };
}
