/** Resident memory while many users send requests, one after the other: through the front door, and through the provider door. */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bed } from './bed.ts';
import { ACCESS_KEY, startGate, startProvider, startProviderDoor } from './contenders.ts';
import { type LoadOptions, load } from './load.ts';
import { judged, rounded, type Row, type Scale } from './measurement.ts';
import type { PinnedProcess } from './pinned-process.ts';

interface Course {
  readonly requests: Readonly<Record<Scale, number>>;
  readonly longestMs: Readonly<Record<Scale, number>>;
}

const AT_FRONT = {
  requests: { quick: 40_000, default: 220_000, full: 1_000_000 },
  longestMs: { quick: 20_000, default: 40_000, full: 900_000 },
} as const satisfies Course;
/** A call costs four times what a request does that runs no model. */
const AT_PROVIDER = {
  requests: { quick: 80_000, default: 150_000, full: 1_000_000 },
  longestMs: { quick: 60_000, default: 90_000, full: 900_000 },
} as const satisfies Course;
/** By then every user was seen, and the 16 MB of pages that better-sqlite3 keeps of usage.db are full. */
const FILLED_AT_PROVIDER = 60_000;
const USERS = { quick: 10_000, default: 100_000, full: 100_000 } as const satisfies Record<Scale, number>;
/**
 * Of the least that the last quarter needs, over the most until caches are full. What lies above the least is garbage, which
 * V8 collects when it likes: on a busy machine 150 MB late.
 */
const LARGEST_GROWTH = 1.15;
const LAST_QUARTER = 0.75;
/** With all its indexes: 0.6 GB for a million calls. */
const LARGEST_ROW_BYTES = 600;

export async function measureMemory(scale: Scale): Promise<Row[]> {
  return [await memoryOfGate(scale), ...(await memoryOfProviderDoor(scale))];
}

async function memoryOfGate(scale: Scale): Promise<Row> {
  const { backend, database, tokensOf } = await bed();
  const users = Array.from({ length: USERS[scale] }, (_, index) => database.userId(index));
  const options = { path: '/api/config', tokens: await tokensOf(users), connections: 64, seconds: 3 };
  await using gate = await startGate(backend.url, database.path);
  const course = await resident(gate, options, AT_FRONT, scale);
  // caches grow until every user was seen
  return memoryRow(`memory over ${course.requests} requests of ${users.length} users`, course, users.length);
}

/** Calls of all whose organization grants the model, each call a stream that says what it cost. */
async function memoryOfProviderDoor(scale: Scale): Promise<Row[]> {
  const { database, chat } = await bed();
  const { model } = JSON.parse(chat) as { model: string };
  const users = database.sql
    .prepare<[string], string>(
      `SELECT DISTINCT user_id FROM organization_members JOIN organization_models USING (organization_id) WHERE model_id = ?`,
    )
    .pluck()
    .all(model)
    .slice(0, USERS[scale]);
  const tokens = join(database.directory, 'users');
  writeFileSync(tokens, users.join('\n'));
  await using provider = await startProvider();
  await using door = await startProviderDoor(provider.url, database.path);
  const options = {
    ...{ path: '/v1/chat/completions?counted', body: chat, connections: 64, seconds: 3 },
    ...{ tokens, field: 'X-OpenWebUI-User-Id', headers: { Authorization: `Bearer ${ACCESS_KEY}` } },
  };
  const course = await resident(door, options, AT_PROVIDER, scale);
  const bytes = statSync(join(database.directory, 'modelgate', 'usage.db')).size / course.requests;
  return [
    memoryRow(`memory over ${course.requests} calls through the provider door`, course, FILLED_AT_PROVIDER),
    {
      what: 'usage.db after these calls',
      figure: `${Math.round(bytes)} bytes a call`,
      budget: `≤ ${LARGEST_ROW_BYTES} bytes`,
      state: judged(bytes <= LARGEST_ROW_BYTES),
      numbers: { bytes: rounded(bytes, 1) },
    },
  ];
}

const whole = (megabytes: number): string => megabytes.toFixed();

interface Resident {
  readonly requests: number;
  readonly wanted: number;
  readonly samples: readonly { readonly requests: number; readonly rss: number }[];
}

async function resident(target: PinnedProcess, options: LoadOptions, course: Course, scale: Scale): Promise<Resident> {
  const samples: { requests: number; rss: number }[] = [];
  const wanted = course.requests[scale];
  const end = Date.now() + course.longestMs[scale];
  let requests = 0;
  while (requests < wanted && Date.now() < end) {
    requests += (await load(target, options)).requests;
    samples.push({ requests, rss: target.rssBytes() / 1e6 });
  }
  return { requests, wanted, samples };
}

/** @param filledAfter requests, until which memory grows as it must */
function memoryRow(what: string, { requests, wanted, samples }: Resident, filledAfter: number): Row {
  const rss = samples.map((sample) => sample.rss);
  const filled = samples.findIndex((sample) => sample.requests >= filledAfter) + 1;
  const last = rss.slice(Math.max(filled, Math.floor(samples.length * LAST_QUARTER)));
  const isEnough = requests >= wanted && filled > 0 && last.length > 0;
  const [before, least, most] = [Math.max(...rss.slice(0, filled)), Math.min(...last), Math.max(...last)];
  const growth = least / before;
  return {
    what,
    figure: isEnough
      ? `at most ${whole(before)} MB in the first ${filledAfter}, ${whole(least)} to ${whole(most)} MB in the last quarter`
      : `too slow today: ${requests} of ${wanted} requests, ${whole(Math.max(...rss))} MB`,
    budget: 'flat (1,000,000 with --full)',
    state: isEnough ? judged(growth <= LARGEST_GROWTH) : 'skipped',
    numbers: { rssMegabytes: rss.map((one) => rounded(one, 1)), requests, growth: isEnough ? rounded(growth, 3) : NaN },
  };
}
