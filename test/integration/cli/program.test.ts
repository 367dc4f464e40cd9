import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { runModelgate } from '../../support/gate/gate-process.ts';
import { runCommand } from '../../support/process/command.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
const EXECUTABLE = fileURLToPath(new URL('../../../src/modelgate.js', import.meta.url));

describe('the command line', () => {
  test('prints its version', async () => {
    expect(await runModelgate(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('prints help to the standard output of its process', async () => {
    const { code, stdout, stderr } = await runModelgate(['help', 'serve']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/Examples?:\n {2}\$ .+/);
    expect(stdout).toContain('Exit codes:');
  });

  test.each<[string[], RegExp]>([
    [[], /Usage: modelgate/],
    [['sreve'], /^modelgate: There is no command "sreve"\. Did you mean "serve"\?\n$/],
    [['serve', '--chek-config'], /^modelgate: There is no option "--chek-config"\. Did you mean "--check-config"\?\n$/],
    [['serve', 'now'], /^modelgate: Too many words: serve takes 0, and got 1\.\n$/],
    [['explain', '--model', 'm'], /--user/],
    [['demo', '--port', 'eighty'], /^modelgate: --port "eighty": expected a whole number from 0 to 65535\.\n$/],
  ])('%j is wrong use: code 2, said on standard error', async (words, said) => {
    const { code, stdout, stderr } = await runCommand(words);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(said);
  });
});

/** Runs the executable as a Node of that version would. */
function runAs(node: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const disguise = `data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"${node}"}})`;
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['--import', disguise, EXECUTABLE, '--version'],
      (_error, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
    );
  });
}

describe('the executable', () => {
  test.each(['20.19.5', '22.17.0'])('says in one sentence that Node %s is too old', async (node) => {
    const { code, stdout, stderr } = await runAs(node);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(
      new RegExp(
        `^modelgate: this is Node ${node.replaceAll('.', '\\.')}, but Node 22\\.18 or later is needed[^\\n]*\\n$`,
      ),
    );
  });

  test.each(['22.18.0', '26.0.0'])('runs on Node %s', async (node) => {
    expect(await runAs(node)).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});
