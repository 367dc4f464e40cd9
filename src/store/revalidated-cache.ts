import { LRUCache } from 'lru-cache';
import { GatewayError } from '../errors.ts';
import type { Source } from './freshness.ts';

interface Entry<V> {
  readonly value: V;
  readonly epoch: number;
  /** The last time the file agreed with this entry while it was in use, in milliseconds of `now`. */
  confirmedAt: number;
}

interface RevalidatedCacheOptions<V> {
  readonly freshness: Pick<Source, 'goodAt' | 'problem'>;
  /** Most entries, or most of what `sizeOf` counts. */
  readonly maxSize: number;
  readonly sizeOf?: ((value: V) => number) | undefined;
  readonly maxStaleMs: number;
  readonly now: () => number;
  /** An entry of another epoch is read again. */
  readonly epoch: () => number;
}

/**
 * Values read by key, each with the epoch in which it was read. In another epoch it is read again; where that cannot
 * be done, it serves for as long as stale answers are allowed.
 */
export class RevalidatedCache<K extends string, V> {
  /** Look-ups answered from memory. */
  hits = 0;
  /** Look-ups that had to read the file. */
  misses = 0;
  readonly #entries: LRUCache<K, Entry<V>>;
  readonly #options: RevalidatedCacheOptions<V>;

  constructor(options: RevalidatedCacheOptions<V>) {
    const { maxSize, sizeOf = () => 1 } = options;
    this.#options = options;
    // not `max`: it would take the memory of a full cache at once, and 60 ms of the start
    this.#entries = new LRUCache({ maxSize, sizeCalculation: (entry) => sizeOf(entry.value) });
  }

  /**
   * @param read of the file; undefined where it cannot be read now
   * @param keep whether an answer is worth a place in the cache
   * @throws GatewayError `policy_unavailable` when it must be read and cannot be
   */
  get(key: K, read: () => { readonly value: V } | undefined, keep: (value: V) => boolean = () => true): V {
    const { freshness, maxStaleMs, now } = this.#options;
    const epoch = this.#options.epoch();
    const known = this.#entries.get(key);
    if (known?.epoch === epoch) {
      this.hits += 1;
      known.confirmedAt = freshness.goodAt;
      return known.value;
    }
    const found = read();
    this.misses += 1;
    if (found !== undefined) {
      if (keep(found.value)) this.#entries.set(key, { value: found.value, epoch, confirmedAt: freshness.goodAt });
      else this.#entries.delete(key);
      return found.value;
    }
    if (known !== undefined && now() - known.confirmedAt <= maxStaleMs) return known.value;
    throw new GatewayError('policy_unavailable', { cause: freshness.problem });
  }

  delete(key: K): void {
    this.#entries.delete(key);
  }
}
