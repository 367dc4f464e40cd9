/** The lines that the demo prints, pasted into a shell that has curl and grep. */
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, commandsOf, interrupt, startDemo } from '../support/gate/demo-process.ts';

const OF_ACME = ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini'];
const OF_NO_GRANT = ['llama3.2:latest', 'mistral/codestral', 'mistral/mistral-large'];

let demo: Demo;
let pasted: readonly string[];
beforeAll(async () => {
  demo = await startDemo('--port', '0', '--admin-port', '0');
  const [keys = '', ...commands] = commandsOf(demo);
  expect(commands).toHaveLength(5);
  const outputs: string[] = [];
  for (const command of [...commands, ...commands.slice(0, 3)]) outputs.push(await paste(keys, command));
  pasted = outputs;
});
afterAll(async () => {
  await interrupt(demo);
});

/** Runs lines as a reader would who pasted them into a new terminal, in any folder. */
function paste(...lines: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('/bin/sh', ['-c', lines.join('\n')], { cwd: '/', timeout: 30_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${lines.at(-1) ?? ''}: ${stdout}${stderr}`, { cause: error }));
    });
  });
}

const idsIn = (output = '') => [...output.matchAll(/"id":"([^"]*)"/g)].map(([, id]) => id);

test('Alice sees exactly the models of acme, and the backend itself has more', () => {
  expect(idsIn(pasted[0])).toEqual(OF_ACME);
  expect(idsIn(pasted[1])).toEqual([...OF_ACME, 'gpt-4o', ...OF_NO_GRANT].sort());
});

test('the refused chat is one sentence that names the model and no other', () => {
  expect(pasted[2]).toMatch(/^\{"detail":"[^"\\]*(?:\\.[^"\\]*)*\(decision d-\w{10}\)"\}\n$/);
  expect(pasted[2]).toContain('\\"gpt-4o\\"');
  for (const other of [...OF_ACME, ...OF_NO_GRANT]) expect(pasted[2]).not.toContain(other);
});

test('explain says what was decided under the id of the refusal, and the same reason', () => {
  expect(pasted[3]).toMatch(/^decision +deny \(not_granted\)/);
  expect(pasted[3]).toMatch(/^user +user-alice .*\nmodel +gpt-4o$/m);
  expect(pasted[3]).toMatch(/^request +POST \/api\/chat\/completions 403$/m);
});

test('the granted model is in the next list, and answers', () => {
  expect(idsIn(pasted[5])).toEqual([...OF_ACME, 'gpt-4o'].sort());
  expect(idsIn(pasted[6])).toEqual(idsIn(pasted[1]));
  expect(pasted[7]).toContain('This is the sample model gpt-4o. You said: Hi');
});
