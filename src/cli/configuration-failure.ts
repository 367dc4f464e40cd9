/** Mistakes of a configuration as commands say them: an option that stands in the place of a setting has its own name. */
import { type ConfigIssue, describeIssues } from '../config/issue.ts';
import type { Parsed } from '../config/parse.ts';
import type { Loaded } from '../config/schema.ts';
import { CommandFailure, EXIT } from './terminal.ts';

/** What the options of the command name; a file that none names is undefined. */
interface NamedFiles {
  readonly database?: string | undefined;
  readonly usageDatabase?: string | undefined;
}

type Naming = readonly [file: keyof NamedFiles, option: string, example: string];

const OPTIONS: Readonly<Partial<Record<string, Naming>>> = {
  DATABASE_URL: ['database', '--database', 'data/webui.db'],
  MODELGATE_USAGE_DATABASE: ['usageDatabase', '--usage-database', 'state/usage.db'],
};

/** @param named undefined where the command has no such options @throws CommandFailure with every mistake and exit code 2 */
export function accept<C, V>(parsed: Parsed<C, V>, named?: NamedFiles): Loaded<C, V> {
  if (parsed.issues === undefined) return parsed;
  throw configurationFailure(parsed.issues, named);
}

/** @param named as of `accept` */
export function configurationFailure(issues: readonly ConfigIssue[], named?: NamedFiles): CommandFailure {
  const isUnnamed = issues.every(({ setting, found }) => setting === 'DATABASE_URL' && found === 'nothing');
  const typed = issues.map((issue) => asTyped(issue, named));
  const sentence = named !== undefined && isUnnamed ? WHICH_DATABASE : describeIssues(typed).trimEnd();
  return new CommandFailure(sentence, EXIT.misused, { code: 'configuration_invalid' });
}

function asTyped(issue: ConfigIssue, named: NamedFiles = {}): ConfigIssue {
  const [file, option = '', example = ''] = OPTIONS[issue.setting] ?? [];
  if (file === undefined || named[file] === undefined) return issue;
  const { found, expected } = issue;
  return { setting: option, found, expected, example: `${option} ${example}` };
}

export const WHICH_DATABASE =
  "Which database? Name Open WebUI's file: --database data/webui.db (or set DATABASE_URL or DATA_DIR).";
