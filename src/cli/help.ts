/** What the help of every command shares, and `modelgate help`. */
import type { Command } from 'commander';
import { quoted } from '../operations/quoted.ts';
import { CommandFailure, EXIT } from './terminal.ts';

const EXAMPLES = `
Examples:
  $ modelgate serve --check-config
  $ modelgate doctor --database data/webui.db
  $ modelgate explain --user alice@example.com --model openai/gpt-4o`;

const EXIT_CODES = `
Exit codes: 0 done, 1 failed or found problems, 2 wrong configuration or wrong words on the command line, 130 stopped by Ctrl-C and 143 by SIGTERM, with nothing changed.
With --json a failure is {"error":{"code","message"}}, with the same exit code. Times are in UTC, those in file names local.`;

/** Before the commands are added, which take its settings over. */
export function addHelp(program: Command): void {
  program
    .helpOption('-h, --help', 'print this help')
    .configureHelp({ minWidthToWrap: 20 })
    .addHelpText('after', EXAMPLES)
    .addHelpText('afterAll', EXIT_CODES)
    .helpCommand(false)
    .command('help')
    .description('print the help of a command')
    .argument('[command...]', 'such as model allow')
    .action((names: string[]) => {
      let command = program;
      for (const name of names) {
        const next = command.commands.find((candidate) => candidate.name() === name);
        if (next === undefined) throw new CommandFailure(`There is no command ${quoted(name)}.`, EXIT.misused);
        command = next;
      }
      command.help();
    });
}
