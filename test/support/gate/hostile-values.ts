import { expect } from 'vitest';
import type { CommandResult } from '../process/command.ts';

/** Ids and names that steer a terminal, break a line, hide, quote or are just long: each is a legal value of a column. */
export const HOSTILE: Readonly<Record<string, string>> = {
  quotes: `o'hara "the" \`quote\``,
  statement: `'); DROP TABLE organization_members; --`,
  newlines: 'first\nsecond\r\nthird\ttabbed',
  clipboard: '\u001b]52;c;c3RvbGVu\u0007',
  colours: '\u001b[2J\u001b[31mred\u009b0m',
  'right to left': 'abc\u202egnp.exe\u2066\u200f',
  invisible: 'a\u200bb\u00adc\ufeff',
  'slashes and colons': '../a/b:c:latest//',
  wide: '漢字🦊é',
  'ten kilobytes': 'long/'.repeat(2_000),
  percent: '%s %d $organization ?',
};

/** What must never reach a terminal as it is: controls but for the end of a line, and what turns or hides text. */
export const DANGEROUS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/;

/** Nothing of it can steer a terminal, and no line is longer than that. */
export function expectHarmless({ stdout, stderr }: CommandResult, longest = 900): void {
  expect(`${stdout}${stderr}`).not.toMatch(DANGEROUS);
  for (const line of `${stdout}${stderr}`.split('\n')) expect(line.length).toBeLessThan(longest);
}
