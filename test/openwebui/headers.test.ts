/** The default security headers with the real page: nothing of it stops working, and its console says nothing new. */
import { createServer } from 'node:http';
import type { BrowserContext } from 'playwright-core';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { closed, listening } from '../support/upstream/upstreams.ts';
import { call, send } from './backend-client.ts';
import { chatDocument } from './backend-content.ts';
import { startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { tenantsInBrowser } from './tenants-in-browser.ts';
import { type WebPage, openWebPage } from './web-page.ts';

const ANSWER = [
  'Run and show this:',
  '```python\nprint(6*7)\n```',
  '```html\n<!doctype html><html><body><h1>An artifact</h1><script>document.body.append("that ran")</script></body></html>\n```',
].join('\n\n');

/** What calls, voice input, screen sharing, copying and full screen need. */
const USED = [
  'camera',
  'microphone',
  'display-capture',
  'geolocation',
  'clipboard-read',
  'clipboard-write',
  'fullscreen',
];

describe.each(RELEASES)('security headers in front of Open WebUI %s', { timeout: 300_000 }, (version) => {
  const world = tenantsInBrowser(version);
  let chatId: string;

  beforeAll(async () => {
    chatId = await createAnsweredChat();
  });

  /** A chat whose answer has something to run and something to show. */
  async function createAnsweredChat(): Promise<string> {
    const document = JSON.parse(
      JSON.stringify(chatDocument('alpha')).replaceAll('"I."', JSON.stringify(ANSWER)),
    ) as object;
    const { id } = (await call(world.tenants.ann, 'POST', '/api/v1/chats/new', { chat: document })) as { id: string };
    return id;
  }

  async function inBrowser<T>(url: string, use: (web: WebPage, context: BrowserContext) => Promise<T>): Promise<T> {
    const context = await world.browser.newContext({ viewport: { width: 1280, height: 900 } });
    try {
      await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: url });
      return await use(await openWebPage(context, url), context);
    } finally {
      await context.close();
    }
  }

  /** Everything on the console that is more than a word to developers, without what differs from run to run. */
  function complaints(web: WebPage, url: string): () => string[] {
    const heard: string[] = [];
    web.page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()))
        heard.push(`${message.type()}: ${message.text()}`.replaceAll(url, '').replaceAll(/\b[0-9a-f-]{36}\b/g, 'ID'));
    });
    return () => [...heard, ...web.troubles()];
  }

  /** Signs in, runs Python in the page, shows an artifact, copies code, opens the settings, chats. */
  async function useEverything(web: WebPage): Promise<void> {
    const { page } = web;
    await web.signIn(world.tenants.ann.email);
    await web.load(`/c/${chatId}`);
    await page.getByRole('button', { name: 'Run', exact: true }).first().click();
    await page.getByText('42', { exact: true }).waitFor({ timeout: 90_000 });
    await page.locator('.copy-code-button').first().click();
    await expect.poll(() => page.evaluate<string>('navigator.clipboard.readText()')).toContain('print(6*7)');
    await page.getByRole('button', { name: 'Preview', exact: true }).first().click();
    await page.frameLocator('iframe[title="Content"]').getByText('that ran').first().waitFor();
    await web.picture(`open-webui-${version}-headers.png`);
    await web.load();
    await page.locator('[aria-label="User menu"]:visible, button:has-text("User menu"):visible').first().click();
    await page.getByText('Settings', { exact: true }).first().click();
    await page.getByText('General', { exact: true }).first().waitFor();
    await page.keyboard.press('Escape');
    await web.load();
    await web.choose('alpha');
    await web.ask('Who are you?');
    await web.answered('alpha');
  }

  it('everything works, and the console complains of nothing that it does not complain of without the gate', async () => {
    const complaintsAt = (url: string) =>
      inBrowser(url, async (web) => {
        const heard = complaints(web, url);
        await useEverything(web);
        return heard();
      });
    const without = await complaintsAt(world.tenants.backend.url);
    const behind = await complaintsAt(world.tenants.gate.url);
    expect(behind.filter((complaint) => !without.includes(complaint))).toEqual([]);
  });

  it('the page may use what Open WebUI uses, and no USB', async () => {
    await inBrowser(world.tenants.gate.url, async ({ page }) => {
      await page.goto(`${world.tenants.gate.url}/auth`);
      const allowed = (names: string[]) =>
        page.evaluate<string[]>(
          `${JSON.stringify(names)}.filter((feature) => document.featurePolicy.allowsFeature(feature))`,
        );
      expect(await allowed([...USED, 'usb'])).toEqual(USED);
    });
  });

  it('a page of another site that opens it stays its opener, as openwebui.com does to hand over a model', async () => {
    const stranger = createServer((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<title>Another site</title>');
    });
    const port = await listening(stranger);
    onTestFinished(() => closed(stranger));
    await inBrowser(world.tenants.gate.url, async ({ page }, context) => {
      await page.goto(`http://localhost:${port}/`);
      const [opened] = await Promise.all([
        context.waitForEvent('page'),
        page.evaluate(`void window.open('${world.tenants.gate.url}/auth')`),
      ]);
      await opened.waitForLoadState();
      expect(await opened.evaluate<boolean>('window.opener !== null')).toBe(true);
    });
  });

  it('another site cannot show it in a frame, nor read its pictures', async () => {
    const gate = world.tenants.gate.url;
    const stranger = createServer((_incoming, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'text/html' });
      outgoing.end(`<iframe src="${gate}/auth"></iframe><img src="${gate}/static/favicon.png">`);
    });
    const port = await listening(stranger);
    onTestFinished(() => closed(stranger));
    await inBrowser(gate, async ({ page }) => {
      const refused: string[] = [];
      page.on('requestfailed', (request) => refused.push(new URL(request.url()).pathname));
      await page.goto(`http://localhost:${port}/`, { waitUntil: 'load' });
      await expect.poll(() => refused.sort()).toEqual(['/auth', '/static/favicon.png']);
    });
  });

  it('every answer of the backend has each header once, and tells nothing of its software', async () => {
    for (const path of [
      '/',
      '/health',
      '/api/config',
      '/api/models',
      '/static/favicon.png',
      '/nothing/here',
      '/manifest.json',
    ]) {
      const { headers } = await send(world.tenants.ann, 'GET', path);
      expect(headers.get('x-frame-options'), path).toBe('SAMEORIGIN');
      expect(headers.get('x-content-type-options'), path).toBe('nosniff');
      expect(headers.get('server') ?? headers.get('x-process-time'), path).toBeNull();
    }
  });

  it('a browser keeps the cookie of a session as the operator has asked for it', async () => {
    const gate = await startRealGate(world.tenants.backend, {
      WEBUI_SESSION_COOKIE_SECURE: 'true',
      WEBUI_SESSION_COOKIE_SAME_SITE: 'strict',
    });
    onTestFinished(() => gate.close());
    const cookiesAt = (url: string) =>
      inBrowser(url, async (web, context) => {
        await web.signIn(world.tenants.ann.email);
        return (await context.cookies()).filter(({ name }) => name === 'token');
      });
    const [without] = await cookiesAt(world.tenants.backend.url);
    const [behind] = await cookiesAt(gate.url);
    expect(without).toMatchObject({ secure: false, sameSite: 'Lax', httpOnly: true });
    expect(behind).toMatchObject({ secure: true, sameSite: 'Strict', httpOnly: true, path: without?.path });
  });
});
