/** Every setting that modelgate takes, in the order of the table in `config/README.md`, which is made of this list. */
import type { z } from 'zod';
import { DATABASE_MEANINGS, DATABASE_SETTINGS } from './database-settings.ts';
import * as header from './header-values.ts';
import { PROVIDER_MEANINGS, PROVIDER_SETTINGS } from './provider-settings.ts';
import { REDIS_MEANINGS, REDIS_SETTINGS } from './redis-settings.ts';
import { setting, settingWithDefault } from './row.ts';
import { USAGE_MEANINGS, USAGE_SETTINGS } from './usage-settings.ts';
import * as value from './value.ts';

const ofOrganization = (what: string) =>
  value.text(256).describe(`the ${what} of the organization, at most 256 characters`);

const secretKey = (expected: string) =>
  setting(value.string.min(1).describe(expected), '<the value that the backend has>', true);

const flag = (fallback: 'true' | 'false') => settingWithDefault(value.boolean, fallback);

/** One of two words, of which the first is the default. */
const choice = <const W extends string>(...words: readonly [W, W]) =>
  settingWithDefault(value.word(...words), words[0]);

const sameSite = setting(value.backendWord('lax', 'strict', 'none'), 'lax');

/** A header field of every answer. */
const field = (kind: z.ZodType<string, string>, fallback: string, example = fallback) =>
  settingWithDefault(header.headerValue(kind), fallback, example);

const CSP = "frame-ancestors 'self'; object-src 'none'";
const TWO_YEARS = 'max-age=63072000; includeSubDomains';
const keyFile = value.text(4096).describe('a readable file that holds the key and nothing else');

const SETTINGS = {
  MODELGATE_UPSTREAM_URL: setting(value.origin, 'http://open-webui:8080'),
  MODELGATE_HOST: settingWithDefault(value.host, '0.0.0.0'),
  MODELGATE_PORT: settingWithDefault(value.port, '8080'),
  MODELGATE_ADMIN_HOST: settingWithDefault(value.host, '127.0.0.1'),
  MODELGATE_ADMIN_PORT: settingWithDefault(value.port, '9464'),
  ...DATABASE_SETTINGS,
  WEBUI_SECRET_KEY: secretKey("the backend's WEBUI_SECRET_KEY, or WEBUI_SECRET_KEY_FILE with the file that holds it"),
  WEBUI_SECRET_KEY_FILE: setting(keyFile, '/run/secrets/webui_secret_key'),
  WEBUI_JWT_SECRET_KEY: secretKey("the backend's key"),
  CUSTOM_API_KEY_HEADER: settingWithDefault(value.headerName, 'x-api-key'),
  OPENROUTER_EXTERNAL_USER: setting(ofOrganization('id'), 'mai_client_companyname'),
  ORGANIZATION_NAME: setting(ofOrganization('name'), 'Company Name'),
  MODELGATE_AUTO_ENROLL: flag('true'),
  MODELGATE_MODE: choice('enforce', 'report'),
  MODELGATE_DENIAL: choice('forbid', 'hide'),
  MODELGATE_ADMIN_ACCESS: choice('organization', 'all'),
  MODELGATE_EARLY_HINTS: choice('drop', 'forward'),
  MODELGATE_DIRECT_CONNECTIONS: choice('refuse', 'allow'),
  MODELGATE_MEDIA_MODELS: settingWithDefault(value.modelList, 'any', 'dall-e-3,tts-1'),
  ENABLE_MODEL_FILTER: flag('true'),
  BYPASS_MODEL_ACCESS_CONTROL: flag('false'),
  MODELGATE_POLICY_MAX_STALE: settingWithDefault(value.duration('0ms', '1h'), '30s'),
  MODELGATE_POLICY_MAX_AGE: settingWithDefault(value.duration('0ms', '5s'), '0ms', '25ms'),
  MODELGATE_TRUSTED_PROXIES: setting(value.cidrs, '10.0.0.0/8,fd00::/8'),
  MODELGATE_MAX_BODY: settingWithDefault(value.size('1KB', '500MB'), '100MB'),
  MODELGATE_MAX_HEADER: settingWithDefault(value.size('8KB', '256KB'), '64KB'),
  MODELGATE_LIMIT_ADDRESS: settingWithDefault(value.rate, '600/1m:300'),
  MODELGATE_LIMIT_USER: settingWithDefault(value.rate, '1200/1m:600'),
  MODELGATE_LIMIT_CHAT: settingWithDefault(value.rate, '240/1m:120'),
  MODELGATE_LIMIT_ORGANIZATION: settingWithDefault(value.rate, '6000/1m:2000'),
  MODELGATE_LIMIT_CONCURRENT_CHATS: settingWithDefault(value.concurrency, '32'),
  ...REDIS_SETTINGS,
  MODELGATE_CONNECT_TIMEOUT: settingWithDefault(value.duration('1ms', '1h'), '5s'),
  MODELGATE_RESPONSE_TIMEOUT: settingWithDefault(value.duration('1ms', '24h'), '10m'),
  MODELGATE_IDLE_TIMEOUT: settingWithDefault(value.duration('1ms', '24h'), '10m'),
  MODELGATE_DRAIN_DELAY: settingWithDefault(value.duration('0ms', '10m'), '0s', '5s'),
  MODELGATE_DRAIN_TIMEOUT: settingWithDefault(value.duration('0ms', '1h'), '25s'),
  MODELGATE_HEADERS_BACKEND: choice('wins', 'replaced'),
  MODELGATE_HEADERS_FRAME_OPTIONS: field(header.frameOptions, 'SAMEORIGIN', 'DENY'),
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: field(header.contentTypeOptions, 'nosniff'),
  MODELGATE_HEADERS_XSS_PROTECTION: field(header.xssProtection, '1; mode=block', '0'),
  MODELGATE_HEADERS_REFERRER_POLICY: field(header.referrerPolicies, 'strict-origin-when-cross-origin', 'no-referrer'),
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY: field(header.transportSecurity, 'max-age=31536000', TWO_YEARS),
  MODELGATE_HEADERS_PERMISSIONS_POLICY: field(header.permissions, header.DEFAULT_PERMISSIONS, 'camera=(self), usb=()'),
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY: field(header.resourcePolicy, 'same-site', 'same-origin'),
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY: field(header.openerPolicy, 'backend', 'same-origin-allow-popups'),
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY: field(header.embedderPolicy, 'backend', 'credentialless'),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: field(header.csp, 'backend', CSP),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY: field(header.csp, 'backend', `${CSP}; report-uri /csp`),
  CORS_ALLOW_ORIGIN: settingWithDefault(header.origins, '*', 'https://intranet.company.com;https://wiki.company.com'),
  WEBUI_SESSION_COOKIE_SECURE: flag('false'),
  WEBUI_SESSION_COOKIE_SAME_SITE: sameSite,
  WEBUI_AUTH_COOKIE_SECURE: setting(value.boolean, 'true'),
  WEBUI_AUTH_COOKIE_SAME_SITE: sameSite,
  ...PROVIDER_SETTINGS,
  ...USAGE_SETTINGS,
  LOG_LEVEL: settingWithDefault(value.logLevel, 'INFO'),
  LOG_FORMAT: setting(value.backendWord('text', 'json'), 'text'),
  SRC_LOG_LEVELS_MODELS: setting(value.logLevel, 'DEBUG'),
} as const;

/** What each means, as `modelgate serve --settings` and `config/README.md` say it. */
const MEANINGS = {
  MODELGATE_UPSTREAM_URL: 'Where Open WebUI listens. **Required.**',
  MODELGATE_HOST: 'Address that the gate listens on.',
  MODELGATE_PORT: 'Port that the gate listens on.',
  MODELGATE_ADMIN_HOST: 'Address of the admin listener (`/healthz`, `/readyz`, `/metrics`); it has no sign-in.',
  MODELGATE_ADMIN_PORT: 'Port of the admin listener.',
  ...DATABASE_MEANINGS,
  WEBUI_SECRET_KEY:
    "The backend's own key; session tokens are verified with it. This or `WEBUI_SECRET_KEY_FILE` is **required**.",
  WEBUI_SECRET_KEY_FILE:
    "File that holds the backend's key, such as the `.webui_secret_key` which the backend makes; a newline at its end may or may not belong to the key, both are tried.",
  WEBUI_JWT_SECRET_KEY: "The backend's deprecated name for `WEBUI_SECRET_KEY`.",
  CUSTOM_API_KEY_HEADER: "The backend's own setting: header that may carry an API key beside `Authorization`.",
  OPENROUTER_EXTERNAL_USER:
    'Id of the organization that existing users and models are linked to at start. Needs `ORGANIZATION_NAME`. Not set: nothing is linked.',
  ORGANIZATION_NAME: 'Name of that organization.',
  MODELGATE_AUTO_ENROLL:
    'Whether users without any membership, switched on or off, become members of that organization when first seen. Needs an organization.',
  MODELGATE_MODE: '`report` refuses and filters nothing, and logs and counts what would have been.',
  MODELGATE_DENIAL: '`forbid` answers 403 to a model that is not granted; `hide` answers 404, as if it did not exist.',
  MODELGATE_ADMIN_ACCESS: 'Whether backend admins follow the grants of their organizations or use every model.',
  MODELGATE_EARLY_HINTS:
    'Whether `103 Early Hints` of the backend are passed on. nginx before 1.29 takes a 103 for the final answer.',
  MODELGATE_DIRECT_CONNECTIONS: "Chats over a user's own provider connection, whose models the gate cannot check.",
  MODELGATE_MEDIA_MODELS:
    'Image and speech models that may be used; they have a name space of their own, which grants do not cover.',
  ENABLE_MODEL_FILTER: "mAI's own setting: `false` switches all filtering and refusing off.",
  BYPASS_MODEL_ACCESS_CONTROL: "The backend's own setting: `true` switches all filtering and refusing off.",
  MODELGATE_POLICY_MAX_STALE:
    'How long the last good state serves when the database cannot be read; then model endpoints answer 503.',
  MODELGATE_POLICY_MAX_AGE:
    'On PostgreSQL: how old what a decision rests on may be. `0ms`: nothing is older than the request. Up to 5s for a database that is far away; a grant that is withdrawn may then serve for so long.',
  MODELGATE_TRUSTED_PROXIES: 'Proxies in front whose `X-Forwarded-…` headers are believed. Not set: none.',
  MODELGATE_MAX_BODY:
    "Largest request body that is read to be judged (1 KB = 1024 bytes). At the same time a user's long ones may take as much memory, or 100MB, and all users' twice that; beyond it 503. Uploads that only pass through are not bounded by it.",
  MODELGATE_MAX_HEADER:
    'Largest head of a request (its line and headers: cookies, most of all), and of an answer of the backend. Open WebUI itself takes 64 KB; nginx in front needs as much (`large_client_header_buffers`, `proxy_buffer_size`).',
  MODELGATE_LIMIT_ADDRESS:
    'API requests without a valid session or key, by client address (IPv6 by /64); a sign-in counts as ten, from any client. `COUNT/WINDOW:BURST` as nginx means `burst … nodelay`: so many a window in the long run, and BURST more than are due at once (not given: the whole count). `off`: no limit.',
  MODELGATE_LIMIT_USER: 'All API requests of a user.',
  MODELGATE_LIMIT_CHAT: 'Requests that run a model, by user.',
  MODELGATE_LIMIT_ORGANIZATION: 'The same, by the organization whose grant permitted them.',
  MODELGATE_LIMIT_CONCURRENT_CHATS:
    'Requests of one user that run a model at the same time; a stream counts until it ends.',
  ...REDIS_MEANINGS,
  MODELGATE_CONNECT_TIMEOUT: 'Longest wait for a connection to the backend.',
  MODELGATE_RESPONSE_TIMEOUT:
    "Longest wait for the backend's response headers, which come late where a model answers without streaming.",
  MODELGATE_IDLE_TIMEOUT:
    'Longest silence inside an answer, and of a client that takes nothing of it. The whole of a stream has no limit. A request body ends after a minute of silence, or where it comes by less than 500 bytes a second.',
  MODELGATE_DRAIN_DELAY:
    'How long the gate goes on serving after SIGTERM, with `/readyz` at 503, before it stops accepting: as long as the balancer in front needs to notice. None by default: with one gate it only makes a stop longer. Several gates behind nginx: `2s`.',
  MODELGATE_DRAIN_TIMEOUT:
    'How long running requests may finish after that; keep the sum of both below the grace period of the container.',
  MODELGATE_HEADERS_BACKEND:
    "Whether the backend's own line of a header below stays, where it sends one. For each header: a value, `off` (in no answer: nginx adds it, say), or `backend` (the backend's own alone).",
  MODELGATE_HEADERS_FRAME_OPTIONS: '`X-Frame-Options`. Other sites cannot show the page in a frame.',
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: '`X-Content-Type-Options`.',
  MODELGATE_HEADERS_XSS_PROTECTION:
    "`X-XSS-Protection`. The guide's value; browsers of today ignore it, and the advice of today is `0`.",
  MODELGATE_HEADERS_REFERRER_POLICY: '`Referrer-Policy`.',
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY:
    '`Strict-Transport-Security`. Only where a trusted proxy says `X-Forwarded-Proto: https`.',
  MODELGATE_HEADERS_PERMISSIONS_POLICY: '`Permissions-Policy`. Leaves to the page whatever Open WebUI uses.',
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY:
    '`Cross-Origin-Resource-Policy`. Always `cross-origin` on `/pyodide/`, which the page loads into a frame without an origin.',
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY:
    '`Cross-Origin-Opener-Policy`. Any value but `unsafe-none` cuts off pages that open this one: the import from openwebui.com, the sign-in to OneDrive.',
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY:
    '`Cross-Origin-Embedder-Policy`. Breaks pictures and frames of other sites.',
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: '`Content-Security-Policy`.',
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY:
    '`Content-Security-Policy-Report-Only`. Try a policy with it first.',
  CORS_ALLOW_ORIGIN:
    "The backend's own setting: origins whose pages may read its answers, and so the gate's own. `Retry-After`, `RateLimit…` and `X-Request-Id` are exposed to them.",
  WEBUI_SESSION_COOKIE_SECURE:
    "The backend's own setting: `true` adds `Secure` to its session cookies, which browsers then send and keep over https only. `false` takes none away.",
  WEBUI_SESSION_COOKIE_SAME_SITE:
    "The backend's own setting: `SameSite` of its session cookies. `strict` breaks OAuth sign-in. Not set: as the backend writes it.",
  WEBUI_AUTH_COOKIE_SECURE:
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SECURE` decides.",
  WEBUI_AUTH_COOKIE_SAME_SITE:
    "The backend's own setting: the same for `token`, `oauth_…` and `mfa_challenge` alone. Not set: `WEBUI_SESSION_COOKIE_SAME_SITE` decides.",
  ...PROVIDER_MEANINGS,
  ...USAGE_MEANINGS,
  LOG_LEVEL: 'Least severe log line that is written.',
  LOG_FORMAT:
    "`text`: lines for eyes; `json`: the backend's own word, for programs. Not set: text where standard output is a terminal.",
  SRC_LOG_LEVELS_MODELS:
    "The backend's own setting: `DEBUG` adds a line to each decision that explains organization, model and access. Not set: as `LOG_LEVEL`.",
};

export type SettingName = keyof typeof SETTINGS;

/** The text of each setting, and its source: `environment`, or the path of the YAML file. */
export type RawSettings = ReadonlyMap<SettingName, { readonly text: string; readonly source: string }>;

/** Every value, where all texts could be read; undefined where nothing is set and there is no default. */
export type Values = { readonly [N in SettingName]: z.output<(typeof SETTINGS)[N]['schema']> };

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** Exactly as it is spelled: no other letter case, no `constructor`. */
export const isSettingName = (name: string): name is SettingName => Object.hasOwn(SETTINGS, name);

/** @returns what ends the sentence "expected …", what it means, and its default and example */
export const describeSetting = (name: SettingName) => ({ ...SETTINGS[name], meaning: MEANINGS[name] });

/** @returns every setting, as `modelgate serve --settings` lists them */
export const settingReferences = () =>
  SETTING_NAMES.map((name) => {
    const { fallback, example, meaning } = describeSetting(name);
    return { name, default: fallback ?? null, example, meaning: meaning.replaceAll('**', '') };
  });

/** @returns all values, or those that are readable, and the reason of each that is not: empty where "expected …" says it */
export function readValues(texts: Readonly<Partial<Record<SettingName, string>>>) {
  const read = SETTING_NAMES.map((name) => {
    const { data, error } = SETTINGS[name].schema.safeParse(texts[name], { error: () => '' });
    return { name, data, reason: error?.issues[0]?.message };
  });
  const readable = Object.fromEntries(read.map(({ name, data }) => [name, data])) as Partial<Values>;
  const reasons = read.flatMap(({ name, reason }) => (reason === undefined ? [] : [[name, reason] as const]));
  return { values: reasons.length === 0 ? (readable as Values) : undefined, readable, reasons };
}
