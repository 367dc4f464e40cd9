/** Tells a body that comes from one that drips, or that stands still. */

/** Like Apache's `RequestReadTimeout body=20,MinRate=500`: a client that drips is cut, a slow line is not. */
const GRACE_MS = 20_000;
const MIN_BYTES_PER_MS = 0.5;
/** Like nginx's `client_body_timeout`: who has sent fast may not stand still for all the time gained by it. */
const LONGEST_SILENCE_MS = 60_000;

export class Pace {
  readonly #onTooSlow: () => void;
  #timer: NodeJS.Timeout | undefined;
  #since = 0;
  #lastAt = 0;
  #bytes = 0;

  /**
   * @param onTooSlow called once it is less than 500 bytes a second beyond the first 20 seconds, or nothing for a minute;
   *   also where no byte ever comes
   */
  constructor(onTooSlow: () => void) {
    this.#onTooSlow = onTooSlow;
  }

  /** From now on the client has to send. What was before is forgotten: nobody read then, which is not its fault. */
  start(): void {
    this.stop();
    this.#since = performance.now();
    this.#lastAt = this.#since;
    this.#bytes = 0;
    this.#timer = setTimeout(this.#check, GRACE_MS);
  }

  /** Counts what came. */
  add(bytes: number): void {
    this.#lastAt = performance.now();
    this.#bytes += bytes;
  }

  /** The body is whole, or nobody reads it at the moment. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  readonly #check = (): void => {
    const dueAt = this.#since + GRACE_MS + this.#bytes / MIN_BYTES_PER_MS;
    const restMs = Math.min(dueAt, this.#lastAt + LONGEST_SILENCE_MS) - performance.now();
    if (restMs > 0) this.#timer = setTimeout(this.#check, Math.ceil(restMs));
    else this.#onTooSlow();
  };
}
