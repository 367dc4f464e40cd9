import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Demo } from '../../support/gate/demo-process.ts';
import { MAIN, commandsOf, interrupt, start, startDemo } from '../../support/gate/demo-process.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';

// processes are started, on machines that may be busy
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** Ends with the test, also where that fails. */
function endedWithTest(demo: Demo): Demo {
  onTestFinished(async () => void (await interrupt(demo)));
  return demo;
}

/** What a curl line of the guide asks, without curl. */
function asked(line: string): Promise<Response> {
  const [url = ''] = /http:\S+/.exec(line) ?? [];
  const headers = [...line.matchAll(/ -H '([^:]+): ([^']+)'/g)].map(([, name = '', value = '']): [string, string] => [
    name,
    value,
  ]);
  const [, body] = / -d '([^']+)'/.exec(line) ?? [];
  return fetch(url, { headers, ...(body === undefined ? {} : { method: 'POST', body }) });
}

/** Ends with the answer, also where it is cut. */
async function restOf(reader: ReadableStreamDefaultReader): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // an end as well
  }
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

  test('prints nothing to standard error', () => {
    expect(demo.failures()).toBe('');
  });
});

describe('the end of the demo', () => {
  test('Ctrl-C ends it with code 0 and nothing is left', async () => {
    const demo = endedWithTest(await startDemo('--port', '0', '--admin-port', '0'));
    expect(existsSync(demo.databasePath)).toBe(true);
    expect(await interrupt(demo)).toBe(0);
    expect(existsSync(dirname(demo.databasePath))).toBe(false);
    expect(demo.output()).toContain('The demo has ended');
  });

  test('Ctrl-C in the middle of an answer ends it as well', async () => {
    const demo = endedWithTest(await startDemo('--port', '0', '--admin-port', '0'));
    const [, permitted] = commandsOf(demo.guide, 'alice@example.com');
    const reader = (await asked(permitted)).body!.getReader();
    await withTimeout(reader.read(), 5_000, 'the first word');
    const left = withTimeout(restOf(reader), 20_000, 'the answer ends');
    expect(await interrupt(demo)).toBe(0);
    await left;
    expect(existsSync(dirname(demo.databasePath))).toBe(false);
  });
});

test('Ctrl-C ends `npm run demo` with code 0 as well', async () => {
  const demo = endedWithTest(await start('npm', ['run', 'demo', '--', '--port', '0', '--admin-port', '0']));
  expect(await interrupt(demo)).toBe(0);
  expect(existsSync(dirname(demo.databasePath))).toBe(false);
});

/** Runs the demo to its end. */
function ranDemo(...words: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [MAIN, 'demo', ...words],
      { timeout: 30_000 },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode ?? -1, output: stdout + stderr });
      },
    );
  });
}

describe('a port that is taken', () => {
  test('is replaced where nobody asked for it, and the first line says so', async () => {
    const taken = createServer();
    // where another process has it already it is as taken
    await Promise.race([once(taken.listen(8080, '127.0.0.1'), 'listening'), once(taken, 'error')]).catch(
      () => undefined,
    );
    const demo = endedWithTest(await startDemo('--admin-port', '0'));
    try {
      const [list] = commandsOf(demo.guide, 'gina@example.com');
      expect(list).not.toContain(':8080/');
      expect(await (await asked(list)).text()).toContain('mistral/codestral');
      expect(demo.guide).toMatch(/^Port 8080 is taken: \d+ is used instead\.\n/);
    } finally {
      await interrupt(demo);
      taken.close();
    }
  });

  test.each(['--port', '--admin-port'])('is an error where %s asked for it', async (option) => {
    const taken = createServer();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    const { port } = taken.address() as AddressInfo;
    const { code, output } = await ranDemo('--port', '0', '--admin-port', '0', option, String(port));
    taken.close();
    const other = port === 65_535 ? '\\d+' : String(port + 1);
    expect(output).toMatch(
      new RegExp(`^modelgate: Port ${port} is taken\\. Ask for another: npm run demo -- ${option} ${other}\n$`),
    );
    expect(code).toBe(1);
  });

  test('is also the one that the other listener gets', async () => {
    const { code, output } = await ranDemo('--port', '18173', '--admin-port', '18173');
    expect(output).toBe('modelgate: Port 18173 is taken. Ask for another: npm run demo -- --admin-port 18174\n');
    expect(code).toBe(1);
  });
});
