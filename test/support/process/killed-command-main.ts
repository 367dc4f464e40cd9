/** The other end of `killed-command.ts`: the command is loaded before it starts, so that a kill hits its work. */
import { globSync } from 'node:fs';
import { runCommand } from './command.ts';

const rooms = new URL('../../../src/cli/', import.meta.url);
for (const file of globSync(`*/${process.argv[2] ?? ''}.ts`, { cwd: rooms })) await import(new URL(file, rooms).href);

process.once('message', (words: readonly string[]) => {
  void runCommand(words).then(() => process.disconnect?.());
});
process.send?.('ready');
