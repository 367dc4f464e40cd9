/** Completion for shells, made of commander's own tree: what is added there is completed, too. */
import type { Command, Option } from 'commander';

export type Shell = 'bash' | 'zsh' | 'fish';

/** @returns the script, to be sourced */
export function completionOf(program: Command, shell: Shell): string {
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
