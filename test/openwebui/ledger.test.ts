/**
 * What calls cost, through both doors around the real backend: the ledger of the provider is the judge. Budgets that were
 * used up before stay so meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { UsageReport } from '../../src/usage/report.ts';
import { askCommand } from '../support/process/command.ts';
import { until } from '../support/process/with-timeout.ts';
import { readUsage } from '../support/database/usage.ts';
import { type Account, call, send, through } from './backend-client.ts';
import { describeRefusals } from './budget-refusals.ts';
import { type ChargedTenants, type LedgerRow, UNLIMITED, modelsOf, startChargedTenants } from './charged-tenants.ts';
import { RELEASES } from './release.ts';
import { question } from './tenants.ts';
import { askInNewChat, readChat, uploadFile } from './web-chat.ts';
import { launchBrowser, openChat } from './web-page.ts';

/** Of each release: 500 over both. */
const CHATS = Number(process.env['GATE_TEST_WEB_CHATS'] ?? 250);
const AT_ONCE = 8;
/** The answer, three questions that may follow it, a title, tags. */
const CALLS_OF_A_CHAT = 4;
const WATCHED_MS = 61_000;

describe.each(RELEASES)('the ledger of calls of Open WebUI %s', { timeout: 600_000 }, (version) => {
  let tenants: ChargedTenants;
  let browser: Browser;

  beforeAll(async () => {
    [browser, tenants] = await Promise.all([launchBrowser(), startChargedTenants(version)]);
  });

  afterAll(async () => {
    await browser.close();
    await tenants.close();
  });

  const atBackend = (account: Account) => through(account, tenants.backend.url);

  const refusals = describeRefusals(version, () => ({ tenants, browser }));

  /** @returns the rows of both */
  function expectSameLedgers(): LedgerRow[] {
    const { provider, ours } = tenants.ledgers();
    expect(ours.filter(({ state }) => state !== 'refused')).toEqual(provider);
    expect(ours).toHaveLength(provider.length + refusals.known.provider);
    return provider;
  }

  it(`is the provider's own, call by call, for ${CHATS} chats of the web page with titles and tags`, async () => {
    const { provider, people } = tenants;
    const [startedAt, charged, asked] = [performance.now(), provider.charged.length, provider.requests.length];
    const are = (chats: number) => () => provider.charged.length - charged >= chats * CALLS_OF_A_CHAT;
    const web = await openChat(browser, tenants.gate.url, people.ann, 'alpha');
    await web.ask('This is a question of ann.');
    await web.page.getByText('word word word').first().waitFor();
    await until(are(1), 30_000, 'the chat has its title and tags');
    let next = 0;
    const ask = async () => {
      while (next < CHATS) {
        const nth = next++;
        const name = UNLIMITED[nth % UNLIMITED.length] ?? 'ann';
        const models = modelsOf(name);
        const model = models[Math.floor(nth / UNLIMITED.length) % models.length] ?? '';
        await askInNewChat(people[name], version, model, `Question ${nth} of ${name}.`);
        await until(are(nth + 1 - AT_ONCE), 60_000, 'the provider answers the chats before');
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, ask));
    await until(are(CHATS + 1), 60_000, 'the provider has answered all');
    await tenants.quiet();
    expect(await uploadFile(people.ian, version, 'These are the notes of ian. '.repeat(20))).toEqual({});
    const seconds = (performance.now() - startedAt) / 1000;
    console.log(
      `Open WebUI ${version}: ${CHATS} web chats, ${provider.charged.length - charged} calls, ${seconds.toFixed(0)} s`,
    );

    const theirs = expectSameLedgers();
    const ofChats = theirs.filter(
      ({ user, kind }) => UNLIMITED.some((name) => people[name].id === user) && kind !== 'embedding',
    );
    expect(ofChats).toHaveLength((CHATS + 1) * CALLS_OF_A_CHAT);
    expect(ofChats.filter(({ kind }) => kind === 'task')).toHaveLength((CHATS + 1) * (CALLS_OF_A_CHAT - 1));
    expect(new Set(ofChats.map(({ output }) => output)).size).toBeGreaterThan(10);
    const slots = readUsage<Sum>(tenants.usagePath, SUMS).map((row) => Object.values(row).join(' '));
    expect(slots.sort()).toEqual(sumsOf(theirs, SUMMED_BY));
    for (const by of ['user', 'model'] as const) {
      const words = ['usage', '--from', '2026-01-01', '--by', by, '--usage-database', tenants.usagePath];
      const { rows, total, unresolved } = await askCommand<UsageReport>(words);
      const said = rows.map((row) => [row[by], row.requests, row.input, row.output, row.cost_nano].join(' '));
      expect(said.sort()).toEqual(sumsOf(theirs, [by]));
      const notReported = [unresolved, total.unpriced, total.estimated.requests, total.interrupted.requests];
      expect(notReported).toEqual([0, 0, 0, 0]);
    }
    const lists = provider.requests
      .slice(asked)
      .filter(({ method, path }) => method === 'GET' && path === '/v1/models');
    expect(lists.length).toBeLessThanOrEqual(1 + Math.ceil(seconds / 60));
  });

  it('asks no more for what was refused with 402 than once in 61 s, and has it when there is room', async () => {
    // the pages on which it was said are open, and the budgets are used up still
    await sleep(Math.max(0, refusals.since + WATCHED_MS - performance.now()));
    expect(refusals.seen()).toEqual(refusals.known);
    tenants.withoutBudgets();
    const { una } = tenants.people;
    const chat = await askInNewChat(una, version, 'alpha', 'This is a question of una.');
    await until(async () => (await readChat(una, chat)).title === 'Words', 30_000, 'the chat has its title');
    await tenants.quiet();
    expectSameLedgers();
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
      const [, direct] = tenants.provider.requests
        .filter(({ method }) => method === 'POST')
        .slice(-2)
        .map(({ json }) => json as Streamed);
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
const SUMMED_BY = ['organization', 'user', 'model', 'kind'] as const;
const SUMS = `SELECT organization_id, user_id, model, kind, sum(requests), sum(input), sum(output), sum(cost_nano)
  FROM usage_slot GROUP BY 1, 2, 3, 4`;

/** A line for each of them: calls, input, output, nano-USD. */
function sumsOf(rows: readonly LedgerRow[], by: readonly (typeof SUMMED_BY)[number][]): string[] {
  const sums = new Map<string, number[]>();
  for (const row of rows) {
    const key = by.map((column) => row[column]).join(' ');
    const sum = sums.get(key) ?? [0, 0, 0, 0];
    const more = [1, row['input'], row['output'], row['costNano']];
    sums.set(
      key,
      more.map((figure, at) => Number(figure) + (sum[at] ?? 0)),
    );
  }
  return [...sums].map(([key, sum]) => `${key} ${sum.join(' ')}`).sort();
}
