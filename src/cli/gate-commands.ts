/** The commands that run the gate. */
import type { ServeOptions } from './commands/serve.ts';
import type { CommandLine } from './options.ts';
import { toCount, withExamples } from './options.ts';

/** Adds `serve`, `demo`. */
export function addGateCommands(parts: CommandLine): void {
  addServe(parts);
  addDemo(parts);
}

function addServe({ program, terminal, exitWith, version }: CommandLine): void {
  program
    .command('serve')
    .description('run the gate')
    .option('--config <file>', 'YAML file with settings; the environment wins over it')
    .option('--check-config', 'print every mistake in the configuration and stop')
    .option('--show-config', 'print which settings are in force and where each comes from, and stop')
    .option('--settings', 'print every setting that there is, and stop')
    .option('--json', 'with one of these three: print JSON')
    .addHelpText(
      'after',
      `
Example:
  $ MODELGATE_UPSTREAM_URL=http://127.0.0.1:8080 MODELGATE_PORT=8000 \\
    DATABASE_URL=sqlite:////app/backend/data/webui.db \\
    WEBUI_SECRET_KEY_FILE=/app/backend/.webui_secret_key modelgate serve`,
    )
    .action(async (options: ServeOptions) => {
      if (options.settings === true || options.showConfig === true) {
        const { showConfig, showSettings } = await import('./commands/serve.ts');
        return exitWith((options.settings === true ? showSettings : showConfig)(options, terminal));
      }
      const { serve } = await import('./commands/serve.ts');
      exitWith(await serve(options, terminal, version));
    });
}

function addDemo({ program, terminal, version }: CommandLine): void {
  withExamples(program.command('demo'), 'modelgate demo --port 8000')
    .description('run the gate with a sample backend and database, and print what to try')
    .option('--port <number>', 'port of the gate (8080 if it is free)', toPort)
    .option('--admin-port <number>', 'port of the admin listener (9464 if it is free)', toPort)
    .option('--log-level <level>', 'least severe log line that is written', 'ERROR')
    .action(async (options: { port?: number; adminPort?: number; logLevel: string }) => {
      const [{ runDemo }, { createGateLog }, { startGate }] = await Promise.all([
        import('./commands/demo.ts'),
        import('./commands/serve.ts'),
        import('../gate/start.ts'),
      ]);
      await runDemo({
        port: options.port,
        adminPort: options.adminPort,
        logLevel: options.logLevel,
        write: (text) => terminal.write(text),
        signal: terminal.stop,
        async startGate(config) {
          const log = createGateLog(config, terminal.screen);
          const gate = await startGate(config, log, version);
          const close = async (): Promise<void> => {
            await gate.close();
            await log.flush();
          };
          return { ...gate, close };
        },
      });
    });
}

const toPort = toCount(0, 65_535);
