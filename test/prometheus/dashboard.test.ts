/** Every query of the dashboard, asked of a real Prometheus that has watched a real gate at work. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/process/with-timeout.ts';
import { startBusyGate, type BusyGate } from './busy-gate.ts';
import { PANELS, queriesOf, type Query } from './dashboard-queries.ts';
import { startPrometheus, type Prometheus, type Series } from './prometheus-process.ts';

/** Scraped every second, and seen twice at least. */
const INTERVAL = '4s';
const PATIENCE_MS = 30_000;
const queries = PANELS.flatMap((panel) => queriesOf(panel, INTERVAL));

let busy: BusyGate;
let prometheus: Prometheus;
const opened = new AsyncDisposableStack();
const startedAt = Date.now() / 1_000;

beforeAll(async () => {
  busy = opened.use(await startBusyGate());
  prometheus = opened.use(await startPrometheus(busy.target));
  await untilSeries('up');
  await busy.loseDatabase(4_000);
});

afterAll(() => opened.disposeAsync());

/** As often as there may be something new: Prometheus looks at the gate once a second. */
async function untilSeries(query: string): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    if ((await seriesOf(query)).length > 0) return true;
    await sleep(300);
    return false;
  };
  await until(isThere, PATIENCE_MS, query);
}

/** Series with a number in them: a quantile of nothing is none. */
async function seriesOf(query: string): Promise<Series[]> {
  const series = await prometheus.range(query, startedAt, Date.now() / 1_000);
  return series.filter(({ values }) => values.some(([, value]) => !Number.isNaN(value)));
}

describe('the dashboard', () => {
  test('has queries', () => expect(queries.length).toBeGreaterThan(30));

  test.each(queries.map((query) => [query.panel.title, query.legend, query] as const))(
    '%s (%s): the query returns series',
    async (_title, _legend, { text }: Query) => {
      await untilSeries(text);
    },
  );

  test.each(queries.filter(({ legend }) => legend.includes('{{')).map((query) => [query.panel.title, query] as const))(
    '%s: each series has what its legend shows',
    async (_title, { text, legend }) => {
      const names = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, name = '']) => name);
      for (const { metric } of await seriesOf(text)) expect(Object.keys(metric)).toEqual(expect.arrayContaining(names));
    },
  );

  test('explains each panel, and lays none over another', () => {
    const shown = PANELS.filter(({ type }) => type !== 'row');
    for (const { title, description } of shown) expect(description, title).toMatch(/^.{6,}/);
    expect(new Set(PANELS.map(({ id }) => id)).size).toBe(PANELS.length);
    const cells = PANELS.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(Math.max(...cells.map((cell) => Number(cell.split(',')[0])))).toBeLessThan(24);
  });
});

describe('the real gate', () => {
  test('serves every metric that dashboard and alerts name', async () => {
    const text = await (await fetch(`http://${busy.target}/metrics`)).text();
    const served = new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
    const rules = readFileSync(new URL('../../config/alerts.yml', import.meta.url), 'utf8');
    const named = `${rules}${queries.map((query) => query.text).join()}`.matchAll(
      /\b(?:modelgate|nodejs|process)_\w+(?=\{)/g,
    );
    const names = [...new Set([...named].map(([name]) => name.replace(/_(?:bucket|count)$/, '')))];
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !served.has(name))).toEqual([]);
  });

  test('is scraped without a complaint, and no alert that concerns its state fires', async () => {
    // of the last second alone, in which a busy machine may have let it wait
    await expect
      .poll(() => prometheus.ask('targets'), { timeout: PATIENCE_MS })
      .toMatchObject({ activeTargets: [{ health: 'up', lastError: '' }] });
    const { groups } = (await prometheus.ask('rules')) as {
      groups: { rules: { name: string; health: string; lastError?: string; state: string }[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(6);
    for (const { name, health, lastError } of rules) expect(health, `${name} ${lastError ?? ''}`).toBe('ok');
    const firing = rules.filter(({ state }) => state === 'firing').map(({ name }) => name);
    for (const name of ['ModelgateDown', 'ModelgateDatabaseStale', 'ModelgateBypassed']) {
      expect(firing).not.toContain(name);
    }
  });

  test('names organizations and grants of the database, and no user, in what Prometheus keeps', async () => {
    const names = async (label: string) => new Set((await prometheus.ask(`label/${label}/values`)) as string[]);
    expect(await names('organization')).toEqual(new Set(['acme', 'globex']));
    expect([...(await names('model'))].sort()).toEqual(
      expect.arrayContaining(['gpt-4o-mini', 'llama3.2:latest', 'mistral/*']),
    );
    const labels = (await prometheus.ask('labels')) as string[];
    expect(labels.filter((label) => /user|email|request|path/.test(label))).toEqual([]);
  });
});
