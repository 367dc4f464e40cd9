/** What is wrong with a configuration, in the words of operators. No secret is shown. */
export interface ConfigIssue {
  /** The variable's name, or the file's where the file itself is wrong. */
  readonly setting: string;
  /** The value in words or quoted, or a clause that begins with `this`; never a secret. */
  readonly found: string;
  readonly expected: string;
  readonly example?: string;
  readonly source?: string;
}

/** Up to the last `@`, because a password in a URL may contain anything; and what a query names as a key. */
export const maskCredentials = (value: string): string =>
  value
    .replace(/\/\/.*@/s, '//***@')
    .replace(/([?&][^=&\s]*(?:key|token|secret|password|sig)[^=&\s]*=)[^&\s]+/gi, '$1***');

/** @returns `value` as one short line between quotes, with credentials inside of URLs masked */
export function quote(value: string): string {
  const masked = maskCredentials(value);
  return JSON.stringify(masked.length > 120 ? `${masked.slice(0, 120)}…` : masked);
}

/** @returns such as `found "x"`, or `this file does not exist` */
export const findingOf = ({ found }: ConfigIssue): string => (found.startsWith('this ') ? found : `found ${found}`);

function describeIssue(issue: ConfigIssue): string {
  const { setting, expected, example, source } = issue;
  const head = `${setting}${source === undefined ? '' : ` (${source})`}: ${findingOf(issue)}\n  expected ${expected}`;
  return example === undefined ? head : `${head}\n  example: ${example}`;
}

export const issuesInLine = (issues: readonly ConfigIssue[]): string =>
  issues.map((issue) => describeIssue(issue).replaceAll(/\n */g, ', ')).join('; ');

/** @returns all issues as one text, ending in a newline */
export function describeIssues(issues: readonly ConfigIssue[]): string {
  const count = issues.length === 1 ? 'There is 1 mistake' : `There are ${issues.length} mistakes`;
  return `${count} in the configuration:\n\n${issues.map(describeIssue).join('\n\n')}\n`;
}
