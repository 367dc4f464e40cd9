/** Where the ledger is, how it counts, and the secret of the keys of organizations. */
import { dirname, resolve } from 'node:path';
import { type DatabaseConfig, passwordInFile, withPaths } from './database.ts';
import type { ConfigIssue } from './issue.ts';
import type { PostgresAddress } from './postgres-url.ts';
import { providerUrls, withoutEffect } from './provider.ts';
import { type RawSettings, type SettingName, type Values, SETTING_NAMES, describeSetting } from './settings.ts';
import { SHORTEST_KEYS_SECRET, USAGE_SETTINGS } from './usage-settings.ts';

interface Sources {
  readonly directory: string;
  /** @throws an error with a sentence as its message, where the file cannot be read */
  readonly readSecret: (path: string) => string;
}

/** What a gate with a provider door, and commands on the ledger, know of it. */
export type LedgerConfig = ReturnType<typeof toLedgerConfig>;

interface Place {
  /** Absolute; neither the file nor its folder need exist yet. On PostgreSQL its URL without password. */
  readonly path: string;
  readonly postgres?: PostgresAddress;
}

const toLedgerConfig = (values: Values, place: Place, keysSecret: string | undefined, hosts: readonly string[]) => ({
  usage: {
    ...place,
    keepMs: values.MODELGATE_USAGE_KEEP,
    whenDown: values.MODELGATE_USAGE_WHEN_DOWN,
    timeZone: values.MODELGATE_TIME_ZONE,
    reserve: values.MODELGATE_BUDGET_RESERVE,
    unpriced: values.MODELGATE_BUDGET_UNPRICED,
  },
  /** Undefined: organizations have no keys of their own here. */
  keysSecret,
  /** Of all providers; none where the settings name none. */
  providerHosts: hosts,
});

/** @param database the backend's, which must be another file @returns what `toConfig` needs, and every mistake; none shows the secret */
export function readLedger(
  settings: RawSettings,
  values: Partial<Values>,
  database: DatabaseConfig | undefined,
  sources: Sources,
) {
  const { MODELGATE_USAGE_DATABASE: named } = values;
  const place = placeOf(values, database, sources.directory);
  const secret = readKeysSecret(settings, values, sources);
  const issues: ConfigIssue[] = typeof secret === 'object' ? [secret] : [];
  if (database?.engine === 'sqlite' && place?.path === database.path) {
    issues.push(issueOf(settingOfPath(values), `${JSON.stringify(place.path)}, which is the backend's own file`));
  }
  if (typeof named === 'object')
    issues.push(...[passwordInFile(settings, 'MODELGATE_USAGE_DATABASE', named)].filter((one) => one !== undefined));
  const hosts = [...new Set(providerUrls(settings, values)?.map(({ host }) => host))];
  const toConfig = (whole: Values) =>
    place === undefined || typeof secret === 'object' ? undefined : toLedgerConfig(whole, place, secret, hosts);
  return { toConfig, issues };
}

/** Where there is no provider door. */
export const noLedger = (settings: RawSettings) => ({
  toConfig: () => undefined,
  issues: withoutEffect(
    settings,
    SETTING_NAMES.filter((name) => Object.hasOwn(USAGE_SETTINGS, name)),
  ),
});

/** A command on the ledger, without a setting that says where it is. */
export const missingLedger = (): ConfigIssue => issueOf('MODELGATE_USAGE_DATABASE', 'nothing');

/** What says where the ledger is. */
export const settingOfPath = ({ MODELGATE_USAGE_DATABASE: file }: Partial<Values>): SettingName =>
  file === undefined ? 'MODELGATE_STATE_DIR' : 'MODELGATE_USAGE_DATABASE';

/** Beside the backend's database is a volume, in every container that keeps its data; so is its folder for all else. */
function placeOf(
  { MODELGATE_USAGE_DATABASE: named, MODELGATE_STATE_DIR: folder, DATA_DIR: data }: Partial<Values>,
  database: DatabaseConfig | undefined,
  directory: string,
): Place | undefined {
  if (typeof named === 'object') return onPostgres(withPaths(named, directory));
  if (named !== undefined) return { path: resolve(directory, named) };
  if (folder !== undefined) return { path: resolve(directory, folder, 'usage.db') };
  if (database?.engine === 'postgresql') return onPostgres(database.address);
  const beside = database === undefined ? data : dirname(database.path);
  return beside === undefined ? undefined : { path: resolve(directory, beside, 'modelgate', 'usage.db') };
}

const onPostgres = (postgres: PostgresAddress): Place => ({ path: postgres.shown, postgres });

function readKeysSecret(
  settings: RawSettings,
  values: Partial<Values>,
  sources: Sources,
): string | undefined | ConfigIssue {
  const [setting, file] = ['MODELGATE_KEYS_SECRET', 'MODELGATE_KEYS_SECRET_FILE'] as const;
  if (settings.has(setting) && settings.has(file)) {
    return { setting, found: `${setting} and ${file} together`, expected: 'one of them' };
  }
  const { text } = settings.get(file) ?? {};
  if (text === undefined) return values[setting];
  const path = resolve(sources.directory, text);
  try {
    const secret = sources.readSecret(path).trim();
    if (secret.length >= SHORTEST_KEYS_SECRET) return secret;
    const { expected } = describeSetting(setting);
    return { setting: file, found: `${JSON.stringify(path)}, with a secret that is too short`, expected, example };
  } catch (error) {
    return issueOf(file, error instanceof Error ? error.message : 'a file that cannot be read');
  }
}

const example = 'openssl rand -hex 32';

const issueOf = (setting: SettingName, found: string): ConfigIssue => {
  const shown = describeSetting(setting);
  return { setting, found, expected: shown.expected, example: `${setting}=${shown.example}` };
};
