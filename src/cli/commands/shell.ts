/** The commands that describe modelgate to a shell and to `man`, made of commander's own tree. */
import { type CommandUnknownOpts as Command, type Option, Argument } from '@commander-js/extra-typings';
import { type CommandLine, VERSION, withHelp } from '../options.ts';
import { fitLines } from '../terminal.ts';

/** Adds `completion` and `man`, after all others: they describe what is there. */
export function addShellCommands({ program, terminal }: CommandLine): void {
  withHelp(
    program.command('completion'),
    `print a script that completes words of modelgate in a shell
$ source <(modelgate completion bash)
$ modelgate completion fish > ~/.config/fish/completions/modelgate.fish`,
  )
    .addArgument(new Argument('<shell>', 'whose words these are').choices(['bash', 'zsh', 'fish'] as const))
    .action((shell) => {
      const places = placesOf(program, '');
      const head = shell === 'zsh' ? 'autoload -Uz bashcompinit && bashcompinit\n' : '';
      terminal.write(shell === 'fish' ? inFish(places) : head + inBash(places));
    });
  withHelp(
    program.command('man'),
    `print the manual page
$ modelgate man | man -l -
$ modelgate man > /usr/local/share/man/man1/modelgate.1`,
  ).action(() => terminal.write(manualOf(program, placesOf(program, '').slice(1))));
}

type Place = ReturnType<typeof placesOf>[number];

function placesOf(
  command: Command,
  at: string,
): { at: string; command: Command; options: Option[]; choices: string[] }[] {
  const options = command.createHelp().visibleOptions(command);
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const below = command.commands.flatMap((child) => placesOf(child, `${at} ${child.name()}`));
  return [{ at, command, options, choices }, ...below];
}

const pathsOf = (places: readonly Place[], between: string): string =>
  places
    .slice(1)
    .map(({ at }) => `'${at}'`)
    .join(between);

/** Where nothing is answered the shell completes names of files. */
function inBash(places: readonly Place[]): string {
  const valued = places.flatMap(({ at, options }) =>
    options.filter(({ required }) => required).map(({ long, argChoices }) => ({ at, long, argChoices })),
  );
  // an option of one name may have values in one command, and be free text in another
  const values = new Map([
    ...valued.flatMap(({ at, long, argChoices }) =>
      argChoices === undefined ? [] : [[`'${at} ${long}'`, argChoices.join(' ')] as const],
    ),
    ...valued.map(({ long }) => [`*' ${long}'`, ''] as const),
  ]);
  const words = ({ command, choices, options }: Place): string =>
    [...command.commands.map((child) => child.name()), ...choices, ...options.map(({ long }) => long)].join(' ');
  const cases = (rows: Iterable<readonly [string | undefined, string]>): string =>
    Array.from(rows, ([pattern, found]) => `    ${pattern}) words='${found}' ;;\n`).join('');
  return `_modelgate() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at= word= words=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in ${pathsOf(places, '|')}) at="$at $word" ;; esac
  done
  case "$at" in
${cases(places.map((place) => [`'${place.at}'`, words(place)]))}  esac
  case "$at $prev" in
${cases(values)}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _modelgate modelgate
`;
}

function inFish(places: readonly Place[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const values = (choices?: readonly string[]): string =>
    choices === undefined || choices.length === 0 ? '-F' : `-a '${choices.join(' ')}'`;
  const lines = places.flatMap(({ at, command, options, choices }) =>
    [
      ...command.commands.map((child) => `-a ${child.name()} -d ${quoted(child.summary())}`),
      ...(command.registeredArguments.length > 0 ? [values(choices)] : []),
      ...options.map(({ long = '', required, argChoices, description }) => {
        return `-l ${long.slice(2)}${required ? ` -r ${values(argChoices)}` : ''} -d ${quoted(description)}`;
      }),
    ].map((rest) => `complete -c modelgate -n "__modelgate_at '${at}'" ${rest}\n`),
  );
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
${lines.join('')}`;
}

/** Of the page: a terminal of 80 columns less what `man` puts before each line. */
const COLUMNS = 66;

/** In roff as man(7) has it. Takes the output of the commands' help over: the process ends after it. */
function manualOf(program: Command, places: readonly Place[]): string {
  const [about, status = ''] = helpOf(program);
  const sections = places.map(
    ({ at, command }) => `.SS ${inRoff(`modelgate${at}`)}\n.nf\n${inRoff(helpOf(command)[0])}\n.fi`,
  );
  return `.TH MODELGATE 1 "" "modelgate ${VERSION}"
.SH NAME
modelgate \\- ${inRoff(program.description())}
.SH SYNOPSIS
.nf
${inRoff(about)}
.fi
.SH COMMANDS
${sections.join('\n')}
.SH EXIT STATUS
${inRoff(status)}
`;
}

function helpOf(command: Command): readonly [help: string, status?: string] {
  let text = '';
  command.configureOutput({ writeOut: (more) => (text += fitLines(more, COLUMNS)), getOutHelpWidth: () => COLUMNS });
  command.outputHelp();
  const [help = '', status = ''] = text.split(/\n(?=Exit codes: )/);
  return [help.trim(), status.trim()];
}

const inRoff = (text: string): string =>
  text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq').replace(/^\./gm, '\\&.');
