/** Configuration for commands: what `config/` found wrong ends the command. */
import { resolve } from 'node:path';
import { describeIssues } from '../config/issue.ts';
import { loadConfig, loadStoreConfig } from '../config/load.ts';
import type { Parsed, StoreConfig } from '../config/parse.ts';
import type { Config } from '../config/schema.ts';
import type { Operation } from '../operations/backend-file.ts';
import { CommandFailure, EXIT } from './terminal.ts';
import type { Terminal } from './terminal.ts';

/** @throws CommandFailure with every mistake and exit code 2 */
export function requireConfig(terminal: Terminal, file: string | undefined): Config {
  return accept(loadConfig({ ...terminal, file }));
}

/**
 * For commands that only use the database.
 * @param options `database`: the file itself, in place of `DATABASE_URL`
 */
export function requireStoreConfig(
  terminal: Terminal,
  { file, database }: { file?: string | undefined; database?: string | undefined },
): StoreConfig {
  const { directory } = terminal;
  const environment =
    database === undefined
      ? terminal.environment
      : { ...terminal.environment, DATABASE_URL: `sqlite:///${resolve(directory, database)}` };
  return accept(loadStoreConfig({ environment, directory, file }));
}

function accept<C>(parsed: Parsed<C>): C {
  if (parsed.issues === undefined) return parsed.config;
  throw new CommandFailure(describeIssues(parsed.issues).trimEnd(), EXIT.misused);
}

/** The database of this command, and how it waits for it: said on standard error, ended by Ctrl-C. */
export function operationOn(config: StoreConfig, terminal: Terminal, { wait = 30_000 }: { wait?: number }): Operation {
  return {
    path: config.database.path,
    patience: {
      longestMs: wait,
      signal: terminal.stop,
      say: (sentence) => terminal.writeError(`modelgate: ${sentence}\n`),
    },
  };
}
