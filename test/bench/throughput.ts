/** The whole gate against what stands in its place: small chat completions, 64 connections, keep-alive. */
import { bed } from './bed.ts';
import { startBareTransport, startGate, startHttpProxy } from './contenders.ts';
import { load, warmUp } from './load.ts';
import type { LoadFigures } from './load.ts';
import { judged, median, rounded, withRange } from './measurement.ts';
import type { Row, Scale } from './measurement.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = { quick: 3, default: 7, full: 15 } as const satisfies Record<Scale, number>;
const SECONDS = { quick: 1, default: 3, full: 5 } as const satisfies Record<Scale, number>;
const WARM_UP_REQUESTS = 20_000;

export async function measureThroughput(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, chat, user } = await bed();
  const options = { path: '/api/chat/completions', body: chat, tokens: await tokensOf([user]), connections: 64 };
  await using gate = await startGate(backend.url, database.path);
  await using transport = await startBareTransport(backend.url);
  await using httpProxy = await startHttpProxy(backend.url);
  for (const one of [gate, transport, httpProxy]) await warmUp(one, options, WARM_UP_REQUESTS);
  const straight = await load(backend, { ...options, seconds: 1 });
  const rounds = await inRounds({ gate, transport, httpProxy }, ROUNDS[scale], (one) =>
    load(one, { ...options, seconds: SECONDS[scale] }),
  );
  const overTransport = rounds.map((round) => round.gate.requestsPerSecond / round.transport.requestsPerSecond);
  const overHttpProxy = rounds.map((round) => round.gate.requestsPerSecond / round.httpProxy.requestsPerSecond);
  const cpuShare = rounds.map((round) => round.transport.cpuMicroseconds / round.gate.cpuMicroseconds);
  const figures = (pick: (figures: LoadFigures) => number, name: 'gate' | 'transport' | 'httpProxy') =>
    rounds.map((round) => rounded(pick(round[name])));
  const perSecond = (figures: LoadFigures) => figures.requestsPerSecond;
  const cpu = (figures: LoadFigures) => figures.cpuMicroseconds;
  const numbers = {
    gatePerSecond: figures(perSecond, 'gate'),
    transportPerSecond: figures(perSecond, 'transport'),
    httpProxyPerSecond: figures(perSecond, 'httpProxy'),
    backendPerSecond: rounded(straight.requestsPerSecond),
    gateCpuMicroseconds: figures(cpu, 'gate'),
    transportCpuMicroseconds: figures(cpu, 'transport'),
    httpProxyCpuMicroseconds: figures(cpu, 'httpProxy'),
  };
  const speeds = (['gate', 'transport', 'httpProxy'] as const)
    .map((name) => `${name} ${Math.round(median(figures(perSecond, name)))}`)
    .join(', ');
  return [
    {
      what: 'whole gate against the bare transport, requests per second',
      figure: withRange(overTransport),
      budget: '≥ 0.80',
      state: judged(median(overTransport) >= 0.8),
      numbers,
    },
    {
      what: 'the same by processor time per request',
      figure: `${withRange(cpuShare)}: ${median(numbers.gateCpuMicroseconds)} µs for ${median(numbers.transportCpuMicroseconds)} µs`,
      budget: '',
      state: 'for comparison',
      numbers: {},
    },
    {
      what: 'whole gate against bare http-proxy',
      figure: withRange(overHttpProxy),
      budget: '≥ 1.5',
      state: judged(median(overHttpProxy) >= 1.5),
      numbers: {},
    },
    {
      what: 'requests per second; the backend alone, on the core of the clients',
      figure: `${speeds}; backend ${Math.round(straight.requestsPerSecond)}`,
      budget: '',
      state: 'for comparison',
      numbers: {},
    },
  ];
}
