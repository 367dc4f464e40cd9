/** A page of another origin in a real browser: what it can read of the gate's own answers, beside the backend's. */
import { createServer } from 'node:http';
import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { askOnce } from '../support/gate/https-client.ts';
import { closed, listening } from '../support/upstream/upstreams.ts';
import { startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { tenantsInBrowser } from './tenants-in-browser.ts';
import { question } from './tenants.ts';

const CHAT = '/api/chat/completions';

/** What a script of the page sees: an answer, or no more than that there was none to read. */
type Seen =
  | { readonly status: number; readonly body: string; readonly headers: Record<string, string> }
  | { readonly failed: string };

describe.each(RELEASES)('a page of another origin, with Open WebUI %s', { timeout: 300_000 }, (version) => {
  const world = tenantsInBrowser(version);

  async function onStrangePage<T>(use: (page: Page, origin: string) => Promise<T>): Promise<T> {
    const stranger = createServer((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<title>Intranet</title>');
    });
    const port = await listening(stranger);
    onTestFinished(() => closed(stranger));
    const context = await world.browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`http://localhost:${port}/`);
      return await use(page, `http://localhost:${port}`);
    } finally {
      await context.close();
    }
  }

  const fetched = (page: Page, url: string, init: object = {}): Promise<Seen> =>
    page.evaluate<Seen>(`fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(
      async (answer) => ({ status: answer.status, body: await answer.text(), headers: Object.fromEntries(answer.headers) }),
      (error) => ({ failed: String(error) }),
    )`);

  const asAnn = (body?: object, token = world.tenants.ann.token) => ({
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

  it.each(['omit', 'include'] as const)('reads why it is refused, with credentials: %s', async (credentials) => {
    const { url } = world.tenants.gate;
    await onStrangePage(async (page) => {
      const told = async (path: string, init: object) => fetched(page, `${url}${path}`, { ...init, credentials });
      expect(await told(CHAT, asAnn(question('beta')))).toMatchObject({
        status: 403,
        body: expect.stringContaining('beta') as unknown,
      });
      expect(await told(CHAT, asAnn(question('alpha'), 'forged'))).toMatchObject({ status: 401 });
      expect(await told(CHAT, asAnn({}))).toMatchObject({ status: 400 });
      expect(await told('/openai/chat/completions', asAnn(question('beta')))).toMatchObject({ status: 403 });
      expect(await told('/x/..%2fapi/models', {})).toMatchObject({ status: 400 });
    });
  });

  it('reads that a limit is used up, and when to come again', async () => {
    const gate = await startRealGate(world.tenants.backend, {
      MODELGATE_LIMIT_USER: '2/1h:1',
      MODELGATE_LIMIT_CHAT: 'off',
    });
    onTestFinished(() => gate.close());
    await onStrangePage(async (page) => {
      const asked = [];
      for (let turn = 0; turn < 3; turn += 1) asked.push(await fetched(page, `${gate.url}/api/models`, asAnn()));
      expect(asked.map((seen) => ('status' in seen ? seen.status : seen.failed))).toEqual([200, 200, 429]);
      const READABLE = ['ratelimit', 'ratelimit-policy', 'x-ratelimit-remaining-requests', 'x-request-id'];
      for (const seen of asked) for (const name of READABLE) expect(seen).toHaveProperty(['headers', name]);
      expect(asked[2]).toHaveProperty(['headers', 'retry-after']);
    });
  });

  it('reads that the backend is away, and that what it sent is too large', async () => {
    const gate = await startRealGate(world.tenants.backend, { MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9' });
    onTestFinished(() => gate.close());
    await onStrangePage(async (page) => {
      expect(await fetched(page, `${gate.url}/api/version`)).toMatchObject({ status: 502 });
      expect(await fetched(page, `${gate.url}/api/version?${'x'.repeat(70_000)}`)).toMatchObject({
        status: 431,
        body: expect.stringContaining('64 KB') as unknown,
      });
    });
  });

  it('reads nothing where CORS_ALLOW_ORIGIN names other origins, and everything where it names its own', async () => {
    await onStrangePage(async (page, origin) => {
      const refused = async (allowed: string) => {
        const gate = await startRealGate(world.tenants.backend, { CORS_ALLOW_ORIGIN: allowed });
        onTestFinished(() => gate.close());
        // without a preflight, which the backend would answer as it is set itself
        return fetched(page, `${gate.url}${CHAT}`, { method: 'POST', body: '{}' });
      };
      expect(await refused('https://wiki.acme.test')).toEqual({ failed: 'TypeError: Failed to fetch' });
      expect(await refused(`https://wiki.acme.test;${origin}`)).toMatchObject({ status: 401 });
    });
  });

  it('the gate’s own lines are those of the backend’s own refusal', async () => {
    const linesOf = async (url: string) => {
      const headers = { origin: 'https://intranet.acme.test', cookie: 'a=b', authorization: 'Bearer forged' };
      const answer = await askOnce(`${url}/api/models`, { headers });
      expect(answer.status).toBe(401);
      return answer.headers.filter(([name]) => /^access-control-allow/.test(name)).sort();
    };
    expect(await linesOf(world.tenants.gate.url)).toEqual(await linesOf(world.tenants.backend.url));
  });
});
