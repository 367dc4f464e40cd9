/** The command line: what every command shares, and how each one ends. */
import { Command, CommanderError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { OperationFailure } from '../operations/failure.ts';
import { addFileCommands } from './file-commands.ts';
import { addGateCommands } from './gate-commands.ts';
import { addInspectionCommands } from './inspection-commands.ts';
import { addOrganizationCommands } from './organization-commands.ts';
import { printable } from './output.ts';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT, say, stoppedBy } from './terminal.ts';
import { EXIT_CODES } from './words.ts';

const VERSION: string = manifest.version;

/** @param words `process.argv` without its first two @returns the exit code; never throws, never ends the process */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  const exitCode = await runWords(words, terminal);
  // what was done before the signal was heard is done; what was not done has changed nothing
  return exitCode !== EXIT.done && terminal.stop.aborted ? stoppedBy(terminal.stop).exitCode : exitCode;
}

async function runWords(words: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = createProgram(terminal, (code) => (exitCode = code));
  try {
    await program.parseAsync([...words], { from: 'user' });
    return exitCode;
  } catch (error) {
    // help and version are done; whatever else commander says, it has said already
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.misused;
    const isForeseen = error instanceof CommandFailure || error instanceof OperationFailure;
    say(terminal, isForeseen ? harmless(error.message) : describeBug(error, terminal));
    return error instanceof CommandFailure ? error.exitCode : EXIT.failed;
  }
}

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

function createProgram(terminal: Terminal, exitWith: (code: number) => void): Command {
  const program = new Command('modelgate')
    .description('Gives every organization its own models in front of an unmodified Open WebUI.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .addHelpText('after', `\nExample:\n  $ npm run demo${EXIT_CODES}`)
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => terminal.write(text),
      writeErr: (text) => terminal.writeError(text),
    });
  const parts = { program, terminal, exitWith, version: VERSION };
  addGateCommands(parts);
  addOrganizationCommands(parts);
  addInspectionCommands(parts);
  addFileCommands(parts);
  return program;
}
