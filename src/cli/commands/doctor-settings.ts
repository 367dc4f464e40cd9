/**
 * The configuration as far as it goes: `doctor` looks for mistakes, so none of them may stop it. What the database needs
 * must be there; what the gate alone needs may be missing, and is then said.
 */
import type { ConfigIssue } from '../../config/issue.ts';
import { findingOf } from '../../config/issue.ts';
import { loadConfig, loadStoreConfig } from '../../config/load.ts';
import type { StoreConfig } from '../../config/parse.ts';
import type { SettingsSeen } from '../../diagnosis/diagnosis.ts';
import { weaknessesOf } from '../../gate/weaknesses.ts';
import { configurationFailure, environmentWith } from '../configured.ts';
import type { DatabaseOptions } from '../options.ts';
import type { Terminal } from '../terminal.ts';

export interface DoctorSettings {
  readonly store: StoreConfig;
  readonly seen: SettingsSeen;
  /** Where the backend listens, undefined where it is not set. */
  readonly upstream: URL | undefined;
  /** Empty where none is set. */
  readonly secretKeys: readonly string[];
}

/** @throws CommandFailure with exit code 2 where not even the database is named */
export function readDoctorSettings(
  terminal: Terminal,
  { config: file, database }: Pick<DatabaseOptions, 'config' | 'database'>,
): DoctorSettings {
  const { directory } = terminal;
  const environment = environmentWith(terminal, database);
  const { issues: first = [] } = loadConfig({ environment, directory, file });
  const absent = new Set(first.filter(isAbsent).map(({ setting }) => setting));
  const standIns = Object.fromEntries(Object.entries(STAND_INS).filter(([name]) => absent.has(name)));
  const parsed = loadConfig({ environment: { ...environment, ...standIns }, directory, file });
  const seen = { hasUpstream: !absent.has('MODELGATE_UPSTREAM_URL'), hasSecretKey: !absent.has('WEBUI_SECRET_KEY') };
  if (parsed.issues !== undefined) {
    const store = withoutMistakes(terminal, environment, parsed.issues, database);
    return {
      store,
      seen: { ...seen, mistakes: parsed.issues.map(inOneLine), weaknesses: [] },
      upstream: undefined,
      secretKeys: [],
    };
  }
  const { config } = parsed;
  const secretKeys = seen.hasSecretKey ? config.identity.secretKeys : [];
  return {
    store: config,
    seen: { ...seen, mistakes: [], weaknesses: weaknessesOf({ ...config, identity: { secretKeys } }) },
    upstream: seen.hasUpstream ? config.upstream.url : undefined,
    secretKeys,
  };
}

/** What lets the rest be read; nothing is ever sent to or signed with them. */
const STAND_INS = { MODELGATE_UPSTREAM_URL: 'http://not-set.invalid', WEBUI_SECRET_KEY: 'not set, and long enough' };

const isAbsent = ({ setting, found }: ConfigIssue): boolean => setting in STAND_INS && found === 'nothing';

/** The database alone, with every other setting as it is by default. */
function withoutMistakes(
  { directory }: Terminal,
  environment: Readonly<Record<string, string | undefined>>,
  issues: readonly ConfigIssue[],
  database: string | undefined,
): StoreConfig {
  const { DATABASE_URL, DATA_DIR } = environment;
  const parsed = loadStoreConfig({ environment: { DATABASE_URL, DATA_DIR }, directory });
  if (parsed.issues === undefined) return parsed.config;
  throw configurationFailure(issues, database ?? null);
}

const inOneLine = (issue: ConfigIssue): string => `${issue.setting}: ${findingOf(issue)}; expected ${issue.expected}.`;
