/** What it costs to write `/metrics` for 1,000 organizations, in the process that serves requests meanwhile. */
import { toOrganizationId } from '../../src/policy/principal.ts';
import { type Deny, deny } from '../../src/policy/decision.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import { judged, median, quantile, rounded, type Row, type Scale } from './measurement.ts';

const ORGANIZATIONS = 1_000;
const GRANTS = 1_000;
const REASONS: readonly Deny['reason'][] = ['not_granted', 'no_organization', 'not_authenticated', 'model_missing'];
const SCRAPES = { quick: 50, default: 300, full: 1_000 } as const satisfies Record<Scale, number>;

export async function measureExposition(scale: Scale): Promise<Row[]> {
  const metrics = createMetrics({
    version: 'bench',
    mode: () => 'enforce',
    bypass: false,
    storeHealth: () => Promise.resolve({ readable: true, ageMs: 1, writeProblem: undefined }),
    storeFigures: () => ({ caches: [], errors: new Map(), writeErrors: [], role: 'file' as const }),
  });
  serveAllUsers(metrics);
  const times: number[] = [];
  let bytes = 0;
  for (let scrape = 0; scrape < SCRAPES[scale]; scrape += 1) {
    const startedAt = performance.now();
    bytes = (await metrics.exposition()).text.length;
    times.push(performance.now() - startedAt);
  }
  const numbers = {
    medianMs: rounded(median(times)),
    p99Ms: rounded(quantile(times, 0.99)),
    firstMs: rounded(times[0] ?? NaN),
    bytes,
  };
  return [
    {
      what: `/metrics, ${ORGANIZATIONS} organizations and ${GRANTS} grants in use, ${rounded(bytes / 1024, 0)} KB`,
      figure: `median ${numbers.medianMs} ms, p99 ${numbers.p99Ms} ms, the first ${numbers.firstMs} ms`,
      budget: '< 5 ms',
      state: judged(numbers.medianMs < 5),
      numbers,
    },
  ];
}

/** Every organization has permits and denials, every grant is used, every surface was asked with every status. */
function serveAllUsers(metrics: Metrics): void {
  for (let at = 0; at < Math.max(ORGANIZATIONS, GRANTS); at += 1) {
    const organization = `mai_client_${at % ORGANIZATIONS}`;
    const pattern = `provider-${at % 12}/model-${at % GRANTS}:latest`;
    const model = pattern as ModelId;
    const grant = { organization: toOrganizationId(organization), pattern };
    metrics.decided({ effect: 'permit', reason: 'grant', model, grant, chain: [model] }, at / 1_000);
    metrics.decided(deny(REASONS[at % REASONS.length] ?? 'not_granted', model), at / 1_000, [organization]);
  }
  for (const surface of ['lists', 'invokes', 'manages', 'neutral', 'refused']) {
    for (const status of [200, 302, 404, 503, 499]) {
      for (const decision of ['permit', 'deny', 'none'] as const) {
        metrics.requestStarted();
        metrics.requestEnded({ surface, status, decision, addedMs: 0.3, firstByteMs: 20, upstreamMs: 800 });
      }
    }
  }
}
