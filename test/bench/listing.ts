/** A list of 300 models filtered, against the same bytes passed through by the bare transport. */
import { bed } from './bed.ts';
import { startBareTransport, startGate } from './contenders.ts';
import { load, warmUp } from './load.ts';
import { judged, median, rounded, withRange, type Row, type Scale } from './measurement.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = { quick: 2, default: 5, full: 9 } as const satisfies Record<Scale, number>;

export async function measureListing(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf, user, userOfAll } = await bed();
  await using gate = await startGate(backend.url, database.path);
  await using transport = await startBareTransport(backend.url);
  const rows: Row[] = [];
  for (const [reader, name] of [
    [user, '50 of 300 models kept'],
    [userOfAll, 'all 300 models kept'],
  ] as const) {
    const options = { path: '/api/models', tokens: await tokensOf([reader]), connections: 16 };
    for (const one of [gate, transport]) await warmUp(one, options, 1_500);
    const rounds = await inRounds({ gate, transport }, ROUNDS[scale], (one) =>
      load(one, { ...options, seconds: scale === 'quick' ? 1 : 2 }),
    );
    const cost = rounds.map((round) => round.transport.requestsPerSecond / round.gate.requestsPerSecond);
    const cpu = rounds.map((round) => round.gate.cpuMicroseconds / round.transport.cpuMicroseconds);
    rows.push({
      what: `/api/models, ${name}, cost against passing 340 KB through`,
      figure: `${withRange(cost)}; by processor time ${median(cpu).toFixed(2)}`,
      budget: '≤ 2',
      state: judged(median(cost) <= 2),
      numbers: {
        gatePerSecond: rounds.map((round) => rounded(round.gate.requestsPerSecond)),
        transportPerSecond: rounds.map((round) => rounded(round.transport.requestsPerSecond)),
        gateCpuMicroseconds: rounds.map((round) => rounded(round.gate.cpuMicroseconds)),
        transportCpuMicroseconds: rounds.map((round) => rounded(round.transport.cpuMicroseconds)),
      },
    });
  }
  return rows;
}
