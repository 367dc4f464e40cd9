/** The command line: what every command shares, and how each one ends. */
import { Command, CommanderError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import type { FailureCode } from '../backend-file/failure.ts';
import { OperationFailure } from '../backend-file/failure.ts';
import { shellCommand } from '../backend-file/text.ts';
import { addFileCommands } from './file-commands.ts';
import { addGateCommands } from './gate-commands.ts';
import { addHelp, describeMisuse } from './help.ts';
import { addInspectionCommands } from './inspection-commands.ts';
import { addOrganizationCommands } from './organization-commands.ts';
import { asJson, printable, toErrorJson } from './output.ts';
import { addShellCommands } from './commands/shell.ts';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT, givenOf, say, stoppedBy } from './terminal.ts';
import { fitLines } from './text-width.ts';
import type { DatabaseOptions } from './options.ts';

const VERSION: string = manifest.version;

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
  const program = createProgram(terminal, (code) => (exitCode = code)).hook('preAction', (_, called) => {
    terminal.given = { ...givenOf(outer), options: repeatedOptions(called.opts()) };
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
    return exitCode;
  } catch (error) {
    const failure = toFailure(error, terminal);
    if (failure === undefined) return EXIT.done;
    if (!failure.isSaid) say(terminal, failure.message);
    // whoever reads JSON reads it of a failure too, and one document only
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
const repeatedOptions = ({ database, config }: DatabaseOptions): string =>
  [...(database === undefined ? [] : ['--database', database]), ...(config === undefined ? [] : ['--config', config])]
    .map((word) => ` ${shellCommand(word)}`)
    .join('');

/** A path on the command line or a name in the database may carry anything; only our own line ends stay. */
const harmless = (sentences: string): string =>
  sentences
    .split('\n')
    .map((line) => printable(line, false))
    .join('\n');

/** A stack helps nobody but us, so it is shown to whoever asks for it. */
function describeBug(error: unknown, { environment }: Terminal): string {
  const wanted = /^(debug|trace)$/i.test(environment['LOG_LEVEL'] ?? '');
  if (!(error instanceof Error)) return 'it failed without saying why.';
  return wanted && error.stack !== undefined ? error.stack : `${error.message} (LOG_LEVEL=DEBUG shows where.)`;
}

/** What is read by programs, or pasted into a shell, stays as it is. */
const AS_IT_IS = ['--json', '--csv', 'demo', 'completion', 'man'];

/** No line that somebody reads on a terminal breaks inside a word. */
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

function createProgram(terminal: Terminal, exitWith: (code: number) => void): Command {
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
  const parts = { program, terminal, exitWith, version: VERSION };
  addGateCommands(parts);
  addOrganizationCommands(parts);
  addInspectionCommands(parts);
  addFileCommands(parts);
  addShellCommands(parts);
  return program;
}
