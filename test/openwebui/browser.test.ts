import { describe, expect, it } from 'vitest';

import { RELEASES } from './release.ts';
import { tenantsInBrowser } from './tenants-in-browser.ts';
import { type WebPage, openWebPage } from './web-page.ts';

const ACME = ['alpha', 'alpha-2', 'vendor/one', 'vendor/two'];
const GLOBEX = ['beta', 'beta-2'];
const LOADS = 10;

describe.each(RELEASES)('the web page of Open WebUI %s in Chromium', { timeout: 300_000 }, (version) => {
  const world = tenantsInBrowser(version);

  const VIEWPORT = { width: 1280, height: 800 };

  /** A browser that has never been here; what stands in `use` is all that happens in it. */
  async function inFreshBrowser<T>(url: string, use: (web: WebPage) => Promise<T>): Promise<T> {
    const context = await world.browser.newContext({ viewport: VIEWPORT });
    try {
      return await use(await openWebPage(context, url));
    } finally {
      await context.close();
    }
  }

  const idOf = (email: string): string =>
    world.tenants.sql.prepare<[string], string>('SELECT id FROM "user" WHERE email = ?').pluck().get(email) ?? '';

  /** What each user does on the first day. The bare backend offers everything, so that only names differ. */
  async function firstDay(web: WebPage, email: string, model: string): Promise<string[]> {
    await web.signUp({ name: 'Eve', email });
    world.tenants.join('acme', { ...world.tenants.ann, id: idOf(email) });
    await web.load();
    const offered = await web.offered();
    await web.choose(model);
    await web.ask('Who are you?');
    await web.answered(model);
    await web.page.waitForURL(/\/c\//);
    return offered;
  }

  it('signs up, offers the models of the organization, streams an answer and shows it again after a reload', async () => {
    world.tenants.forget();
    await inFreshBrowser(world.tenants.gate.url, async (web) => {
      expect(await firstDay(web, 'eve@acme.example', 'alpha-2')).toEqual(ACME);
      await web.picture(`open-webui-${version}-chat.png`);
      await web.page.reload();
      await web.answered('alpha-2');
      await web.page.getByText('Who are you?').filter({ visible: true }).first().waitFor();
      await web.ask('And who are you now?');
      await web.page.getByText('I am alpha-2 and this is my answer.').nth(1).waitFor();
      await web.picture(`open-webui-${version}-chat-continued.png`);
    });
    await world.tenants.quiet();
    expect(world.tenants.forbidden(world.tenants.ann)).toEqual([]);
  });

  it('shows no trouble in the console that is not there without the gate', async () => {
    const troublesAt = (url: string, email: string) =>
      inFreshBrowser(url, async (web) => {
        await firstDay(web, email, 'alpha');
        await web.page.reload();
        await web.answered('alpha');
        await web.signOut();
        return web.troubles();
      });
    const without = await troublesAt(world.tenants.backend.url, 'without@acme.example');
    const behind = await troublesAt(world.tenants.gate.url, 'behind@acme.example');
    expect(behind.filter((trouble) => !without.includes(trouble))).toEqual([]);
  });

  it('serves the next person in the same browser with the models of that person alone', async () => {
    await inFreshBrowser(world.tenants.gate.url, async (web) => {
      await web.signIn(world.tenants.ann.email);
      expect(await web.offered()).toEqual(ACME);
      await web.choose('vendor/two');
      await web.signOut();
      world.tenants.forget();
      await web.signIn(world.tenants.bob.email);
      expect(await web.offered()).toEqual(GLOBEX);
      await web.choose('beta-2');
      await web.ask('Who are you?');
      await web.answered('beta-2');
      await world.tenants.quiet();
    });
    expect(world.tenants.forbidden(world.tenants.bob)).toEqual([]);
    expect(world.tenants.provider.asked()).toContain('beta-2');
  });

  it('shows a person without an organization a page that works, and no model', async () => {
    world.tenants.forget();
    await inFreshBrowser(world.tenants.gate.url, async (web) => {
      await web.signUp({ name: 'Dan', email: 'dan@nowhere.example' });
      expect(await web.offered()).toEqual([]);
      await web.picture(`open-webui-${version}-no-organization.png`);
      await web.ask('Is the model there?');
      await web.page.getByText('Model not selected').first().waitFor();
      expect(web.troubles()).toEqual([]);
    });
    expect(world.tenants.provider.asked()).toEqual([]);
  });

  it(`loads ${LOADS} times from an empty cache, each time whole`, async () => {
    const storageState = await world.annSignsIn();
    const took: number[] = [];
    for (let load = 0; load < LOADS; load++) {
      const context = await world.browser.newContext({ viewport: VIEWPORT, storageState });
      const fresh = await openWebPage(context, world.tenants.gate.url);
      const started = performance.now();
      await fresh.load();
      await fresh.selected('alpha');
      took.push(Math.round(performance.now() - started));
      expect(fresh.troubles()).toEqual([]);
      await context.close();
    }
    console.log(`Open WebUI ${version} through the gate was ready after ${took.join(', ')} ms`);
  });
});
