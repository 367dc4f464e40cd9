/** Tells a body that drips from one that comes. */

/** Like Apache's `RequestReadTimeout body=20,MinRate=500`: a client that drips is cut, a slow line is not. */
const GRACE_MS = 20_000;
const MIN_BYTES_PER_MS = 0.5;

export class Pace {
  #since = performance.now();
  #bytes = 0;

  /** Counts what came; true once it is less than 500 bytes a second beyond the first 20 seconds. */
  isTooSlow(bytes: number): boolean {
    this.#bytes += bytes;
    return performance.now() - this.#since > GRACE_MS + this.#bytes / MIN_BYTES_PER_MS;
  }

  /** After a time in which we did not read, which is not the client's fault. */
  restart(): void {
    this.#since = performance.now();
    this.#bytes = 0;
  }
}
