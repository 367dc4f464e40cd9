/** Every setting that modelgate takes, in the order of the table in `config/README.md`, which is made of this list. */
import { z } from 'zod';
import { HEADER_SETTINGS } from './header-settings.ts';
import { LIMIT_SETTINGS } from './limit-settings.ts';
import * as value from './value.ts';
import { choice, factsOf, flag, host, port, setting, settingWithDefault, string, time } from './value.ts';

const text = (longest: number) =>
  string
    .max(longest, `it is longer than ${longest} characters`)
    .refine((typed) => !/[\u0000-\u001f\u007f]/.test(typed) && typed.isWellFormed(), 'it contains control characters')
    .refine((typed) => typed === typed.trim(), 'there is a space at one of its ends');

const secretKey = (expected: string, meaning: string) =>
  setting(string.min(1), { expected, example: '<the value that the backend has>', meaning, secret: true });

/** The backend's words (Python's `logging`, loguru) that are not pino's too. */
const BACKEND_LEVELS = new Map(
  Object.entries({ notset: 'trace', success: 'info', warning: 'warn', critical: 'fatal' }),
);

const logLevel = string
  .toLowerCase()
  .transform((word) => BACKEND_LEVELS.get(word) ?? word)
  .pipe(z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']));
const LOG_LEVELS = 'DEBUG, INFO, WARNING, ERROR or CRITICAL (or trace, debug, info, warn, error, fatal, silent)';

export const SETTINGS = {
  MODELGATE_UPSTREAM_URL: setting(value.origin, {
    expected: 'the address of Open WebUI: http or https, host and port, nothing behind it',
    example: 'http://open-webui:8080',
    meaning: 'Where Open WebUI listens. **Required.**',
  }),
  MODELGATE_HOST: host('0.0.0.0', 'Address that the gate listens on.'),
  MODELGATE_PORT: port('8080', 'Port that the gate listens on.'),
  MODELGATE_ADMIN_HOST: host(
    '127.0.0.1',
    'Address of the admin listener (`/healthz`, `/readyz`, `/metrics`); it has no sign-in.',
  ),
  MODELGATE_ADMIN_PORT: port('9464', 'Port of the admin listener.'),
  DATABASE_URL: setting(value.sqliteUrl, {
    expected: "the backend's SQLite file: `sqlite:///relative/path` or `sqlite:////absolute/path`",
    example: 'sqlite:////app/backend/data/webui.db',
    meaning: "The backend's own setting. Not set: `webui.db` in `DATA_DIR`. One of the two is **required**.",
  }),
  DATA_DIR: setting(text(4096), {
    expected: "the backend's data directory",
    example: '/app/backend/data',
    meaning: "The backend's own setting; read where `DATABASE_URL` is not set.",
  }),
  WEBUI_SECRET_KEY: secretKey(
    "the backend's WEBUI_SECRET_KEY, or WEBUI_SECRET_KEY_FILE with the file that holds it",
    "The backend's own key; session tokens are verified with it. This or `WEBUI_SECRET_KEY_FILE` is **required**.",
  ),
  WEBUI_SECRET_KEY_FILE: setting(text(4096), {
    expected: 'a readable file that holds the key and nothing else',
    example: '/run/secrets/webui_secret_key',
    meaning:
      "File that holds the backend's key, such as the `.webui_secret_key` which the backend makes; a newline at its end may or may not belong to the key, both are tried.",
  }),
  WEBUI_JWT_SECRET_KEY: secretKey("the backend's key", "The backend's deprecated name for `WEBUI_SECRET_KEY`."),
  CUSTOM_API_KEY_HEADER: settingWithDefault(value.headerName, 'x-api-key', {
    expected: 'the name of a header field that has no other meaning',
    meaning: "The backend's own setting: header that may carry an API key beside `Authorization`.",
  }),
  OPENROUTER_EXTERNAL_USER: setting(text(256), {
    expected: 'the id of the organization, at most 256 characters',
    example: 'mai_client_companyname',
    meaning:
      'Id of the organization that existing users and models are linked to at start. Needs `ORGANIZATION_NAME`. Not set: nothing is linked.',
  }),
  ORGANIZATION_NAME: setting(text(256), {
    expected: 'the name of the organization, at most 256 characters',
    example: 'Company Name',
    meaning: 'Name of that organization.',
  }),
  MODELGATE_AUTO_ENROLL: flag(
    'true',
    'Whether users without any membership, switched on or off, become members of that organization when first seen. Needs an organization.',
  ),
  MODELGATE_MODE: choice(
    ['enforce', 'report'],
    '`report` refuses and filters nothing, and logs and counts what would have been.',
  ),
  MODELGATE_DENIAL: choice(
    ['forbid', 'hide'],
    '`forbid` answers 403 to a model that is not granted; `hide` answers 404, as if it did not exist.',
  ),
  MODELGATE_ADMIN_ACCESS: choice(
    ['organization', 'all'],
    'Whether backend admins follow the grants of their organizations or use every model.',
  ),
  MODELGATE_EARLY_HINTS: choice(
    ['drop', 'forward'],
    'Whether `103 Early Hints` of the backend are passed on. nginx before 1.29 takes a 103 for the final answer.',
  ),
  MODELGATE_DIRECT_CONNECTIONS: choice(
    ['refuse', 'allow'],
    "Chats over a user's own provider connection, whose models the gate cannot check.",
  ),
  MODELGATE_MEDIA_MODELS: settingWithDefault(value.modelList, 'any', {
    expected: '`any`, `none`, or model ids separated by commas',
    example: 'dall-e-3,tts-1',
    meaning:
      'Image and speech models that may be used; they have a name space of their own, which grants do not cover.',
  }),
  ENABLE_MODEL_FILTER: flag('true', "mAI's own setting: `false` switches all filtering and refusing off."),
  BYPASS_MODEL_ACCESS_CONTROL: flag(
    'false',
    "The backend's own setting: `true` switches all filtering and refusing off.",
  ),
  MODELGATE_POLICY_MAX_STALE: time(
    ['30s', '0ms', '1h'],
    'How long the last good state serves when the database cannot be read; then model endpoints answer 503.',
  ),
  MODELGATE_TRUSTED_PROXIES: setting(value.cidrs, {
    expected: 'address ranges separated by commas',
    example: '10.0.0.0/8,fd00::/8',
    meaning: 'Proxies in front whose `X-Forwarded-…` headers are believed. Not set: none.',
  }),
  MODELGATE_MAX_BODY: settingWithDefault(value.size(1024, 500 * 1024 ** 2), '100MB', {
    expected: 'a size from 1KB to 500MB: a whole number with B, KB, MB or GB',
    meaning:
      "Largest request body that is read to be judged (1 KB = 1024 bytes). At the same time a user's long ones may take as much memory, or 100MB, and all users' twice that; beyond it 503. Uploads that only pass through are not bounded by it.",
  }),
  MODELGATE_MAX_HEADER: settingWithDefault(value.size(8 * 1024, 256 * 1024), '64KB', {
    expected: 'a size from 8KB to 256KB: a whole number with B or KB',
    meaning:
      'Largest head of a request (its line and headers: cookies, most of all), and of an answer of the backend. Open WebUI itself takes 64 KB; nginx in front needs as much (`large_client_header_buffers`, `proxy_buffer_size`).',
  }),
  ...LIMIT_SETTINGS,
  MODELGATE_CONNECT_TIMEOUT: time(['5s', '1ms', '1h'], 'Longest wait for a connection to the backend.'),
  MODELGATE_RESPONSE_TIMEOUT: time(
    ['10m', '1ms', '24h'],
    "Longest wait for the backend's response headers, which come late where a model answers without streaming.",
  ),
  MODELGATE_IDLE_TIMEOUT: time(
    ['10m', '1ms', '24h'],
    'Longest silence inside an answer, and of a client that takes nothing of it. The whole of a stream has no limit. A request body ends after a minute of silence, or where it comes by less than 500 bytes a second.',
  ),
  MODELGATE_DRAIN_TIMEOUT: time(
    ['25s', '0ms', '1h'],
    'How long running requests may finish after SIGTERM; keep it below the grace period of the container.',
  ),
  ...HEADER_SETTINGS,
  LOG_LEVEL: settingWithDefault(logLevel, 'INFO', {
    expected: LOG_LEVELS,
    meaning: 'Least severe log line that is written.',
  }),
  LOG_FORMAT: value.backendWord(
    ['text', 'json'],
    "`text`: lines for eyes; `json`: the backend's own word, for programs. Not set: text where standard output is a terminal.",
  ),
  SRC_LOG_LEVELS_MODELS: setting(logLevel, {
    expected: LOG_LEVELS,
    example: 'DEBUG',
    meaning:
      "The backend's own setting: `DEBUG` adds a line to each decision that explains organization, model and access. Not set: as `LOG_LEVEL`.",
  }),
} as const;

const SCHEMA = z.object(SETTINGS);

export type SettingName = keyof typeof SETTINGS;

/** The text of each setting, and its source: `environment`, or the path of the YAML file. */
export type RawSettings = ReadonlyMap<SettingName, { readonly text: string; readonly source: string }>;

/** Every value, where all texts could be read; undefined where nothing is set and there is no default. */
export type Values = z.output<typeof SCHEMA>;

export const SETTING_NAMES = SCHEMA.keyof().options;

/** Exactly as it is spelled: no other letter case, no `constructor`. */
export const isSettingName = (name: string): name is SettingName => Object.hasOwn(SETTINGS, name);

export const describeSetting = (name: SettingName) => factsOf(SETTINGS[name]);

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
export function readValues(texts: Readonly<Partial<Record<SettingName, string>>>) {
  const { data: values, error } = SCHEMA.safeParse(texts, { error: () => '' });
  if (values !== undefined) return { values, readable: values, reasons: [] };
  const reasons = SETTING_NAMES.flatMap((name) =>
    error.issues
      .filter(({ path }) => path[0] === name)
      .slice(0, 1)
      .map(({ message }) => [name, message] as const),
  );
  const unreadable: Partial<Record<SettingName, true>> = Object.fromEntries(reasons.map(([name]) => [name, true]));
  const readable: Partial<Values> = SCHEMA.omit(unreadable).parse(texts, { jitless: true });
  return { values, readable, reasons };
}
