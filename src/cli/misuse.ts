/** What commander says of wrong words on the command line, as every other message says it. */
import { quoted } from '../operations/quoted.ts';

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
