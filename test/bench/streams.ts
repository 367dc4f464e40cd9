/** Thousands of streamed answers at once, through a gate on one core. */
import { readFileSync } from 'node:fs';
import { bed } from './bed.ts';
import { startGate } from './contenders.ts';
import { judged, quantile, rounded, type Row, type Scale } from './measurement.ts';
import { pause } from './pinned-process.ts';
import { startWordBackend, WordClients, WORD_EVERY_MS } from './words.ts';

const STREAMS = { quick: 500, default: 3_000, full: 3_000 } as const satisfies Record<Scale, number>;
const SECONDS = { quick: 3, default: 10, full: 60 } as const satisfies Record<Scale, number>;
const LARGEST_RSS_MB = 400;

interface Observed {
  readonly delays: readonly number[];
  readonly running: number;
  readonly broken: number;
}

export async function measureStreams(scale: Scale): Promise<Row[]> {
  const { database, tokensOf, user, chat } = await bed();
  const token = readFileSync(await tokensOf([user]), 'utf8');
  await using words = await startWordBackend();
  await using gate = await startGate(words.url, database.path);
  const seconds = SECONDS[scale];
  const observe = async (url: string, eachHalfSecond: () => void): Promise<Observed> => {
    const clients = new WordClients(new URL(url), token, chat);
    await clients.open(STREAMS[scale]);
    clients.forget();
    for (let half = 0; half < seconds * 2; half += 1) {
      await pause(500);
      eachHalfSecond();
    }
    const { delays, broken, running } = clients;
    clients.close();
    return { delays, broken, running };
  };
  // both ends are one process on a core that others use too: what it is late by itself is not the gate's
  const straight = await observe(words.url, () => undefined);
  let highest = 0;
  const cpu: number[] = [];
  const { delays, broken, running } = await observe(gate.url, () => {
    cpu.push(gate.cpuSeconds());
    highest = Math.max(highest, gate.rssBytes() / 1e6);
  });
  const share = ((cpu.at(-1) ?? 0) - (cpu[0] ?? 0)) / ((cpu.length - 1) / 2);
  const expected = (STREAMS[scale] * seconds * 1_000) / WORD_EVERY_MS;
  const numbers = {
    streams: running,
    words: delays.length,
    p50Ms: rounded(quantile(delays, 0.5), 1),
    p99Ms: rounded(quantile(delays, 0.99), 1),
    longestMs: rounded(quantile(delays, 1), 1),
    directP99Ms: rounded(quantile(straight.delays, 0.99), 1),
    directLongestMs: rounded(quantile(straight.delays, 1), 1),
    rssMegabytes: rounded(highest, 0),
    coreShare: rounded(share),
  };
  // a word that comes after the next one was sent is one that a client waited for
  const undelayed = numbers.longestMs < WORD_EVERY_MS && broken === 0 && delays.length > 0.9 * expected;
  return [
    {
      what: `${running} streams at once, a word every ${WORD_EVERY_MS} ms: delay of a word`,
      figure: `p50 ${numbers.p50Ms} ms, p99 ${numbers.p99Ms} ms, longest ${numbers.longestMs} ms (without the gate ${numbers.directP99Ms} and ${numbers.directLongestMs}); ${share.toFixed(2)} of a core`,
      budget: `${STREAMS.default} streams, none delayed`,
      state: judged(undelayed && running === STREAMS[scale]),
      numbers,
    },
    {
      what: `memory with ${running} streams`,
      figure: `${numbers.rssMegabytes} MB`,
      budget: `< ${LARGEST_RSS_MB} MB`,
      state: judged(highest < LARGEST_RSS_MB),
      numbers: {},
    },
  ];
}
