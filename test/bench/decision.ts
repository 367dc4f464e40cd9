/** What one decision costs, in a process of its own: `decision-main.ts` measures, this file judges. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bed } from './bed.ts';
import { judged, median, rounded, type Row, type Scale } from './measurement.ts';
import { MEASURED_CORE, pinned } from './pinned-process.ts';

/** Microseconds. */
export interface DecisionTimes {
  readonly warm: number;
  readonly coldP50: number;
  readonly coldP95: number;
  readonly coldSamples: number;
}

const PROGRAM = fileURLToPath(new URL('decision-main.ts', import.meta.url));

export async function measureDecision(scale: Scale): Promise<Row[]> {
  const { database } = await bed();
  const { users, organizations } = database.size;
  const runs: DecisionTimes[] = [];
  for (let run = 0; run < (scale === 'quick' ? 1 : 3); run += 1) {
    const [program, ...words] = pinned(MEASURED_CORE, [process.execPath, PROGRAM, database.path, String(users)]);
    runs.push(JSON.parse(execFileSync(program, words, { encoding: 'utf8' })) as DecisionTimes);
  }
  const of = (name: keyof DecisionTimes): number => rounded(median(runs.map((times) => times[name])));
  const numbers = { warm: of('warm'), coldP50: of('coldP50'), coldP95: of('coldP95'), coldSamples: of('coldSamples') };
  return [
    {
      what: 'decision, warm, median',
      figure: `${numbers.warm} µs`,
      budget: '≤ 5 µs',
      state: judged(numbers.warm <= 5),
      numbers,
    },
    {
      what: `decision, cold from SQLite (${users} users, ${organizations} organizations, ${database.size.grantsEach} grants)`,
      figure: `p50 ${numbers.coldP50} µs, p95 ${numbers.coldP95} µs`,
      budget: 'p95 < 1000 µs (aim 50)',
      state: judged(numbers.coldP95 < 1_000),
      numbers: {},
    },
  ];
}
