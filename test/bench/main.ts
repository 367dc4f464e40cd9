/**
 * The budgets, measured: `npm run bench`. Prints a table and writes `bench.json`.
 *
 * `--only NAME` one topic · `--quick` shorter, to see that it works · `--full` memory over a million requests at each door,
 * PostgreSQL with a million users.
 * Everything is a ratio or a time measured in this run, on this machine.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { closeBed } from './bed.ts';
import { measureBodies } from './bodies.ts';
import { measureDecision } from './decision.ts';
import { measureExposition } from './exposition.ts';
import { measureLatency } from './latency.ts';
import { measureLimits } from './limits.ts';
import { measureListing } from './listing.ts';
import { formatTable, rounded, type Row, type Scale, type Tool, type Topic } from './measurement.ts';
import { measureMemory } from './memory.ts';
import { measurePostgres } from './postgres.ts';
import { measureProviderDoor } from './provider-door.ts';
import { pinThisProcess } from './pinned-process.ts';
import { measureStartUp } from './start-up.ts';
import { measureStreams } from './streams.ts';
import { measureThroughput } from './throughput.ts';

const SEARCHED = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin'];
const isInstalled = (tool: Tool): boolean => SEARCHED.some((folder) => existsSync(join(folder, tool)));

const TOPICS: readonly Topic[] = [
  { name: 'decision', needs: ['taskset', 'nginx'], measure: measureDecision },
  { name: 'postgres', needs: ['taskset'], measure: measurePostgres },
  { name: 'throughput', needs: ['taskset', 'nginx', 'wrk'], measure: measureThroughput },
  { name: 'limits', needs: ['taskset', 'nginx', 'wrk'], measure: measureLimits },
  { name: 'latency', needs: ['taskset', 'nginx'], measure: measureLatency },
  { name: 'listing', needs: ['taskset', 'nginx', 'wrk'], measure: measureListing },
  { name: 'streams', needs: ['taskset', 'nginx'], measure: measureStreams },
  { name: 'provider-door', needs: ['taskset', 'nginx', 'wrk'], measure: measureProviderDoor },
  { name: 'bodies', needs: ['taskset'], measure: measureBodies },
  { name: 'memory', needs: ['taskset', 'nginx', 'wrk'], measure: measureMemory },
  { name: 'exposition', needs: ['taskset'], measure: measureExposition },
  { name: 'start-up', needs: ['taskset', 'nginx'], measure: measureStartUp },
];

const PACKAGES: Readonly<Record<Tool, string>> = { nginx: 'nginx-light', wrk: 'wrk', taskset: 'util-linux' };

const { values: options } = parseArgs({
  options: { only: { type: 'string' }, quick: { type: 'boolean' }, full: { type: 'boolean' } },
});
const scale: Scale = options.quick === true ? 'quick' : options.full === true ? 'full' : 'default';
const chosen = TOPICS.filter(({ name }) => options.only === undefined || options.only === name);
if (chosen.length === 0) {
  process.stderr.write(`There is no topic ${options.only ?? ''}: ${TOPICS.map(({ name }) => name).join(', ')}.\n`);
  process.exit(2);
}

const startedAt = new Date();
const loadBefore = loadavg();
pinThisProcess();
const rows: Row[] = [];
try {
  for (const topic of chosen) {
    process.stderr.write(`measuring ${topic.name} …\n`);
    rows.push(...(await rowsOf(topic)));
  }
} finally {
  await closeBed();
}
const seconds = rounded((Date.now() - startedAt.getTime()) / 1000, 0);
process.stdout.write(`\n${formatTable(rows)}\n\n${seconds} s, ${machine()}\n`);
writeFileSync(
  new URL('../../bench.json', import.meta.url),
  `${JSON.stringify({ startedAt, seconds, scale, machine: machine(), rows }, null, 2)}\n`,
);
process.exitCode = rows.some(({ state }) => state === 'miss') ? 1 : 0;

async function rowsOf(topic: Topic): Promise<Row[]> {
  const missing = topic.needs.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) {
    return topic
      .measure(scale)
      .catch((error: unknown) => [
        { what: topic.name, figure: `not measured: ${String(error)}`, budget: '', state: 'miss', numbers: {} },
      ]);
  }
  const packages = missing.map((tool) => PACKAGES[tool]).join(' ');
  const figure = `needs ${missing.join(' and ')}: apt-get install ${packages}`;
  return [{ what: topic.name, figure, budget: '', state: 'skipped', numbers: {} }];
}

function machine(): string {
  const load = loadBefore.map((value) => value.toFixed(1)).join(' ');
  return `Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), load before ${load}`;
}
