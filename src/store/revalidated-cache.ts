import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import type { Source } from './freshness.ts';

/** How long an answer may serve that can no longer be compared with the file, by which clock. */
export interface Staleness {
  readonly maxStaleMs: number;
  readonly now: () => number;
}

export interface CacheOptions<V> {
  /** @returns what the file says, or undefined where it cannot be read now */
  readonly read: (key?: string) => { readonly value: V } | undefined;
  /** Most entries, or most of what `sizeOf` counts. */
  readonly maxSize: number;
  readonly sizeOf?: (value: V) => number;
  /** An entry of another epoch is read again; where it cannot be, it serves for as long as stale answers are allowed. */
  readonly epoch: () => number;
  /** Whether an answer is worth a place in the cache. */
  readonly keep?: (value: V) => boolean;
}

/** Values read by key, each with the epoch in which it was read. */
export class RevalidatedCache<V> {
  hits = 0;
  misses = 0;
  /** `confirmedAt`: the last time the file agreed with the entry while it was in use. */
  readonly #entries: LRUCache<string, { readonly value: V; readonly epoch: number; confirmedAt: number }>;
  readonly #source: Source;
  readonly #options: CacheOptions<V> & Staleness;

  constructor(source: Source, options: CacheOptions<V> & Staleness) {
    const { maxSize, sizeOf = () => 1 } = options;
    this.#source = source;
    this.#options = options;
    // not `max`: it would take the memory of a full cache at once, and 60 ms of the start
    this.#entries = new LRUCache({ maxSize, sizeCalculation: (entry) => sizeOf(entry.value) });
  }

  /**
   * @param key what is asked for @param kept in its place in the cache
   * @throws GatewayError `policy_unavailable` when it must be read and cannot be
   * @throws NotLoaded
   */
  get(key?: string, kept = key ?? ''): V {
    const { read, maxStaleMs, now, keep = () => true } = this.#options;
    const { goodAt, problem } = this.#source;
    const epoch = this.#options.epoch();
    const known = this.#entries.get(kept);
    if (known?.epoch === epoch) {
      this.hits += 1;
      known.confirmedAt = goodAt;
      return known.value;
    }
    const found = read(key);
    this.misses += 1;
    if (found !== undefined) {
      if (keep(found.value)) this.#entries.set(kept, { value: found.value, epoch, confirmedAt: goodAt });
      else this.#entries.delete(kept);
      return found.value;
    }
    if (known !== undefined && now() - known.confirmedAt <= maxStaleMs) return known.value;
    throw new GatewayError('policy_unavailable', { cause: problem });
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
