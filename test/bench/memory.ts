/** Resident memory while 100,000 users send requests, one after the other. */
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { load } from './load.ts';
import { judged, rounded, type Row, type Scale } from './measurement.ts';

const REQUESTS = { quick: 40_000, default: 220_000, full: 1_000_000 } as const satisfies Record<Scale, number>;
const USERS = { quick: 10_000, default: 100_000, full: 100_000 } as const satisfies Record<Scale, number>;
const LONGEST_MS = { quick: 20_000, default: 40_000, full: 900_000 } as const satisfies Record<Scale, number>;
/** Garbage that has not been collected yet comes and goes by as much. */
const LARGEST_GROWTH = 1.15;

export async function measureMemory(scale: Scale): Promise<Row[]> {
  const { backend, database, tokensOf } = await bed();
  const users = Array.from({ length: USERS[scale] }, (_, index) => database.userId(index));
  const options = { path: '/api/config', tokens: await tokensOf(users), connections: 64, seconds: 3 };
  await using gate = await startGate(backend.url, database.path);
  const samples: { requests: number; rss: number }[] = [];
  const end = Date.now() + LONGEST_MS[scale];
  let requests = 0;
  while (requests < REQUESTS[scale] && Date.now() < end) {
    requests += (await load(gate, options)).requests;
    samples.push({ requests, rss: gate.rssBytes() / 1e6 });
  }
  const highest = (part: typeof samples): number => Math.max(...part.map(({ rss }) => rss));
  // caches grow until every user was seen
  const filled = samples.findIndex((sample) => sample.requests >= users.length) + 1;
  const isEnough = requests >= REQUESTS[scale] && filled > 0 && filled < samples.length;
  const [before, after] = [highest(samples.slice(0, filled)), highest(samples.slice(filled))];
  const growth = after / before;
  return [
    {
      what: `memory over ${requests} requests of ${users.length} users`,
      figure: isEnough
        ? `at most ${Math.round(before)} MB until every user was seen, ${Math.round(after)} MB after that`
        : `too slow today: ${requests} of ${REQUESTS[scale]} requests, ${Math.round(highest(samples))} MB`,
      budget: 'flat (1,000,000 with --full)',
      state: isEnough ? judged(growth <= LARGEST_GROWTH) : 'skipped',
      numbers: {
        rssMegabytes: samples.map(({ rss }) => rounded(rss, 1)),
        requests,
        growth: isEnough ? rounded(growth, 3) : NaN,
      },
    },
  ];
}
