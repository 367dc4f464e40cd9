/**
 * What calls cost, through both doors around the real backend: the ledger of the provider is the judge. Then budgets are
 * used up, and the person reads why.
 */
import OpenAI from 'openai';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/process/with-timeout.ts';
import { readUsage } from '../support/database/usage.ts';
import { type Account, call, createApiKey, send, through } from './backend-client.ts';
import {
  type ChargedTenants,
  type LedgerRow,
  NAMES,
  TASK_MODEL,
  modelsOf,
  startChargedTenants,
} from './charged-tenants.ts';
import { RELEASES } from './release.ts';
import { question } from './tenants.ts';
import { askInNewChat, readChat, refusalOf, uploadFile } from './web-chat.ts';
import { type WebPage, launchBrowser, openWebPage } from './web-page.ts';

/** More of them with `GATE_TEST_WEB_CHATS`: 500 take about two minutes a release. */
const CHATS = Number(process.env['GATE_TEST_WEB_CHATS'] ?? 40);
/** The backend's own database has one writer: many more at once, and 0.12.4 answers that it is locked. */
const AT_ONCE = 4;
/** The answer, three questions that may follow it, a title, tags. */
const CALLS_OF_A_CHAT = 4;
const AN_ERROR_TAKES_MS = 5_000;
/** In the words that the person reads. */
const USED_UP =
  /acme has used its budget for \w+(?: \d+)? \(0\.0001 USD\)\. It begins again on 1 \w+(?: \d+)?, 00:00 UTC\./;
const SAID = expect.stringMatching(USED_UP) as unknown;

describe.each(RELEASES)('the ledger of calls of Open WebUI %s', { timeout: 600_000 }, (version) => {
  let tenants: ChargedTenants;
  let browser: Browser;
  /** Calls that our provider door has refused so far, as the tests know them. */
  let refused = 0;

  beforeAll(async () => {
    [browser, tenants] = await Promise.all([launchBrowser(), startChargedTenants(version)]);
  });

  afterAll(async () => {
    await browser.close();
    await tenants.close();
  });

  const atBackend = (account: Account) => through(account, tenants.backend.url);

  /** What the provider door has refused since the last look: each once, or the backend has repeated it. */
  async function refusedAtDoor(count: number): Promise<void> {
    const all = () => ['runs', 'service'].flatMap(tenants.lines).filter(({ status }) => status === 402);
    refused += count;
    await until(() => all().length >= refused, 5_000, 'the door writes its lines');
    expect(all()).toHaveLength(refused);
  }

  async function inBrowser(account: Account, url: string, use: (web: WebPage) => Promise<void>): Promise<void> {
    const context = await browser.newContext();
    try {
      const web = await openWebPage(context, url);
      await web.signIn(account.email);
      await web.choose('alpha');
      await use(web);
    } finally {
      await context.close();
    }
  }

  it(`is the provider's own, call by call, for ${CHATS} chats of the web page with titles and tags`, async () => {
    const { provider, people } = tenants;
    const startedAt = performance.now();
    const are = (chats: number) => () => provider.charged.length >= chats * CALLS_OF_A_CHAT;
    await inBrowser(people.ann, tenants.gate.url, async (web) => {
      await web.ask('This is a question of ann.');
      await web.page.getByText('word word word').first().waitFor();
      await until(are(1), 30_000, 'the chat has its title and tags');
    });
    let asked = 0;
    const ask = async () => {
      while (asked < CHATS) {
        const nth = asked++;
        const name = NAMES[nth % NAMES.length] ?? 'ann';
        const models = modelsOf(name);
        const model = models[Math.floor(nth / NAMES.length) % models.length] ?? '';
        await askInNewChat(people[name], version, model, `Question ${nth} of ${name}.`);
        await until(are(nth + 1 - AT_ONCE), 60_000, 'the provider answers the chats before');
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    await until(are(CHATS + 1), 60_000, 'the provider has answered all');
    await tenants.quiet();
    expect(await uploadFile(people.ian, version, 'These are the notes of ian. '.repeat(20))).toEqual({});
    const seconds = (performance.now() - startedAt) / 1000;
    console.log(`Open WebUI ${version}: ${CHATS} web chats, ${provider.charged.length} calls, ${seconds.toFixed(0)} s`);

    const { provider: theirs, ours } = tenants.ledgers();
    expect(theirs.filter(({ kind }) => kind !== 'embedding')).toHaveLength((CHATS + 1) * CALLS_OF_A_CHAT);
    expect(ours).toEqual(theirs);
    const slots = readUsage<Sum>(tenants.usagePath, SUMS).map((row) => Object.values(row).join(' '));
    expect(slots).toEqual(sumsOf(theirs));
    const lists = provider.requests.filter(({ method }) => method === 'GET');
    expect(lists.length).toBeLessThanOrEqual(1 + Math.ceil(seconds / 60));
  });

  describe('where a budget is used up', () => {
    const embed = (account: Account) =>
      send(account, 'POST', '/api/embeddings', { model: 'alpha', input: 'This is a text of ann.' });

    beforeAll(async () => {
      tenants.budget('acme', 0.0001, 'usd');
      tenants.budget('initech', 0, 'requests', `model:${TASK_MODEL}`);
      // a busy machine has the last good state for a moment
      await until(async () => (await embed(tenants.people.ann)).status === 402, 10_000, 'the budget is in force');
    });
    afterAll(() => tenants.withoutBudgets());

    it('is said by the front door before anything is stored', async () => {
      const { ann } = tenants.people;
      const chats = tenants.sql.prepare<[], number>('SELECT count(*) FROM chat').pluck();
      const storedBy = async (model: string) => {
        const before = chats.get() ?? 0;
        const { status, body } = await refusalOf(askInNewChat(ann, version, model, 'This is a question of ann.'));
        return { status, body, stored: (chats.get() ?? 0) - before };
      };
      const [overBudget, forbidden] = [await storedBy('alpha'), await storedBy('gamma')];
      expect(overBudget).toMatchObject({ status: 402, body: SAID });
      expect(forbidden.status).toBe(403);
      expect(forbidden.stored).toBe(0);
      // 0.6.18's page itself stores the chat before it asks, and then the reason in it
      expect(overBudget.stored).toBe(version === '0.6.18' ? 1 : 0);
      await refusedAtDoor(0);
    });

    it('stands in the chat of the web page', async () => {
      await inBrowser(tenants.people.ann, tenants.gate.url, async (web) => {
        await web.ask('This is a question of ann.');
        await web.page.getByText(USED_UP).first().waitFor();
        await web.picture(`open-webui-${version}-budget.png`);
      });
      await refusedAtDoor(0);
    });

    it('stands there, and is stored, where the budget ends behind the front door', async () => {
      await inBrowser(tenants.people.ann, tenants.backend.url, async (web) => {
        await web.ask('This is a question of ann.');
        await web.page.getByText(USED_UP).first().waitFor();
        await web.page.reload();
        await web.page.getByText(USED_UP).first().waitFor();
      });
      // 0.12.4 asks for a title at the same time, 0.6.18 when it has the answer
      await refusedAtDoor(version === '0.6.18' ? 1 : 2);
    });

    it.each([false, true])('is a status for the openai client, which asks once, stream: %s', async (stream) => {
      const { ann } = tenants.people;
      const apiKey = await createApiKey(ann);
      const ask = async (baseURL: string): Promise<unknown> => {
        const client = new OpenAI({ baseURL, apiKey });
        const messages = [{ role: 'user' as const, content: 'This is a question of ann.' }];
        return client.chat.completions.create({ model: 'alpha', messages, stream }).catch((error: unknown) => error);
      };
      for (const base of ['/api', '/openai']) {
        const before = tenants.lines('invokes').length;
        expect(await ask(tenants.gate.url + base)).toMatchObject({ status: 402, message: SAID });
        await until(() => tenants.lines('invokes').length > before, 5_000, 'the gate writes its line');
        expect(tenants.lines('invokes')).toHaveLength(before + 1);
        // 0.6.18 makes 400 of every error of a provider
        const status = version === '0.6.18' && base === '/api' ? 400 : 402;
        expect(await ask(tenants.backend.url + base)).toMatchObject({ status, message: SAID });
        await refusedAtDoor(1);
      }
    });

    it('ends embeddings with an error at once', async () => {
      const { ann } = tenants.people;
      const startedAt = performance.now();
      const [before, behind] = [await embed(ann), await embed(atBackend(ann))];
      expect(performance.now() - startedAt).toBeLessThan(2 * AN_ERROR_TAKES_MS);
      expect([before.status, await before.text()]).toEqual([402, SAID]);
      expect(behind.status).toBe(402);
      await refusedAtDoor(1);
    });

    it('ends the upload of a file with an error at once', async () => {
      const startedAt = performance.now();
      const { error } = await uploadFile(tenants.people.ann, version, 'These are the notes of ann. '.repeat(20));
      expect(performance.now() - startedAt).toBeLessThan(AN_ERROR_TAKES_MS);
      // 0.6.18 loses the provider's reason
      expect(error).toContain(version === '0.6.18' ? 'NoneType' : '402');
      await refusedAtDoor(1);
    });

    it('leaves a chat whole whose title and tags are refused', async () => {
      const { ivy } = tenants.people;
      const chat = await askInNewChat(ivy, version, 'alpha', 'This is a question of ivy.');
      await refusedAtDoor(CALLS_OF_A_CHAT - 1);
      await tenants.quiet();
      const { title, answer } = await readChat(ivy, chat);
      expect(answer?.content).toContain('word word');
      expect(answer?.error).toBeUndefined();
      expect(title).toBe(version === '0.6.18' ? 'New Chat' : 'This is a question of ivy.');
    });

    it('is not asked again by the backend, and no longer refuses when there is room', async () => {
      await refusedAtDoor(0);
      tenants.withoutBudgets();
      const { ann } = tenants.people;
      const chat = await askInNewChat(ann, version, 'alpha', 'This is a question of ann.');
      await until(async () => (await readChat(ann, chat)).title === 'Words', 30_000, 'the chat has its title');
      await tenants.quiet();
      const { provider, ours } = tenants.ledgers();
      expect(ours.filter(({ state }) => state !== 'refused')).toEqual(provider);
      expect(ours).toHaveLength(provider.length + refused);
    });
  });

  describe('streams whose usage the door has asked for', () => {
    beforeAll(async () => {
      const admin = atBackend(tenants.ada);
      const config = (await call(admin, 'GET', '/openai/config')) as Connections;
      await call(admin, 'POST', '/openai/config/update', {
        ...config,
        OPENAI_API_BASE_URLS: [...config.OPENAI_API_BASE_URLS, tenants.provider.url],
        OPENAI_API_KEYS: [...config.OPENAI_API_KEYS, 'key'],
        OPENAI_API_CONFIGS: { 1: { enable: true, prefix_id: 'direct' } },
      });
      await call(admin, 'GET', '/api/models');
    });

    const asked = [{}, { stream_options: { include_usage: true } }, { stream_options: { include_usage: false } }];

    it.each(asked)('are byte for byte those of a direct connection, asked with %j', async (options) => {
      const stream = async (model: string) => {
        const body = question(model, { stream: true, ...options });
        const response = await send(atBackend(tenants.people.ann), 'POST', '/api/chat/completions', body);
        const text = await response.text();
        return { status: response.status, type: response.headers.get('content-type'), text: comparable(text) };
      };
      const through = await stream('alpha');
      expect(through).toEqual(await stream('direct.alpha'));
      expect(through.text).toMatch(/data: \[DONE\]\n*$/);
      expect(through.text.includes('"usage"')).toBe(options.stream_options?.include_usage === true);
      const [, direct] = tenants.provider.requests.slice(-2).map(({ json }) => json as Streamed);
      expect(direct?.stream_options).toEqual(options.stream_options);
    });

    it('are stored in a chat as those of a direct connection', async () => {
      const account = atBackend(tenants.people.ann);
      const stored = async (model: string) => {
        const chat = await askInNewChat(account, version, model, 'This is a question of ann.');
        await until(
          async () => (await readChat(account, chat)).answer?.followUps !== undefined,
          30_000,
          'all is stored',
        );
        const { answer } = await readChat(account, chat);
        return Object.entries({ ...answer }).filter(([key]) => !OF_ONE_MESSAGE.includes(key));
      };
      const through = await stored('alpha');
      expect(through.map(([key]) => key)).toEqual(expect.arrayContaining(['role', 'content', 'followUps']));
      expect(through).toEqual(await stored('direct.alpha'));
    });
  });
});

/** In two messages that are otherwise the same. */
const OF_ONE_MESSAGE = ['id', 'parentId', 'model', 'timestamp', 'meta', 'output'];

interface Connections {
  readonly OPENAI_API_BASE_URLS: readonly string[];
  readonly OPENAI_API_KEYS: readonly string[];
}

interface Streamed {
  readonly stream_options?: object;
}

/** Without the id of the answer, and the bytes of the question that the provider charges. */
const comparable = (text: string): string =>
  text.replaceAll(/gen-[\w-]+/g, 'gen').replaceAll(/"(prompt_tokens|total_tokens|cost)":\s*[\d.e-]+/g, '"$1":N');

type Sum = Readonly<Record<string, string | number>>;
const SUMS = `SELECT organization_id, user_id, model, kind, sum(requests), sum(input), sum(output), sum(cost_nano)
  FROM usage_slot GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`;

/** By organization, user, model and kind. */
function sumsOf(rows: readonly LedgerRow[]): string[] {
  const sums = new Map<string, number[]>();
  for (const { organization, user, model, kind, input, output, costNano } of rows) {
    const key = [organization, user, model, kind].join(' ');
    const sum = sums.get(key) ?? [0, 0, 0, 0];
    sums.set(
      key,
      [1, input, output, costNano].map((figure, at) => Number(figure) + (sum[at] ?? 0)),
    );
  }
  return [...sums].map(([key, sum]) => `${key} ${sum.join(' ')}`).sort();
}
