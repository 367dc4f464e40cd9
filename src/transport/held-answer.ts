/** An answer that is held back whole, and goes out rewritten. */
import { joined } from './body.ts';
import {
  type AnswerRewrite,
  type BufferedAnswer,
  type ExchangeEvents,
  type Forwarded,
  type HeaderLines,
  MAX_REWRITTEN_BYTES,
} from './exchange.ts';
import { type Upstream, createAsk } from './upstream.ts';

export interface ExchangeParts {
  readonly upstream: Upstream;
  readonly request: Forwarded;
  readonly headers: string[];
  readonly events: ExchangeEvents;
}

export class HeldAnswer {
  readonly #rewrite: AnswerRewrite;
  readonly #parts: ExchangeParts;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(rewrite: AnswerRewrite, parts: ExchangeParts) {
    this.#rewrite = rewrite;
    this.#parts = parts;
  }

  /** @returns false where it is too long: then it is rewritten as an empty one */
  take(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    const fits = this.#bytes <= MAX_REWRITTEN_BYTES;
    if (fits) this.#chunks.push(chunk);
    else this.#chunks = [];
    return fits;
  }

  async rewritten(status: number, headers: HeaderLines): Promise<BufferedAnswer> {
    const { upstream, headers: asked } = this.#parts;
    const received = { status, headers, body: joined(this.#chunks) };
    this.#chunks = [];
    return this.#rewrite(received, createAsk(upstream, asked));
  }
}
