/** A budget is used up: the person reads why, and no one asks again. */
import OpenAI from 'openai';
import type { Browser } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/process/with-timeout.ts';
import { type Account, createApiKey, send, through } from './backend-client.ts';
import { createAutomation } from './backend-content.ts';
import { type ChargedTenants, TASK_MODEL } from './charged-tenants.ts';
import type { Release } from './release.ts';
import { askInNewChat, readChat, refusalOf, uploadFile } from './web-chat.ts';
import { openChat } from './web-page.ts';

/** A second, on a busy machine. */
const AN_ERROR_TAKES_MS = 10_000;
/** In the words that the person reads. */
const USED_UP =
  /umbrella has used its budget for \w+(?: \d+)? \(0\.0001 USD\)\. It begins again on 1 \w+(?: \d+)?, 00:00 UTC\./;
const SAID = expect.stringMatching(USED_UP) as unknown;
const ASKED = 'This is a question of una.';

interface World {
  readonly tenants: ChargedTenants;
  readonly browser: Browser;
}

/** How often each door has refused a call because of a budget. */
interface Refused {
  front: number;
  provider: number;
}

interface Refusals {
  /** Of these tests, each call once. */
  readonly known: Readonly<Refused>;
  /** Of all that asked, by the access lines. */
  seen(): Refused;
  /** When the last of these tests had ended, in milliseconds of `performance.now()`. */
  readonly since: number;
}

/** The budgets stay used up, and the pages on which it was said stay open: a call that comes again is seen later. */
export function describeRefusals(version: Release, world: () => World): Refusals {
  const known: Refused = { front: 0, provider: 0 };
  let since = 0;
  const una = () => world().tenants.people.una;
  const behind = (account: Account) => through(account, world().tenants.backend.url);
  const seen = (): Refused => {
    const of = (...surfaces: string[]) =>
      surfaces.flatMap(world().tenants.lines).filter(({ status }) => status === 402).length;
    return { front: of('invokes'), provider: of('runs', 'service') };
  };
  /** So many since the last look: each call once, or its client or the backend has repeated it. */
  const refused = async ({ front = 0, provider = 0 }: Partial<Refused>): Promise<void> => {
    known.front += front;
    known.provider += provider;
    const areWritten = () => seen().front >= known.front && seen().provider >= known.provider;
    await until(areWritten, 30_000, 'the doors write their lines');
    expect(seen()).toEqual(known);
    since = performance.now();
  };
  const embed = (account: Account, input = 'This is a text of una.') =>
    send(account, 'POST', '/api/embeddings', { model: 'alpha', input });

  describe('where a budget is used up', () => {
    beforeAll(async () => {
      const { tenants } = world();
      // for a little more than the budget
      expect((await embed(una(), 'This is a text of una. '.repeat(40))).status).toBe(200);
      tenants.budget('umbrella', 0.0001, 'usd');
      tenants.budget('hooli', 0, 'requests', `model:${TASK_MODEL}`);
      // a busy machine has the last good state for a moment
      await until(async () => (await embed(una())).status === 402, 10_000, 'the budget is in force');
      await refused({ front: 1 });
    });

    it('is said by the front door before anything is stored', async () => {
      const chats = world().tenants.sql.prepare<[], number>('SELECT count(*) FROM chat').pluck();
      const storedBy = async (model: string) => {
        const before = chats.get() ?? 0;
        const { status, body } = await refusalOf(askInNewChat(una(), version, model, ASKED));
        return { status, body, stored: (chats.get() ?? 0) - before };
      };
      const [overBudget, forbidden] = [await storedBy('alpha'), await storedBy('gamma')];
      expect(overBudget).toMatchObject({ status: 402, body: SAID });
      expect(forbidden.status).toBe(403);
      expect(forbidden.stored).toBe(0);
      // 0.6.18's page itself stores the chat before it asks, and then the reason in it
      expect(overBudget.stored).toBe(version === '0.6.18' ? 1 : 0);
      await refused({ front: 1 });
    });

    it('stands in the chat of the web page', async () => {
      const web = await openChat(world().browser, world().tenants.gate.url, una(), 'alpha');
      await web.ask(ASKED);
      await web.page.getByText(USED_UP).first().waitFor();
      await web.picture(`open-webui-${version}-budget.png`);
      await refused({ front: 1 });
    });

    it('stands there, and is stored, where the budget ends behind the front door', async () => {
      const web = await openChat(world().browser, world().tenants.backend.url, una(), 'alpha');
      await web.ask(ASKED);
      await web.page.getByText(USED_UP).first().waitFor();
      await web.page.reload();
      await web.page.getByText(USED_UP).first().waitFor();
      // 0.12.4 asks for a title at the same time, 0.6.18 when it has the answer
      await refused({ provider: version === '0.6.18' ? 1 : 2 });
    });

    it.each([false, true])('is a status for the openai client, which asks once, stream: %s', async (stream) => {
      const apiKey = await createApiKey(una());
      const ask = async (baseURL: string): Promise<unknown> => {
        const client = new OpenAI({ baseURL, apiKey });
        const messages = [{ role: 'user' as const, content: ASKED }];
        return client.chat.completions.create({ model: 'alpha', messages, stream }).catch((error: unknown) => error);
      };
      for (const base of ['/api', '/openai']) {
        expect(await ask(world().tenants.gate.url + base)).toMatchObject({ status: 402, message: SAID });
        await refused({ front: 1 });
        // 0.6.18 makes 400 of every error of a provider
        const status = version === '0.6.18' && base === '/api' ? 400 : 402;
        expect(await ask(world().tenants.backend.url + base)).toMatchObject({ status, message: SAID });
        await refused({ provider: 1 });
      }
    });

    it('ends embeddings with an error at once', async () => {
      const startedAt = performance.now();
      const [atFront, atProvider] = [await embed(una()), await embed(behind(una()))];
      expect(performance.now() - startedAt).toBeLessThan(2 * AN_ERROR_TAKES_MS);
      expect([atFront.status, await atFront.text()]).toEqual([402, SAID]);
      expect(atProvider.status).toBe(402);
      await refused({ front: 1, provider: 1 });
    });

    it('ends the upload of a file with an error at once', async () => {
      const startedAt = performance.now();
      const { error } = await uploadFile(una(), version, 'These are the notes of una. '.repeat(20));
      expect(performance.now() - startedAt).toBeLessThan(AN_ERROR_TAKES_MS);
      // 0.6.18 loses the provider's reason
      expect(error).toContain(version === '0.6.18' ? 'NoneType' : '402');
      await refused({ provider: 1 });
    });

    it('leaves a chat whole whose title and tags are refused', async () => {
      const { hal } = world().tenants.people;
      const chat = await askInNewChat(hal, version, 'alpha', 'This is a question of hal.');
      // a title, tags, and what may follow
      await refused({ provider: 3 });
      await world().tenants.quiet();
      const { title, answer } = await readChat(hal, chat);
      expect(answer?.content).toContain('word word');
      expect(answer?.error).toBeUndefined();
      expect(title).toBe(version === '0.6.18' ? 'New Chat' : 'This is a question of hal.');
    });

    // 0.6.18 has none
    if (version !== '0.6.18')
      it('ends the run of an automation', async () => {
        const automation = await createAutomation(una(), 'alpha');
        await send(behind(una()), 'POST', `/api/v1/automations/${automation}/run`);
        await refused({ provider: 1 });
      });
  });

  return {
    known,
    seen,
    get since() {
      return since;
    },
  };
}
