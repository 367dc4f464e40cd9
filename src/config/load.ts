/**
 * The only reader of configuration files, and of files that hold a secret; the environment is handed in by `main.ts`.
 * What it cannot read becomes an issue like any other, so that the operator sees all of them at once.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type ErrorCode, type YAMLParseError, LineCounter, parseDocument } from 'yaml';
import { type ConfigIssue, maskCredentials } from './issue.ts';
import { parseAdminAddress, parseConfig, parseStoreConfig, type Parsed, type StoreConfig } from './parse.ts';
import { type RawConfig, collectRawSettings, CONFIG_FILE_VARIABLE } from './raw-settings.ts';
import type { Config, ListenAddress } from './schema.ts';
import { type SettingName, describeSetting, SETTING_NAMES } from './settings.ts';

interface ConfigSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** What relative paths start from. */
  readonly directory: string;
  /** `--config`; wins over `MODELGATE_CONFIG`. */
  readonly file?: string | undefined;
}

/** @returns the configuration of `serve`, or every issue of environment, file, key file and database path */
export function loadConfig(sources: ConfigSources): Parsed<Config> {
  return loadWith(sources, parseConfig);
}

/** As `loadConfig`, for commands that only use the database. */
export function loadStoreConfig(sources: ConfigSources): Parsed<StoreConfig> {
  return loadWith(sources, parseStoreConfig);
}

/** Where the admin listener is; all else may be missing. */
export function loadAdminAddress(sources: ConfigSources): Parsed<ListenAddress> {
  const { raw, issues } = readSources(sources);
  return issues.length > 0 ? { issues } : parseAdminAddress(raw);
}

function loadWith<C extends StoreConfig>(sources: ConfigSources, parse: (raw: RawConfig) => Parsed<C>): Parsed<C> {
  const { raw, issues: ofFile } = readSources(sources);
  const parsed = parse(raw);
  const issues = [...ofFile, ...(parsed.issues ?? databaseIssues(parsed.config.database.path, raw))];
  return issues.length > 0 || parsed.issues !== undefined ? { issues } : parsed;
}

function readSources({ environment, directory, file: named }: ConfigSources): FileRead & { readonly raw: RawConfig } {
  const path = named ?? environment[CONFIG_FILE_VARIABLE];
  const { issues, values } = path === undefined || path === '' ? { issues: [] } : readConfigFile(path, directory);
  return { issues, raw: { environment, directory, readSecret, ...(values === undefined ? {} : { file: values }) } };
}

/** One setting that is in force. */
export interface SettingInForce {
  readonly name: SettingName;
  /** As it was typed; null for a secret, which is not shown. */
  readonly value: string | null;
  /** `environment`, `default`, or the path of the YAML file. */
  readonly source: string;
}

/** @returns each setting that has a value, in the order of the reference, whether it can be used or not */
export function loadSettingsInForce(sources: ConfigSources): readonly SettingInForce[] {
  const { settings } = collectRawSettings(readSources(sources).raw);
  return SETTING_NAMES.flatMap((name) => {
    const { fallback, secret } = describeSetting(name);
    const { text, source } = settings.get(name) ?? { text: fallback, source: 'default' };
    return text === undefined ? [] : [{ name, value: secret === true ? null : maskCredentials(text), source }];
  });
}

type FileRead = { issues: readonly ConfigIssue[]; values?: NonNullable<RawConfig['file']> };

/** Scalars stay text (YAML's failsafe schema): `0123` is a name and not a number, and `30s` needs no quotes. */
function readConfigFile(path: string, directory: string): FileRead {
  let text: string;
  try {
    text = readFileSync(resolve(directory, path), 'utf8');
  } catch (error) {
    const reason = reasonOf(error);
    const found = reason === 'is a directory' ? 'this is a directory, not a YAML file' : `this file ${reason}`;
    return { issues: [fileIssue(path, found, '--config /etc/modelgate.yaml')] };
  }
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: false, lineCounter });
  // one mistake causes others: only the first is reported, without its text, which may be a secret's
  const [error] = document.errors;
  if (error !== undefined) return { issues: [mistakeAt(path, error, text, lineCounter)] };
  try {
    return { issues: [], values: { name: path, values: document.toJS({ maxAliasCount: 0 }) as unknown } };
  } catch {
    return { issues: [fileIssue(path, 'this file has aliases (*name), which are not read')] };
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

type YamlMistake = Pick<YAMLParseError, 'code' | 'message' | 'pos'>;

function mistakeAt(path: string, { code, message, pos }: YamlMistake, text: string, lines: LineCounter): ConfigIssue {
  const { line, col } = lines.linePos(pos[0]);
  const next = /^ +(?=[^ #\r\n])/.exec(text.split('\n')[line] ?? '')?.[0].length;
  // the parser points at the value under which a line is indented
  if (code === 'BLOCK_AS_IMPLICIT_KEY' && next !== undefined) {
    return fileIssue(`${path}:${line + 1}:${next + 1}`, 'this line is indented under the value of the line above it');
  }
  return fileIssue(`${path}:${line}:${col}`, MISTAKES[code] ?? `this is no YAML (${message.replace(/: ".*/s, '')})`);
}

const fileIssue = (setting: string, found: string, example = 'MODELGATE_PORT: 8080'): ConfigIssue => ({
  setting,
  found,
  expected: 'a readable YAML file with one `NAME: value` a line, none of them indented',
  example,
});

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
function databaseIssues(path: string, raw: RawConfig): readonly ConfigIssue[] {
  const about = collectRawSettings(raw).settings.has('DATABASE_URL')
    ? { setting: 'DATABASE_URL', example: 'DATABASE_URL=sqlite:////app/backend/data/webui.db' }
    : { setting: 'DATA_DIR', example: 'DATA_DIR=/app/backend/data' };
  const directory = dirname(path);
  const parent = kindOf(directory);
  if (parent !== 'a directory') {
    const why = parent === 'absent' ? 'does not exist: is the volume mounted?' : `is ${parent}`;
    return [
      {
        ...about,
        found: `${JSON.stringify(path)}, whose directory ${why}`,
        expected: "a file in the backend's data directory",
      },
    ];
  }
  const kind = kindOf(path);
  if (kind === 'a file' || kind === 'absent') return [];
  return [{ ...about, found: `${JSON.stringify(path)}, which is ${kind}`, expected: "the backend's SQLite file" }];
}

function kindOf(path: string): string {
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) return 'a directory';
    return stats.isFile() ? 'a file' : 'no regular file';
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') return 'absent';
    return code === 'ENOTDIR' ? 'below a file' : `not accessible (${code})`;
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'ENOENT') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'may not be read by this user';
  return code === 'EISDIR' ? 'is a directory' : `cannot be read (${code})`;
}
