/** What a configured gate is: URLs are parsed, durations are milliseconds, sizes are bytes, everything is frozen. */
import { isDeepStrictEqual } from 'node:util';
import type { DatabaseConfig } from './database.ts';
import { PROVIDER_SETTINGS } from './provider-settings.ts';
import type { ProviderConfig } from './provider.ts';
import { toRedis, toRevocations } from './redis.ts';
import { type SettingName, type Values, SETTING_NAMES } from './settings.ts';
import type { LedgerConfig } from './usage.ts';

export interface Loaded<C, V = Values> {
  readonly config: C;
  readonly values: V;
}

export type Config = ReturnType<typeof toConfig>;
export type StoreConfig = ReturnType<typeof toStoreConfig>;
export type ListenAddress = Config['listen'];
export type Bypass = NonNullable<Config['policy']['bypass']>;
export type LimitsConfig = Config['limits'];
/** `count` requests a window in the long run, and `burst` more than are due at once (nginx's `burst … nodelay`). */
export type RateLimit = Exclude<LimitsConfig['user'], 'off'>;
/** One address range in canonical form, ready for `BlockList.addSubnet(address, prefix, family)`. */
export type Cidr = Config['trustedProxies'][number];
export type SecurityHeader = keyof Config['answers']['headers'];
export type CookieRules = Config['answers']['cookies']['auth'];
export type LogLevel = Config['logLevel'];

/** What the text of one setting does not say by itself. */
interface Parts {
  readonly database: DatabaseConfig;
  readonly upstreamUrl: URL;
  /** To be tried in this order: the newline at the end of a key file may be part of the key. */
  readonly secretKeys: readonly string[];
  readonly provider: Readonly<ProviderConfig> | undefined;
  readonly usage?: Readonly<LedgerConfig['usage']> | undefined;
  readonly keysSecret?: string | undefined;
}

export const toConfig = (values: Values, { database, upstreamUrl, secretKeys, provider, usage, keysSecret }: Parts) =>
  frozen({
    ...toStoreConfig(values, database),
    /** Undefined: there is no provider door. */
    provider,
    /** Of the ledger; undefined where there is no provider door. */
    usage,
    /** Undefined: organizations have no keys of their own. */
    keysSecret,
    listen: { host: values.MODELGATE_HOST, port: values.MODELGATE_PORT },
    admin: { host: values.MODELGATE_ADMIN_HOST, port: values.MODELGATE_ADMIN_PORT },
    upstream: {
      url: upstreamUrl,
      connectTimeoutMs: values.MODELGATE_CONNECT_TIMEOUT,
      responseTimeoutMs: values.MODELGATE_RESPONSE_TIMEOUT,
      idleTimeoutMs: values.MODELGATE_IDLE_TIMEOUT,
      earlyHints: values.MODELGATE_EARLY_HINTS,
    },
    identity: { secretKeys, apiKeyHeader: values.CUSTOM_API_KEY_HEADER },
    answers: {
      origins: values.CORS_ALLOW_ORIGIN,
      headers: securityHeaders(values),
      backendHeaders: values.MODELGATE_HEADERS_BACKEND,
      cookies: cookieRules(values),
    },
    limits: {
      address: values.MODELGATE_LIMIT_ADDRESS,
      user: values.MODELGATE_LIMIT_USER,
      chat: values.MODELGATE_LIMIT_CHAT,
      organization: values.MODELGATE_LIMIT_ORGANIZATION,
      concurrentChats: values.MODELGATE_LIMIT_CONCURRENT_CHATS,
    },
    /** Where limits are counted; undefined: in this process. */
    redis: toRedis(values),
    /** Where the backend says which sessions it has ended; undefined: left to the backend. */
    revocations: toRevocations(values),
    trustedProxies: values.MODELGATE_TRUSTED_PROXIES ?? [],
    maxBodyBytes: values.MODELGATE_MAX_BODY,
    maxHeaderBytes: values.MODELGATE_MAX_HEADER,
    drainDelayMs: values.MODELGATE_DRAIN_DELAY,
    drainTimeoutMs: values.MODELGATE_DRAIN_TIMEOUT,
    logFormat: values.LOG_FORMAT,
  });

export function toStoreConfig(values: Values, database: DatabaseConfig) {
  const { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name } = values;
  const bypass = (['BYPASS_MODEL_ACCESS_CONTROL', 'ENABLE_MODEL_FILTER'] as const).find(
    // the one switches filtering off where it is true, the other where it is false
    (name) => values[name] === (name === 'BYPASS_MODEL_ACCESS_CONTROL'),
  );
  return frozen({
    database,
    /** Of budgets in organizations that name none. */
    timeZone: values.MODELGATE_TIME_ZONE,
    /** Undefined: no users or models are linked at start, and no users enrolled. */
    organization:
      id === undefined || name === undefined ? undefined : { id, name, autoEnroll: values.MODELGATE_AUTO_ENROLL },
    policy: {
      mode: values.MODELGATE_MODE,
      bypass,
      adminAccess: values.MODELGATE_ADMIN_ACCESS,
      directConnections: values.MODELGATE_DIRECT_CONNECTIONS,
      mediaModels: values.MODELGATE_MEDIA_MODELS,
      maxStaleMs: values.MODELGATE_POLICY_MAX_STALE,
      /** On PostgreSQL: 0 is never older than the request. */
      maxAgeMs: values.MODELGATE_POLICY_MAX_AGE,
      denial: values.MODELGATE_DENIAL,
    },
    /** Where the backend is, if it is set: a command may ask whether it runs. */
    upstreamUrl: values.MODELGATE_UPSTREAM_URL,
    logLevel: values.LOG_LEVEL,
    modelLogLevel: values.SRC_LOG_LEVELS_MODELS ?? values.LOG_LEVEL,
  });
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

/**
 * `session`: what a sign-in remembers on its way through OAuth. `auth`: what proves a user's identity; what is not set for
 * it is taken from `session`, as the backend's `env.py` does (0.6.18 and 0.12.4).
 */
function cookieRules(values: Values) {
  // `Secure` is added where it is missing, and never taken away; without `sameSite` the backend's own stays
  const session = { secure: values.WEBUI_SESSION_COOKIE_SECURE, sameSite: values.WEBUI_SESSION_COOKIE_SAME_SITE };
  const auth = {
    secure: values.WEBUI_AUTH_COOKIE_SECURE ?? session.secure,
    sameSite: values.WEBUI_AUTH_COOKIE_SAME_SITE ?? session.sameSite,
  };
  return { session, auth };
}

/** The settings that a running gate takes, besides limits, headers and cookies; all others hold a port, a file, a key or a connection. */
const LIVE: readonly SettingName[] = [
  ...(['MODELGATE_MODE', 'MODELGATE_DENIAL', 'MODELGATE_ADMIN_ACCESS', 'MODELGATE_DIRECT_CONNECTIONS'] as const),
  ...(['MODELGATE_MEDIA_MODELS', 'MODELGATE_TRUSTED_PROXIES', 'LOG_LEVEL', 'SRC_LOG_LEVELS_MODELS'] as const),
];
const LIVE_FAMILIES = /^(?:MODELGATE_(?:LIMIT|HEADERS)|WEBUI_(?:SESSION|AUTH)_COOKIE|CORS)_/;

const ofProvider = (name: SettingName): boolean => Object.hasOwn(PROVIDER_SETTINGS, name);

interface KeyFile {
  readonly file: SettingName;
  /** Another setting by which the keys may have changed. */
  readonly isOf: (name: SettingName) => boolean;
  readonly keyOf: (config: Config) => unknown;
}

/** The name of the file may be the same, and the key in it another. */
const KEY_FILES: readonly KeyFile[] = [
  {
    file: 'WEBUI_SECRET_KEY_FILE',
    isOf: (name) => name.includes('SECRET_KEY'),
    keyOf: ({ identity }) => identity.secretKeys,
  },
  {
    file: 'MODELGATE_PROVIDER_ACCESS_KEY_FILE',
    isOf: ofProvider,
    keyOf: ({ provider }) => provider?.accessKeys,
  },
  { file: 'MODELGATE_PROVIDER_KEYS_FILE', isOf: ofProvider, keyOf: ({ provider }) => provider?.providers },
  {
    file: 'MODELGATE_KEYS_SECRET_FILE',
    isOf: (name) => name.startsWith('MODELGATE_KEYS_SECRET'),
    keyOf: ({ keysSecret }) => keysSecret,
  },
];

/** @returns what is in force now, the settings that have changed, and those that wait until the gate is started again */
export function reload(running: Loaded<Config>, read: Loaded<Config>) {
  const differing = SETTING_NAMES.filter((name) => !isDeepStrictEqual(running.values[name], read.values[name]));
  const { changed = [], waiting = [] } = Object.groupBy(differing, (name) =>
    LIVE.includes(name) || LIVE_FAMILIES.test(name) ? 'changed' : 'waiting',
  );
  const values = { ...running.values, ...Object.fromEntries(changed.map((name) => [name, read.values[name]])) };
  const { upstream, identity, ...others } = running.config;
  const parts = { upstreamUrl: upstream.url, secretKeys: identity.secretKeys };
  const config = toConfig(values, { ...others, ...parts });
  for (const { file, isOf, keyOf } of KEY_FILES) {
    if (!waiting.some(isOf) && !isDeepStrictEqual(keyOf(running.config), keyOf(read.config))) waiting.push(file);
  }
  return { loaded: { config, values }, changed, waiting };
}

/** Freezes what `Object.freeze` can: a `URL` and a `Set` keep their own methods, which are not called. */
function frozen<T extends object>(value: T): Readonly<T> {
  const parts: readonly unknown[] = Object.values(value);
  for (const part of parts) {
    if (typeof part === 'object' && part !== null && !Object.isFrozen(part)) frozen(part);
  }
  return Object.freeze(value);
}
