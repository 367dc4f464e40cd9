/** The command line: what every command shares, and how each one ends. */
import { Command, CommanderError } from '@commander-js/extra-typings';
import manifest from '../../package.json' with { type: 'json' };
import { type FailureCode, OperationFailure } from '../backend-file/failure.ts';
import { shellCommand } from '../backend-file/text.ts';
import { addHelp, describeMisuse } from './help.ts';
import { printable, fitLines } from './format.ts';
import { asJson, toErrorJson } from './report.ts';
import { type Terminal, CommandFailure, EXIT, givenOf, say, stoppedBy } from './terminal.ts';
import type { CommandLine, DatabaseOptions } from './options.ts';

const VERSION: string = manifest.version;

type Load = (line: CommandLine) => Promise<void>;

const shell: Load = async (line) => (await import('./commands/shell.ts')).addShellCommands(line);

/** Each command, in the order of the help. */
const COMMANDS: Readonly<Record<string, Load>> = {
  serve: async (line) => (await import('./commands/serve.ts')).addServe(line),
  demo: async (line) => (await import('./commands/demo.ts')).addDemo(line),
  init: async (line) => (await import('./commands/init.ts')).addInit(line),
  migrate: async (line) => (await import('./commands/migrate.ts')).addMigrate(line),
  org: async (line) => (await import('./commands/org.ts')).addOrg(line),
  member: async (line) => (await import('./commands/member.ts')).addMember(line),
  model: async (line) => (await import('./commands/model.ts')).addModel(line),
  explain: async (line) => (await import('./commands/explain.ts')).addExplain(line),
  report: async (line) => (await import('./commands/report.ts')).addReport(line),
  audit: async (line) => (await import('./commands/audit.ts')).addAudit(line),
  doctor: async (line) => (await import('./commands/doctor.ts')).addDoctor(line),
  'bench-queries': async (line) => (await import('./commands/bench-queries.ts')).addBenchQueries(line),
  backup: async (line) => (await import('./commands/backup.ts')).addBackup(line),
  restore: async (line) => (await import('./commands/restore.ts')).addRestore(line),
  maintain: async (line) => (await import('./commands/maintain.ts')).addMaintain(line),
  completion: shell,
  man: shell,
};

/** These describe all the others. */
const DESCRIPTIONS: readonly string[] = ['completion', 'man'];

/** @returns what loads the called command; everything for help and for a word that is none, which suggests others */
function loadersFor(words: readonly string[]): Iterable<Load> {
  if (words[0] === '-V' || words[0] === '--version') return [];
  const called = words.find((word) => !word.startsWith('-')) ?? '';
  const load = Object.hasOwn(COMMANDS, called) && !DESCRIPTIONS.includes(called) ? COMMANDS[called] : undefined;
  return load === undefined ? new Set(Object.values(COMMANDS)) : [load];
}

/** @param words `process.argv` without its first two @returns the exit code; never throws, never ends the process */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  const exitCode = await runWords(words, terminal);
  // what was done before the signal was heard is done; what was not done has changed nothing
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
    const line = { program, terminal, version: VERSION, exitWith: (code: number) => void (exitCode = code) };
    for (const load of loadersFor(words)) await load(line);
    await program.parseAsync([...words], { from: 'user' });
    return exitCode;
  } catch (error) {
    const failure = toFailure(error, terminal);
    if (failure === undefined) return EXIT.done;
    if (!failure.isSaid) say(terminal, failure.message);
    // a program that reads JSON reads it of a failure too, and one document only
    if (words.includes('--json') && output.isEmpty) write(asJson({ error: toErrorJson(failure, givenOf(terminal)) }));
    return failure.exitCode;
  }
}

interface Failure {
  readonly code: FailureCode;
  readonly message: string;
  readonly exitCode: number;
  /** Help was printed in place of a sentence. */
  readonly isSaid?: boolean;
}

/** @returns undefined where help or the version was asked for and printed */
function toFailure(error: unknown, terminal: Terminal): Failure | undefined {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return undefined;
    const isSaid = error.code === 'commander.help';
    const message = isSaid ? 'No command was named.' : harmless(describeMisuse(error.message));
    return { code: 'misused', message, exitCode: EXIT.misused, isSaid };
  }
  if (!(error instanceof CommandFailure || error instanceof OperationFailure)) {
    return { code: 'bug', message: describeBug(error, terminal), exitCode: EXIT.failed };
  }
  const code = terminal.stop.aborted ? 'stopped' : error.code;
  return { code, message: harmless(error.message), exitCode: exitCodeOf(error) };
}

/** A file that is not there was named wrongly, as a folder in its place would be. */
const exitCodeOf = (error: CommandFailure | OperationFailure): number =>
  error instanceof CommandFailure ? error.exitCode : MISUSES.has(error.code) ? EXIT.misused : EXIT.failed;

const MISUSES: ReadonlySet<FailureCode> = new Set(['misused', 'no_such_file']);

/** @returns what an advised command must repeat, so that it is about the same file */
const repeatedOptions = ({ database, config }: Partial<DatabaseOptions>): string =>
  [...(database === undefined ? [] : ['--database', database]), ...(config === undefined ? [] : ['--config', config])]
    .map((word) => ` ${shellCommand(word)}`)
    .join('');

/** A path on the command line or a name in the database may carry anything; only our own line ends stay. */
const harmless = (sentences: string): string =>
  sentences
    .split('\n')
    .map((line) => printable(line, false))
    .join('\n');

/** A stack helps only developers, so it is shown on demand. */
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
    });
  addHelp(program);
  return program;
}
