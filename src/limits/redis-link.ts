/**
 * Redis, or the knowledge that it is away. A question waits 50 ms at most: the first that has no answer by then lets all
 * others go too, and from then on only this file asks, four times a second, until it answers again.
 */
import type { RedisConfig } from '../config/redis.ts';
import { connectRedis, redisProblem } from './redis-client.ts';
import type { RedisClient } from './redis-scripts.ts';

const ANSWER_MS = 50;
const PROBE_MS = 250;
/** Longest wait for the first answer of all. */
const START_MS = 1_000;

type Ask<T> = (client: RedisClient) => Promise<T>;

interface LinkParts {
  readonly config: RedisConfig;
  /** What is asked to see whether Redis is there. */
  readonly probe: Ask<void>;
  readonly answered: (ms: number) => void;
  readonly lost: (problem: string) => void;
  readonly found: () => void;
  /** 50 where it is left out. */
  readonly answerMs?: number | undefined;
}

interface Absence {
  readonly problem: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export class RedisLink {
  readonly #parts: LinkParts;
  readonly #client: RedisClient;
  readonly #timer: NodeJS.Timeout;
  readonly #waiting = new Set<() => void>();
  #absence: Absence | undefined = { problem: 'it was not asked yet', since: Date.now() };
  #foundAt = 0;
  /** Why there is no connection: what is asked then says only that there is none. */
  #unconnected: string | undefined;
  #isProbing = false;
  #isClosed = false;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#client = connectRedis(parts.config, (error) => (this.#unconnected = redisProblem(error)));
    this.#client.on('ready', () => void this.#look());
    this.#timer = setInterval(() => void this.#look(), PROBE_MS).unref();
  }

  /** Undefined: it answers. */
  get absence(): Absence | undefined {
    return this.#absence;
  }

  /** Whether it has answered for so long. */
  isSteady(ms: number): boolean {
    return this.#absence === undefined && Date.now() - this.#foundAt >= ms;
  }

  /** @returns undefined where it is away, did not answer in time, or failed; never rejects */
  async ask<T>(command: Ask<T>): Promise<T | undefined> {
    return this.#absence === undefined ? this.#send(command) : undefined;
  }

  /** Waits until it has answered once, a second at most. */
  async open(): Promise<void> {
    const end = performance.now() + START_MS;
    while (this.#absence !== undefined && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (this.#absence !== undefined) this.#parts.lost(this.#absence.problem);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#client.disconnect();
    for (const letGo of this.#waiting) letGo();
  }

  #send<T>(command: Ask<T>): Promise<T | undefined> {
    const sentAt = performance.now();
    const { answerMs = ANSWER_MS } = this.#parts;
    return new Promise((resolve) => {
      const letGo = (): void => end();
      const end = (result?: T): void => {
        if (!this.#waiting.delete(letGo)) return;
        clearTimeout(deadline);
        resolve(result);
      };
      const late = (): void => {
        if (this.#waiting.has(letGo)) this.#lose(`it did not answer within ${answerMs} ms`);
      };
      this.#waiting.add(letGo);
      // answers that have come meanwhile are read first: an event loop that was held up is no fault of Redis
      const deadline = setTimeout(() => setImmediate(late), answerMs);
      command(this.#client).then(
        (result) => {
          if (this.#waiting.has(letGo)) this.#parts.answered(performance.now() - sentAt);
          end(result);
        },
        (error: unknown) => {
          if (this.#waiting.has(letGo)) this.#lose(this.#reasonOf(error));
        },
      );
    });
  }

  #reasonOf(error: unknown): string {
    const isReply = error instanceof Error && error.name === 'ReplyError';
    return isReply ? redisProblem(error) : (this.#unconnected ?? redisProblem(error));
  }

  #lose(problem: string): void {
    const wasThere = this.#absence === undefined;
    this.#absence = { problem, since: this.#absence?.since ?? Date.now() };
    for (const letGo of this.#waiting) letGo();
    if (wasThere && !this.#isClosed) this.#parts.lost(problem);
  }

  async #look(): Promise<void> {
    if (this.#absence === undefined || this.#isProbing || this.#isClosed) return;
    this.#isProbing = true;
    const isThere = await this.#send((client) => this.#parts.probe(client).then(() => true));
    this.#isProbing = false;
    if (isThere !== true) return;
    this.#absence = undefined;
    this.#foundAt = Date.now();
    this.#unconnected = undefined;
    this.#parts.found();
  }
}
