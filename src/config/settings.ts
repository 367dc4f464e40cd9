/** Every setting that modelgate takes, in the order of the table in `config/README.md`, which is made of this list. */
import type { z } from 'zod';
import * as header from './header-values.ts';
import { MEANINGS } from './meanings.ts';
import * as value from './value.ts';

/** A setting without a default. @param secret never shown, never taken from the YAML file */
const setting = <T>(kind: z.ZodType<T, string>, example: string, secret = false) => {
  const { description: expected = '' } = kind;
  return { schema: kind.optional(), expected, example, fallback: undefined, secret };
};

/** A setting that always has a value; its default is its example too, unless another is given. */
const settingWithDefault = <T>(kind: z.ZodType<T, string>, fallback: string, example = fallback) => {
  const { description: expected = '' } = kind;
  return { schema: kind.prefault(fallback), expected, example, fallback, secret: false };
};

const ofOrganization = (what: string) =>
  value.text(256).describe(`the ${what} of the organization, at most 256 characters`);

const secretKey = (expected: string) =>
  setting(value.string.min(1).describe(expected), '<the value that the backend has>', true);

const flag = (fallback: 'true' | 'false') => settingWithDefault(value.boolean, fallback);

/** One of two words, of which the first is the default. */
const choice = <const W extends string>(...words: readonly [W, W]) =>
  settingWithDefault(value.word(...words), words[0]);

const sameSite = setting(value.backendWord('lax', 'strict', 'none'), 'lax');

const ofHeader = (kind: z.ZodType<string, string>, fallback: string, example = fallback) =>
  settingWithDefault(header.headerValue(kind), fallback, example);

const CSP_EXAMPLE = "frame-ancestors 'self'; object-src 'none'";

export const SETTINGS = {
  MODELGATE_UPSTREAM_URL: setting(value.origin, 'http://open-webui:8080'),
  MODELGATE_HOST: settingWithDefault(value.host, '0.0.0.0'),
  MODELGATE_PORT: settingWithDefault(value.port, '8080'),
  MODELGATE_ADMIN_HOST: settingWithDefault(value.host, '127.0.0.1'),
  MODELGATE_ADMIN_PORT: settingWithDefault(value.port, '9464'),
  DATABASE_URL: setting(value.sqliteUrl, 'sqlite:////app/backend/data/webui.db'),
  DATA_DIR: setting(value.text(4096).describe("the backend's data directory"), '/app/backend/data'),
  WEBUI_SECRET_KEY: secretKey("the backend's WEBUI_SECRET_KEY, or WEBUI_SECRET_KEY_FILE with the file that holds it"),
  WEBUI_SECRET_KEY_FILE: setting(
    value.text(4096).describe('a readable file that holds the key and nothing else'),
    '/run/secrets/webui_secret_key',
  ),
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
  MODELGATE_TRUSTED_PROXIES: setting(value.cidrs, '10.0.0.0/8,fd00::/8'),
  MODELGATE_MAX_BODY: settingWithDefault(value.size('1KB', '500MB'), '100MB'),
  MODELGATE_MAX_HEADER: settingWithDefault(value.size('8KB', '256KB'), '64KB'),
  MODELGATE_LIMIT_ADDRESS: settingWithDefault(value.rate, '600/1m:300'),
  MODELGATE_LIMIT_USER: settingWithDefault(value.rate, '1200/1m:600'),
  MODELGATE_LIMIT_CHAT: settingWithDefault(value.rate, '240/1m:120'),
  MODELGATE_LIMIT_ORGANIZATION: settingWithDefault(value.rate, '6000/1m:2000'),
  MODELGATE_LIMIT_CONCURRENT_CHATS: settingWithDefault(value.concurrency, '32'),
  MODELGATE_CONNECT_TIMEOUT: settingWithDefault(value.duration('1ms', '1h'), '5s'),
  MODELGATE_RESPONSE_TIMEOUT: settingWithDefault(value.duration('1ms', '24h'), '10m'),
  MODELGATE_IDLE_TIMEOUT: settingWithDefault(value.duration('1ms', '24h'), '10m'),
  MODELGATE_DRAIN_TIMEOUT: settingWithDefault(value.duration('0ms', '1h'), '25s'),
  MODELGATE_HEADERS_BACKEND: choice('wins', 'replaced'),
  // RFC 7034; `ALLOW-FROM` is known to no browser of today
  MODELGATE_HEADERS_FRAME_OPTIONS: ofHeader(header.anyOf('SAMEORIGIN', 'DENY'), 'SAMEORIGIN', 'DENY'),
  MODELGATE_HEADERS_CONTENT_TYPE_OPTIONS: ofHeader(header.anyOf('nosniff'), 'nosniff'),
  MODELGATE_HEADERS_XSS_PROTECTION: ofHeader(header.xssProtection, '1; mode=block', '0'),
  MODELGATE_HEADERS_REFERRER_POLICY: ofHeader(
    header.referrerPolicies,
    'strict-origin-when-cross-origin',
    'no-referrer',
  ),
  MODELGATE_HEADERS_STRICT_TRANSPORT_SECURITY: ofHeader(
    header.transportSecurity,
    'max-age=31536000',
    'max-age=63072000; includeSubDomains',
  ),
  MODELGATE_HEADERS_PERMISSIONS_POLICY: ofHeader(
    header.permissions,
    header.DEFAULT_PERMISSIONS,
    'camera=(self), usb=()',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_RESOURCE_POLICY: ofHeader(
    header.anyOf('same-origin', 'same-site', 'cross-origin'),
    'same-site',
    'same-origin',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_OPENER_POLICY: ofHeader(
    header.policyWord('same-origin-allow-popups', 'same-origin', 'noopener-allow-popups', 'unsafe-none'),
    'backend',
    'same-origin-allow-popups',
  ),
  MODELGATE_HEADERS_CROSS_ORIGIN_EMBEDDER_POLICY: ofHeader(
    header.policyWord('require-corp', 'credentialless', 'unsafe-none'),
    'backend',
    'credentialless',
  ),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY: ofHeader(header.contentSecurityPolicy, 'backend', CSP_EXAMPLE),
  MODELGATE_HEADERS_CONTENT_SECURITY_POLICY_REPORT_ONLY: ofHeader(
    header.contentSecurityPolicy,
    'backend',
    `${CSP_EXAMPLE}; report-uri /csp`,
  ),
  CORS_ALLOW_ORIGIN: settingWithDefault(header.origins, '*', 'https://intranet.company.com;https://wiki.company.com'),
  WEBUI_SESSION_COOKIE_SECURE: flag('false'),
  WEBUI_SESSION_COOKIE_SAME_SITE: sameSite,
  WEBUI_AUTH_COOKIE_SECURE: setting(value.boolean, 'true'),
  WEBUI_AUTH_COOKIE_SAME_SITE: sameSite,
  LOG_LEVEL: settingWithDefault(value.logLevel, 'INFO'),
  LOG_FORMAT: setting(value.backendWord('text', 'json'), 'text'),
  SRC_LOG_LEVELS_MODELS: setting(value.logLevel, 'DEBUG'),
} as const;

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

/** What is wrong with a configuration. */
export interface ConfigIssue {
  /** The variable's name, or the file's where the file itself is wrong. */
  readonly setting: string;
  /** The value in words or quoted, or a clause that begins with `this`; never a secret. */
  readonly found: string;
  readonly expected: string;
  readonly example?: string;
  readonly source?: string;
}

/** Up to the last `@`, because a password in a URL may contain anything. */
export const maskCredentials = (value: string): string => value.replace(/\/\/.*@/s, '//***@');

/** @returns such as `found "x"`, or `this file does not exist` */
export const findingOf = ({ found }: ConfigIssue): string => (found.startsWith('this ') ? found : `found ${found}`);

function describeIssue(issue: ConfigIssue): string {
  const { setting, expected, example, source } = issue;
  const head = `${setting}${source === undefined ? '' : ` (${source})`}: ${findingOf(issue)}\n  expected ${expected}`;
  return example === undefined ? head : `${head}\n  example: ${example}`;
}

export const issuesInLine = (issues: readonly ConfigIssue[]): string =>
  issues.map((issue) => describeIssue(issue).replaceAll(/\n */g, ', ')).join('; ');

/** @returns all issues as one text, ending in a newline */
export function describeIssues(issues: readonly ConfigIssue[]): string {
  const count = issues.length === 1 ? 'There is 1 mistake' : `There are ${issues.length} mistakes`;
  return `${count} in the configuration:\n\n${issues.map(describeIssue).join('\n\n')}\n`;
}

/** @returns every setting, as `modelgate serve --settings` lists them */
export const settingReferences = () =>
  SETTING_NAMES.map((name) => {
    const { fallback, example, meaning } = describeSetting(name);
    return { name, default: fallback ?? null, example, meaning: meaning.replaceAll('**', '') };
  });

/** @returns all values, or those that are readable, and the reason of each that is not: empty where "expected …" says it */
export function readValues(settings: RawSettings) {
  const read = SETTING_NAMES.map((name) => {
    const { data, error } = SETTINGS[name].schema.safeParse(settings.get(name)?.text, { error: () => '' });
    return { name, data, reason: error?.issues[0]?.message };
  });
  const readable = Object.fromEntries(read.map(({ name, data }) => [name, data])) as Partial<Values>;
  const reasons = read.flatMap(({ name, reason }) => (reason === undefined ? [] : [[name, reason] as const]));
  return { values: reasons.length === 0 ? (readable as Values) : undefined, readable, reasons };
}
