/** The provider door against the bare transport: streams of a provider with and without pauses, and the first byte. */
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { bed } from './bed.ts';
import { ACCESS_KEY, startBareTransport, startProvider, startProviderDoor } from './contenders.ts';
import { load, warmUp } from './load.ts';
import { judged, median, quantile, rounded, withRange, type Row, type Scale } from './measurement.ts';
import type { PinnedProcess } from './pinned-process.ts';
import { inRounds } from './rounds.ts';

const ROUNDS = { quick: 3, default: 7, full: 15 } as const satisfies Record<Scale, number>;
/** A paced stream takes 1.2 s: of a few of them their number says little. */
const SECONDS = { quick: 4, default: 8, full: 15 } as const satisfies Record<Scale, number>;
const FIRST_BYTES = { quick: 200, default: 1_000, full: 5_000 } as const satisfies Record<Scale, number>;

export async function measureProviderDoor(scale: Scale): Promise<Row[]> {
  const { database, user, chat } = await bed();
  await using provider = await startProvider();
  await using transport = await startBareTransport(provider.url);
  await using door = await startProviderDoor(provider.url, database.path);
  const tokens = join(database.directory, 'access-key');
  writeFileSync(tokens, ACCESS_KEY);
  const options = { body: chat, tokens, connections: 64, headers: { 'X-OpenWebUI-User-Id': user } };
  const unpaced = { ...options, path: '/v1/chat/completions', seconds: 2 };
  for (const one of [door, transport]) await warmUp(one, unpaced, 10_000);
  const ratios = async (timed: Parameters<typeof load>[1], rounds: number): Promise<number[]> =>
    (await inRounds({ door, transport }, rounds, (one) => load(one, timed))).map(
      (round) => round.door.requestsPerSecond / round.transport.requestsPerSecond,
    );
  const straight = await ratios(unpaced, ROUNDS[scale]);
  const paced = await ratios({ ...options, path: '/v1/chat/completions?paced', seconds: SECONDS[scale] }, 3);
  return [
    ratioRow('provider door against the bare transport, streams with pauses', paced, 0.95),
    ratioRow('provider door against the bare transport, streams without pauses', straight, 0.6),
    await firstByteRow(provider, door, { chat, user, count: FIRST_BYTES[scale] }),
  ];
}

const ratioRow = (what: string, ratios: readonly number[], least: number): Row => ({
  what,
  figure: withRange(ratios),
  budget: `≥ ${least.toFixed(2)}`,
  state: judged(median(ratios) >= least),
  numbers: { ratios: ratios.map((ratio) => rounded(ratio, 3)) },
});

interface Asking {
  readonly chat: string;
  readonly user: string;
  readonly count: number;
}

/** One request after the other, to the provider itself and through the door in turn. */
async function firstByteRow(provider: PinnedProcess, door: PinnedProcess, asking: Asking): Promise<Row> {
  const direct: number[] = [];
  const behind: number[] = [];
  for (let asked = 0; asked < asking.count; asked += 1) {
    direct.push(await firstByteMs(provider.url, asking));
    behind.push(await firstByteMs(door.url, asking));
  }
  const added = (share: number): number => rounded(quantile(behind, share) - quantile(direct, share));
  const numbers = { addedP50: added(0.5), addedP99: added(0.99) };
  return {
    what: 'first byte of a stream through the provider door, added',
    figure: `p50 ${numbers.addedP50} ms, p99 ${numbers.addedP99} ms`,
    budget: 'p50 ≤ 3 ms, p99 ≤ 15 ms',
    state: judged(numbers.addedP50 <= 3 && numbers.addedP99 <= 15),
    numbers,
  };
}

function firstByteMs(base: string, { chat, user }: Asking): Promise<number> {
  const headers = {
    authorization: `Bearer ${ACCESS_KEY}`,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(chat),
    'x-openwebui-user-id': user,
  };
  return new Promise((resolve, reject) => {
    const startedAt = performance.now();
    let firstAt = 0;
    request(`${base}/v1/chat/completions`, { method: 'POST', headers }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`a stream was answered with ${answer.statusCode}`));
      answer.once('data', () => (firstAt = performance.now()));
      answer.on('end', () => resolve(firstAt - startedAt));
    })
      .on('error', reject)
      .end(chat);
  });
}
