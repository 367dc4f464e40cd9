import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Changes the final header lines of an answer in place: the upstream's, a relayed refusal's, or the gate's own. Names
 * are in lower case, as HTTP/2 demands and undici reads them; edits keep to it.
 * Called once an answer, never for an interim one. Must not throw.
 */
export type AnswerEdit = (lines: string[], status: number) => void;

/** A coding beside chunked would be left in the body while the field that names it is dropped. @param coding as undici gives it */
export function isOddlyCoded(coding: string | string[] | undefined): boolean {
  return coding !== undefined && (typeof coding !== 'string' || coding.trim().toLowerCase() !== 'chunked');
}

/** Server-sent events (HTML Living Standard 9.2): open for as long as a model writes. */
export function isEventStream(type: unknown): boolean {
  return typeof type === 'string' && type.startsWith('text/event-stream');
}

/** Header lines in order, name and value alternating, as Node's `rawHeaders` and undici's `headers` have them. */
export type HeaderLines = readonly string[];

/**
 * What identity wants changed in the request's headers: every copy of a credential removed, one canonical copy added.
 * `transport/headers.ts` applies it; it knows nothing of what the headers mean.
 */
export interface HeaderEdit {
  /** Lower-case names whose every line is dropped. */
  readonly remove: ReadonlySet<string>;
  /** Lines added after that. */
  readonly add: HeaderLines;
}

/** An answer held back whole, so that its body can be replaced. */
export interface BufferedAnswer {
  readonly status: number;
  /** As they came from the upstream, hop-by-hop fields already removed. */
  readonly headers: HeaderLines;
  readonly body: Buffer;
}

/**
 * Makes another answer of it; called once with the complete body. Must not throw; may reject with a GatewayError, which
 * is then the answer to the client.
 *
 * @param ask sends the same request to another target and gives its answer; rejects as `forward` does
 */
export type AnswerRewrite = (answer: BufferedAnswer, ask: AskUpstream) => BufferedAnswer | Promise<BufferedAnswer>;
export type AskUpstream = (target: string) => Promise<BufferedAnswer>;

/** One request to be sent upstream, as it was judged. */
export interface ForwardRequest {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** Path and query, byte for byte as they are to be sent; never rebuilt from decoded parts. */
  readonly target: string;
  readonly edit: HeaderEdit;
  /**
   * Set where a stage has read the body already: these bytes are sent. Otherwise the body streams from `incoming`.
   * Taken out at once: the request lives as long as its answer, and they need not.
   */
  body: Buffer | undefined;
  /** Set where the answer must be held back and rewritten; the upstream is then asked for an identity-coded body. */
  readonly rewrite: AnswerRewrite | undefined;
  readonly requestId: string;
  /** Applied to the answer's header lines in this order; what they add wins over what the upstream sent. */
  readonly answerEdits?: readonly AnswerEdit[];
  /** Called when the upstream has taken a long `body`. */
  readonly onUploaded?: (outgoing: ServerResponse) => void;
  /** Called when the answer turns out to be a stream of events (SSE), and when that has ended. */
  readonly onStream?: (isOpen: boolean) => void;
}

/** What happened, for the access line and the metrics. Times in milliseconds of `performance.now()`. */
export interface ForwardOutcome {
  readonly status: number;
  readonly upstreamStartedAt: number;
  readonly firstByteAt: number;
  /** When the upstream's answer was complete, or was cut. */
  readonly lastByteAt: number;
  /** What rewriting the answer took; 0 where it was passed on as it came. */
  readonly rewriteMs: number;
  /** The upstream broke off inside the body, and the client's connection was destroyed so that it shows. */
  readonly truncated: boolean;
}

/** In bytes. An answer that is longer counts as unreadable: the rewrite gets an empty body. */
export const MAX_REWRITTEN_BYTES = 64 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/** An answer held back until it is whole, so that it can be rewritten. */
export class HeldAnswer {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /** @returns false where the answer is too long: it is empty then, and wants no more */
  add(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    const fits = this.#bytes <= MAX_REWRITTEN_BYTES;
    if (fits) this.#chunks.push(chunk);
    else this.#chunks = [];
    return fits;
  }

  body(): Buffer {
    const [first = EMPTY] = this.#chunks;
    return this.#chunks.length > 1 ? Buffer.concat(this.#chunks) : first;
  }
}
