/** What is wrong with a configuration, said so that the operator can put it right without reading anything else. */
export interface ConfigIssue {
  /** The variable's name, or the file's where the file itself is wrong. */
  readonly setting: string;
  /** The value in words or quoted, or a clause that begins with `this`; never a secret. */
  readonly found: string;
  readonly expected: string;
  /** One line that would work, absent where the remedy is to remove something. */
  readonly example?: string;
  readonly source?: string;
}

const LONGEST_QUOTE = 120;

/** Credentials inside a URL: up to the last `@`, because a password may contain anything. */
const URL_CREDENTIALS = /\/\/.*@/s;

export const maskCredentials = (value: string): string => value.replace(URL_CREDENTIALS, '//***@');

/** @returns `value` as one short line between quotes, with credentials inside of URLs masked */
export function quote(value: string): string {
  const masked = maskCredentials(value);
  const short = masked.length > LONGEST_QUOTE ? `${masked.slice(0, LONGEST_QUOTE)}…` : masked;
  return JSON.stringify(short);
}

/** @returns such as `found "x"`, or `this file does not exist` */
export const findingOf = ({ found }: ConfigIssue): string => (found.startsWith('this ') ? found : `found ${found}`);

function describeIssue(issue: ConfigIssue): string {
  const source = issue.source === undefined ? '' : ` (${issue.source})`;
  const lines = [`${issue.setting}${source}: ${findingOf(issue)}`, `  expected ${issue.expected}`];
  if (issue.example !== undefined) lines.push(`  example: ${issue.example}`);
  return lines.join('\n');
}

export const issuesInLine = (issues: readonly ConfigIssue[]): string =>
  issues.map((issue) => describeIssue(issue).replaceAll(/\n */g, ', ')).join('; ');

/** @returns all issues as one text, ending in a newline */
export function describeIssues(issues: readonly ConfigIssue[]): string {
  const count = issues.length === 1 ? 'There is 1 mistake' : `There are ${issues.length} mistakes`;
  return `${count} in the configuration:\n\n${issues.map(describeIssue).join('\n\n')}\n`;
}
