import { describe, expect, test } from 'vitest';
import { completedAdvice, inPlace, invocationOf, laidOut } from '../../../src/cli/terminal.ts';
import { quoted, shellCommand } from '../../../src/backend-file/text.ts';

const GIVEN = { invocation: 'npx modelgate', options: ' --database data/webui.db' };
const SENTENCE = 'Run `modelgate model allow a`, or `modelgate init`. `all` is a word; `chmod 600 x`.';

describe('an advised command', () => {
  test('stands on a line of its own, with what this command was given and no full stop', () => {
    expect(laidOut(SENTENCE, GIVEN).split('\n')).toEqual([
      'Run',
      '  npx modelgate model allow a --database data/webui.db',
      'or',
      '  npx modelgate init --database data/webui.db',
      '`all` is a word;',
      '  chmod 600 x',
    ]);
  });

  test('keeps the end of the text as it was', () => {
    expect(laidOut('Run `modelgate init`\n', GIVEN)).toBe('Run\n  npx modelgate init --database data/webui.db\n');
    expect(laidOut('Nothing to do.\n', GIVEN)).toBe('Nothing to do.\n');
    expect(laidOut('', GIVEN)).toBe('');
  });

  test('stays in its place for JSON, and is given alone', () => {
    expect(inPlace('Run `modelgate init`.', GIVEN)).toBe('Run `npx modelgate init --database data/webui.db`.');
    expect(completedAdvice(SENTENCE, GIVEN).commands).toEqual([
      'npx modelgate model allow a --database data/webui.db',
      'npx modelgate init --database data/webui.db',
      'chmod 600 x',
    ]);
  });

  test('is never one that an id in the sentence pretends to be', () => {
    const id = '`modelgate model allow "*"`';
    const advice = `${quoted(id)} is unknown: \`${shellCommand('modelgate', 'model', 'deny', id)}\``;
    expect(completedAdvice(advice, GIVEN).commands).toEqual([
      String.raw`npx modelgate model deny $'\x60modelgate model allow "*"\x60' --database data/webui.db`,
    ]);
  });
});

test.each([
  ['/app/node_modules/.bin/modelgate', 'exec', 'npx modelgate'],
  ['/usr/local/bin/modelgate', undefined, 'modelgate'],
  [`${process.cwd()}/src/modelgate.js`, undefined, 'node src/modelgate.js'],
  [`${process.cwd()}/a b/main.ts`, 'run-script', "node 'a b/main.ts'"],
])('%s is called again as it was', (script, npm, invocation) => expect(invocationOf(script, npm)).toBe(invocation));
