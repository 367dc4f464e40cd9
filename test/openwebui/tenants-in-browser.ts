import type { Browser, BrowserContext } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import type { Release } from './release.ts';
import { type Tenants, startTenants } from './tenants.ts';
import { launchBrowser, openWebPage } from './web-page.ts';

export interface TenantsInBrowser {
  readonly tenants: Tenants;
  readonly browser: Browser;
  /** Signs ann in behind the gate. @returns what the browser keeps of it, for other contexts */
  annSignsIn(): Promise<Awaited<ReturnType<BrowserContext['storageState']>>>;
}

/** The tenants of one release and a browser, from the first test of the block that calls this to its last. */
export function tenantsInBrowser(version: Release): TenantsInBrowser {
  let tenants: Tenants;
  let browser: Browser;

  beforeAll(async () => {
    browser = await launchBrowser();
    tenants = await startTenants({ version });
  });

  afterAll(async () => {
    await browser.close();
    await tenants.close();
  });

  return {
    get tenants() {
      return tenants;
    },
    get browser() {
      return browser;
    },
    async annSignsIn() {
      const context = await browser.newContext();
      await (await openWebPage(context, tenants.gate.url)).signIn(tenants.ann.email);
      const state = await context.storageState();
      await context.close();
      return state;
    },
  };
}
