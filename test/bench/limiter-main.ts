/**
 * Counters of limits alone, in a process of their own with `--expose-gc`: ours, and `rate-limiter-flexible`, which the
 * design had named. Prints JSON.
 */
import { BurstyRateLimiter, RateLimiterMemory } from 'rate-limiter-flexible';
import type { RateName } from '../../src/limits/headers.ts';
import { createMemoryAllowances } from '../../src/limits/memory.ts';

interface Figures {
  /** Of 400 requests at once under 120/1m:40. */
  readonly admittedAtOnce: number;
  /** One charge of one of a thousand users. */
  readonly nanoseconds: number;
  readonly addressesMegabytes: number;
}

export interface LimiterFigures {
  readonly ours: Figures & { readonly usersMegabytes: number };
  readonly library: Figures;
}

const ADDRESSES = 1_000_000;
const USERS = 100_000;
const CHARGES = 300_000;
const RATE = { count: 120, windowSeconds: 60, burst: 40 };

const heapMegabytes = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 1e6;
};
const address = (index: number): string => `2001:db8:${(index >> 8).toString(16)}:${(index & 255).toString(16)}::/64`;
const user = (index: number): string => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;

function createOurs() {
  const rates = { address: RATE, user: RATE, chat: RATE, organization: RATE };
  const allowances = createMemoryAllowances({ ...rates, concurrentChats: 32 }, () => performance.now());
  const charge = (limit: RateName, key: string) => allowances.take([{ limit, key, cost: 1 }]);
  return { allowances, charge };
}

const createLibrary = (): BurstyRateLimiter =>
  new BurstyRateLimiter(
    new RateLimiterMemory({ points: RATE.count, duration: RATE.windowSeconds }),
    new RateLimiterMemory({ keyPrefix: 'burst', points: RATE.burst, duration: RATE.windowSeconds }),
  );

/** Rejects with its answer where it refuses. */
const isAdmitted = (answer: Promise<unknown>): Promise<boolean> =>
  answer.then(
    () => true,
    () => false,
  );

function measureOurs(): LimiterFigures['ours'] {
  const { charge } = createOurs();
  let admittedAtOnce = 0;
  for (let request = 0; request < 400; request += 1) {
    const standing = charge('user', 'one');
    if (standing?.admitted === true) admittedAtOnce += 1;
  }
  const started = performance.now();
  for (let request = 0; request < CHARGES; request += 1) void charge('user', user(request % 1_000));
  const nanoseconds = Math.round(((performance.now() - started) / CHARGES) * 1e6);

  const before = heapMegabytes();
  const users = createOurs();
  for (let index = 0; index < USERS; index += 1) {
    void users.charge('user', user(index));
    void users.charge('chat', user(index));
    void users.allowances.start(user(index), 1, []);
  }
  const usersMegabytes = Math.round(heapMegabytes() - before);
  const between = heapMegabytes();
  const addresses = createOurs();
  for (let index = 0; index < ADDRESSES; index += 1) void addresses.charge('address', address(index));
  const addressesMegabytes = Math.round(heapMegabytes() - between);
  // both are held until here
  void [users.charge('user', user(0)), addresses.charge('address', address(0))];
  return { admittedAtOnce, nanoseconds, usersMegabytes, addressesMegabytes };
}

async function measureLibrary(): Promise<Figures> {
  const limiter = createLibrary();
  let admittedAtOnce = 0;
  for (let request = 0; request < 400; request += 1) if (await isAdmitted(limiter.consume('one'))) admittedAtOnce += 1;
  const started = performance.now();
  for (let request = 0; request < CHARGES; request += 1) await isAdmitted(limiter.consume(user(request % 1_000)));
  const nanoseconds = Math.round(((performance.now() - started) / CHARGES) * 1e6);
  const before = heapMegabytes();
  for (let index = 0; index < ADDRESSES; index += 1) await limiter.consume(address(index));
  return { admittedAtOnce, nanoseconds, addressesMegabytes: Math.round(heapMegabytes() - before) };
}

const figures: LimiterFigures = { ours: measureOurs(), library: await measureLibrary() };
process.stdout.write(`${JSON.stringify(figures)}\n`);
// a million timers of the library's are still waiting
process.exit();
