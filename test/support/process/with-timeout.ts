import { setTimeout as sleep } from 'node:timers/promises';

/** In milliseconds. Tens of them on a quiet machine; what waits for a timeout takes many seconds. */
export const AT_ONCE_MS = 2_000;

const STEP_MS = 50;

/**
 * Fails with `label` when `promise` has not settled after `ms`: every wait of a test has a deadline and a name. Time is
 * counted in steps, in each of which the event loop has a turn: while the machine stands still, none of it passes.
 */
export async function withTimeout<T>(promise: Promise<T>, ms: number, label: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    let leftMs = ms;
    const step = () => (leftMs -= STEP_MS) <= 0 && reject(new Error(`${label}: nothing after ${ms} ms`));
    timer = setInterval(step, STEP_MS);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearInterval(timer);
  }
}

/** One after the other: what each comes to. */
export async function inTurn<T, R>(all: Iterable<T>, ask: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (const one of all) results.push(await ask(one));
  return results;
}

/** Asks again until `condition` holds; for what no event announces, such as another process's work. */
export async function until(condition: () => boolean | Promise<boolean>, ms: number, label: string): Promise<void> {
  let isOver = false;
  const asking = async () => {
    while (!(await condition()) && !isOver) await sleep(5);
  };
  await withTimeout(asking(), ms, label).finally(() => (isOver = true));
}

/** Waits until `count` has stopped moving: what fills every buffer on the way is held up by the other end. */
export async function untilStill(count: () => number, label: string): Promise<void> {
  let last = -1;
  await until(
    async () => {
      const before = last;
      last = count();
      await sleep(200);
      return last === before && count() === last;
    },
    5_000,
    label,
  );
}
