/**
 * Answers that list a provider's models. They are the same for all users: the backend keeps one list for everybody, and a
 * list filtered for one user would take models away from all others. 0.6.18 asks for one before every chat.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { LRUCache } from 'lru-cache';
import { isObject, tryParseJson } from '../references/json.ts';
import type { Stage } from '../stage.ts';
import { sendAnswer } from '../transport/answer.ts';
import type { BufferedAnswer, HeaderLines } from '../transport/exchange.ts';
import { askUpstream } from '../transport/forward.ts';
import { without } from '../transport/headers.ts';
import type { Ledger } from '../usage/ledger.ts';
import { pricesInList } from '../usage/price-sources.ts';
import type { ProviderScope } from './scope.ts';

interface ListOptions {
  /** `MODELGATE_PROVIDER_LIST_CACHE` */
  readonly freshMs: number;
  readonly now?: () => number;
  /** How long the provider may take before the last good list answers. */
  readonly patienceMs?: number;
}

/** How long the last good list serves while the provider fails. */
const LAST_GOOD_MS = 600_000;
/** The backend gives up after 10 s (`AIOHTTP_CLIENT_TIMEOUT_MODEL_LIST`, 0.6.18 and 0.12.4). */
const LONGEST_MS = 8_000;
const PATIENCE_MS = 3_000;
/** Providers have a few lists each, and one for each model that is asked for by its id. */
const MOST = 200;
const MOST_BYTES = 64 * 1024 * 1024;

/** `sendAnswer` writes its own. */
const LENGTH: ReadonlySet<string> = new Set(['content-length']);
const COOKIES: ReadonlySet<string> = new Set(['set-cookie']);
/** All else that the backend sends may choose another list: an organization, a project, a version. */
const NEUTRAL =
  /^(?:accept|accept-.*|authorization|api-key|x-api-key|cache-control|connection|content-.*|cookie|host|http-referer|if-.*|pragma|range|referer|user-agent|via|x-(?:forwarded|modelgate|openwebui|request)-.*|x-title)$/;

interface ListParts {
  readonly listFor: ReturnType<typeof createListCache>;
  readonly ledger: Pick<Ledger, 'learnPrices'>;
}

/** The stage that answers lists from memory, and asks the provider once for all that wait. Prices in a list go to the ledger. */
export function answerLists({ listFor, ledger }: ListParts): Stage<ProviderScope> {
  function learn(provider: string, list: unknown): void {
    const models = pricesInList(list);
    // a list waits for no ledger, and the next one has the same prices
    if (models.length > 0) ledger.learnPrices(provider, models, Date.now()).catch(() => undefined);
  }
  return async function answerLists(c, next) {
    const scope = c.get('scope');
    if (scope.endpoint?.kind !== 'lists' || scope.incoming.method !== 'GET') return next();
    const { provider, target, outgoing, incoming } = scope;
    const { remove } = scope.credentialEdit;
    const key = `${provider.url.host} ${target}\n${choosing(incoming.rawHeaders, remove)}`;
    const signal = AbortSignal.timeout(LONGEST_MS);
    const fetch = () => askUpstream(provider.upstream, scope, signal);
    const answer = await listFor(key, fetch, (list) => learn(provider.url.host, list));
    sendAnswer(outgoing, answer.status, without(answer.headers, LENGTH), answer.body);
    return RESPONSE_ALREADY_SENT;
  };
}

function choosing(rawHeaders: HeaderLines, removed: ReadonlySet<string>): string {
  const lines: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    if (!NEUTRAL.test(name) && !removed.has(name)) lines.push(`${name}: ${rawHeaders[index + 1] ?? ''}`);
  }
  return lines.toSorted().join('\n');
}

type Fetch = () => Promise<BufferedAnswer>;
type Learn = (list: unknown) => void;

export function createListCache({ freshMs, now = () => performance.now(), patienceMs = PATIENCE_MS }: ListOptions) {
  const entries = new LRUCache<string, { readonly answer: BufferedAnswer; readonly fetchedAt: number }>({
    max: MOST,
    maxSize: MOST_BYTES,
    sizeCalculation: ({ answer }, key) => answer.body.length + key.length + 1,
  });
  const running = new Map<string, Promise<BufferedAnswer>>();

  async function refresh(key: string, fetch: Fetch, learn: Learn): Promise<BufferedAnswer> {
    const lastGood = lastGoodOf(key);
    try {
      const answer = await fetch();
      const list = answer.status === 200 ? tryParseJson(answer.body.toString('utf8')) : undefined;
      const isList = isObject(list);
      // What a query asks for is asked for once
      if (isList && !key.includes('?')) {
        keep(key, answer);
        learn(list);
      }
      const isFailure = answer.status >= 500 || (answer.status === 200 && !isList);
      return isFailure ? (lastGood ?? answer) : answer;
    } catch (error) {
      if (lastGood !== undefined) return lastGood;
      throw error;
    }
  }

  /** A cookie is for the client that has asked. */
  function keep(key: string, answer: BufferedAnswer): void {
    entries.set(key, { answer: { ...answer, headers: without(answer.headers, COOKIES) }, fetchedAt: now() });
  }

  function lastGoodOf(key: string): BufferedAnswer | undefined {
    const known = entries.get(key);
    return known !== undefined && now() - known.fetchedAt <= LAST_GOOD_MS ? known.answer : undefined;
  }

  /**
   * @param fetch asks the provider; requests that come meanwhile wait for the same answer, or have the last good one
   * @param learn has each list that is kept, parsed
   */
  return function listFor(key: string, fetch: Fetch, learn: Learn = () => undefined): Promise<BufferedAnswer> {
    const known = entries.get(key);
    if (known !== undefined && now() - known.fetchedAt < freshMs) return Promise.resolve(known.answer);
    const pending = running.get(key) ?? refresh(key, fetch, learn).finally(() => running.delete(key));
    running.set(key, pending);
    const lastGood = lastGoodOf(key);
    return lastGood === undefined ? pending : Promise.race([pending, sleep(patienceMs, lastGood, { ref: false })]);
  };
}
