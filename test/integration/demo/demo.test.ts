import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type Demo, MAIN, interrupt, keyOf, start, startDemo } from '../../support/gate/demo-process.ts';
import { freePort } from '../../support/process/ports.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';

// processes are started, on machines that may be busy
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/** Ends with the test, also where that fails. */
function endedWithTest(demo: Demo): Demo {
  onTestFinished(async () => void (await interrupt(demo)));
  return demo;
}

/** Asks the gate as one of the demo's users, with a chat if a model is named. */
function ask(demo: Demo, user: string, path: string, model?: string): Promise<Response> {
  const [name = '', value = ''] = keyOf(demo, user).split(': ');
  const chat = { model, stream: true, messages: [{ role: 'user', content: 'Hello' }] };
  const init = model === undefined ? {} : { method: 'POST', body: JSON.stringify(chat) };
  return fetch(keyOf(demo, 'gate') + path, { headers: { [name]: value, 'content-type': 'application/json' }, ...init });
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

  test('prints at most 25 lines, none wider than 150 characters, and no key', () => {
    const lines = demo.guide.trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(25);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(150);
    expect(demo.guide).not.toContain('sk-');
  });

  test('keeps the keys from other users of the machine', () => {
    expect(statSync(join(dirname(demo.databasePath), 'keys')).mode & 0o077).toBe(0);
  });

  const ofAcme = ['gpt-4o-mini', 'claude-sonnet-4', 'acme-helper'];
  const ofGlobex = ['mistral/mistral-large', 'mistral/codestral', 'llama3.2:latest'];
  const people: [name: string, listed: string[], permitted: string, refused: string][] = [
    ['ada', ofAcme, 'claude-sonnet-4', 'llama3.2:latest'],
    ['alice', ofAcme, 'acme-helper', 'gpt-4o'],
    ['gina', ofGlobex, 'mistral/codestral', 'gpt-4o-mini'],
    ['carol', [...ofAcme, ...ofGlobex], 'llama3.2:latest', 'gpt-4o'],
  ];
  describe.each(people)('what %s gets', (name, listed, permitted, refused) => {
    test('the list has exactly the models of the organizations', async () => {
      const { data } = (await (await ask(demo, name, '/api/models')).json()) as { data: { id: string }[] };
      expect(data.map(({ id }) => id).sort()).toEqual([...listed].sort());
    });

    test('a permitted chat streams an answer to its end', async () => {
      const output = await (await ask(demo, name, '/api/chat/completions', permitted)).text();
      const words = [...output.matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word);
      expect(words.join('')).toBe(`This is the sample model ${permitted}. You said: Hello`);
      expect(words.length).toBeGreaterThan(5);
      expect(output.trimEnd().endsWith('data: [DONE]')).toBe(true);
    });

    test('a refused chat is one sentence that names the model and no other', async () => {
      const answer = await ask(demo, name, '/api/chat/completions', refused);
      const text = await answer.text();
      expect(answer.status).toBe(403);
      expect(text).toMatch(/^\{"detail":"[^"\\]*(?:\\.[^"\\]*)*\(decision d-\w{10}\)"\}$/);
      expect(text).toContain(refused);
      for (const other of listed) expect(text).not.toContain(`"${other}\\"`);
    });
  });

  test('an OpenAI client lists and chats', async () => {
    const apiKey = keyOf(demo, 'alice').replace(/^Authorization: Bearer /, '');
    const client = new OpenAI({ apiKey, baseURL: `${keyOf(demo, 'gate')}/api`, maxRetries: 0 });
    expect((await client.models.list()).data.map(({ id }) => id)).toContain('acme-helper');
    const messages = [{ role: 'user' as const, content: 'Hello' }];
    const answer = await client.chat.completions.create({ model: 'gpt-4o-mini', messages });
    expect(answer.choices[0]?.message.content).toBe('This is the sample model gpt-4o-mini. You said: Hello');
  });

  test('what the page asks first is answered: version, settings, sign-in, the session, the chats', async () => {
    const gate = keyOf(demo, 'gate');
    expect(await (await fetch(`${gate}/api/version`)).json()).toMatchObject({ version: expect.any(String) as string });
    expect(await (await fetch(`${gate}/api/config`)).json()).toMatchObject({ status: true });
    expect((await fetch(gate)).headers.get('content-type')).toContain('text/html');
    const signIn = (password: string) =>
      fetch(`${gate}/api/v1/auths/signin`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email: 'alice@example.com', password }),
      });
    expect((await signIn('wrong')).status).toBe(400);
    const keys = readFileSync(join(dirname(demo.databasePath), 'keys'), 'utf8');
    const signedIn = await signIn(/^# Alice: .* password (\S+)$/m.exec(keys)?.[1] ?? '');
    const cookie = signedIn.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '';
    expect(await signedIn.json()).toMatchObject({ token: expect.any(String) as string, role: 'user' });
    const session = await fetch(`${gate}/api/v1/auths/`, { headers: { cookie } });
    expect(await session.json()).toMatchObject({ email: 'alice@example.com', token_type: 'Bearer' });
    expect(await (await fetch(`${gate}/api/v1/chats/`, { headers: { cookie } })).json()).toEqual([]);
    expect((await fetch(`${gate}/api/v1/unknown`, { headers: { cookie } })).status).toBe(404);
    expect((await fetch(`${gate}/api/v1/chats/`)).status).toBe(401);
  });

  test('prints nothing to standard error', () => {
    expect(demo.failures()).toBe('');
  });

  test('Ctrl-C in the middle of an answer ends it with code 0, and nothing is left', async () => {
    const reader = (await ask(demo, 'alice', '/api/chat/completions', 'acme-helper')).body!.getReader();
    await withTimeout(reader.read(), 5_000, 'the first word');
    const left = withTimeout(restOf(reader), 20_000, 'the answer ends');
    expect(existsSync(demo.databasePath)).toBe(true);
    expect(await interrupt(demo)).toBe(0);
    await left;
    expect(existsSync(dirname(demo.databasePath))).toBe(false);
    expect(demo.output()).toContain('The demo has ended');
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
  test('is replaced where the user did not ask for it, and the first line says so', async () => {
    const taken = createServer();
    // where another process has it already it is as taken
    await Promise.race([once(taken.listen(8080, '127.0.0.1'), 'listening'), once(taken, 'error')]).catch(
      () => undefined,
    );
    const demo = endedWithTest(await startDemo('--admin-port', '0'));
    try {
      expect(keyOf(demo, 'gate')).not.toMatch(/:8080$/);
      expect(await (await ask(demo, 'gina', '/api/models')).text()).toContain('mistral/codestral');
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
    const port = await freePort();
    const { code, output } = await ranDemo('--port', `${port}`, '--admin-port', `${port}`);
    expect(output).toBe(
      `modelgate: Port ${port} is taken. Ask for another: npm run demo -- --admin-port ${port + 1}\n`,
    );
    expect(code).toBe(1);
  });
});
