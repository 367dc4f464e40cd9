/** The commands that describe modelgate to a shell and to `man`. */
import { type CommandUnknownOpts as Command, type Option, Argument } from '@commander-js/extra-typings';
import { type CommandLine, withExamples } from '../options.ts';
import { fitLines } from '../report.ts';

/** Adds `completion` and `man`, after all others: they describe what is there. */
export function addShellCommands({ program, terminal, version }: CommandLine): void {
  withExamples(
    program.command('completion'),
    'source <(modelgate completion bash)',
    'modelgate completion fish > ~/.config/fish/completions/modelgate.fish',
  )
    .description('print a script that completes words of modelgate in a shell')
    .addArgument(new Argument('<shell>', 'whose words these are').choices(SHELLS))
    .action((shell) => terminal.write(completionOf(program, shell)));
  withExamples(
    program.command('man'),
    'modelgate man | man -l -',
    'modelgate man > /usr/local/share/man/man1/modelgate.1',
  )
    .description('print the manual page')
    .action(() => terminal.write(manualOf(program, version)));
}

// Completion for shells, made of commander's own tree: what is added there is completed, too.

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** @returns the script, to be sourced */
function completionOf(program: Command, shell: Shell): string {
  const places = placesOf(program, '');
  if (shell === 'fish') return inFish(places);
  return `${shell === 'zsh' ? 'autoload -Uz bashcompinit && bashcompinit\n' : ''}${inBash(places)}`;
}

interface Place {
  /** The words that lead there, with a space before each. */
  readonly at: string;
  readonly commands: readonly Command[];
  readonly options: readonly Option[];
  /** Of its arguments; empty where they are anything. */
  readonly choices: readonly string[];
  readonly hasArguments: boolean;
}

function placesOf(command: Command, at: string): readonly Place[] {
  const { commands, registeredArguments } = command;
  const place: Place = {
    ...{ at, commands, options: command.createHelp().visibleOptions(command) },
    choices: registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    hasArguments: registeredArguments.length > 0,
  };
  return [place, ...commands.flatMap((child) => placesOf(child, `${at} ${child.name()}`))];
}

const pathsOf = (places: readonly Place[], between: string): string =>
  places
    .slice(1)
    .map(({ at }) => `'${at}'`)
    .join(between);

/** Where nothing is answered the shell completes names of files. */
function inBash(places: readonly Place[]): string {
  const valued = places.flatMap(({ options }) => options.filter(({ required }) => required));
  const values = new Map(valued.map(({ long, argChoices = [] }) => [long, argChoices.join(' ')]));
  const words = ({ commands, choices, options }: Place): string =>
    [...commands.map((child) => child.name()), ...choices, ...options.map(({ long }) => long)].join(' ');
  return `_modelgate() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at= word= words=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in ${pathsOf(places, '|')}) at="$at $word" ;; esac
  done
  case "$at" in
${places.map((place) => `    '${place.at}') words='${words(place)}' ;;\n`).join('')}  esac
  case "$prev" in
${[...values].map(([long, choices]) => `    ${long}) words='${choices}' ;;\n`).join('')}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _modelgate modelgate
`;
}

function inFish(places: readonly Place[]): string {
  const lines = places.flatMap(({ at, commands, options, choices, hasArguments }) => [
    ...commands.map((child) => [at, `-a ${child.name()} -d ${inQuotes(child.summary() || child.description())}`]),
    ...(hasArguments ? [[at, choices.length === 0 ? '-F' : `-a '${choices.join(' ')}'`]] : []),
    ...options.map((option) => [at, `${wordsOf(option)} -d ${inQuotes(option.description)}`]),
  ]);
  return `function __modelgate_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l at ''
    for word in $words
        contains -- "$at $word" ${pathsOf(places, ' ')}
        and set at "$at $word"
    end
    test "$at" = "$argv[1]"
end
complete -c modelgate -f
${lines.map(([at, rest]) => `complete -c modelgate -n "__modelgate_at '${at}'" ${rest}\n`).join('')}`;
}

const wordsOf = ({ long = '', required, argChoices }: Option): string =>
  `-l ${long.slice(2)}${required ? ` -r ${argChoices === undefined ? '-F' : `-a '${argChoices.join(' ')}'`}` : ''}`;

const inQuotes = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;

// The manual page, in roff as man(7) has it, made of commander's own tree and of the help of each command.

/** Of the page: a terminal of 80 columns less what `man` puts before each line. */
const COLUMNS = 66;

/** Takes the output of the commands' help over: the process ends after it. */
function manualOf(program: Command, version: string): string {
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
