/** Configuration for commands: what `config/` found wrong ends the command. */
import { resolve } from 'node:path';
import type { Operation } from '../backend-file/transaction.ts';
import { loadAdminAddress, loadConfig, loadStoreConfig } from '../config/load.ts';
import type { Parsed } from '../config/parse.ts';
import type { Config, Loaded, StoreConfig } from '../config/schema.ts';
import { type ConfigIssue, describeIssues } from '../config/settings.ts';
import type { GatePolicy } from '../organizations/explanation.ts';
import type { ChosenOrganization } from '../organizations/organizations.ts';
import type { DatabaseOptions } from './options.ts';
import { type Terminal, CommandFailure, EXIT, say } from './terminal.ts';

/** @throws CommandFailure with every mistake and exit code 2 */
export const requireConfig = (terminal: Terminal, file: string | undefined): Loaded<Config> =>
  accept(loadConfig({ ...terminal, file }));

/** As `requireConfig`, for commands that only use the database. */
export const requireStoreConfig = (terminal: Terminal, options: FileOptions): StoreConfig =>
  accept(parseStore(terminal, options), options.database ?? null).config;

/** @returns undefined where no database is named, or another setting is wrong */
export function storeConfigIfAny(terminal: Terminal, options: FileOptions): StoreConfig | undefined {
  const parsed = parseStore(terminal, options);
  return parsed.issues === undefined ? parsed.config : undefined;
}

type FileOptions = Pick<DatabaseOptions, 'config' | 'database'>;

const parseStore = (terminal: Terminal, { config: file, database }: FileOptions): Parsed<StoreConfig> =>
  loadStoreConfig({ environment: environmentWith(terminal, database), directory: terminal.directory, file });

/** @returns where the gate of this environment answers operators @throws CommandFailure as `requireConfig` */
export function requireAdminOrigin({ environment, directory }: Terminal, file: string | undefined): URL {
  const { host, port } = accept(loadAdminAddress({ environment, directory, file })).config;
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new URL(`http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`);
}

/** @param database of `--database`: the file itself, in place of `DATABASE_URL` */
export const environmentWith = (
  { environment, directory }: Terminal,
  database: string | undefined,
): Terminal['environment'] =>
  database === undefined ? environment : { ...environment, DATABASE_URL: `sqlite:///${resolve(directory, database)}` };

function accept<C, V>(parsed: Parsed<C, V>, database?: string | null): Loaded<C, V> {
  if (parsed.issues === undefined) return parsed;
  throw configurationFailure(parsed.issues, database);
}

/** @param database of `--database`, null where it could have been given; undefined for `serve`, which has no such word */
export function configurationFailure(issues: readonly ConfigIssue[], database?: string | null): CommandFailure {
  const isOfDatabase = ({ setting }: ConfigIssue): boolean => setting === 'DATABASE_URL';
  const isUnnamed = database !== undefined && issues.every((issue) => isOfDatabase(issue) && issue.found === 'nothing');
  // `--database` is how the operator has called it
  const typed = issues.map((issue) =>
    typeof database === 'string' && isOfDatabase(issue)
      ? { ...issue, setting: '--database', example: '--database data/webui.db' }
      : issue,
  );
  const sentence = isUnnamed ? WHICH_DATABASE : describeIssues(typed).trimEnd();
  return new CommandFailure(sentence, EXIT.misused, { code: 'configuration_invalid' });
}

const WHICH_DATABASE =
  "Which database? Name Open WebUI's file: --database data/webui.db (or set DATABASE_URL or DATA_DIR).";

/** What most commands on the database begin with. @throws CommandFailure as `requireStoreConfig` */
export function configureOperation(options: DatabaseOptions, terminal: Terminal) {
  const config = requireStoreConfig(terminal, options);
  return { config, operation: operationOn(config, terminal, options) };
}

/** The database of this command, and how it waits for it: said on standard error, ended by Ctrl-C. */
export const operationOn = (
  { database }: StoreConfig,
  terminal: Terminal,
  { wait }: Pick<DatabaseOptions, 'wait'>,
): Operation => ({
  path: database.path,
  patience: { longestMs: wait, signal: terminal.stop, say: (sentence) => say(terminal, sentence) },
});

/** @returns how a gate of this environment decides, and where it enrols users without any membership */
export const gatePolicyOf = ({ policy, organization }: StoreConfig): GatePolicy => ({
  ...policy,
  enrolling: organization?.autoEnroll === true ? organization.id : undefined,
});

interface OrganizationChoice {
  /** `--org`; else the organization of the environment. */
  readonly org?: string | undefined;
  /** It need not be there yet. */
  readonly create?: boolean | undefined;
}

/** What a command on one organization begins with. @throws CommandFailure as `requireStoreConfig` and `chooseOrganization` */
export const configureOrganization = (options: DatabaseOptions & OrganizationChoice, terminal: Terminal) => {
  const configured = configureOperation(options, terminal);
  return { ...configured, chosen: chooseOrganization(configured.config, options) };
};

/** @param word how the command that asks takes it @throws CommandFailure with exit code 2 where no organization is named */
export function chooseOrganization(
  { organization }: StoreConfig,
  { org, create = false }: OrganizationChoice,
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
