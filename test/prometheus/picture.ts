/**
 * Makes the README's picture, `config/dashboard.svg`, from a real run: a gate at work for some minutes, watched by
 * Prometheus, the dashboard's own queries. `node test/prometheus/picture.ts [SECONDS]`
 */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBusyGate, type BusyGate } from './busy-gate.ts';
import { PANELS, queriesOf, type Panel } from './dashboard-queries.ts';
import { type Graph, drawGraphs } from './plot.ts';
import { startPrometheus, type Prometheus } from './prometheus-process.ts';

const FILE = new URL('../../config/dashboard.svg', import.meta.url);
const SECONDS = Number(process.argv[2] ?? 240);
const INTERVAL = '15s';
const POINTS = 80;

const TITLES = [
  'Requests by surface',
  'Requests by decision',
  'Denials by reason',
  'Organizations that use models most',
  'Organizations that are denied most',
  'Entries of lists',
  'Added latency',
  'Backend latency',
  'In flight',
  'Refused by limits',
  'Cache hit ratio',
  'Database',
];

/** What happens, by the share of the run at which it begins. */
const EVENTS: readonly (readonly [share: number, happen: (busy: BusyGate) => unknown])[] = [
  [0.2, (busy) => (busy.pace = 1.6)],
  [0.4, (busy) => (busy.curiosity = 0.8)],
  [0.6, (busy) => (busy.curiosity = 0.2)],
  [0.7, (busy) => busy.loseDatabase(SECONDS * 50)],
  [0.85, (busy) => (busy.pace = 1)],
];

await using busy = await startBusyGate();
await using prometheus = await startPrometheus(busy.target);
// until the first rates are known
await sleep(20_000);
const from = Date.now() / 1_000;
for (const [share, happen] of EVENTS) {
  await sleep(Math.max(0, (from + share * SECONDS) * 1_000 - Date.now()));
  void happen(busy);
}
await sleep(Math.max(0, (from + SECONDS) * 1_000 - Date.now()));
const shown = TITLES.map((title) => PANELS.find((panel) => panel.title === title) ?? missing(title));
const graphs = await Promise.all(shown.map((panel) => graphOf(panel, prometheus)));
const minutes = `${Math.round(SECONDS / 60)} minutes of sample traffic`;
// a machine that does other things beside shows in every time
const machine = `${cpus().length} cores, load ${(loadavg()[1] ?? 0).toFixed(1)}`;
const heading = `modelgate, ${minutes} (${machine}): the queries of grafana-dashboard.json`;
const picture = drawGraphs(heading, graphs, from, from + SECONDS);
writeFileSync(FILE, picture);
process.stdout.write(`${FILE.pathname}: ${picture.length} bytes\n`);

async function graphOf(panel: Panel, source: Prometheus): Promise<Graph> {
  const answers = await Promise.all(
    queriesOf(panel, INTERVAL).map(async ({ text, legend }) =>
      (await source.range(text, from, from + SECONDS, SECONDS / POINTS)).map(({ metric, values }) => ({
        name: legend.replace(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ''),
        values,
      })),
    ),
  );
  return { title: panel.title, unit: panel.fieldConfig?.defaults.unit ?? 'short', lines: answers.flat() };
}

function missing(title: string): never {
  throw new Error(`the dashboard has no panel "${title}"`);
}
