/** The whole gate against what stands in its place: small chat completions, 64 connections, keep-alive. */
import { bed } from './bed.ts';
import { startBareTransport, startGate, startHttpProxy } from './contenders.ts';
import { countInstructions } from './instructions.ts';
import { load, warmUp, type LoadFigures, type LoadOptions } from './load.ts';
import { judged, median, rounded, withRange, type Row, type Scale } from './measurement.ts';
import type { PinnedProcess } from './pinned-process.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = { quick: 3, default: 7, full: 15 } as const satisfies Record<Scale, number>;
const SECONDS = { quick: 1, default: 2, full: 5 } as const satisfies Record<Scale, number>;
const WARM_UP_REQUESTS = 20_000;
const NAMES = ['gate', 'transport', 'httpProxy'] as const;

type Round = Record<(typeof NAMES)[number], LoadFigures>;

export async function measureThroughput(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, chat, user } = await bed();
  const options = { path: '/api/chat/completions', body: chat, tokens: await tokensOf([user]), connections: 64 };
  await using gate = await startGate(backend.url, database.path);
  await using transport = await startBareTransport(backend.url);
  await using httpProxy = await startHttpProxy(backend.url);
  for (const one of [gate, transport, httpProxy]) await warmUp(one, options, WARM_UP_REQUESTS);
  const timed = { ...options, seconds: SECONDS[scale] };
  const straight = await load(backend, timed);
  const rounds = await inRounds({ gate, transport, httpProxy }, ROUNDS[scale], (one) => load(one, timed));
  return [
    ...ratios(rounds),
    await instructionsRow(gate, transport, timed),
    ...absolutes(rounds, straight.requestsPerSecond),
  ];
}

function ratios(rounds: readonly Round[]): Row[] {
  const overTransport = rounds.map(({ gate, transport }) => gate.requestsPerSecond / transport.requestsPerSecond);
  const overHttpProxy = rounds.map(({ gate, httpProxy }) => gate.requestsPerSecond / httpProxy.requestsPerSecond);
  return [
    {
      what: 'whole gate against the bare transport, requests per second',
      figure: withRange(overTransport),
      budget: '≥ 0.80',
      state: judged(median(overTransport) >= 0.8),
      numbers: { ratios: overTransport.map((ratio) => rounded(ratio, 3)) },
    },
    {
      what: 'whole gate against bare http-proxy, requests per second',
      figure: withRange(overHttpProxy),
      budget: '≥ 1.5',
      state: judged(median(overHttpProxy) >= 1.5),
      numbers: { ratios: overHttpProxy.map((ratio) => rounded(ratio, 3)) },
    },
  ];
}

/** What the machine does beside does not change this one. */
async function instructionsRow(gate: PinnedProcess, transport: PinnedProcess, options: LoadOptions): Promise<Row> {
  const perRequest = async (target: PinnedProcess): Promise<number> => {
    let requests = NaN;
    const count = await countInstructions(target, async () => ({ requests } = await load(target, options)));
    return (count ?? NaN) / requests;
  };
  const numbers = {
    gate: rounded(await perRequest(gate), 0),
    transport: rounded(await perRequest(transport), 0),
  };
  const isCounted = numbers.gate > 0 && numbers.transport > 0;
  return {
    what: 'bare transport against the whole gate, instructions per request',
    figure: isCounted
      ? `${(numbers.transport / numbers.gate).toFixed(2)}: ${numbers.transport} and ${numbers.gate}`
      : 'apt-get install linux-perf, and a machine with counters',
    budget: '',
    state: isCounted ? 'for comparison' : 'skipped',
    numbers,
  };
}

function absolutes(rounds: readonly Round[], backendPerSecond: number): Row[] {
  const of = (name: (typeof NAMES)[number], figure: keyof LoadFigures): number[] =>
    rounds.map((round) => rounded(round[name][figure]));
  const named = (figure: keyof LoadFigures): string =>
    NAMES.map((name) => `${name} ${rounded(median(of(name, figure)))}`).join(', ');
  const shares = NAMES.flatMap((name) => of(name, 'coreShare'));
  return [
    {
      what: 'requests per second; the backend alone, on the core of the clients',
      figure: `${named('requestsPerSecond')}; backend ${rounded(backendPerSecond)}`,
      budget: '',
      state: 'for comparison',
      numbers: Object.fromEntries(NAMES.map((name) => [name, of(name, 'requestsPerSecond')])),
    },
    {
      what: 'processor time per request, µs',
      figure: named('cpuMicroseconds'),
      budget: '',
      state: 'for comparison',
      numbers: Object.fromEntries(NAMES.map((name) => [name, of(name, 'cpuMicroseconds')])),
    },
    {
      what: 'how much of their core they had under full load',
      figure: `${withRange(shares)}${median(shares) < 0.9 ? ': the machine is busy, its ratios say little' : ''}`,
      budget: '',
      state: 'for comparison',
      numbers: { shares },
    },
  ];
}
