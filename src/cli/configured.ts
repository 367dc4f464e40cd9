/** Configuration for commands: what `config/` found wrong ends the command. */
import { resolve } from 'node:path';
import type { Operation } from '../backend-file/transaction.ts';
import { type ConfigIssue, describeIssues } from '../config/issue.ts';
import { loadAdminAddress, loadConfig, loadStoreConfig } from '../config/load.ts';
import type { Loaded, Parsed } from '../config/parse.ts';
import type { Config, StoreConfig } from '../config/schema.ts';
import type { GatePolicy } from '../organizations/explanation.ts';
import type { ChosenOrganization } from '../organizations/organizations.ts';
import type { DatabaseOptions } from './options.ts';
import { type Terminal, CommandFailure, EXIT, say } from './terminal.ts';

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
  return accept(loadStoreConfig({ environment, directory: terminal.directory, file }), database ?? null).config;
}

/** @returns where the gate of this environment answers operators @throws CommandFailure as `requireConfig` */
export function requireAdminOrigin({ environment, directory }: Terminal, file: string | undefined): URL {
  const { host, port } = accept(loadAdminAddress({ environment, directory, file })).config;
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new URL(`http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`);
}

/** @returns undefined where no database is named, or another setting is wrong */
export function storeConfigIfAny(
  terminal: Terminal,
  { config: file, database }: DatabaseOptions,
): StoreConfig | undefined {
  const environment = environmentWith(terminal, database);
  const parsed = loadStoreConfig({ environment, directory: terminal.directory, file });
  return parsed.issues === undefined ? parsed.config : undefined;
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

function accept<C, V>(parsed: Parsed<C, V>, database?: string | null): Loaded<C, V> {
  if (parsed.issues === undefined) return parsed;
  throw configurationFailure(parsed.issues, database);
}

/** @param database of `--database`, null where it could have been given; undefined for `serve`, which has no such word */
export function configurationFailure(issues: readonly ConfigIssue[], database?: string | null): CommandFailure {
  const isUnnamed =
    database !== undefined && issues.every(({ setting, found }) => setting === 'DATABASE_URL' && found === 'nothing');
  const typed = typeof database === 'string' ? issues.map(asTyped) : issues;
  return new CommandFailure(isUnnamed ? WHICH_DATABASE : describeIssues(typed).trimEnd(), EXIT.misused, {
    code: 'configuration_invalid',
  });
}

const WHICH_DATABASE =
  "Which database? Name Open WebUI's file: --database data/webui.db (or set DATABASE_URL or DATA_DIR).";

/** `--database` is how the operator has called it. */
const asTyped = (issue: ConfigIssue): ConfigIssue =>
  issue.setting === 'DATABASE_URL' ? { ...issue, setting: '--database', example: '--database data/webui.db' } : issue;

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
  { wait }: Pick<DatabaseOptions, 'wait'>,
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

/** @returns how a gate of this environment decides, and where it enrols users without any membership */
export const gatePolicyOf = ({ policy, organization }: StoreConfig): GatePolicy => ({
  ...policy,
  enrolling: organization?.autoEnroll === true ? organization.id : undefined,
});

// Which organization a command is about: `--org`, else the one of the environment.

/** Options of every command on one organization. */
interface OrganizationOptions extends DatabaseOptions {
  readonly org?: string;
  /** It need not be there yet. */
  readonly create?: boolean;
}

/** What such a command begins with. @throws CommandFailure as `requireStoreConfig` and `chooseOrganization` */
export function configureOrganization(
  options: OrganizationOptions,
  terminal: Terminal,
): { readonly config: StoreConfig; readonly operation: Operation; readonly chosen: ChosenOrganization } {
  const { config, operation } = configureOperation(options, terminal);
  return { config, operation, chosen: chooseOrganization(config, options) };
}

/**
 * @param word how the command that asks takes it
 * @throws CommandFailure with exit code 2 where neither names one
 */
export function chooseOrganization(
  { organization }: StoreConfig,
  { org, create = false }: { readonly org?: string | undefined; readonly create?: boolean | undefined },
  word = '--org ID',
): ChosenOrganization {
  const id = org ?? organization?.id;
  if (id === undefined || id === '') {
    throw new CommandFailure(
      `Which organization? Name it with ${word}, or set OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME. To see them: \`modelgate org list\``,
      EXIT.misused,
    );
  }
  return { id, isConfigured: id === organization?.id, mayBeNew: create };
}
