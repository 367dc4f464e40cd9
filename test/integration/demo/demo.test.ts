import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { withTimeout } from '../../support/with-timeout.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MAIN = join(ROOT, 'src/main.ts');

// processes are started, on machines that may be busy
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

interface Demo {
  readonly child: ChildProcess;
  /** What stands on standard output so far. */
  output(): string;
  /** What the demo printed before it began to wait. */
  readonly guide: string;
  readonly databasePath: string;
  readonly failures: () => string;
}

const startDemo = (...words: string[]) => start(process.execPath, [MAIN, 'demo', ...words]);

/** In a process group of its own, as a shell starts it: Ctrl-C reaches every process of the group. */
async function start(program: string, words: readonly string[]): Promise<Demo> {
  const child = spawn(program, words, { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let failures = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (failures += text));
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (output.includes('Ctrl-C ends the demo')) resolve();
    });
    child.once('exit', (code) => reject(new Error(`the demo ended with ${code ?? 'a signal'}: ${output}${failures}`)));
  });
  await withTimeout(ready, 40_000, 'the demo prints its guide');
  const databasePath = /database {2}(\S+)/.exec(output)?.[1] ?? '';
  return { child, output: () => output, guide: output, databasePath, failures: () => failures };
}

async function interrupt({ child }: Demo): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const ended = once(child, 'exit') as Promise<[number | null]>;
  if (child.pid !== undefined) process.kill(-child.pid, 'SIGINT');
  return (await withTimeout(ended, 15_000, 'the demo ends'))[0];
}

/** Runs a line as somebody would who pasted it. */
function paste(line: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile('/bin/sh', ['-c', line], { cwd: '/', timeout: 30_000 }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, output: stdout + stderr });
    });
  });
}

/** The commands under a user's name, in the order list, permitted, refused, explain. */
function commandsOf(guide: string, email: string): readonly [string, string, string, string] {
  const section = guide.slice(guide.indexOf(`(${email}, `)).split('\n\n', 1)[0] ?? '';
  const [list = '', permitted = '', refused = '', explain = ''] = section
    .split('\n')
    .slice(1)
    .filter((line) => !line.startsWith('  # '))
    .map((line) => line.trim());
  return [list, permitted, refused, explain];
}

describe('the demo', () => {
  let demo: Demo;
  beforeAll(async () => {
    demo = await startDemo('--port', '0', '--admin-port', '0');
  });
  afterAll(async () => {
    await interrupt(demo);
  });

  test('prints less than 60 lines', () => {
    expect(demo.guide.split('\n').length).toBeLessThan(60);
  });

  const people = [
    ['ada', ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini'], 'claude-sonnet-4', 'llama3.2:latest'],
    ['alice', ['acme-helper', 'claude-sonnet-4', 'gpt-4o-mini'], 'acme-helper', 'gpt-4o'],
    ['gina', ['llama3.2:latest', 'mistral/codestral', 'mistral/mistral-large'], 'mistral/codestral', 'gpt-4o-mini'],
    [
      'carol',
      [
        'acme-helper',
        'claude-sonnet-4',
        'gpt-4o-mini',
        'llama3.2:latest',
        'mistral/codestral',
        'mistral/mistral-large',
      ],
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

    test('the refused chat is a 403 that names the model and no other', async () => {
      const [, , line] = commandsOf(demo.guide, `${name}@example.com`);
      const { output } = await paste(line);
      expect(output).toMatch(/^HTTP\/1\.1 403 /);
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

  test('prints nothing to standard error', () => {
    expect(demo.failures()).toBe('');
  });
});

describe('the end of the demo', () => {
  test('Ctrl-C ends it with code 0 and nothing is left', async () => {
    const demo = await startDemo('--port', '0', '--admin-port', '0');
    expect(existsSync(demo.databasePath)).toBe(true);
    expect(await interrupt(demo)).toBe(0);
    expect(existsSync(dirname(demo.databasePath))).toBe(false);
    expect(demo.output()).toContain('The demo has ended');
  });

  test('Ctrl-C in the middle of an answer ends it as well', async () => {
    const demo = await startDemo('--port', '0', '--admin-port', '0');
    const [, permitted] = commandsOf(demo.guide, 'alice@example.com');
    const reader = spawn('/bin/sh', ['-c', `exec ${permitted}`], { stdio: ['ignore', 'pipe', 'ignore'] });
    await withTimeout(once(reader.stdout, 'data'), 5_000, 'the first word');
    const left = once(reader, 'exit');
    expect(await interrupt(demo)).toBe(0);
    await withTimeout(left, 5_000, 'the reader ends');
    expect(existsSync(dirname(demo.databasePath))).toBe(false);
  });
});

test('Ctrl-C ends `npm run demo` with code 0 as well', async () => {
  const demo = await start('npm', ['run', 'demo', '--', '--port', '0', '--admin-port', '0']);
  expect(await interrupt(demo)).toBe(0);
  expect(existsSync(dirname(demo.databasePath))).toBe(false);
});

test('a taken port is replaced by a free one, and said', async () => {
  const taken = createServer();
  await once(taken.listen(0, '127.0.0.1'), 'listening');
  const { port } = taken.address() as AddressInfo;
  const demo = await startDemo('--port', String(port), '--admin-port', '0');
  try {
    const [list] = commandsOf(demo.guide, 'gina@example.com');
    expect(list).not.toContain(`:${port}/`);
    expect((await paste(list)).output).toContain('mistral/codestral');
    expect(demo.output()).toContain(`Port ${port} is taken`);
  } finally {
    await interrupt(demo);
    taken.close();
  }
});
