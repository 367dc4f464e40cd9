/** The deployment section of README.md, followed to the letter: each command is run as it stands, in its order. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type RunOptions, shell } from './engine.ts';
import { ROOT } from './images.ts';

export interface Instructions {
  /**
   * Runs the next command.
   * @param part what stands in it: the test, too, must know where it is
   * @returns what it printed
   * @throws Error where something else comes next, or where it fails
   */
  next(part: string): Promise<string>;
  /** What has not been run. */
  rest(): readonly string[];
}

/** @param title the bold word that the paragraph before the commands begins with */
export function readInstructions(title: string, options: RunOptions): Instructions {
  const commands = commandsUnder(title);
  return {
    async next(part) {
      const [command] = commands;
      if (command?.includes(part) !== true) {
        throw new Error(`README.md, ${title}: what comes next is not "${part}" but: ${command ?? 'nothing'}`);
      }
      commands.shift();
      return shell(command, options);
    },
    rest: () => commands,
  };
}

function commandsUnder(title: string): string[] {
  const [, section = ''] = readFileSync(join(ROOT, 'README.md'), 'utf8').split(/^## Install$/m);
  const paragraph = section.split(`\n**${title}**`)[1]?.split('\n**')[0];
  const [, block] = /\n```\n([^]*?)\n```\n/.exec(paragraph ?? '') ?? [];
  if (block === undefined) throw new Error(`README.md has no commands after "**${title}**" in its section Install`);
  return block.split(/(?<!\\)\n/);
}
