/** The command line: what every command shares, its help, and how each one ends. */
import { type CommandUnknownOpts, Command, CommanderError, Help } from '@commander-js/extra-typings';
import { OperationFailure } from '../backend-file/failure.ts';
import { quoted, shellCommand } from '../backend-file/text.ts';
import { maskCredentials } from '../config/issue.ts';
import { asJson, toErrorJson, whole } from './report.ts';
import { type Terminal, EXIT, fitLines, givenOf, misused, say, stoppedBy } from './terminal.ts';
import { type CommandLine, type DatabaseOptions, type UsageOptions, VERSION, ownFirst } from './options.ts';

type Load = (line: CommandLine) => Promise<void>;

const shell: Load = async (line) => (await import('./commands/shell.ts')).addShellCommands(line);

/** Each command, in the order of the help. */
const COMMANDS: Readonly<Record<string, Load>> = {
  serve: async (line) => (await import('./commands/serve.ts')).addServe(line),
  demo: async (line) => (await import('./commands/demo.ts')).addDemo(line),
  init: async (line) => (await import('./commands/setup.ts')).addInit(line),
  migrate: async (line) => (await import('./commands/setup.ts')).addMigrate(line),
  org: async (line) => (await import('./commands/org.ts')).addOrg(line),
  member: async (line) => (await import('./commands/member.ts')).addMember(line),
  model: async (line) => (await import('./commands/model.ts')).addModel(line),
  price: async (line) => (await import('./commands/price.ts')).addPrice(line),
  key: async (line) => (await import('./commands/key.ts')).addKey(line),
  budget: async (line) => (await import('./commands/budget.ts')).addBudget(line),
  explain: async (line) => (await import('./commands/explain.ts')).addExplain(line),
  report: async (line) => (await import('./commands/report.ts')).addReport(line),
  audit: async (line) => (await import('./commands/report.ts')).addAudit(line),
  usage: async (line) => (await import('./commands/usage.ts')).addUsage(line),
  doctor: async (line) => (await import('./commands/doctor.ts')).addDoctor(line),
  'bench-queries': async (line) => (await import('./commands/doctor.ts')).addBenchQueries(line),
  backup: async (line) => (await import('./commands/upkeep.ts')).addBackup(line),
  restore: async (line) => (await import('./commands/restore.ts')).addRestore(line),
  maintain: async (line) => (await import('./commands/upkeep.ts')).addMaintain(line),
  completion: shell,
  man: shell,
};

/** @returns what loads the called command; everything for help and for a word that is none, which suggests others */
function loadersFor(words: readonly string[]): Iterable<Load> {
  if (words[0] === '-V' || words[0] === '--version') return [];
  const called = words.find((word) => !word.startsWith('-')) ?? '';
  const load = Object.hasOwn(COMMANDS, called) ? COMMANDS[called] : undefined;
  return load === undefined || load === shell ? new Set(Object.values(COMMANDS)) : [load];
}

/** @param words `process.argv` without its first two @returns the exit code; never throws, never ends the process */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  const exitCode = await runWords(words, terminal);
  return exitCode !== EXIT.done && terminal.stop.aborted ? stoppedBy(terminal.stop).exitCode : exitCode;
}

async function runWords(words: readonly string[], outer: Terminal): Promise<number> {
  let exitCode: number = EXIT.done;
  const output = { isEmpty: true };
  const write = (text: string): void => {
    output.isEmpty = false;
    outer.write(text);
  };
  const terminal: { -readonly [K in keyof Terminal]: Terminal[K] } = fitToScreen({ ...outer, write }, words);
  const program = createProgram(terminal).hook('preAction', (_, called) => {
    terminal.given = { ...givenOf(outer), options: repeatedOptions(called.opts()) };
  });
  try {
    const line = { program, terminal, exitWith: (code: number) => void (exitCode = code) };
    for (const load of loadersFor(words)) await load(line);
    await program.parseAsync([...words], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
    const failure = toFailure(error, terminal);
    if (!(error instanceof CommanderError && error.code === 'commander.help')) say(terminal, failure.message);
    // a program that reads JSON reads it of a failure too, and one document only
    if (words.includes('--json') && output.isEmpty) write(asJson({ error: toErrorJson(failure, givenOf(terminal)) }));
    return failure.exitCode;
  }
}

function toFailure(error: unknown, terminal: Terminal) {
  if (error instanceof CommanderError) {
    const message = error.code === 'commander.help' ? 'No command was named.' : describeMisuse(error.message);
    return { code: 'misused', message: harmless(message), exitCode: EXIT.misused };
  }
  if (!(error instanceof OperationFailure)) {
    return { code: 'bug', message: describeBug(error, terminal), exitCode: EXIT.failed };
  }
  // a file that is not there was named wrongly, as a folder in its place would be
  const isMisuse = ['misused', 'configuration_invalid', 'no_such_file'].includes(error.code);
  const exitCode = isMisuse ? EXIT.misused : EXIT.failed;
  return { code: terminal.stop.aborted ? 'stopped' : error.code, message: harmless(error.message), exitCode };
}

/** What commander says of wrong words on the command line, as every other message says it. */
const SENTENCES: readonly (readonly [said: RegExp, sentence: string])[] = [
  // a value may be a key
  [/^unknown (command|option) '(--[^=]*(?==)|.*)(?:=.*)?'$/s, 'There is no $1 "$2".'],
  [/^missing required argument '(.*)'$/, '<$1> is missing.'],
  [/^option '(.*)' argument missing$/, '$1 needs a value.'],
  [/^required option '(.*)' not specified$/, '$1 is missing.'],
  [
    /^option '(?:-\w, )?(\S+?)(?: .*)?' cannot be used with option '(?:-\w, )?(\S+?)(?: .*)?'$/,
    'Either $1 or $2, not both.',
  ],
  [
    /^too many arguments(?: for '(.*?)')?\. Expected (\d+) .*? but got (\d+): .*$/s,
    'Too many words: $1 takes $2, and got $3.',
  ],
  [/^option '(?:-\w, )?(\S+).*?' argument '(.*)' is invalid\. (.*)$/s, '$1 "$2": $3'],
  [/^command-argument value '(.*)' is invalid for argument '(.*)'\. (.*)$/s, '<$2> "$1": $3'],
];

function describeMisuse(message: string): string {
  const [, said = '', several = '', names = ''] =
    /^(?:error: )?(.*?)(?:\n\(Did you mean (one of )?(.*)\?\))?$/s.exec(message) ?? [];
  const [pattern = /^$/, sentence = ''] = SENTENCES.find(([known]) => known.test(said)) ?? [];
  const what = maskCredentials(said).replace(pattern, sentence).replace('Allowed choices are', 'expected one of');
  if (names !== '') return `${what} Did you mean ${several}${names.split(', ').map(quoted).join(', ')}?`;
  return said.startsWith('unknown') ? `${what} --help shows what there is.` : what;
}

/** @returns what an advised command must repeat, so that it is about the same file */
const repeatedOptions = ({ database, usageDatabase, config }: Partial<DatabaseOptions & UsageOptions>): string =>
  Object.entries({ database, 'usage-database': usageDatabase, config })
    .map(([name, value]) => (value === undefined ? '' : ` --${name} ${shellCommand(value)}`))
    .join('');

/** A path on the command line or a name in the database may carry anything; only our own line ends stay. */
const harmless = (sentences: string): string => sentences.replace(/[^\n]+/g, (line) => whole(line));

function describeBug(error: unknown, { environment }: Terminal): string {
  const wanted = /^(debug|trace)$/i.test(environment['LOG_LEVEL'] ?? '');
  if (!(error instanceof Error)) return 'it failed without saying why.';
  return wanted && error.stack !== undefined ? error.stack : `${error.message} (LOG_LEVEL=DEBUG shows where.)`;
}

/** What is read by programs, or pasted into a shell, stays as it is. */
const AS_IT_IS = ['--json', '--csv', 'demo', 'completion', 'man'];

/** No line on a terminal breaks inside a word. */
function fitToScreen(terminal: Terminal, words: readonly string[]): Terminal {
  const { screen, write, writeError } = terminal;
  const fit = (text: string): string => (text.includes('\r') ? text : fitLines(text, screen.columns));
  const isProse = screen.output && !words.some((word) => AS_IT_IS.includes(word));
  return {
    ...terminal,
    write: isProse ? (text) => write(fit(text)) : write,
    writeError: screen.error ? (text) => writeError(fit(text)) : writeError,
  };
}

const EXAMPLES = `
Examples:
  $ modelgate serve --check-config
  $ modelgate doctor --database data/webui.db
  $ modelgate explain --user alice@example.com --model openai/gpt-4o`;

const EXIT_CODES = `
Exit codes: 0 done, 1 failed or found problems, 2 wrong configuration or wrong words on the command line, 130 stopped by Ctrl-C and 143 by SIGTERM, with nothing changed.
With --json a failure is {"error":{"code","message"}}, with the same exit code. Times are in UTC, those in file names local.`;

function createProgram(terminal: Terminal): Command {
  const { columns } = terminal.screen;
  const program = new Command('modelgate')
    .description('Gives every organization its own models in front of an unmodified Open WebUI.')
    .version(VERSION, '-V, --version', 'print the version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => terminal.write(fitLines(text, columns)),
      writeErr: (text) => terminal.writeError(fitLines(text, columns)),
      outputError: () => undefined, // said where every other failure is said
      getOutHelpWidth: () => columns,
      getErrHelpWidth: () => columns,
    })
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ minWidthToWrap: 20, visibleOptions: (command) => ownFirst(new Help().visibleOptions(command)) })
    .addHelpText('after', EXAMPLES)
    .addHelpText('afterAll', EXIT_CODES)
    .helpCommand(false);
  program
    .command('help')
    .description('print the help of a command')
    .argument('[command...]', 'such as model allow')
    .action((names) => {
      let command: CommandUnknownOpts = program;
      for (const name of names) {
        const next = command.commands.find((candidate) => candidate.name() === name);
        if (next === undefined) throw misused(`There is no command ${quoted(name)}.`);
        command = next;
      }
      command.help();
    });
  return program;
}
