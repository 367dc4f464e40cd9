/** Finds out what calls have used that were cut: asks the provider by generation id, or else estimates. */
import { tryParseJson } from '../references/json.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { createAsk } from '../transport/upstream.ts';
import { readGeneration } from '../usage/answer-reading.ts';
import { type Settled, metricsOf } from '../usage/call.ts';
import type { Ledger } from '../usage/ledger.ts';
import type { Usage } from '../usage/usage.ts';
import { baseOf } from './address.ts';
import type { OwnKeyOf } from './provider-key.ts';
import type { Provider } from './scope.ts';

interface ReconcileParts {
  readonly ledger: Ledger;
  readonly providers: readonly Provider[];
  readonly ownKeyOf: OwnKeyOf;
  readonly log: Pick<Log, 'warn'>;
  readonly metrics: Pick<Metrics, 'usage'>;
}

const EVERY_MS = 5_000;
const MOST = 100;
/** After the end of the call: a fresh generation may be unknown to the provider for a moment. Then it is estimated. */
const TRIES_AFTER_MS = [2_000, 10_000, 30_000, 120_000, 600_000];
const PATIENCE_MS = 10_000;
/** Of an answer, which has some 2 KB: many are read at once, and each is parsed in one go. */
const MOST_BYTES = 64 * 1024;

type Unresolved = Awaited<ReturnType<Ledger['unresolved']>>[number];

const isDue = ({ startedAt, endedAt, tries }: Unresolved): boolean =>
  Date.now() - (endedAt ?? startedAt) >= (TRIES_AFTER_MS[tries] ?? 0);

/** Runs until `close`. */
export function createReconciliation({ ledger, log, metrics, ...parts }: ReconcileParts) {
  const lookUp = createLookup(parts);
  let running: Promise<void> | undefined;
  let isStopping = false;
  const round = () => {
    running ??= reconcile().finally(() => (running = undefined));
  };
  async function reconcile(): Promise<void> {
    try {
      const rows = await ledger.unresolved(MOST);
      await Promise.all(rows.filter(isDue).map(resolve));
    } catch (error) {
      log.warn({ err: error }, 'calls that were cut could not be reconciled');
    }
  }
  async function resolve(row: Unresolved): Promise<void> {
    const { id, generationId } = row;
    const usage = generationId === null ? undefined : await lookUp(row, generationId);
    // its connections are closed meanwhile, which says nothing of the provider: the next start asks again
    if (usage === undefined && isStopping) return;
    if (usage !== undefined || generationId === null || row.tries + 1 >= TRIES_AFTER_MS.length)
      count(row, await ledger.resolve(id, usage));
    else await ledger.tried(id);
  }
  function count(row: Unresolved, settled: Settled | undefined): void {
    // another gate may have been first
    if (settled?.measured !== undefined) metrics.usage.counted(metricsOf(row, settled));
  }
  const timer = setInterval(round, EVERY_MS).unref();
  return {
    /** What is asked ends with the connections to the providers. */
    async close(): Promise<void> {
      isStopping = true;
      clearInterval(timer);
      await running;
    },
  };
}

/** @returns what asks the provider of a call for its figures; undefined where it does not give them */
export const createLookup = ({ providers, ownKeyOf }: Pick<ReconcileParts, 'providers' | 'ownKeyOf'>) =>
  async function lookUp(
    { provider: host, organization }: Pick<Unresolved, 'provider' | 'organization'>,
    id: string,
  ): Promise<Usage | undefined> {
    const provider = providers.find(({ url }) => url.host === host);
    if (provider === undefined) return undefined;
    const own = await ownKeyOf({ organization, provider: host }).catch(() => undefined);
    // a provider knows a call by the key that made it; the organization's may have been set or taken away since
    for (const key of new Set([own?.kind === 'key' ? own.key : provider.key, provider.key])) {
      const usage = await askWith(provider, key, id);
      if (usage !== undefined) return usage;
    }
    return undefined;
  };

async function askWith({ upstream, url }: Provider, key: string | undefined, id: string): Promise<Usage | undefined> {
  const keyLines = key === undefined ? [] : ['authorization', `Bearer ${key}`];
  const lines = ['host', url.host, 'accept', 'application/json', 'accept-encoding', 'identity', ...keyLines];
  const ask = createAsk(upstream, lines, AbortSignal.timeout(PATIENCE_MS), MOST_BYTES);
  const answer = await ask(`${baseOf(url)}/generation?id=${encodeURIComponent(id)}`).catch(() => undefined);
  return answer?.status === 200 ? readGeneration(tryParseJson(answer.body.toString('utf8')), id) : undefined;
}
