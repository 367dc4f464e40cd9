/** What `doctor` finds out about the backend, asked of real servers. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type SampleBackend, startSampleBackend } from '../../support/upstream/sample-backend/backend.ts';
import { checkBackend } from '../../../src/diagnosis/backend.ts';
import { faults, withName } from '../../support/database/diagnosis.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { freePort } from '../../support/process/ports.ts';
import { withTimeout } from '../../support/process/with-timeout.ts';

let database: TestDatabase;
let backend: SampleBackend;
beforeAll(async () => {
  database = createDatabase();
  backend = await startSampleBackend({ database: database.path, secretKey: 'the key of the backend' });
});
afterAll(async () => {
  await backend.close();
  database.close();
});

const check = (url: string, secretKeys: readonly string[] = []) =>
  withTimeout(checkBackend(new URL(url), secretKeys, new AbortController().signal), 15_000, 'the backend is checked');

async function serving<T>(listener: RequestListener, use: (url: string) => Promise<T>): Promise<T> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** Open WebUI as far as it is asked, with a clock that is off by `seconds`. */
const off =
  (seconds: number): RequestListener =>
  (request, response) => {
    response.setHeader('date', new Date(Date.now() + seconds * 1_000).toUTCString());
    response.end(request.url === '/health' ? '{"status":true}' : '{"version":"0.12.4"}');
  };

describe('the backend', () => {
  test('is named with its release, and agrees on the time and the key', async () => {
    const findings = await check(backend.url, ['the key of the backend']);
    expect(faults(findings)).toEqual([]);
    expect(findings.map(({ name }) => name)).toEqual(['backend', 'clock', 'secret key']);
    expect(findings[0]?.finding).toMatch(/is Open WebUI 0\.12\.\d+, and healthy/);
  });

  test('with another key is a problem; of several candidates one is enough', async () => {
    expect(faults(await check(backend.url, ['another key']))).toEqual(['problem secret key']);
    expect(faults(await check(backend.url, ['another key', 'the key of the backend']))).toEqual([]);
  });

  test('is never sent the key, nor a token of any user', async () => {
    backend.reset();
    await check(backend.url, ['the key of the backend']);
    const sent = JSON.stringify(backend.received.map(({ url, rawHeaders }) => [url, rawHeaders]));
    expect(sent).not.toContain('the key of the backend');
    const [, payload = ''] = /Bearer [^.]+\.([^.]+)\./.exec(sent) ?? [];
    const { id } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { id: string };
    expect(database.sql.prepare('SELECT 1 FROM "user" WHERE id = ?').get(id)).toBeUndefined();
  });

  test.each([
    [-90, 'behind'],
    [90, 'ahead of'],
  ])('with a clock that is off by %s s is a warning', async (seconds, words) => {
    const findings = await serving(off(seconds), (url) => check(url));
    expect(faults(findings)).toEqual(['warning clock']);
    expect(withName(findings, 'clock')[0]?.finding).toMatch(new RegExp(`(?:89|90) s ${words} this machine's`));
  });

  test('with a clock that is off by a second is none', async () => {
    expect(faults(await serving(off(2), (url) => check(url)))).toEqual([]);
    expect(faults(await serving(off(-2), (url) => check(url)))).toEqual([]);
  });

  test('that does not answer is a problem, in words', async () => {
    const closed = await check(`http://127.0.0.1:${await freePort()}`);
    expect(closed).toMatchObject([
      { status: 'problem', finding: expect.stringContaining('refuses the connection') as string },
    ]);
    const nowhere = await check('http://no-such-host.invalid');
    expect(nowhere[0]?.finding).toContain('is a name that cannot be resolved');
  });

  test('that is another server is a problem; a page for every path gives no release', async () => {
    const missing = await serving(
      (_request, response) => response.writeHead(404).end(),
      (url) => check(url),
    );
    expect(faults(missing)).toEqual(['problem backend']);
    const page = await serving(
      (_request, response) => response.end('<html>'),
      (url) => check(url, ['a key']),
    );
    expect(faults(page)).toEqual(['warning backend']);
    const moved = await serving(
      (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end(),
      (url) => check(url),
    );
    expect(moved[0]?.finding).toContain('answers 302');
  });

  test.each([
    [503, ''],
    // what stands in front of the backend refuses, whatever the signature
    [401, '{"detail":"Not authenticated"}'],
  ])('that refuses every test token with %i %s leaves the key unknown', async (status, body) => {
    const findings = await serving(
      (request, response) => {
        if (request.url === '/api/v1/auths/') response.writeHead(status).end(body);
        else off(0)(request, response);
      },
      (url) => check(url, ['a key']),
    );
    expect(faults(findings)).toEqual(['unknown secret key']);
  });

  test('is not waited for after Ctrl-C', async () => {
    const stopping = new AbortController();
    const silent: RequestListener = () => stopping.abort();
    const [found] = await serving(silent, (url) => checkBackend(new URL(url), [], stopping.signal));
    expect(found?.finding).toContain('the command was stopped');
  });
});
