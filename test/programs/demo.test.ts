/** The lines that the demo prints, pasted into a shell that has curl and grep. */
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Demo } from '../support/gate/demo-process.ts';
import { commandsOf, interrupt, startDemo } from '../support/gate/demo-process.ts';

/** Runs a line as somebody would who pasted it. */
function paste(line: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile('/bin/sh', ['-c', line], { cwd: '/', timeout: 30_000 }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, output: stdout + stderr });
    });
  });
}

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo('--port', '0', '--admin-port', '0');
});
afterAll(async () => {
  await interrupt(demo);
});

const people = [
  ['ada', ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini'], 'claude-sonnet-4', 'llama3.2:latest'],
  ['alice', ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini'], 'acme-helper', 'gpt-4o'],
  ['gina', ['llama3.2:latest', 'mistral/codestral', 'mistral/mistral-large'], 'mistral/codestral', 'gpt-4o-mini'],
  [
    'carol',
    ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini', 'llama3.2:latest', 'mistral/codestral', 'mistral/mistral-large'],
    'llama3.2:latest',
    'arena-model',
  ],
] as const;

describe.each(people)('what %s pastes works', (name, listed, permitted, refused) => {
  test('the list has exactly the models of the organizations', async () => {
    const [list] = commandsOf(demo.guide, `${name}@example.com`);
    const { output } = await paste(list);
    const ids = [...output.matchAll(/"id":"([^"]*)"/g)].map(([, id]) => id);
    expect(ids).toEqual([...listed].sort());
  });

  test('the permitted chat streams an answer to its end', async () => {
    const [, line] = commandsOf(demo.guide, `${name}@example.com`);
    expect(line).toContain(permitted);
    const { code, output } = await paste(line);
    const words = [...output.matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word);
    expect(words.join('')).toBe(`This is the sample model ${permitted}. You said: Hello`);
    expect(words.length).toBeGreaterThan(5);
    expect(output.trimEnd().endsWith('data: [DONE]')).toBe(true);
    expect(code).toBe(0);
  });

  test('the refused chat is one sentence that names the model and no other', async () => {
    const [, , line] = commandsOf(demo.guide, `${name}@example.com`);
    const { output } = await paste(line);
    expect(output).toMatch(/^\{"detail":"[^"\\]*(?:\\.[^"\\]*)*\(decision d-\w{10}\)"\}\n$/);
    expect(output).toContain(refused);
    for (const other of listed) expect(output).not.toContain(other);
  });

  test('explain says deny, and the same reason', async () => {
    const [, , , line] = commandsOf(demo.guide, `${name}@example.com`);
    const { output } = await paste(line);
    expect(output).toContain('deny');
    expect(output).toContain('not_granted');
  });
});
