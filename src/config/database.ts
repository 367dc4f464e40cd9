/** The backend's database, as the backend's own settings name it: `DATABASE_URL`, or the parts that override it. */
import { join, resolve } from 'node:path';
import { parseDatabaseUrl } from './database-settings.ts';
import { type ConfigIssue, quote } from './issue.ts';
import type { PostgresAddress } from './postgres-url.ts';
import type { RawSettings, SettingName, Values } from './settings.ts';

export type DatabaseConfig =
  | { readonly engine: 'sqlite'; /** Absolute; the file need not exist yet. */ readonly path: string }
  | { readonly engine: 'postgresql'; /** Paths in it are absolute. */ readonly address: PostgresAddress };

/** For logs and sentences. @returns the path of the file, or the URL without its password */
export const shownDatabase = (database: DatabaseConfig): string =>
  database.engine === 'sqlite' ? database.path : database.address.shown;

/** Whether the backend puts its URL together by itself, and looks at no `DATABASE_URL` (Open WebUI from 0.6.23). */
export const isOverridden = (settings: RawSettings): boolean => missingParts(settings).length === 0;

function missingParts(settings: RawSettings): string[] {
  const needed = ['DATABASE_TYPE', 'DATABASE_HOST', 'DATABASE_PORT', 'DATABASE_NAME'] as const;
  const missing = needed.filter((name) => !settings.has(name));
  const hasCredential = settings.has('DATABASE_USER') || settings.has('DATABASE_PASSWORD');
  return hasCredential ? missing : [...missing, 'DATABASE_USER'];
}

/** @returns the database, where one is named, and every mistake in how it is named; none shows a password */
export function readDatabase(settings: RawSettings, values: Partial<Values>, directory: string) {
  const named = isOverridden(settings) ? ofParts(settings) : ofUrl(settings, values);
  const issues = CHECKS.flatMap((check) => check(settings, values, named) ?? []);
  return {
    database: named === undefined || typeof named === 'string' ? undefined : toConfig(named, values, directory),
    issues,
  };
}

type Named = ReturnType<typeof parseDatabaseUrl> | undefined;

function toConfig(
  named: Exclude<Named, string | undefined>,
  values: Partial<Values>,
  directory: string,
): DatabaseConfig {
  if (named.engine === 'sqlite') return { engine: 'sqlite', path: resolve(directory, named.path) };
  const address = withPaths(named.address, directory);
  return { engine: 'postgresql', address: { ...address, schema: values.DATABASE_SCHEMA ?? address.schema } };
}

/** @returns the address, with absolute paths in it */
export function withPaths(address: PostgresAddress, directory: string): PostgresAddress {
  const { rootCertificate: root, ...files } = address.tls;
  const isFile = root !== undefined && root !== 'system';
  const paths = Object.entries({ ...files, ...(isFile && { rootCertificate: root }) })
    .filter(([name]) => name !== 'mode')
    .map(([name, path]) => [name, resolve(directory, path)] as const);
  return { ...address, tls: { ...address.tls, ...Object.fromEntries(paths) } };
}

function ofUrl(settings: RawSettings, { DATABASE_URL: url, DATA_DIR: folder }: Partial<Values>): Named {
  if (settings.has('DATABASE_URL')) return url;
  const { text: type } = settings.get('DATABASE_TYPE') ?? {};
  if (type === SQLCIPHER) return parseDatabaseUrl(`${SQLCIPHER}:///webui.db`);
  return folder === undefined ? undefined : { engine: 'sqlite', path: join(folder, 'webui.db') };
}

const SQLCIPHER = 'sqlite+sqlcipher';

/** As the backend puts it together: nothing is escaped, so a `%40` in the password is an `@` in both. */
function ofParts(settings: RawSettings): Named {
  const text = (name: SettingName): string => settings.get(name)?.text ?? '';
  const password = text('DATABASE_PASSWORD');
  const credential = `${text('DATABASE_USER')}${password === '' ? '' : `:${password}`}`;
  const place = `${text('DATABASE_HOST')}:${text('DATABASE_PORT')}/${text('DATABASE_NAME')}`;
  return parseDatabaseUrl(`${text('DATABASE_TYPE')}://${credential}@${place}`);
}

/** @returns the mistake of a URL with a password that stands in a file */
export function passwordInFile(settings: RawSettings, setting: SettingName, { password }: PostgresAddress) {
  const { source } = settings.get(setting) ?? {};
  if (password === undefined || source === undefined || source === 'environment') return undefined;
  return { setting, source, found: 'a URL with a password in the file', expected: 'the URL in the environment' };
}

type Check = (settings: RawSettings, values: Partial<Values>, named: Named) => ConfigIssue | undefined;

const EXAMPLE = 'DATABASE_URL=postgresql://openwebui:PASSWORD@postgres:5432/openwebui';

const CHECKS: readonly Check[] = [
  (settings, _values, named) => {
    if (typeof named !== 'string') return undefined;
    const type = quote(settings.get('DATABASE_TYPE')?.text ?? '');
    const found = `${type} and the settings beside it, which make no URL that can be used${named === '' ? '' : `: ${named}`}`;
    return { setting: 'DATABASE_TYPE', found, expected: 'a plain SQLite file, or PostgreSQL', example: EXAMPLE };
  },
  // the backend then falls back to another database, without a word
  (settings) => {
    const { text: type = 'sqlite', source } = settings.get('DATABASE_TYPE') ?? {};
    const missing = missingParts(settings);
    if (type === 'sqlite' || missing.length === 0 || (type === SQLCIPHER && !settings.has('DATABASE_URL')))
      return undefined;
    return {
      setting: 'DATABASE_TYPE',
      ...(source !== undefined && { source }),
      found: `${quote(type)} without ${missing.join(', ')}: the backend then ignores it`,
      expected:
        'DATABASE_USER or DATABASE_PASSWORD, DATABASE_HOST, DATABASE_PORT and DATABASE_NAME beside it, or it to be absent',
      example: EXAMPLE,
    };
  },
  (_settings, { DATABASE_ENABLE_IAM_TOKEN_AUTH: isOn }) =>
    isOn === true
      ? {
          setting: 'DATABASE_ENABLE_IAM_TOKEN_AUTH',
          found: '"true": tokens of AWS in place of a password are not supported',
          expected: 'a role with a password, for the gate at least',
          example: EXAMPLE,
        }
      : undefined,
  (settings, _values, named) => {
    const isUrl = typeof named === 'object' && named.engine === 'postgresql' && !isOverridden(settings);
    return isUrl ? passwordInFile(settings, 'DATABASE_URL', named.address) : undefined;
  },
  ...(['DATABASE_SCHEMA', 'MODELGATE_POLICY_MAX_AGE'] as const).map((setting): Check => (settings, values, named) => {
    const { source } = settings.get(setting) ?? {};
    const isDefault = setting === 'MODELGATE_POLICY_MAX_AGE' && values[setting] === 0;
    if (source === undefined || isDefault || typeof named !== 'object' || named.engine === 'postgresql')
      return undefined;
    const found = 'a value without effect, because the database is a SQLite file';
    return { setting, source, found, expected: 'it to be absent, or a database on PostgreSQL', example: EXAMPLE };
  }),
];
