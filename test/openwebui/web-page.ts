/** The backend's own web page in a real browser, as a person uses it; the same steps fit both pinned releases. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import type { Person } from './backend-client.ts';
import { cacheDirectory } from './install.ts';

const CHROMIUM = process.env['GATE_TEST_CHROMIUM'] ?? '/usr/bin/chromium';

/** Nothing is fetched but the page itself. */
const ARGUMENTS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** As much as a request of the other tests has: on a machine with a load of 28, 45 s were not enough for a page. */
const PATIENCE_MS = 90_000;
const PASSWORD = 'Correct-horse-7';

/** @throws Error that names the Debian package where there is no browser */
export function launchBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`There is no browser at ${CHROMIUM}: this test needs the Debian package chromium.`);
  }
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

/** Where a run keeps its pictures: outside the checkout. */
export function artifactPath(name: string): string {
  const directory = process.env['GATE_TEST_ARTIFACTS'] ?? join(cacheDirectory(), 'artifacts');
  mkdirSync(directory, { recursive: true });
  return join(directory, name);
}

export interface WebPage {
  readonly page: Page;
  /**
   * Everything that went wrong so far, as seen in the browser's own tools: errors on the console, exceptions, answers
   * of 400 and above. Addresses and ids of this run are left out, so that two runs can be compared.
   */
  troubles(): string[];
  signUp(person: Person): Promise<void>;
  signIn(email: string): Promise<void>;
  signOut(): Promise<void>;
  /** Loads the start page anew and waits until a question can be asked. */
  load(path?: string): Promise<void>;
  /** The ids in the model picker. */
  offered(): Promise<string[]>;
  choose(model: string): Promise<void>;
  /** Waits until this model is the one that a question would go to. */
  selected(model: string): Promise<void>;
  ask(question: string): Promise<void>;
  /** Waits for the whole answer of this model to be there to read. */
  answered(model: string): Promise<void>;
  picture(name: string): Promise<void>;
  close(): Promise<void>;
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** @param context of its own for every person, unless two of them share a browser */
export async function openWebPage(context: BrowserContext, url: string): Promise<WebPage> {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.setDefaultNavigationTimeout(PATIENCE_MS);
  const troubles = watch(page, url);
  const ready = () => page.locator('#chat-input').waitFor();
  const options = page.locator('button[data-value]');
  const picker = page.locator('[id^=model-selector-][id$=-button]');
  const openPicker = async () => {
    await picker.first().click();
    await page.locator('#model-search-input').waitFor();
  };
  const submit = async () => {
    await page.locator('button[type=submit]').click();
    await ready();
  };
  const fillIn = async (email: string) => {
    await page.locator('#email').fill(email);
    await page.locator('input[type=password]').fill(PASSWORD);
  };
  return {
    page,
    troubles,
    async signUp({ name, email }) {
      await page.goto(`${url}/auth`);
      await page.getByRole('button', { name: 'Sign up', exact: true }).click();
      await page.locator('#name').fill(name);
      await fillIn(email);
      await submit();
    },
    async signIn(email) {
      await page.goto(`${url}/auth`);
      await fillIn(email);
      await submit();
    },
    async signOut() {
      await page.locator('[aria-label="User menu"]:visible, button:has-text("User menu"):visible').first().click();
      await page.getByText('Sign Out').first().click();
      await page.locator('#email').waitFor();
    },
    async load(path = '/') {
      await page.goto(`${url}${path}`);
      await ready();
    },
    async offered() {
      await openPicker();
      // Rows are drawn in the turn after the search field
      await options.or(page.getByText('No results found')).first().waitFor();
      const ids: string[] = [];
      for (const row of await options.all()) ids.push((await row.getAttribute('data-value')) ?? '');
      await page.locator('#model-search-input').press('Escape');
      await page.locator('#model-search-input').waitFor({ state: 'hidden' });
      return ids;
    },
    async choose(model) {
      await openPicker();
      await page.locator(`button[data-value="${model}"]`).click();
      await page.locator('#model-search-input').waitFor({ state: 'hidden' });
    },
    selected: (model) => picker.filter({ hasText: model }).first().waitFor(),
    async ask(question) {
      const input = page.locator('#chat-input');
      await input.fill(question);
      await input.press('Enter');
    },
    answered: (model) => page.getByText(`I am ${model} and this is my answer.`).first().waitFor(),
    picture: async (name) => void (await page.screenshot({ path: artifactPath(name) })),
    close: () => page.close(),
  };
}

/** A page on which this person can ask this model; it stays open as long as the browser. */
export async function openChat(browser: Browser, url: string, { email }: Pick<Person, 'email'>, model: string) {
  const web = await openWebPage(await browser.newContext(), url);
  await web.signIn(email);
  await web.choose(model);
  return web;
}

function watch(page: Page, url: string): () => string[] {
  const seen: string[] = [];
  const note = (text: string): void => {
    const plain = text.replaceAll(url, '').replaceAll(new URL(url).host, '').replaceAll(UUID, 'ID').slice(0, 300);
    seen.push(plain);
  };
  page.on('console', (message) => {
    if (message.type() === 'error') note(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => note(`exception: ${error.message}`));
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    if (response.status() >= 400) note(`${response.status()} ${response.request().method()} ${pathname}`);
  });
  return () => [...seen];
}
