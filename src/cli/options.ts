/** What the commands begin with: their options and examples, what values must look like, and the configuration. */
import { resolve } from 'node:path';
import { type Command, type OptionValues, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { Operation } from '../backend-file/transaction.ts';
import { shownDatabase } from '../config/database.ts';
import { findUsageConfig, loadAdminAddress, loadConfig, loadStoreConfig, loadUsageConfig } from '../config/load.ts';
import type { Config, Loaded, StoreConfig } from '../config/schema.ts';
import { DURATION, amountOf, origin } from '../config/value.ts';
import type { GatePolicy } from '../organizations/explanation.ts';
import type { ChosenOrganization } from '../organizations/organizations.ts';
import { accept } from './configuration-failure.ts';
import { environmentWith } from './database.ts';
import { type Report, print } from './report.ts';
import { type Terminal, misused, say } from './terminal.ts';
import manifest from '../../package.json' with { type: 'json' };

export const VERSION = manifest.version;

/** What commands are added to. */
export interface CommandLine {
  readonly program: Command;
  readonly terminal: Terminal;
  readonly exitWith: (code: number) => void;
}

type Outcome = Report | number;

/**
 * @param begin gives a command the options that all of its kind have
 * @param contextOf what `run` gets beside words and options
 */
const kindOf =
  <S, D extends OptionValues, C>(begin: (command: Command) => S, contextOf: (options: D, terminal: Terminal) => C) =>
  /**
   * @param help its first line is the summary; an example begins with `$ `, and examples are the end
   * @param declare adds words and options
   * @param run returns what is to be printed, or the exit code
   * @returns what adds the command
   */
  <A extends unknown[], O extends D>(
    name: string,
    help: string,
    declare: (command: S) => Command<A, O>,
    run: (...given: [...words: A, options: O, context: C]) => Outcome | Promise<Outcome>,
  ) =>
  ({ program, terminal, exitWith }: CommandLine): void => {
    const command = withHelp(program.command(name), help);
    const declared = declare(begin(command));
    command.action(async () => {
      const options = declared.opts();
      const outcome = await run(...declared.processedArgs, options, contextOf(options, terminal));
      exitWith(typeof outcome === 'number' ? outcome : await print(terminal, options, outcome));
    });
  };

/** @returns what adds commands below a word that is none by itself */
export const groupOf =
  (name: string, help: string, ...commands: ((line: CommandLine) => void)[]) =>
  ({ program, ...line }: CommandLine): void => {
    const group = withHelp(program.command(name), help);
    for (const add of commands) add({ ...line, program: group });
  };

/** The help of a command, as `commandOf` has it. */
export function withHelp(command: Command, help: string): Command {
  const [about = '', ...examples] = help.split(/\n(?=\$ )/);
  const [summary = '', ...text] = about.split('\n');
  const lines = examples.map((example) => `\n  ${example}`).join('');
  return command
    .summary(summary)
    .description([summary, text.join('\n')].join('\n\n').trimEnd())
    .addHelpText('after', `\nExample${examples.length === 1 ? '' : 's'}:${lines}`);
}

export const CREATE = new Option('--create', 'make the organization where no row names it yet');

const WAIT = new Option('--wait <time>', 'how long to wait for a lock that another process holds')
  .argParser(toDuration)
  .default(30_000, '30s');

const CONFIG = new Option('--config <file>', 'YAML file with settings; the environment wins over it');

const withCommon = <A extends unknown[], O extends OptionValues>(command: Command<A, O>) =>
  command.addOption(CONFIG).addOption(WAIT).option('--json', 'print JSON');

const onDatabase = (command: Command) =>
  withCommon(command.option('--database <file>', "the backend's SQLite file, in place of DATABASE_URL", toFile));

export type DatabaseOptions = ReturnType<ReturnType<typeof onDatabase>['opts']>;

const onOrganization = (command: Command) =>
  onDatabase(command).option('--org <id>', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)');

export const USAGE_DATABASE = new Option(
  '--usage-database <file>',
  "modelgate's own usage.db, in place of MODELGATE_USAGE_DATABASE",
).argParser(toFile);

const onUsage = (command: Command) => withCommon(command.addOption(USAGE_DATABASE));

export type UsageOptions = ReturnType<ReturnType<typeof onUsage>['opts']> & { readonly database?: string | undefined };

const COMMON = ['--database', '--usage-database', '--config', '--wait', '--json', '--help'];

/** @returns the options of a command, its own before those that most commands have */
export const ownFirst = (options: readonly Option[]): Option[] =>
  options.toSorted((left, right) => COMMON.indexOf(left.long ?? '') - COMMON.indexOf(right.long ?? ''));

export function toDuration(text: string): number {
  if (DURATION.test(text)) return amountOf(text);
  throw new InvalidArgumentError(
    /^\d+$/.test(text)
      ? `it has no unit. Use ${text}s, ${text}m, ${text}h or ${text}d.`
      : 'expected a whole number with ms, s, m, h or d, such as 30s or 30d.',
  );
}

/** A URL may have a password in it, and other users of the machine see the words of a command. */
export function toFile(text: string): string {
  if (!/^[\w+]+:\//.test(text)) return text;
  throw new InvalidArgumentError(
    'expected the path of a file. PostgreSQL is named by DATABASE_URL or MODELGATE_USAGE_DATABASE in the environment.',
  );
}

/** @returns milliseconds, at least a day: less would delete the backups of today */
export function toRetention(text: string): number {
  const milliseconds = toDuration(text);
  if (milliseconds >= amountOf('1d')) return milliseconds;
  throw new InvalidArgumentError('Expected a day or more, such as 1d or 30d.');
}

/** @returns a parser of whole numbers within bounds */
export const toCount = (lowest: number, highest: number) => (text: string) => {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= lowest && count <= highest) return count;
  throw new InvalidArgumentError(`expected a whole number from ${lowest} to ${highest}.`);
};

/** @returns the address of a server: scheme, host and port */
export function toOrigin(text: string): URL {
  const { data, error } = origin.safeParse(text);
  if (data !== undefined) return data;
  throw new InvalidArgumentError(`${error.issues[0]?.message ?? ''}; expected one such as http://open-webui:8080.`);
}

/** @throws CommandFailure with every mistake and exit code 2 */
export const requireConfig = (terminal: Terminal, file: string | undefined): Loaded<Config> =>
  accept(loadConfig({ ...terminal, file }));

/** @returns where the gate of this environment answers operators @throws CommandFailure as `requireConfig` */
export function requireAdminOrigin({ environment, directory }: Terminal, file: string | undefined): URL {
  const { host, port } = accept(loadAdminAddress({ environment, directory, file })).config;
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new URL(`http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`);
}

/** What most commands on the database begin with. @throws CommandFailure as `requireConfig` */
export function configureOperation(options: DatabaseOptions, terminal: Terminal) {
  const { directory } = terminal;
  const { config: file, database } = options;
  const parsed = loadStoreConfig({ environment: environmentWith(terminal, database), directory, file });
  const { config } = accept(parsed, { database });
  return contextOn(config, terminal, options);
}

/** @returns what works on the database of a configuration, and how a gate of it decides and enrols users without membership */
export const contextOn = (config: StoreConfig, terminal: Terminal, { wait }: Pick<DatabaseOptions, 'wait'>) => {
  const { database, policy, organization } = config;
  const postgres = database.engine === 'postgresql' ? database.address : undefined;
  const operation: Operation = { path: shownDatabase(database), postgres, patience: patienceOf(terminal, wait) };
  const enrolling = organization?.autoEnroll === true ? organization.id : undefined;
  return { config, operation, policy: { ...policy, enrolling } satisfies GatePolicy, terminal };
};

const patienceOf = (terminal: Terminal, longestMs: number): Operation['patience'] => ({
  longestMs,
  signal: terminal.stop,
  say: (sentence) => say(terminal, sentence),
});

/** What every command on the ledger begins with. @throws CommandFailure with exit code 2 where no file is named, or as `requireConfig` */
export function configureUsage({ usageDatabase, database, config: file, wait }: UsageOptions, terminal: Terminal) {
  const [given, { directory }] = [environmentWith(terminal, database), terminal];
  const named = usageDatabase === undefined ? undefined : resolve(directory, usageDatabase);
  const environment = named === undefined ? given : { ...given, MODELGATE_USAGE_DATABASE: named };
  const parsed = loadUsageConfig({ environment, directory, file });
  if (parsed.issues?.every(({ found }) => found === 'nothing') === true) throw misused(WHICH_LEDGER);
  const { config } = accept(parsed, { database, usageDatabase });
  const { path, postgres } = config.usage;
  const ledger: Operation = { path, postgres, patience: patienceOf(terminal, wait) };
  return { config, ledger, terminal };
}

export const NO_LEDGER = new Option(
  '--no-ledger',
  "the backend's file alone, without the usage.db of the provider door",
);

/** @returns the file in which the gate of these settings has its ledger, whether it is there or not; none on PostgreSQL @throws CommandFailure as `requireConfig` */
export function findLedger({ database, config: file }: DatabaseOptions, terminal: Terminal): string | undefined {
  const environment = environmentWith(terminal, database);
  const parsed = findUsageConfig({ environment, directory: terminal.directory, file });
  if (parsed.issues?.every(({ found }) => found === 'nothing') === true) return undefined;
  const { path, postgres } = accept(parsed, { database }).config.usage;
  return postgres === undefined ? path : undefined;
}

const WHICH_LEDGER =
  'Which ledger? Name the usage.db of the gate: --usage-database state/usage.db (or set MODELGATE_STATE_DIR as the gate has it).';

type OrganizationChoice = Readonly<{ org?: string | undefined; create?: boolean | undefined }>;

/** @param word how the command that asks takes it @throws CommandFailure with exit code 2 where no organization is named */
export function chooseOrganization(
  { organization }: StoreConfig,
  { org, create = false }: OrganizationChoice,
  word = '--org ID',
): ChosenOrganization {
  const id = org ?? organization?.id;
  if (id === undefined || id === '') {
    throw misused(
      `Which organization? Name it with ${word}, or set OPENROUTER_EXTERNAL_USER and ORGANIZATION_NAME. To see them: \`modelgate org list\``,
    );
  }
  return { id, isConfigured: id === organization?.id, mayBeNew: create };
}

export const commandOf = kindOf(
  (command) => command,
  (_, terminal) => terminal,
);

/** Has the options of the database, and reads the configuration itself. */
export const lateCommand = kindOf(onDatabase, (_, terminal) => terminal);

/** Works on the database. @throws CommandFailure as `configureOperation` */
export const databaseCommand = kindOf(onDatabase, configureOperation);

/** Works on the ledger, without the backend's database. @throws CommandFailure as `configureUsage` */
export const usageCommand = kindOf(onUsage, configureUsage);

/** Works on one organization. @throws CommandFailure as `configureOperation` and `chooseOrganization` */
export const organizationCommand = kindOf(onOrganization, (options: DatabaseOptions & OrganizationChoice, terminal) => {
  const configured = configureOperation(options, terminal);
  return { ...configured, chosen: chooseOrganization(configured.config, options) };
});
