/**
 * The only reader of configuration files, and of files that hold a secret; the environment is handed in by `main.ts`.
 * What it cannot read becomes an issue like any other, so that the operator sees all of them at once.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { CONFIG_FILE_VARIABLE } from './given.ts';
import type { RawConfig } from './given.ts';
import type { ConfigIssue } from './issue.ts';
import { parseConfig, parseStoreConfig } from './parse.ts';
import type { Parsed, StoreConfig } from './parse.ts';
import type { Config } from './schema.ts';

export interface ConfigSources {
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

function loadWith<C extends StoreConfig>(sources: ConfigSources, parse: (raw: RawConfig) => Parsed<C>): Parsed<C> {
  const { environment, directory } = sources;
  const path = sources.file ?? environment[CONFIG_FILE_VARIABLE];
  const file = path === undefined || path === '' ? undefined : readConfigFile(path, directory);
  const parsed = parse({
    environment,
    directory,
    readSecret,
    ...(file?.values === undefined ? {} : { file: file.values }),
  });
  const issues = [...(file?.issues ?? []), ...(parsed.issues ?? databaseIssues(parsed.config.database.path))];
  return issues.length > 0 || parsed.issues !== undefined ? { issues } : parsed;
}

type FileRead = { issues: readonly ConfigIssue[]; values?: NonNullable<RawConfig['file']> };

/** Scalars stay text (YAML's failsafe schema): `0123` is a name and not a number, and `30s` needs no quotes. */
function readConfigFile(path: string, directory: string): FileRead {
  let text: string;
  try {
    text = readFileSync(resolve(directory, path), 'utf8');
  } catch (error) {
    return { issues: [fileIssue(path, reasonOf(error))] };
  }
  const document = parseDocument(text, { schema: 'failsafe', prettyErrors: true });
  if (document.errors.length > 0) {
    return { issues: document.errors.map((error) => fileIssue(path, firstLine(error.message))) };
  }
  try {
    return { issues: [], values: { name: path, values: document.toJS({ maxAliasCount: 0 }) as unknown } };
  } catch (error) {
    return { issues: [fileIssue(path, error instanceof Error ? firstLine(error.message) : 'no plain YAML')] };
  }
}

function fileIssue(path: string, found: string): ConfigIssue {
  return {
    setting: path,
    found,
    expected: 'a readable YAML file with one `NAME: value` a line',
    example: 'MODELGATE_PORT: 8080',
  };
}

const firstLine = (text: string): string => text.split('\n')[0] ?? '';

function readSecret(path: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new Error(`${JSON.stringify(path)}, ${reasonOf(error)}`, { cause: error });
  }
  const text = bytes.toString('utf8');
  if (!Buffer.from(text, 'utf8').equals(bytes)) throw new Error(`${JSON.stringify(path)}, which is not UTF-8 text`);
  return text;
}

/** The file itself may come later, when the backend has started; its directory is a volume that is there or not. */
function databaseIssues(path: string): readonly ConfigIssue[] {
  const about = { setting: 'DATABASE_URL', example: 'DATABASE_URL=sqlite:////app/backend/data/webui.db' };
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
  if (code === 'ENOENT') return 'which does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'which this user may not read';
  return code === 'EISDIR' ? 'which is a directory' : `which cannot be read (${code})`;
}
