/**
 * What limits and security headers cost: the same gate with and without them, in the same rounds; and what the state of
 * limits takes in memory, beside the library that was not taken.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bed } from './bed.ts';
import { startGate, WITHOUT_LIMITS, WITHOUT_LIMITS_AND_HEADERS } from './contenders.ts';
import { countInstructions } from './instructions.ts';
import type { LimiterFigures } from './limiter-main.ts';
import { load, warmUp, type LoadFigures, type LoadOptions } from './load.ts';
import { judged, median, rounded, withRange, type Row, type Scale } from './measurement.ts';
import { MEASURED_CORE, pinned, type PinnedProcess } from './pinned-process.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = { quick: 3, default: 9, full: 21 } as const satisfies Record<Scale, number>;
const SECONDS = { quick: 1, default: 2, full: 4 } as const satisfies Record<Scale, number>;
const WARM_UP_REQUESTS = 20_000;
const PROGRAM = fileURLToPath(new URL('limiter-main.ts', import.meta.url));

type Round = Record<'whole' | 'withoutLimits' | 'withoutBoth', LoadFigures>;

export async function measureLimits(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, chat, user } = await bed();
  const options = { path: '/api/chat/completions', body: chat, tokens: await tokensOf([user]), connections: 64 };
  await using whole = await startGate(backend.url, database.path);
  await using withoutLimits = await startGate(backend.url, database.path, WITHOUT_LIMITS);
  await using withoutBoth = await startGate(backend.url, database.path, WITHOUT_LIMITS_AND_HEADERS);
  const contenders = { whole, withoutLimits, withoutBoth };
  for (const one of Object.values(contenders)) await warmUp(one, options, WARM_UP_REQUESTS);
  const timed = { ...options, seconds: SECONDS[scale] };
  const rounds = await inRounds(contenders, ROUNDS[scale], (one) => load(one, timed));
  return [...ratios(rounds), await instructionsRow(contenders, timed), ...stateRows()];
}

/**
 * By processor time, which is what throughput is made of where one core is full: on a busy machine the requests of a
 * second say more about who else was there.
 */
function ratios(rounds: readonly Round[]): Row[] {
  const row = (what: string, budget: string, base: 'withoutLimits' | 'withoutBoth'): Row => {
    const ratios = rounds.map((round) => round[base].cpuMicroseconds / round.whole.cpuMicroseconds);
    const perSecond = rounds.map((round) => round.whole.requestsPerSecond / round[base].requestsPerSecond);
    return {
      what,
      figure: `${withRange(ratios, 3)}; requests per second ${withRange(perSecond)}`,
      budget,
      state: budget === '' ? 'for comparison' : judged(median(ratios) >= 0.95),
      numbers: {
        ratios: ratios.map((ratio) => rounded(ratio, 3)),
        perSecond: perSecond.map((ratio) => rounded(ratio, 3)),
      },
    };
  };
  return [
    row('throughput with limits and security headers against neither, by processor time', '≥ 0.95', 'withoutBoth'),
    row('throughput with limits against the same gate without them', '', 'withoutLimits'),
  ];
}

/** What the machine does beside does not change this one. */
async function instructionsRow(contenders: Record<keyof Round, PinnedProcess>, options: LoadOptions): Promise<Row> {
  const numbers: Record<string, number> = {};
  for (const [name, target] of Object.entries(contenders)) {
    let requests = NaN;
    const count = await countInstructions(target, async () => ({ requests } = await load(target, options)));
    numbers[name] = rounded((count ?? NaN) / requests, 0);
  }
  const { whole = NaN, withoutLimits = NaN, withoutBoth = NaN } = numbers;
  const isCounted = whole > 0 && withoutLimits > 0 && withoutBoth > 0;
  return {
    what: 'the same by instructions per request: neither, and without limits, against all',
    figure: isCounted
      ? `${(withoutBoth / whole).toFixed(3)} and ${(withoutLimits / whole).toFixed(3)}: ${withoutBoth}, ${withoutLimits}, ${whole}`
      : 'apt-get install linux-perf, and a machine with counters',
    budget: '',
    state: isCounted ? 'for comparison' : 'skipped',
    numbers,
  };
}

const LARGEST_STATE_MB = 100;

function stateRows(): Row[] {
  const [program, ...words] = pinned(MEASURED_CORE, [process.execPath, '--expose-gc', PROGRAM]);
  const { ours, library } = JSON.parse(execFileSync(program, words, { encoding: 'utf8' })) as LimiterFigures;
  return [
    {
      what: 'state of limits: 100,000 users with all of theirs; a million addresses',
      figure: `${ours.usersMegabytes} MB; ${ours.addressesMegabytes} MB`,
      budget: `< ${LARGEST_STATE_MB} MB; bounded`,
      state: judged(ours.usersMegabytes < LARGEST_STATE_MB && ours.addressesMegabytes < LARGEST_STATE_MB),
      numbers: { ...ours },
    },
    {
      what: '120/1m:40 asked for at once; one charge; a million addresses: here, and BurstyRateLimiter',
      figure: `${ours.admittedAtOnce} and ${library.admittedAtOnce} (nginx 41); ${ours.nanoseconds} and ${library.nanoseconds} ns; ${ours.addressesMegabytes} and ${library.addressesMegabytes} MB`,
      budget: '',
      state: 'for comparison',
      numbers: { ...library },
    },
  ];
}
