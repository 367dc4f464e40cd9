/** The only reader of configuration files, and of files that hold a secret; what it cannot read is an issue like any other. */
import { accessSync, closeSync, constants, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type ErrorCode, type YAMLError, LineCounter, parseDocument } from 'yaml';
import { type ConfigIssue, maskCredentials } from './issue.ts';
import {
  type Parsed,
  type RawConfig,
  CONFIG_FILE_VARIABLE,
  collectRawSettings,
  parseAdminAddress,
  parseConfig,
  parseLedgerConfig,
  parseStoreConfig,
} from './parse.ts';
import type { PostgresTls } from './postgres-url.ts';
import type { Config, Loaded, StoreConfig } from './schema.ts';
import { type SettingName, type Values, SETTING_NAMES, describeSetting } from './settings.ts';
import { type LedgerConfig, settingOfPath } from './usage.ts';

type ConfigSources = Pick<RawConfig, 'environment' | 'directory'> & {
  /** `--config`; wins over `MODELGATE_CONFIG`. */
  readonly file?: string | undefined;
};

/** @returns the configuration of `serve`, or every issue of environment, file, key file and database path */
export const loadConfig = (sources: ConfigSources) => loadWith(sources, parseConfig, fileIssues);

/** As `loadConfig`, for commands that only use the database. */
export const loadStoreConfig = (sources: ConfigSources) => loadWith(sources, parseStoreConfig, databaseIssues);

/** As `loadConfig`, for commands on the ledger: where it is and how it counts; all else may be missing. */
export const loadUsageConfig = (sources: ConfigSources) =>
  loadWith(sources, parseLedgerConfig, ({ config, values }) => ledgerIssues(config.usage, values));

/** As `loadUsageConfig`, where nothing need be there. */
export const findUsageConfig = (sources: ConfigSources) => loadWith(sources, parseLedgerConfig, () => []);

/** Where the admin listener is; all else may be missing. */
export const loadAdminAddress = (sources: ConfigSources) => loadWith(sources, parseAdminAddress, () => []);

function loadWith<C, V>(
  sources: ConfigSources,
  parse: (raw: RawConfig) => Parsed<C, V>,
  check: (loaded: Loaded<C, V>) => readonly ConfigIssue[],
): Parsed<C, V> {
  const { raw, issues: ofFile } = readSources(sources);
  const parsed = parse(raw);
  const issues = [...ofFile, ...(parsed.issues ?? check(parsed))];
  return issues.length > 0 || parsed.issues !== undefined ? { issues } : parsed;
}

/** @returns each setting that has a value, as it was typed and with its source, whether it can be used or not */
export function loadSettingsInForce(sources: ConfigSources) {
  const { settings } = collectRawSettings(readSources(sources).raw);
  return SETTING_NAMES.flatMap((name) => {
    const { fallback, secret } = describeSetting(name);
    const { text, source } = settings.get(name) ?? { text: fallback, source: 'default' };
    return text === undefined ? [] : [{ name, value: secret ? null : maskCredentials(text), source }];
  });
}

function readSources({ environment, directory, file = environment[CONFIG_FILE_VARIABLE] }: ConfigSources) {
  const raw: RawConfig = { environment, directory, readSecret };
  if (file === undefined || file === '') return { raw, issues: [] };
  const refuse = (found: string, setting = file, example = 'MODELGATE_PORT: 8080') => {
    const expected = 'a readable YAML file with one `NAME: value` a line, none of them indented';
    return { raw, issues: [{ setting, found, expected, example }] };
  };
  let text: string;
  try {
    text = readFileSync(resolve(directory, file), 'utf8');
  } catch (error) {
    const reason = reasonOf(error);
    const found = reason === 'is a directory' ? 'is a directory, not a YAML file' : `file ${reason}`;
    return refuse(`this ${found}`, file, '--config /etc/modelgate.yaml');
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: false, lineCounter: lines });
  // one mistake causes others: only the first is reported, without its text, which may be a secret's
  const [error] = document.errors;
  if (error !== undefined) {
    const [place, found] = mistakeIn(text, error, lines);
    return refuse(found, `${file}:${place}`);
  }
  try {
    const values: unknown = document.toJS({ maxAliasCount: 0 });
    return { raw: { ...raw, file: { name: file, values } }, issues: [] };
  } catch {
    return refuse('this file has aliases (*name), which are not read');
  }
}

const MISTAKES: Partial<Record<ErrorCode, string>> = {
  BLOCK_AS_IMPLICIT_KEY: 'this value has a colon and a space in it, and no quotes',
  MULTILINE_IMPLICIT_KEY: 'this line has no colon behind its name',
  DUPLICATE_KEY: 'this name was set above already',
  TAB_AS_INDENT: 'this line begins with a tab',
  BAD_SCALAR_START: 'this character must stand in quotes',
  MULTIPLE_DOCS: 'this begins a second document',
};

function mistakeIn(text: string, { code, message, pos }: YAMLError, lines: LineCounter): [string, string] {
  const { line, col } = lines.linePos(pos[0]);
  const next = /^ +(?=[^ #\r\n])/.exec(text.split('\n')[line] ?? '')?.[0].length;
  // the parser points at the value under which a line is indented
  if (code === 'BLOCK_AS_IMPLICIT_KEY' && next !== undefined)
    return [`${line + 1}:${next + 1}`, 'this line is indented under the value of the line above it'];
  return [`${line}:${col}`, MISTAKES[code] ?? `this is no YAML (${message.replace(/: ".*/s, '')})`];
}

function readSecret(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`${JSON.stringify(path)}, which ${reasonOf(error)}`, { cause: error });
  }
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw new Error(`${JSON.stringify(path)}, which is not UTF-8 text`);
  return text;
}

/** The file itself may come later, when the backend has started; its directory is a volume that is there or not. */
function databaseIssues({ config, values }: Loaded<StoreConfig>): ConfigIssue[] {
  if (config.database.engine === 'postgresql') return certificateIssues('DATABASE_URL', config.database.address.tls);
  const { path } = config.database;
  const setting = values.DATABASE_URL === undefined ? 'DATA_DIR' : 'DATABASE_URL';
  const issue = (found: string, expected: string) => {
    const example = `${setting}=${describeSetting(setting).example}`;
    return [{ setting, example, found: `${JSON.stringify(path)}, ${found}`, expected }];
  };
  const parent = kindOf(dirname(path));
  if (parent !== 'a directory') {
    const why = parent === 'absent' ? 'does not exist: is the volume mounted?' : `is ${parent}`;
    return issue(`whose directory ${why}`, "a file in the backend's data directory");
  }
  const kind = kindOf(path);
  return kind === 'a file' || kind === 'absent' ? [] : issue(`which is ${kind}`, "the backend's SQLite file");
}

/** Of libpq's parameters in the URL; the backend may have its files elsewhere. */
function certificateIssues(setting: SettingName, tls: PostgresTls): ConfigIssue[] {
  const { rootCertificate: root, certificate, key, revoked } = tls;
  const files = {
    sslrootcert: root === 'system' ? undefined : root,
    sslcert: certificate,
    sslkey: key,
    sslcrl: revoked,
  };
  return Object.entries(files).flatMap(([parameter, path]) => {
    if (path === undefined) return [];
    try {
      readFileSync(path);
      return [];
    } catch (error) {
      const found = `${parameter}=${path}, which ${reasonOf(error)}`;
      return [{ setting, found, expected: 'a readable file in PEM, at the same path as in the backend' }];
    }
  });
}

function fileIssues(loaded: Loaded<Config>): readonly ConfigIssue[] {
  const issues = databaseIssues(loaded);
  const { usage } = loaded.config;
  // in the backend's folder by default, which is one mistake where it is missing
  if (issues.length > 0 || usage === undefined) return issues;
  const ofFolder = ledgerIssues(usage, loaded.values);
  if (ofFolder.length > 0 || usage.postgres !== undefined) return ofFolder;
  return contentIssues(usage.path, loaded.values);
}

const SQLITE = 'SQLite format 3\0';

/** A running gate refuses calls where the file is broken, and goes on. At a start it is the operator's mistake, found at once. */
function contentIssues(path: string, values: Values): ConfigIssue[] {
  const found = whatIsNoDatabase(path);
  if (found === undefined) return [];
  const expected =
    'a usage.db that modelgate has made, or none: bring a copy back, or move this file away and keep it (budgets begin anew then)';
  return [{ setting: settingOfPath(values), found: `${JSON.stringify(path)}, which ${found}`, expected }];
}

/** An empty file becomes a database. */
function whatIsNoDatabase(path: string): string | undefined {
  try {
    const descriptor = openSync(path, 'r');
    try {
      const head = Buffer.alloc(SQLITE.length);
      const length = readSync(descriptor, head);
      return length === 0 || head.toString('latin1') === SQLITE ? undefined : 'is no SQLite database';
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? undefined : reasonOf(error);
  }
}

/** Its folder is made when it is first needed. The one around that is a volume, which is there or not. */
function ledgerIssues({ path, postgres }: LedgerConfig['usage'], values: Values): ConfigIssue[] {
  const setting = settingOfPath(values);
  if (postgres !== undefined)
    return typeof values.MODELGATE_USAGE_DATABASE === 'object' ? certificateIssues(setting, postgres.tls) : [];
  const { expected, example } = describeSetting(setting);
  const issue = (subject: string, found: string) => [
    { setting, found: `${JSON.stringify(subject)}, ${found}`, expected, example: `${setting}=${example}` },
  ];
  const folder = dirname(path);
  const kind = kindOf(folder);
  const there = kind === 'absent' ? dirname(folder) : folder;
  const around = kind === 'absent' ? kindOf(there) : kind;
  if (around === 'absent') return issue(folder, `in a folder that does not exist: is the volume mounted?`);
  if (around !== 'a directory') return issue(folder, `which is ${around}`);
  if (!isWritable(there))
    return issue(folder, `where this user may not write${there === folder ? '' : ' a new folder'}`);
  const file = kindOf(path);
  if (file !== 'a file' && file !== 'absent') return issue(path, `which is ${file}`);
  return file === 'a file' && !isWritable(path) ? issue(path, 'which this user may not write') : [];
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function kindOf(path: string): string {
  try {
    const stats = statSync(path);
    return stats.isDirectory() ? 'a directory' : stats.isFile() ? 'a file' : 'no regular file';
  } catch (error) {
    const code = codeOf(error);
    return { ENOENT: 'absent', ENOTDIR: 'below a file' }[code] ?? `not accessible (${code})`;
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
  EISDIR: 'is a directory',
};

const reasonOf = (error: unknown): string => REASONS[codeOf(error)] ?? `cannot be read (${codeOf(error)})`;
