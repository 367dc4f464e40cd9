/** The page of Open WebUI in Chromium meets no limit at the defaults, however often it is loaded. */
import type { Response } from 'playwright-core';
import { describe, expect, it } from 'vitest';

import { RELEASES } from './release.ts';
import { tenantsInBrowser } from './tenants-in-browser.ts';
import { type WebPage, openWebPage } from './web-page.ts';

const LOADS = 10;

interface Seen {
  /** Answers in all, files included. */
  answers: number;
  /** Answers that told of this limit, so were counted by it. */
  readonly counted: Record<'user' | 'address' | 'chat', number>;
  readonly refused: string[];
  /** The least that was left of any limit. */
  least: number;
}

describe.each(RELEASES)('ten fresh loads of Open WebUI %s in a minute', { timeout: 300_000 }, (version) => {
  const world = tenantsInBrowser(version);

  /** Every load in a browser that has nothing in its cache. */
  async function loadOften(
    storageState: Awaited<ReturnType<typeof world.annSignsIn>> | undefined,
    use: (web: WebPage) => Promise<void>,
  ) {
    const seen: Seen = { answers: 0, counted: { user: 0, address: 0, chat: 0 }, refused: [], least: Infinity };
    const started = performance.now();
    const load = async (): Promise<void> => {
      const context = await world.browser.newContext(storageState === undefined ? {} : { storageState });
      context.on('response', (response) => note(seen, response));
      await use(await openWebPage(context, world.tenants.gate.url));
      await context.close();
    };
    for (let done = 0; done < LOADS; done += 1) await load();
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`Open WebUI ${version}: ${LOADS} loads in ${seconds} s: ${JSON.stringify(seen)}`);
    return seen;
  }

  const atOnce = async (token?: string): Promise<number> => {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(`${world.tenants.gate.url}/api/config`, { headers });
    return Number(answer.headers.get('x-ratelimit-limit-requests'));
  };

  it('with a session, and with the question that is asked then', async () => {
    const storageState = await world.annSignsIn();
    const seen = await loadOften(storageState, async (web) => {
      await web.load();
      await web.selected('alpha');
      await web.ask('Who are you?');
      await web.answered('alpha');
    });
    expect(seen.refused).toEqual([]);
    expect(seen.counted.user).toBeGreaterThan(LOADS);
    expect(seen.counted.user + seen.counted.chat).toBeLessThan(seen.answers);
    // however slow this machine is: all of them would have been admitted in one moment
    expect(seen.counted.user + seen.counted.chat).toBeLessThan(await atOnce(world.tenants.ann.token));
    expect(seen.counted.chat).toBeLessThanOrEqual(LOADS);
  });

  it('without a session: the page on which one signs in, and the signing in', async () => {
    const seen = await loadOften(undefined, (web) => web.signIn(world.tenants.ann.email));
    expect(seen.refused).toEqual([]);
    expect(seen.counted.address).toBeGreaterThan(LOADS);
    // a sign-in costs ten
    expect(seen.counted.address + 9 * LOADS).toBeLessThan(await atOnce());
  });

  it('leaves no refusal in the log of the gate', () => {
    expect(world.tenants.gate.log()).not.toContain('"status":429');
    expect(world.tenants.gate.log()).toContain('"status":200');
  });
});

function note(seen: Seen, response: Response): void {
  seen.answers += 1;
  const headers = response.headers();
  const limit = /^"(\w+)"/.exec(headers['ratelimit'] ?? '')?.[1];
  if (limit === 'user' || limit === 'address' || limit === 'chat') seen.counted[limit] += 1;
  if (limit !== undefined) seen.least = Math.min(seen.least, Number(headers['x-ratelimit-remaining-requests']));
  if (response.status() === 429) seen.refused.push(response.url());
}
