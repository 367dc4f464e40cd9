/** A command in this process: what a process of its own would do, without the third of a second that it costs. */
import { type Readable, PassThrough } from 'node:stream';
import { runCommandLine } from '../../../src/cli/program.ts';
import type { Screen, Terminal } from '../../../src/cli/terminal.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandSurroundings {
  readonly environment?: Record<string, string>;
  readonly directory?: string;
  readonly screen?: Partial<Screen>;
  /** Standard input; nothing where it is left out. Asked for when the command reads it, and not before. */
  readonly input?: () => Readable;
  /** Ends the command as Ctrl-C does. */
  readonly stop?: AbortSignal;
  /** Told of everything that is written to standard error, as it is written. */
  readonly onError?: (text: string) => void;
}

/** Runs `modelgate` with these words; nothing of this process's environment is seen. */
export async function runCommand(
  words: readonly string[],
  { environment = {}, directory = '/', screen = {}, input, stop, onError }: CommandSurroundings = {},
): Promise<CommandResult> {
  let stdout = '';
  let stderr = '';
  const terminal: Terminal = {
    environment,
    directory,
    screen: { input: false, output: false, error: false, columns: 400, ...screen },
    input: input ?? (() => new PassThrough().end()),
    write: (text) => void (stdout += text),
    writeError: (text) => {
      stderr += text;
      onError?.(text);
    },
    stop: stop ?? new AbortController().signal,
    onHangUp: () => undefined,
    onBug: () => undefined,
  };
  const code = await runCommandLine(words, terminal);
  return { code, stdout, stderr };
}

type Environment = Record<string, string>;

/** A command with subcommands, such as `member`, as `run` and, for its JSON, `ask`. */
export const commandOn = (name: string) => ({
  run: ({ path }: { readonly path: string }, words: readonly string[], environment: Environment = {}) =>
    runCommand([name, ...words, '--database', path], { environment }),
  ask: <T>({ path }: { readonly path: string }, words: readonly string[], environment: Environment = {}) =>
    askCommand<T>([name, ...words, '--database', path], { environment }),
});

/** As `runCommand` with `--json`: the document. Fails where the command fails or says anything on standard error. */
export async function askCommand<T>(words: readonly string[], surroundings: CommandSurroundings = {}): Promise<T> {
  const result = await runCommand([...words, '--json'], surroundings);
  if (result.code !== 0 || result.stderr !== '') throw new Error(JSON.stringify(result));
  return JSON.parse(result.stdout) as T;
}
