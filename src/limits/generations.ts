/**
 * Times by key that forgets by itself: two maps, of which the older is dropped whole. No timer and no list beside the
 * map; a key that is not written for a lifetime is gone without anybody looking for it.
 */
export class Generations {
  readonly #lifetimeMs: number;
  readonly #most: number;
  #recent = new Map<string, number>();
  #older = new Map<string, number>();
  #turnedAt = 0;

  /**
   * @param lifetimeMs after which a key that was not written again means nothing
   * @param most keys of one generation: beyond them the oldest are forgotten early
   */
  constructor(lifetimeMs: number, most = MOST_KEYS) {
    this.#lifetimeMs = lifetimeMs;
    this.#most = most;
  }

  /** @returns what was written last, for at least a lifetime unless the map was full; undefined once it is forgotten */
  get(key: string): number | undefined {
    return this.#recent.get(key) ?? this.#older.get(key);
  }

  /** @param now milliseconds of any clock that never goes back */
  set(key: string, value: number, now: number): void {
    if (now - this.#turnedAt >= this.#lifetimeMs || this.#recent.size >= this.#most) this.#turn(now);
    this.#recent.set(key, value);
  }

  /** Keys in memory; one that is in both generations counts twice. */
  get size(): number {
    return this.#recent.size + this.#older.size;
  }

  /** What was written last before the earlier turn is older than a lifetime now, unless the map was full. */
  #turn(now: number): void {
    this.#older = this.#recent;
    this.#recent = new Map();
    this.#turnedAt = now;
  }
}

/** Some 80 bytes each: at most 40 MB a limit, and more users than one backend serves. */
const MOST_KEYS = 250_000;
