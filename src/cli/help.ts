/** What the help of every command shares, and `modelgate help`. */
import type { Command, CommandUnknownOpts } from '@commander-js/extra-typings';
import { quoted } from '../backend-file/text.ts';
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
    .action((names) => {
      let command: CommandUnknownOpts = program;
      for (const name of names) {
        const next = command.commands.find((candidate) => candidate.name() === name);
        if (next === undefined) throw new CommandFailure(`There is no command ${quoted(name)}.`, EXIT.misused);
        command = next;
      }
      command.help();
    });
}

// What commander says of wrong words on the command line, as every other message says it.

const SENTENCES: readonly (readonly [said: RegExp, sentence: (...found: string[]) => string])[] = [
  [/^unknown command '(.*)'$/s, (name) => `There is no command ${quoted(name)}.`],
  [/^unknown option '(.*)'$/s, (name) => `There is no option ${quoted(name)}.`],
  [/^missing required argument '(.*)'$/, (name) => `<${name}> is missing.`],
  [/^option '(.*)' argument missing$/, (flags) => `${flags} needs a value.`],
  [/^required option '(.*)' not specified$/, (flags) => `${flags} is missing.`],
  [
    /^too many arguments(?: for '(.*?)')?\. Expected (\d+) .*? but got \d+: (.*)\.$/s,
    (command, most, found) =>
      `Too many words: ${command} takes ${most === '0' ? 'none' : most}, and got ${quoted(found)}.`,
  ],
  [
    /^option '(?:-\w, )?(\S+).*?' argument '(.*)' is invalid\. (.*)$/s,
    (flag, value, why) => `${flag} ${quoted(value)}: ${why}`,
  ],
  [
    /^command-argument value '(.*)' is invalid for argument '(.*)'\. (.*)$/s,
    (value, name, why) => `<${name}> ${quoted(value)}: ${why}`,
  ],
];

/** @param message of a `CommanderError` @returns whole sentences */
export function describeMisuse(message: string): string {
  const [, said = '', several, names = ''] =
    /^(?:error: )?(.*?)(?:\n\(Did you mean (one of )?(.*)\?\))?$/s.exec(message) ?? [];
  const [pattern, sentence] = SENTENCES.find(([known]) => known.test(said)) ?? [];
  const what = (sentence?.(...(pattern?.exec(said)?.slice(1) ?? [])) ?? said).replace(
    'Allowed choices are',
    'expected one of',
  );
  if (names === '') return said.startsWith('unknown') ? `${what} --help shows what there is.` : what;
  return `${what} Did you mean ${several ?? ''}${names.split(', ').map(quoted).join(', ')}?`;
}
