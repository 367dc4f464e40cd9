import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { runCommand } from '../support/process/command.ts';

const run = promisify(execFile);

/** What bash would offer for the last of the words. */
async function offered(...words: string[]): Promise<readonly string[]> {
  const { stdout: script } = await runCommand(['completion', 'bash']);
  const asked = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _modelgate; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['-uc', `${script}\n${asked}`, 'bash', 'modelgate', ...words]);
  return stdout.split('\n').filter((word) => word !== '');
}

test.each<[string[], string[]]>([
  [['do'], ['doctor']],
  [
    ['model', ''],
    ['allow', 'deny', 'list', 'sync', '--help'],
  ],
  [
    ['model', 'allow', 'gpt-4o', '--c'],
    ['--create', '--config'],
  ],
  [
    ['model', 'sync', '--org', 'acme', '--from', ''],
    ['table', 'config', 'live'],
  ],
  [['completion', 'f'], ['fish']],
  [['org', 'list', '--database', 'web'], []],
])('bash completes %j with %j', async (words, expected) => {
  expect(await offered(...words)).toEqual(expected);
});
