/**
 * Raw text in, a frozen `Config` or every mistake out. Never throws, reads nothing by itself, changes nothing.
 * A setting that contradicts another or has no effect is a mistake too: the operator meant something by it.
 */
import { resolve } from 'node:path';
import { contradictions } from './contradictions.ts';
import { type ConfigIssue, quote } from './issue.ts';
import { type RawConfig, type RawSettings, collectRawSettings } from './raw-settings.ts';
import { type Config, type ListenAddress, toConfig, toStoreConfig } from './schema.ts';
import { type SettingName, type Values, describeSetting, readValues } from './settings.ts';

/** What commands need that read or write the database and send nothing to the backend. */
export type StoreConfig = Pick<Config, 'database' | 'organization' | 'policy' | 'logLevel' | 'modelLogLevel'> & {
  /** Where the backend is, if it is set: a command may ask whether it runs. */
  readonly upstreamUrl?: URL | undefined;
};

/** A configuration, and the settings that it was made of. */
export interface Loaded<C> {
  readonly config: C;
  readonly values: Partial<Values>;
}

export type Parsed<C> = (Loaded<C> & { readonly issues?: undefined }) | { readonly issues: readonly ConfigIssue[] };

/** @returns the configuration of `serve`, or all issues: unknown names, unreadable values, contradictions, what is missing */
export function parseConfig(raw: RawConfig): Parsed<Config> {
  const { settings, values, issues: found } = readSettings(raw);
  const secrets = readSecretKeys(settings, raw);
  const issues = [
    ...found,
    ...missing(settings, 'MODELGATE_UPSTREAM_URL'),
    ...databaseMissing(settings),
    ...secrets.issues,
  ];
  const upstreamUrl = values?.MODELGATE_UPSTREAM_URL;
  const path = databasePath(values, raw.directory);
  if (issues.length > 0 || values === undefined || upstreamUrl === undefined || path === undefined) return { issues };
  const config = toConfig({ values, path, upstreamUrl, secretKeys: secrets.keys });
  return { config: frozen(config), values };
}

/** As `parseConfig`, for commands on the database: neither upstream nor key need be set, wrong ones are still issues. */
export function parseStoreConfig(raw: RawConfig): Parsed<StoreConfig> {
  const { settings, values, issues: found } = readSettings(raw);
  const issues = [...found, ...databaseMissing(settings)];
  const path = databasePath(values, raw.directory);
  if (issues.length > 0 || values === undefined || path === undefined) return { issues };
  return { config: frozen({ ...toStoreConfig(values, path), upstreamUrl: values.MODELGATE_UPSTREAM_URL }), values };
}

/** @returns where the admin listener of this environment's gate is, whatever else is or is not set */
export function parseAdminAddress(raw: RawConfig): Parsed<ListenAddress> {
  const { readable, issues } = readSettings(raw);
  const { MODELGATE_ADMIN_HOST: host, MODELGATE_ADMIN_PORT: port } = readable;
  const wrong = issues.filter(({ setting }) => /^MODELGATE_ADMIN_(?:HOST|PORT)/.test(setting));
  if (wrong.length > 0 || host === undefined || port === undefined) return { issues: wrong };
  return { config: { host, port }, values: readable };
}

function readSettings(raw: RawConfig) {
  const { settings, issues } = collectRawSettings(raw);
  const read = readValues(Object.fromEntries([...settings].map(([name, { text }]) => [name, text])));
  const misspelled = [...read.reasons].map(([name, reason]) => misspelling(name, reason, settings));
  const contradicting = contradictions(settings, read.readable, raw.environment);
  return { ...read, settings, issues: [...issues, ...misspelled, ...contradicting] };
}

function misspelling(setting: SettingName, reason: string, settings: RawSettings): ConfigIssue {
  const { secret, expected, example } = describeSetting(setting);
  const { text = '', source } = settings.get(setting) ?? {};
  const shown = secret === true ? 'a value that cannot be used' : quote(text);
  const quoted = /^(["']).*\1$/.test(text) ? 'the quotes belong to the value, as `docker run --env-file` reads it' : '';
  const why = [reason, quoted].filter((part) => part !== '').join('; ');
  return {
    setting,
    found: why === '' ? shown : `${shown}: ${why}`,
    expected,
    example: source === 'environment' ? `${setting}=${example}` : `${setting}: ${example}`,
    ...(source !== undefined && { source }),
  };
}

function missing(settings: RawSettings, setting: SettingName): ConfigIssue[] {
  if (settings.has(setting)) return [];
  const { expected, example } = describeSetting(setting);
  return [{ setting, found: 'nothing', expected, example: `${setting}=${example}` }];
}

const databaseMissing = (settings: RawSettings): ConfigIssue[] =>
  settings.has('DATA_DIR') ? [] : missing(settings, 'DATABASE_URL');

function databasePath(values: Values | undefined, directory: string): string | undefined {
  if (values?.DATABASE_URL !== undefined) return resolve(directory, values.DATABASE_URL);
  return values?.DATA_DIR === undefined ? undefined : resolve(directory, values.DATA_DIR, 'webui.db');
}

const KEY_SETTINGS = ['WEBUI_SECRET_KEY', 'WEBUI_SECRET_KEY_FILE', 'WEBUI_JWT_SECRET_KEY'] as const;

interface SecretKeys {
  readonly keys: readonly string[];
  readonly issues: readonly ConfigIssue[];
}

/** The keys that session tokens are verified with, from exactly one of three settings. No issue shows a key. */
function readSecretKeys(settings: RawSettings, raw: RawConfig): SecretKeys {
  const used = KEY_SETTINGS.filter((name) => settings.has(name));
  const [setting] = used;
  if (setting === undefined) {
    const { expected } = describeSetting('WEBUI_SECRET_KEY');
    const example = 'WEBUI_SECRET_KEY_FILE=/run/secrets/webui_secret_key';
    return { keys: [], issues: [{ setting: 'WEBUI_SECRET_KEY', found: 'nothing', expected, example }] };
  }
  if (used.length > 1) {
    const expected = 'exactly one of them: the one that the backend uses';
    return { keys: [], issues: [{ setting, found: `${used.join(' and ')} together`, expected }] };
  }
  const { text = '' } = settings.get(setting) ?? {};
  if (setting !== 'WEBUI_SECRET_KEY_FILE') return { keys: [text], issues: [] };
  const read = readKeyFile(resolve(raw.directory, text), raw.readSecret);
  if (typeof read !== 'string') return { keys: read, issues: [] };
  return { keys: [], issues: [{ setting, found: read, expected: describeSetting(setting).expected }] };
}

/**
 * The backend's start script strips the newline at the end of the key file, its Python launcher does not (Open WebUI
 * 0.6.0 to 0.12.4); the launcher also reads CRLF as LF.
 *
 * @returns the keys to try in this order, or what is wrong with the file
 */
function readKeyFile(path: string, readSecret: RawConfig['readSecret']): readonly string[] | string {
  let content: string;
  try {
    content = readSecret(path);
  } catch (error) {
    return error instanceof Error ? error.message : 'a file that cannot be read';
  }
  const stripped = content.replace(/[\r\n]+$/, '');
  if (stripped === '') return `${JSON.stringify(path)}, which is empty`;
  return [...new Set([stripped, content.replaceAll('\r\n', '\n'), content])];
}

/** Freezes what `Object.freeze` can: a `URL` and a `Set` keep their own methods, which are not called. */
function frozen<T extends object>(value: T): T {
  const parts: readonly unknown[] = Object.values(value);
  for (const part of parts) {
    if (typeof part === 'object' && part !== null && !Object.isFrozen(part)) frozen(part);
  }
  return Object.freeze(value);
}
