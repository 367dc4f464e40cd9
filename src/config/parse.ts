/**
 * Raw text in, a frozen `Config` or every mistake out. Never throws, reads nothing by itself, changes nothing.
 * A setting that contradicts another or would have no effect is a mistake too: the operator meant something by it.
 */
import { resolve } from 'node:path';
import { readAnswers } from './answers.ts';
import { contradictions } from './contradictions.ts';
import { collectGiven } from './given.ts';
import type { GivenSettings, RawConfig } from './given.ts';
import type { ConfigIssue } from './issue.ts';
import { quote } from './issue.ts';
import type { Bypass, Config, ListenAddress } from './schema.ts';
import { readSecretKeys } from './secret-keys.ts';
import type { Setting } from './setting.ts';
import type { SettingName, Values } from './settings.ts';
import { SETTING_NAMES, SETTINGS } from './settings.ts';
import { UNEXPLAINED } from './value.ts';

/** What commands need that read or write the database and send nothing to the backend. */
export type StoreConfig = Pick<Config, 'database' | 'organization' | 'policy' | 'logLevel' | 'modelLogLevel'> & {
  /** Where the backend is, if it was said: a command may ask whether it runs. */
  readonly upstreamUrl?: URL | undefined;
};

/** A configuration, and the settings that it was made of. */
export interface Loaded<C> {
  readonly config: C;
  readonly values: Values;
}

export type Parsed<C> = (Loaded<C> & { readonly issues?: undefined }) | { readonly issues: readonly ConfigIssue[] };

/** @returns the configuration of `serve`, or all issues: unknown names, unreadable values, contradictions, what is missing */
export function parseConfig(raw: RawConfig): Parsed<Config> {
  const { given, values, issues } = readValues(raw);
  const secrets = readSecretKeys(given, raw);
  const found = [
    ...issues,
    ...missing(given, ['MODELGATE_UPSTREAM_URL']),
    ...databaseMissing(given),
    ...secrets.issues,
  ];
  const url = values.MODELGATE_UPSTREAM_URL;
  const store = storeConfig(values, raw.directory);
  const answers = readAnswers(values);
  if (found.length > 0 || url === undefined || store === undefined || answers === undefined) return { issues: found };
  const config: Config = {
    ...store,
    listen: { host: known(values, 'MODELGATE_HOST'), port: known(values, 'MODELGATE_PORT') },
    admin: adminAddress(values),
    upstream: {
      url,
      connectTimeoutMs: known(values, 'MODELGATE_CONNECT_TIMEOUT'),
      responseTimeoutMs: known(values, 'MODELGATE_RESPONSE_TIMEOUT'),
      idleTimeoutMs: known(values, 'MODELGATE_IDLE_TIMEOUT'),
      earlyHints: known(values, 'MODELGATE_EARLY_HINTS'),
    },
    identity: { secretKeys: secrets.keys, apiKeyHeader: known(values, 'CUSTOM_API_KEY_HEADER') },
    answers,
    limits: {
      address: known(values, 'MODELGATE_LIMIT_ADDRESS'),
      user: known(values, 'MODELGATE_LIMIT_USER'),
      chat: known(values, 'MODELGATE_LIMIT_CHAT'),
      organization: known(values, 'MODELGATE_LIMIT_ORGANIZATION'),
      concurrentChats: known(values, 'MODELGATE_LIMIT_CONCURRENT_CHATS'),
    },
    trustedProxies: values.MODELGATE_TRUSTED_PROXIES ?? [],
    maxBodyBytes: known(values, 'MODELGATE_MAX_BODY'),
    maxHeaderBytes: known(values, 'MODELGATE_MAX_HEADER'),
    drainTimeoutMs: known(values, 'MODELGATE_DRAIN_TIMEOUT'),
    logFormat: values.LOG_FORMAT,
  };
  return { config: frozen(config), values };
}

/** As `parseConfig`, for commands on the database: neither upstream nor key need be set, wrong ones are still issues. */
export function parseStoreConfig(raw: RawConfig): Parsed<StoreConfig> {
  const { given, values, issues } = readValues(raw);
  const found = [...issues, ...databaseMissing(given)];
  const config = storeConfig(values, raw.directory);
  if (found.length > 0 || config === undefined) return { issues: found };
  const upstreamUrl = values.MODELGATE_UPSTREAM_URL;
  return { config: frozen(upstreamUrl === undefined ? config : { ...config, upstreamUrl }), values };
}

/** @returns where the admin listener of this environment's gate is, whatever else is or is not set */
export function parseAdminAddress(raw: RawConfig): Parsed<ListenAddress> {
  const { values, issues } = readValues(raw);
  const wrong = issues.filter(({ setting }) => ADMIN.some((name) => setting.startsWith(name)));
  return wrong.length > 0 ? { issues: wrong } : { config: adminAddress(values), values };
}

const ADMIN = ['MODELGATE_ADMIN_HOST', 'MODELGATE_ADMIN_PORT'] as const;

const adminAddress = (values: Values): ListenAddress => ({
  host: known(values, 'MODELGATE_ADMIN_HOST'),
  port: known(values, 'MODELGATE_ADMIN_PORT'),
});

function readValues(raw: RawConfig): { given: GivenSettings; values: Values; issues: ConfigIssue[] } {
  const { given, issues } = collectGiven(raw);
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const name of SETTING_NAMES) {
    const definition: Setting<unknown> = SETTINGS[name];
    const text = given.get(name)?.text ?? definition.fallback;
    if (text === undefined) continue;
    const result = definition.schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else issues.push(misspelling(name, definition, text, given.get(name)?.source, result.error.issues[0]?.message));
  }
  // the cast: each value was made by the schema of its name
  const read = values as Values;
  return { given, values: read, issues: [...issues, ...contradictions(given, read, raw.environment)] };
}

function misspelling(
  setting: SettingName,
  { secret, expected, example }: Setting<unknown>,
  text: string,
  source: string | undefined,
  reason: string | undefined,
): ConfigIssue {
  const shown = secret === true ? 'a value that cannot be used' : quote(text);
  const quoted = /^(["']).*\1$/.test(text) ? 'the quotes belong to the value, as `docker run --env-file` reads it' : '';
  const why = [reason === UNEXPLAINED ? '' : reason, quoted]
    .filter((part) => part !== undefined && part !== '')
    .join('; ');
  return {
    setting,
    found: why === '' ? shown : `${shown}: ${why}`,
    expected,
    example: source === 'environment' || source === undefined ? `${setting}=${example}` : `${setting}: ${example}`,
    ...(source === undefined ? {} : { source }),
  };
}

function missing(given: GivenSettings, names: readonly SettingName[]): ConfigIssue[] {
  return names
    .filter((name) => !given.has(name))
    .map((name) => ({
      setting: name,
      found: 'nothing',
      expected: SETTINGS[name].expected,
      example: `${name}=${SETTINGS[name].example}`,
    }));
}

function databaseMissing(given: GivenSettings): ConfigIssue[] {
  return given.has('DATA_DIR') ? [] : missing(given, ['DATABASE_URL']);
}

function storeConfig(values: Values, directory: string): StoreConfig | undefined {
  const path =
    values.DATABASE_URL ??
    (values.DATA_DIR === undefined ? undefined : resolve(directory, values.DATA_DIR, 'webui.db'));
  if (
    path === undefined ||
    SETTING_NAMES.some((name) => SETTINGS[name].fallback !== undefined && values[name] === undefined)
  ) {
    return undefined;
  }
  const { OPENROUTER_EXTERNAL_USER: id, ORGANIZATION_NAME: name } = values;
  return {
    database: { path: resolve(directory, path) },
    organization:
      id === undefined || name === undefined
        ? undefined
        : { id, name, autoEnroll: known(values, 'MODELGATE_AUTO_ENROLL') },
    policy: {
      mode: known(values, 'MODELGATE_MODE'),
      bypass: bypassOf(values),
      adminAccess: known(values, 'MODELGATE_ADMIN_ACCESS'),
      directConnections: known(values, 'MODELGATE_DIRECT_CONNECTIONS'),
      mediaModels: known(values, 'MODELGATE_MEDIA_MODELS'),
      maxStaleMs: known(values, 'MODELGATE_POLICY_MAX_STALE'),
      denial: known(values, 'MODELGATE_DENIAL'),
    },
    logLevel: known(values, 'LOG_LEVEL'),
    modelLogLevel: values.SRC_LOG_LEVELS_MODELS ?? known(values, 'LOG_LEVEL'),
  };
}

function bypassOf(values: Values): Bypass | undefined {
  if (values.BYPASS_MODEL_ACCESS_CONTROL === true) return 'BYPASS_MODEL_ACCESS_CONTROL';
  return values.ENABLE_MODEL_FILTER === false ? 'ENABLE_MODEL_FILTER' : undefined;
}

/** A setting with a default always has a value here: `storeConfig` has looked at all of them. */
function known<N extends SettingName>(values: Values, name: N): Exclude<Values[N], undefined> {
  const value = values[name];
  if (value === undefined) throw new TypeError(`${name} was used before it was checked`);
  // the compiler does not follow a narrowed `N`
  return value as Exclude<Values[N], undefined>;
}

/** Freezes what `Object.freeze` can: a `URL` and a `Set` keep their own methods, which nobody calls. */
function frozen<T extends object>(value: T): T {
  for (const part of Object.values(value) as unknown[]) {
    if (typeof part === 'object' && part !== null && !Object.isFrozen(part)) frozen(part);
  }
  return Object.freeze(value);
}
