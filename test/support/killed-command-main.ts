/** The other end of `killed-command.ts`: the command is loaded before it starts, so that a kill hits its work. */
import { existsSync } from 'node:fs';
import { runCommand } from './command.ts';

const command = new URL(`../../src/cli/${process.argv[2] ?? ''}.ts`, import.meta.url);
if (existsSync(command)) await import(command.href);

process.once('message', (words: readonly string[]) => {
  void runCommand(words).then(() => process.disconnect?.());
});
process.send?.('ready');
