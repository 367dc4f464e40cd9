/** The commands that describe modelgate to a shell and to `man`. */
import { Argument } from 'commander';
import type { Shell } from './completion.ts';
import type { CommandLine } from './words.ts';
import { withExamples } from './words.ts';

/** Adds `completion` and `man`, after all others: they describe what is there. */
export function addShellCommands({ program, terminal, version }: CommandLine): void {
  withExamples(
    program.command('completion'),
    'source <(modelgate completion bash)',
    'modelgate completion fish > ~/.config/fish/completions/modelgate.fish',
  )
    .description('print a script that completes words of modelgate in a shell')
    .addArgument(new Argument('<shell>', 'whose words these are').choices(['bash', 'zsh', 'fish'] satisfies Shell[]))
    .action(async (shell: Shell) => {
      const { completionOf } = await import('./completion.ts');
      terminal.write(completionOf(program, shell));
    });
  withExamples(
    program.command('man'),
    'modelgate man | man -l -',
    'modelgate man > /usr/local/share/man/man1/modelgate.1',
  )
    .description('print the manual page')
    .action(async () => {
      const { manualOf } = await import('./manual.ts');
      terminal.write(manualOf(program, version));
    });
}
