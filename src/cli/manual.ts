/** The manual page, in roff as man(7) has it, made of commander's own tree and of the help of each command. */
import type { Command } from 'commander';
import { fitLines } from './text-width.ts';

/** Of the page: a terminal of 80 columns less what `man` puts before each line. */
const COLUMNS = 66;

/** Takes the output of the commands' help over: the process ends after it. */
export function manualOf(program: Command, version: string): string {
  const [about, status = ''] = helpOf(program);
  const sections = commandsOf(program).map((command) => `.SS ${inRoff(nameOf(command))}\n${asIs(helpOf(command)[0])}`);
  return `.TH MODELGATE 1 "" "modelgate ${version}"
.SH NAME
modelgate \\- ${inRoff(program.description())}
.SH SYNOPSIS
${asIs(about)}
.SH COMMANDS
${sections.join('\n')}
.SH EXIT STATUS
${inRoff(status)}
`;
}

const commandsOf = ({ commands }: Command): readonly Command[] =>
  commands.flatMap((command) => [command, ...commandsOf(command)]);

const nameOf = (command: Command): string =>
  command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;

/** @returns the help, and what stands below every help */
function helpOf(command: Command): readonly [help: string, status?: string] {
  let text = '';
  command.configureOutput({ writeOut: (more) => (text += fitLines(more, COLUMNS)), getOutHelpWidth: () => COLUMNS });
  command.outputHelp();
  const [help = '', status = ''] = text.split(/\n(?=Exit codes: )/);
  return [help.trim(), status.trim()];
}

const asIs = (text: string): string => `.nf\n${inRoff(text)}\n.fi`;

const inRoff = (text: string): string =>
  text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./gm, '\\&.');
