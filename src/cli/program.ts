/** The command line: which commands there are, their words, and an example of each. Commands are loaded when called. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { CommandFailure, EXIT } from './terminal.ts';
import type { Terminal } from './terminal.ts';

const VERSION: string = manifest.version;

const EXIT_CODES = `

Exit codes: 0 done, 1 failed, 2 wrong configuration or wrong words on the command line.`;

/** @param words `process.argv` without its first two @returns the exit code; never throws, never ends the process */
export async function runCommandLine(words: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = createProgram(terminal, (code) => (exitCode = code));
  try {
    await program.parseAsync([...words], { from: 'user' });
    return exitCode;
  } catch (error) {
    // help and version are done; whatever else commander says, it has said already
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.misused;
    if (error instanceof CommandFailure) {
      terminal.writeError(`modelgate: ${error.message}\n`);
      return error.exitCode;
    }
    terminal.writeError(`modelgate: ${describeBug(error, terminal)}\n`);
    return EXIT.failed;
  }
}

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
  addServe(program, terminal, exitWith);
  addExplain(program, terminal);
  addDemo(program, terminal);
  return program;
}

function addServe(program: Command, terminal: Terminal, exitWith: (code: number) => void): void {
  program
    .command('serve')
    .description('run the gate')
    .option('--config <file>', 'YAML file with settings; the environment wins over it')
    .option('--check-config', 'print every mistake in the configuration and stop')
    .option('--json', 'with --check-config: print JSON')
    .addHelpText(
      'after',
      `
Example:
  $ MODELGATE_UPSTREAM_URL=http://127.0.0.1:8080 MODELGATE_PORT=8000 \\
    DATABASE_URL=sqlite:////app/backend/data/webui.db \\
    WEBUI_SECRET_KEY_FILE=/app/backend/.webui_secret_key modelgate serve${EXIT_CODES}`,
    )
    .action(async (options: { config?: string; checkConfig?: true; json?: true }) => {
      const { serve } = await import('./serve.ts');
      exitWith(await serve(options, terminal, VERSION));
    });
}

function addExplain(program: Command, terminal: Terminal): void {
  program
    .command('explain')
    .description('say whether a user may use a model, and why')
    .requiredOption('--user <id>', 'id or e-mail address of the user')
    .requiredOption('--model <id>', 'id of the model, exactly as the backend spells it')
    .option('--database <file>', "the backend's SQLite file, in place of DATABASE_URL")
    .option('--config <file>', 'YAML file with settings; the environment wins over it')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Example:
  $ modelgate explain --user alice@example.com --model openai/gpt-4o --database data/webui.db${EXIT_CODES}`,
    )
    .action(async (options: { user: string; model: string; database?: string; config?: string; json?: true }) => {
      const { explain } = await import('./explain.ts');
      explain(options, terminal);
    });
}

function addDemo(program: Command, terminal: Terminal): void {
  program
    .command('demo')
    .description('run the gate with a sample backend and database, and print what to try')
    .option('--port <number>', 'port of the gate', toPort, 8080)
    .option('--admin-port <number>', 'port of the admin listener', toPort, 9464)
    .option('--log-level <level>', 'least severe log line that is written', 'ERROR')
    .addHelpText('after', `\nExample:\n  $ modelgate demo --port 8000${EXIT_CODES}`)
    .action(async (options: { port: number; adminPort: number; logLevel: string }) => {
      const [{ runDemo }, { createGateLog }, { startGate }] = await Promise.all([
        import('./demo.ts'),
        import('./serve.ts'),
        import('./start-gate.ts'),
      ]);
      await runDemo({
        ...options,
        write: (text) => terminal.write(text),
        signal: terminal.stop,
        async startGate(config) {
          const log = createGateLog(config);
          const gate = await startGate(config, log, VERSION);
          const close = async (): Promise<void> => {
            await gate.close();
            await log.flush();
          };
          return { ...gate, close };
        },
      });
    });
}

function toPort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new InvalidArgumentError('Expected a port number from 0 to 65535, where 0 lets the system choose.');
  }
  return Number(text);
}
