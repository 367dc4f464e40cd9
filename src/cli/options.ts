/** What the commands are declared with: shared options, examples, and what values must look like. */
import { type Command, type OptionValues, InvalidArgumentError, Option } from '@commander-js/extra-typings';
import type { Terminal } from './terminal.ts';

/** What a command is added to. */
export interface CommandLine {
  readonly program: Command;
  readonly terminal: Terminal;
  readonly exitWith: (code: number) => void;
  readonly version: string;
}

/** The options of a command, as its declaration gives them. */
export type OptionsOf<Declaration extends (program: Command) => { opts(): OptionValues }> = ReturnType<
  ReturnType<Declaration>['opts']
>;

/** What `onDatabase` adds. */
export type DatabaseOptions = OptionsOf<typeof onDatabase<[], { json?: true }, OptionValues>>;

/** Adds `--database`, `--config`, `--wait` and `--json`, and examples to the help. */
export const onDatabase = <A extends unknown[], O extends OptionValues, G extends OptionValues>(
  command: Command<A, O, G>,
  ...examples: readonly string[]
) =>
  withExamples(
    command
      .option('--database <file>', "the backend's SQLite file, in place of DATABASE_URL")
      .option('--config <file>', 'YAML file with settings; the environment wins over it')
      .addOption(
        new Option('--wait <time>', 'how long to wait for a lock that another process holds')
          .argParser(toDuration)
          .default(30_000, '30s'),
      )
      .option('--json', 'print JSON'),
    ...examples,
  );

/** Adds `--org`. */
export const inOrganization = <A extends unknown[], O extends OptionValues, G extends OptionValues>(
  command: Command<A, O, G>,
) => command.option('--org <id>', 'id of the organization (default: OPENROUTER_EXTERNAL_USER)');

/** Adds examples to the help. */
export function withExamples<A extends unknown[], O extends OptionValues, G extends OptionValues>(
  command: Command<A, O, G>,
  ...examples: readonly string[]
): Command<A, O, G> {
  const lines = examples.map((example) => `\n  $ ${example}`).join('');
  return command.addHelpText('after', `\nExample${examples.length === 1 ? '' : 's'}:${lines}`);
}

const DAY_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: DAY_MS };

/** @returns milliseconds */
function toDuration(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const scale = UNITS[unit];
  if (scale !== undefined) return Number(count) * scale;
  throw new InvalidArgumentError(
    /^\d+$/.test(text)
      ? `it has no unit. Use ${text}s, ${text}m, ${text}h or ${text}d.`
      : 'expected a whole number with ms, s, m, h or d, such as 30s or 30d.',
  );
}

/** @returns milliseconds, at least a day: less would delete the backups of today */
export function toRetention(text: string): number {
  const milliseconds = toDuration(text);
  if (milliseconds >= DAY_MS) return milliseconds;
  throw new InvalidArgumentError('Expected a day or more, such as 1d or 30d.');
}

/** @returns a parser of whole numbers within bounds */
export const toCount = (lowest: number, highest: number) => (text: string) => {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= lowest && count <= highest) return count;
  throw new InvalidArgumentError(`expected a whole number from ${lowest} to ${highest}.`);
};

/** @returns the address of a server: scheme, host and port */
export function toOrigin(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('expected an address such as http://open-webui:8080.');
  }
  // without user, path, query and fragment
  if (url.href === `${url.origin}/`) return url;
  throw new InvalidArgumentError('expected scheme, host and port alone, such as http://open-webui:8080.');
}
