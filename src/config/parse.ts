/** Raw text in, a frozen `Config` or every mistake out. Never throws, reads nothing by itself, changes nothing. */
import { resolve } from 'node:path';
import { nearest } from '../nearest.ts';
import { contradictions } from './contradictions.ts';
import { isOverridden, readDatabase } from './database.ts';
import { type ConfigIssue, quote } from './issue.ts';
import { providerContradictions } from './provider-contradictions.ts';
import { isUnused, readProvider } from './provider.ts';
import { isUnusedRedis, redisContradictions } from './redis.ts';
import { type Config, type ListenAddress, type Loaded, type StoreConfig, toConfig, toStoreConfig } from './schema.ts';
import {
  type RawSettings,
  type SettingName,
  type Values,
  describeSetting,
  isSettingName,
  readValues,
  SETTING_NAMES,
} from './settings.ts';
import { type LedgerConfig, missingLedger, noLedger, readLedger } from './usage.ts';
import { SERVICE_LINK } from './value.ts';

/** Names the YAML file, and so has no place in it. */
export const CONFIG_FILE_VARIABLE = 'MODELGATE_CONFIG';

export interface RawConfig {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The YAML file, parsed with every scalar left as text. */
  readonly file?: { readonly name: string; readonly values: unknown } | undefined;
  readonly directory: string;
  /** @throws an error with a sentence as its message, where the file cannot be read */
  readonly readSecret: (path: string) => string;
}

export type Parsed<C, V = Values> =
  (Loaded<C, V> & { readonly issues?: undefined }) | { readonly issues: readonly ConfigIssue[] };

/** @returns the configuration of `serve`, or all issues: unknown names, unreadable values, contradictions, what is missing */
export function parseConfig(raw: RawConfig): Parsed<Config> {
  const { settings, values, readable, database, issues: found } = readSettings(raw);
  const keys = readSecretKeys(settings, raw);
  const provider = readProvider(settings, readable, raw);
  const hasDoor = settings.has('MODELGATE_PROVIDER_PORT');
  const ledger = hasDoor ? readLedger(settings, readable, database, raw) : noLedger(settings);
  const missing = [...missingOf(settings, 'MODELGATE_UPSTREAM_URL'), ...missingDatabase(settings)];
  const issues = [...found, ...missing, ...('found' in keys ? [keys] : []), ...provider.issues, ...ledger.issues];
  const url = values?.MODELGATE_UPSTREAM_URL;
  if (issues.length > 0 || values === undefined || url === undefined || database === undefined || 'found' in keys)
    return { issues };
  const kept = ledger.toConfig(values);
  if (hasDoor && kept === undefined) return { issues: [missingLedger()] };
  const parts = { database, upstreamUrl: url, secretKeys: keys, provider: provider.toConfig(values) };
  return { config: toConfig(values, { ...parts, ...kept }), values };
}

/** As `parseConfig`, for commands on the database: neither upstream nor key need be set, wrong ones are still issues. */
export function parseStoreConfig(raw: RawConfig): Parsed<StoreConfig> {
  const { settings, values, database, issues: found } = readSettings(raw);
  const issues = [...found, ...missingDatabase(settings)];
  if (issues.length > 0 || values === undefined || database === undefined) return { issues };
  return { config: toStoreConfig(values, database), values };
}

/** As `parseConfig`, for commands on the ledger: neither upstream, key, database nor provider door need be set. */
export function parseLedgerConfig(raw: RawConfig): Parsed<LedgerConfig> {
  const { settings, values, readable, database, issues: found } = readSettings(raw);
  const ledger = readLedger(settings, readable, database, raw);
  const config = values && ledger.toConfig(values);
  const missing = values !== undefined && config === undefined ? [missingLedger()] : [];
  const issues = [...found, ...(ledger.issues.length > 0 ? ledger.issues : missing)];
  if (issues.length > 0 || values === undefined || config === undefined) return { issues };
  return { config, values };
}

/** @returns where the admin listener of this environment's gate is, whatever else is or is not set */
export function parseAdminAddress(raw: RawConfig): Parsed<ListenAddress, Partial<Values>> {
  const { readable, issues } = readSettings(raw);
  const { MODELGATE_ADMIN_HOST: host, MODELGATE_ADMIN_PORT: port } = readable;
  const wrong = issues.filter(({ setting }) => /^MODELGATE_ADMIN_(?:HOST|PORT)/.test(setting));
  if (wrong.length > 0 || host === undefined || port === undefined) return { issues: wrong };
  return { config: { host, port }, values: readable };
}

function readSettings(raw: RawConfig) {
  const { settings, issues } = collectRawSettings(raw);
  const isRead = (name: SettingName) =>
    !isUnused(name, settings) && !isUnusedRedis(name, settings) && !(name === 'DATABASE_URL' && isOverridden(settings));
  const texts = [...settings].flatMap(([name, { text }]) => (isRead(name) ? [[name, text] as const] : []));
  const read = readValues(Object.fromEntries(texts));
  const misspelled = read.reasons.map(([name, reason]) => misspelling(name, reason, settings));
  const contradicting = [contradictions, providerContradictions, redisContradictions].flatMap((found) =>
    found(settings, read.readable, raw.environment),
  );
  const { database, issues: ofDatabase } = readDatabase(settings, read.readable, raw.directory);
  return { ...read, settings, database, issues: [...issues, ...misspelled, ...contradicting, ...ofDatabase] };
}

/** The environment wins over the file. Empty means "not set": Compose writes it for `${VARIABLE}` without a value. */
export function collectRawSettings({ environment, file }: RawConfig) {
  const settings = new Map<SettingName, { readonly text: string; readonly source: string }>();
  const issues: ConfigIssue[] = [];
  const { name: source = '', values } = file ?? {};
  if (typeof values === 'object' && !Array.isArray(values)) {
    for (const [name, value] of Object.entries(values ?? {})) {
      const text = textOf(value);
      const issue = misplaced(name, source, text);
      if (issue !== undefined) issues.push(issue);
      else if (isSettingName(name) && text !== undefined && text !== '') settings.set(name, { text, source });
    }
  } else if (values !== undefined && values !== '') {
    issues.push({ setting: source, found: 'no mapping of names to values', expected: 'one `NAME: value` a line' });
  }
  for (const [name, text = ''] of Object.entries(environment)) {
    if (text === '') continue;
    if (isSettingName(name)) settings.set(name, { text, source: 'environment' });
    else if (/^modelgate_/i.test(name) && name !== CONFIG_FILE_VARIABLE)
      issues.push(unknownSetting(name, 'environment'));
  }
  return { settings, issues };
}

/** Shows the name alone: a mistyped variable may hold a secret. */
function unknownSetting(name: string, source: string): ConfigIssue {
  const meant = suggest(name, [...SETTING_NAMES, CONFIG_FILE_VARIABLE]);
  const isServiceLink = source === 'environment' && /^MODELGATE_(SERVICE_|PORT_\d)/.test(name);
  const printed = 'one of the names that `modelgate serve --settings` prints';
  const known = meant === undefined ? printed : `a known name: did you mean ${meant}?`;
  const expected = isServiceLink ? `it to be absent: ${SERVICE_LINK}` : known;
  return { setting: name.slice(0, 100), source, found: 'a setting that does not exist', expected };
}

function suggest(name: string, known: readonly string[]): string | undefined {
  const wanted = letters(name);
  const containing = known.find((other) => wanted.length >= 4 && `_${letters(other)}_`.includes(`_${wanted}_`));
  const closest = nearest(wanted, known.map(letters));
  return known.find((other) => letters(other) === closest) ?? containing;
}

/** Many names of the backend's own lack the common prefix. */
const letters = (name: string): string =>
  name
    .toUpperCase()
    .replace(/-/g, '_')
    .replace(/^MODELGATE_/, '');

function misplaced(name: string, source: string, text: string | undefined): ConfigIssue | undefined {
  const issue = (found: string, expected: string) => ({ setting: name, source, found, expected });
  if (name === CONFIG_FILE_VARIABLE) return issue('a setting', 'it to be set in the environment only');
  if (!isSettingName(name)) return unknownSetting(name, source);
  const { secret, example } = describeSetting(name);
  if (secret) return issue('a secret in the file', `it in the environment${ownFileOf(name)}`);
  if (text !== undefined) return undefined;
  return { ...issue('neither a value nor a list of values', 'one value'), example: `${name}: ${example}` };
}

function ownFileOf(name: SettingName): string {
  const file = name.endsWith('_API_KEY') ? 'MODELGATE_PROVIDER_KEYS_FILE' : `${name.replace('_JWT', '')}_FILE`;
  return isSettingName(file) ? `, or in a file of its own that ${file} names` : '';
}

/** A list means its items separated by commas; an item with a comma would become two. */
function textOf(value: unknown): string | undefined {
  if (value === null || value === undefined) return '';
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isItem = (item: unknown): item is string => typeof item === 'string';
  if (!items.every(isItem)) return undefined;
  return Array.isArray(value) && items.some((item) => item.includes(',')) ? undefined : items.join(',');
}

function misspelling(setting: SettingName, reason: string, settings: RawSettings): ConfigIssue {
  const { text = '', source } = settings.get(setting) ?? {};
  // a URL whose parts are not where they belong may show its password anywhere
  const isHidden = describeSetting(setting).secret || (setting === 'DATABASE_URL' && !/^(?:sqlite|[^:]*$)/i.test(text));
  const shown = isHidden ? 'a value that cannot be used' : quote(text);
  const quoted = /^(["']).*\1$/.test(text) ? 'the quotes belong to the value, as `docker run --env-file` reads it' : '';
  const why = [reason, quoted].filter((part) => part !== '').join('; ');
  return issueOf(setting, why === '' ? shown : `${shown}: ${why}`, source);
}

function issueOf(setting: SettingName, found: string, source?: string): ConfigIssue {
  const { expected, example } = describeSetting(setting);
  const isOfFile = source !== undefined && source !== 'environment';
  const typed = `${setting}${isOfFile ? ': ' : '='}${example}`;
  return { setting, found, expected, example: typed, ...(source !== undefined && { source }) };
}

const missingOf = (settings: RawSettings, setting: SettingName): ConfigIssue[] =>
  settings.has(setting) ? [] : [issueOf(setting, 'nothing')];

/** A `DATABASE_TYPE` alone is a mistake of its own. */
const missingDatabase = (settings: RawSettings): ConfigIssue[] =>
  settings.has('DATA_DIR') || settings.has('DATABASE_TYPE') ? [] : missingOf(settings, 'DATABASE_URL');

/** @returns the keys that session tokens are verified with, from exactly one of three settings. No issue shows a key. */
function readSecretKeys(settings: RawSettings, raw: RawConfig): readonly string[] | ConfigIssue {
  const names = ['WEBUI_SECRET_KEY', 'WEBUI_SECRET_KEY_FILE', 'WEBUI_JWT_SECRET_KEY'] as const;
  const used = names.filter((name) => settings.has(name));
  const [setting = names[0]] = used;
  const { text } = settings.get(setting) ?? {};
  if (used.length > 1) {
    const expected = 'exactly one of them: the one that the backend uses';
    return { setting, found: `${used.join(' and ')} together`, expected };
  }
  if (text === undefined) {
    return { ...issueOf(setting, 'nothing'), example: 'WEBUI_SECRET_KEY_FILE=/run/secrets/webui_secret_key' };
  }
  if (setting !== 'WEBUI_SECRET_KEY_FILE') return [text];
  const path = resolve(raw.directory, text);
  try {
    const content = raw.readSecret(path);
    // the backend's start script strips the newline at the end, its Python launcher does not (Open WebUI 0.6.0 to
    // 0.12.4); the launcher also reads CRLF as LF
    const stripped = content.replace(/[\r\n]+$/, '');
    if (stripped === '') return issueOf(setting, `${JSON.stringify(path)}, which is empty`);
    return [...new Set([stripped, content.replaceAll('\r\n', '\n'), content])];
  } catch (error) {
    return issueOf(setting, error instanceof Error ? error.message : 'a file that cannot be read');
  }
}
