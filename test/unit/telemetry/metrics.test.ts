import { describe, expect, test } from 'vitest';
import { toOrganizationId } from '../../../src/policy/principal.ts';
import { deny } from '../../../src/policy/decision.ts';
import { parseModelId } from '../../../src/policy/grant.ts';
import { createMetrics, type Metrics } from '../../../src/telemetry/metrics.ts';

const options: Parameters<typeof createMetrics>[0] = {
  version: '1.2.3',
  mode: () => 'enforce',
  bypass: false,
  storeHealth: () => Promise.resolve({ readable: true, ageMs: 1_500, writeProblem: undefined }),
  storeFigures: () => ({ caches: [], errors: new Map(), writeErrors: [], role: 'file' as const }),
};

/** @returns our own lines of the exposition, without comments */
async function lines(metrics: Metrics): Promise<string[]> {
  const { text } = await metrics.exposition();
  return text.split('\n').filter((line) => line.startsWith('modelgate_'));
}

describe('the metrics', () => {
  test('count requests by surface, status class and decision', async () => {
    const metrics = createMetrics(options);
    for (const status of [200, 201, 403, 499]) {
      metrics.requestStarted();
      metrics.requestEnded({
        surface: 'invokes',
        status,
        decision: 'permit',
        addedMs: undefined,
        firstByteMs: undefined,
        upstreamMs: undefined,
      });
    }
    metrics.requestStarted();
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_requests_total{surface="invokes",status="2xx",decision="permit"} 2');
    expect(shown).toContain('modelgate_requests_total{surface="invokes",status="4xx",decision="permit"} 1');
    expect(shown).toContain('modelgate_requests_total{surface="invokes",status="client_gone",decision="permit"} 1');
    expect(shown).toContain('modelgate_requests_in_flight 1');
  });

  test('do not count twice when they are read twice', async () => {
    const metrics = createMetrics(options);
    metrics.failed('upstream_unreachable');
    await metrics.exposition();
    expect(await lines(metrics)).toContain('modelgate_failures_total{code="upstream_unreachable"} 1');
  });

  test('count denials by reason, and say whether they were enforced', async () => {
    const enforcing = createMetrics(options);
    const reporting = createMetrics({ ...options, mode: () => 'report' });
    for (const metrics of [enforcing, reporting]) metrics.decided(deny('not_granted'), 0.02);
    expect(await lines(enforcing)).toContain('modelgate_denials_total{reason="not_granted",enforced="true"} 1');
    expect(await lines(reporting)).toContain('modelgate_denials_total{reason="not_granted",enforced="false"} 1');
    expect(await lines(reporting)).toContain('modelgate_report_mode 1');
  });

  test('measure in seconds what the gate adds and what the backend takes', async () => {
    const metrics = createMetrics(options);
    metrics.requestEnded({
      surface: 'lists',
      status: 200,
      decision: 'none',
      addedMs: 0.3,
      firstByteMs: 700,
      upstreamMs: 2_000,
    });
    metrics.decided(deny('not_granted'), 0.02);
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_added_latency_seconds_bucket{le="0.0005"} 1');
    expect(shown).toContain('modelgate_added_latency_seconds_bucket{le="0.00025"} 0');
    expect(shown).toContain('modelgate_upstream_first_byte_seconds_bucket{le="1"} 1');
    expect(shown).toContain('modelgate_upstream_first_byte_seconds_bucket{le="0.5"} 0');
    expect(shown).toContain('modelgate_upstream_duration_seconds_bucket{le="2.5"} 1');
    expect(shown).toContain('modelgate_upstream_duration_seconds_bucket{le="1"} 0');
    expect(shown).toContain('modelgate_upstream_duration_seconds_sum 2');
    expect(shown).toContain('modelgate_decision_duration_seconds_bucket{le="0.000025"} 1');
  });

  test('count lists, their entries and the ones that could not be read', async () => {
    const metrics = createMetrics(options);
    metrics.listFiltered('models', 2, 5);
    metrics.answerUnreadable('models');
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_lists_filtered_total{shape="models"} 1');
    expect(shown).toContain('modelgate_list_entries_total{outcome="kept"} 2');
    expect(shown).toContain('modelgate_list_entries_total{outcome="removed"} 5');
    expect(shown).toContain('modelgate_unreadable_answers_total{shape="models"} 1');
  });

  test('show sockets, the state of the policy, the switches and the build', async () => {
    const metrics = createMetrics({ ...options, bypass: true });
    metrics.sockets(1);
    metrics.sockets(1);
    metrics.sockets(-1);
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_sockets_open 1');
    expect(shown).toContain('modelgate_database_age_seconds 1.5');
    expect(shown).toContain('modelgate_database_readable 1');
    expect(shown).toContain('modelgate_bypass 1');
    expect(shown).toContain(`modelgate_build_info{version="1.2.3",node="${process.version}"} 1`);
  });

  test('count decisions by organization, and permits by the grant that stands in the database', async () => {
    const metrics = createMetrics(options);
    const grant = { organization: toOrganizationId('acme'), pattern: 'openai/*' };
    const named = parseModelId('openai/gpt-whatever-a-client-sends') ?? expect.fail();
    metrics.decided({ effect: 'permit', reason: 'prefix_grant', model: named, grant, chain: [named] }, 0.02);
    metrics.decided(deny('not_granted', named), 0.02, ['acme', 'globex']);
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_organization_decisions_total{organization="acme",decision="permit"} 1');
    expect(shown).toContain('modelgate_organization_decisions_total{organization="acme",decision="deny"} 1');
    expect(shown).toContain('modelgate_organization_decisions_total{organization="globex",decision="deny"} 1');
    expect(shown).toContain('modelgate_grant_permits_total{model="openai/*"} 1');
    expect(shown.join('\n')).not.toContain('whatever');
  });

  test('do not grow with organizations and grants for ever', async () => {
    const metrics = createMetrics(options);
    const named = parseModelId('m') ?? expect.fail();
    for (let at = 0; at < 10_000; at += 1) {
      const grant = { organization: toOrganizationId(`org-${at}`), pattern: `model-${at}` };
      metrics.decided({ effect: 'permit', reason: 'grant', model: named, grant, chain: [named] }, undefined);
    }
    const shown = await lines(metrics);
    expect(shown.length).toBeLessThan(5_200);
    expect(shown).toContain('modelgate_organization_decisions_total{organization="other",decision="permit"} 6000');
    expect(shown).toContain('modelgate_grant_permits_total{model="other"} 9000');
  });

  test('show streams, what the listener answered itself, and what the store counts', async () => {
    const metrics = createMetrics({
      ...options,
      storeFigures: () => ({
        role: 'standby' as const,
        caches: [{ name: 'grants', hits: 7, misses: 2 }],
        errors: new Map([['SQLITE_BUSY', 3]]),
        writeErrors: [{ write: 'enrolment', code: 'SQLITE_FULL', count: 2 }],
      }),
    });
    metrics.streams(1);
    metrics.streams(1);
    metrics.streams(-1);
    metrics.requestAnswered(431);
    metrics.policyChecked(0.3);
    const shown = await lines(metrics);
    expect(shown).toContain('modelgate_streams_open 1');
    expect(shown).toContain('modelgate_requests_in_flight 0');
    expect(shown).toContain('modelgate_requests_total{surface="none",status="4xx",decision="none"} 1');
    expect(shown).toContain('modelgate_cache_lookups_total{cache="grants",outcome="hit"} 7');
    expect(shown).toContain('modelgate_cache_lookups_total{cache="grants",outcome="miss"} 2');
    expect(shown).toContain('modelgate_database_errors_total{code="SQLITE_BUSY"} 3');
    expect(shown).toContain('modelgate_database_role{role="standby"} 1');
    expect(shown).toContain('modelgate_policy_check_seconds_bucket{le="0.0005"} 1');
    expect(shown).toContain('modelgate_database_write_errors_total{write="enrolment",code="SQLITE_FULL"} 2');
  });

  test('come with those of the process and of its event loop', async () => {
    const { text } = await createMetrics(options).exposition();
    for (const name of [
      'process_cpu_seconds_total',
      'process_resident_memory_bytes',
      'nodejs_eventloop_lag_p99_seconds',
    ]) {
      expect(text).toMatch(new RegExp(`^${name} \\d`, 'm'));
    }
  });

  test('follow the naming rules of Prometheus: base units, totals, a help text each', async () => {
    const { text, contentType } = await createMetrics(options).exposition();
    expect(contentType).toMatch(/^text\/plain; version=0\.0\.4/);
    for (const [, name, kind] of text.matchAll(/^# TYPE (modelgate_\w+) (\w+)$/gm)) {
      expect(name?.endsWith('_total'), name).toBe(kind === 'counter');
      if (kind === 'histogram') expect(name).toMatch(/_seconds$/);
      expect(text).toMatch(new RegExp(`^# HELP ${name} \\S.+`, 'm'));
    }
  });
});
