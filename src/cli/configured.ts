/** Configuration for commands: what `config/` found wrong ends the command. */
import { resolve } from 'node:path';
import { describeIssues } from '../config/issue.ts';
import { loadConfig, loadStoreConfig } from '../config/load.ts';
import type { Loaded, Parsed, StoreConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import type { Operation } from '../operations/backend-file.ts';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT, say } from './terminal.ts';
import type { DatabaseOptions } from './words.ts';

/** @throws CommandFailure with every mistake and exit code 2 */
export function requireConfig(terminal: Terminal, file: string | undefined): Loaded<Config> {
  return accept(loadConfig({ ...terminal, file }));
}

/** As `requireConfig`, for commands that only use the database. */
export function requireStoreConfig(
  terminal: Terminal,
  { config: file, database }: Pick<DatabaseOptions, 'config' | 'database'>,
): StoreConfig {
  const environment = environmentWith(terminal, database);
  return accept(loadStoreConfig({ environment, directory: terminal.directory, file })).config;
}

/** @param database of `--database`: the file itself, in place of `DATABASE_URL` */
export function environmentWith(
  { environment, directory }: Terminal,
  database: string | undefined,
): Terminal['environment'] {
  return database === undefined
    ? environment
    : { ...environment, DATABASE_URL: `sqlite:///${resolve(directory, database)}` };
}

function accept<C>(parsed: Parsed<C>): Loaded<C> {
  if (parsed.issues === undefined) return parsed;
  throw new CommandFailure(describeIssues(parsed.issues).trimEnd(), EXIT.misused, { code: 'configuration_invalid' });
}

/** What most commands on the database begin with. @throws CommandFailure as `requireStoreConfig` */
export function configureOperation(
  options: DatabaseOptions,
  terminal: Terminal,
): { readonly config: StoreConfig; readonly operation: Operation } {
  const config = requireStoreConfig(terminal, options);
  return { config, operation: operationOn(config, terminal, options) };
}

/** The database of this command, and how it waits for it: said on standard error, ended by Ctrl-C. */
export function operationOn(
  config: StoreConfig,
  terminal: Terminal,
  { wait = 30_000 }: Pick<DatabaseOptions, 'wait'>,
): Operation {
  return {
    path: config.database.path,
    patience: {
      longestMs: wait,
      signal: terminal.stop,
      say: (sentence) => say(terminal, sentence),
    },
  };
}
