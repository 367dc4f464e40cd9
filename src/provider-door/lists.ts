/**
 * Answers that list a provider's models. They are the same for all users: the backend keeps one list for everybody, and a
 * list filtered for one user would take models away from all others. 0.6.18 asks for one before every chat.
 */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Stage } from '../stage.ts';
import { sendAnswer } from '../transport/answer.ts';
import type { BufferedAnswer } from '../transport/exchange.ts';
import { askUpstream } from '../transport/forward.ts';
import { without } from '../transport/headers.ts';
import type { ProviderScope } from './scope.ts';

interface ListOptions {
  /** `MODELGATE_PROVIDER_LIST_CACHE` */
  readonly freshMs: number;
  readonly now?: () => number;
}

/** How long the last good list serves while the provider fails. */
const LAST_GOOD_MS = 600_000;
/** Providers have a few lists each, and one for each model that is asked for by its id. */
const MOST = 200;

/** `sendAnswer` writes its own. */
const LENGTH: ReadonlySet<string> = new Set(['content-length']);

/** The stage that answers lists from memory, and asks the provider once for all that wait. */
export function answerLists(listFor: ReturnType<typeof createListCache>): Stage<ProviderScope> {
  return async function answerLists(c, next) {
    const scope = c.get('scope');
    if (scope.endpoint?.kind !== 'lists' || scope.incoming.method !== 'GET') return next();
    const { provider, target, outgoing } = scope;
    const { status, headers, body } = await listFor(`${provider.url.host} ${target}`, () =>
      askUpstream(provider.upstream, scope),
    );
    sendAnswer(outgoing, status, without(headers, LENGTH), body);
    return RESPONSE_ALREADY_SENT;
  };
}

export function createListCache({ freshMs, now = () => performance.now() }: ListOptions) {
  const entries = new Map<string, { readonly answer: BufferedAnswer; readonly fetchedAt: number }>();
  const running = new Map<string, Promise<BufferedAnswer>>();

  async function refresh(key: string, fetch: () => Promise<BufferedAnswer>): Promise<BufferedAnswer> {
    const known = entries.get(key);
    const lastGood = known !== undefined && now() - known.fetchedAt <= LAST_GOOD_MS ? known.answer : undefined;
    try {
      const answer = await fetch();
      if (answer.status === 200) keep(key, answer);
      return answer.status >= 500 ? (lastGood ?? answer) : answer;
    } catch (error) {
      if (lastGood !== undefined) return lastGood;
      throw error;
    }
  }

  function keep(key: string, answer: BufferedAnswer): void {
    entries.delete(key);
    entries.set(key, { answer, fetchedAt: now() });
    const [oldest] = entries.keys();
    if (entries.size > MOST && oldest !== undefined) entries.delete(oldest);
  }

  /** @param fetch asks the provider; requests that come meanwhile wait for the same answer */
  return function listFor(key: string, fetch: () => Promise<BufferedAnswer>): Promise<BufferedAnswer> {
    const known = entries.get(key);
    if (known !== undefined && now() - known.fetchedAt < freshMs) return Promise.resolve(known.answer);
    const pending = running.get(key) ?? refresh(key, fetch).finally(() => running.delete(key));
    running.set(key, pending);
    return pending;
  };
}
