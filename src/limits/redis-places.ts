/** Places of chats that run, as leases in Redis: those of a gate that died are free again when their lease has ended. */
import type { Release } from './limits.ts';
import type { RedisLink } from './redis-link.ts';
import { RENEW, run } from './redis-scripts.ts';

export const LEASE_MS = 60_000;
const RENEW_MS = 20_000;
/** Places in one script: Redis does nothing else meanwhile. */
const MOST_AT_ONCE = 200;

interface PlacesParts {
  readonly link: RedisLink;
  /** Of this process alone. */
  readonly instance: string;
  readonly keyOf: (user: string) => string;
}

interface Lease {
  readonly name: string;
  readonly key: string;
}

export class RedisPlaces {
  readonly #parts: PlacesParts;
  readonly #timer: NodeJS.Timeout;
  /** Of chats that run. */
  readonly #running = new Set<Lease>();
  /** Of chats that have ended; Redis may not know it yet. */
  readonly #over = new Set<Lease>();
  /** Places of this gate, by user. */
  readonly #held = new Map<string, number>();
  #count = 0;

  constructor(parts: PlacesParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.renew(), RENEW_MS).unref();
  }

  /** Names for a script that takes the places: `hold` where it did, `end` where nothing is known of it, as it may still run. */
  leasesFor(user: string, places: number): readonly Lease[] {
    const { instance, keyOf } = this.#parts;
    const key = keyOf(user);
    return Array.from({ length: places }, () => ({ key, name: `${instance}:${(this.#count += 1).toString(36)}` }));
  }

  /** Without Redis. @param most how many of a user may run at this gate */
  occupyHere(user: string, places: number, most: number): Release | undefined {
    const held = this.#held.get(user) ?? 0;
    return held + places > most ? undefined : this.hold(user, this.leasesFor(user, places));
  }

  /** What Redis has not heard of, or has lost, it knows then. */
  async renew(): Promise<void> {
    this.#tell([...this.#over]);
    const running = [...this.#running];
    const parts = Array.from({ length: Math.ceil(running.length / MOST_AT_ONCE) }, (_, part) =>
      running.slice(part * MOST_AT_ONCE, (part + 1) * MOST_AT_ONCE),
    );
    await Promise.all(
      parts.map((part) => {
        const [keys, names] = [part.map(({ key }) => key), part.map(({ name }) => name)];
        return this.#parts.link.ask((client) => run(client, RENEW, keys, [LEASE_MS, ...names]));
      }),
    );
  }

  close(): void {
    clearInterval(this.#timer);
  }

  hold(user: string, leases: readonly Lease[]): Release {
    this.#held.set(user, (this.#held.get(user) ?? 0) + leases.length);
    for (const lease of leases) this.#running.add(lease);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const left = (this.#held.get(user) ?? 0) - leases.length;
      if (left > 0) this.#held.set(user, left);
      else this.#held.delete(user);
      this.end(leases);
    };
  }

  end(leases: readonly Lease[]): void {
    for (const lease of leases) {
      this.#running.delete(lease);
      this.#over.add(lease);
    }
    this.#tell(leases);
  }

  #tell(over: readonly Lease[]): void {
    for (const [key, leases] of Map.groupBy(over, (lease) => lease.key)) {
      void this.#parts.link
        .ask((client) => client.zrem(key, ...leases.map(({ name }) => name)))
        .then((answer) => {
          if (answer !== undefined) for (const lease of leases) this.#over.delete(lease);
        });
    }
  }
}
