/** Resident memory while 100,000 users send requests, one after the other. */
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { load } from './load.ts';
import { judged, rounded } from './measurement.ts';
import type { Row, Scale } from './measurement.ts';

const REQUESTS = { quick: 40_000, default: 150_000, full: 1_000_000 } as const satisfies Record<Scale, number>;
const USERS = { quick: 10_000, default: 100_000, full: 100_000 } as const satisfies Record<Scale, number>;
const LONGEST_MS = { quick: 20_000, default: 60_000, full: 900_000 } as const satisfies Record<Scale, number>;
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
  const middle = Math.ceil(samples.length / 2);
  const [firstHalf, secondHalf] = [highest(samples.slice(0, middle)), highest(samples.slice(middle))];
  const growth = secondHalf / firstHalf;
  return [
    {
      what: `memory over ${requests} requests of ${users.length} users`,
      figure: `at most ${Math.round(firstHalf)} MB in the first half, ${Math.round(secondHalf)} MB in the second`,
      budget: 'flat (1,000,000 with --full)',
      state: judged(growth <= LARGEST_GROWTH),
      numbers: { rssMegabytes: samples.map(({ rss }) => rounded(rss, 1)), requests, growth: rounded(growth, 3) },
    },
  ];
}
