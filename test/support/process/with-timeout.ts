/** In milliseconds. Tens of them on a quiet machine; what waits for a timeout takes many seconds. */
export const AT_ONCE_MS = 2_000;

/** Fails with `label` when `promise` has not settled after `ms`: every wait of a test has a deadline and a name. */
export async function withTimeout<T>(promise: Promise<T>, ms: number, label: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${label}: nothing after ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
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
  const end = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${label}: not true after ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until `count` has stopped moving: what fills every buffer on the way is held up by the other end. */
export async function untilStill(count: () => number, label: string): Promise<void> {
  let last = -1;
  await until(
    async () => {
      const before = last;
      last = count();
      await new Promise((resolve) => setTimeout(resolve, 200));
      return last === before && count() === last;
    },
    5_000,
    label,
  );
}
