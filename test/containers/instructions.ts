/** What README.md and config/README.md say of deployments, followed to the letter: each command is run as it stands, in its order. */
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

const INSTALL = { file: 'README.md', heading: '## Install' };
export const SCALE = { file: 'config/README.md', heading: '### Several gates with Compose' };
export const LEDGER = { file: 'config/README.md', heading: '### The ledger in containers' };

/** @param title the bold word that the paragraph before the commands begins with */
export function readInstructions(title: string, options: RunOptions, chapter = INSTALL): Instructions {
  const commands = commandsUnder(title, chapter);
  return {
    async next(part) {
      const [command] = commands;
      if (command?.includes(part) !== true) {
        throw new Error(`${chapter.file}, ${title}: what comes next is not "${part}" but: ${command ?? 'nothing'}`);
      }
      commands.shift();
      return shell(command, options);
    },
    rest: () => commands,
  };
}

function commandsUnder(title: string, { file, heading }: typeof INSTALL): string[] {
  const [, section = ''] = readFileSync(join(ROOT, file), 'utf8').split(`\n${heading}\n`);
  const paragraph = section.split(`\n**${title}**`)[1]?.split('\n**')[0];
  const [, block] = /\n```\n([^]*?)\n```\n/.exec(paragraph ?? '') ?? [];
  if (block === undefined) throw new Error(`${file} has no commands after "**${title}**" under "${heading}"`);
  return block.split(/(?<!\\)\n/);
}
