/** A monotonic clock that stands still until a test advances it. */
export interface ManualClock {
  readonly now: () => number;
  advance(ms: number): void;
}

export function manualClock(start = 1_000): ManualClock {
  let time = start;
  return { now: () => time, advance: (ms) => void (time += ms) };
}
