/** What a judged request on its way upstream has with it, and what its answer must go through. */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** Name and value alternating, as Node's `rawHeaders` and undici's `headers` have them. */
export type HeaderLines = readonly string[];

/** Changes the final header lines of an answer in place, names in lower case. Must not throw. */
export type AnswerEdit = (lines: string[], status: number) => void;

export interface HeaderEdit {
  /** Lower-case names whose every line is dropped. */
  readonly remove: ReadonlySet<string>;
  readonly add: HeaderLines;
}

export interface BufferedAnswer {
  readonly status: number;
  /** As they came from the upstream, hop-by-hop fields already removed. */
  readonly headers: HeaderLines;
  readonly body: Buffer;
}

export const MAX_REWRITTEN_BYTES = 64 * 1024 * 1024;

/** May reject with a GatewayError. @param ask sends the same request to another target */
export type AnswerRewrite = (answer: BufferedAnswer, ask: AskUpstream) => BufferedAnswer | Promise<BufferedAnswer>;
type AskUpstream = (target: string) => Promise<BufferedAnswer>;

/** Times in milliseconds of `performance.now()`. */
export interface ForwardOutcome {
  readonly status: number;
  readonly upstreamStartedAt: number;
  readonly firstByteAt: number;
  readonly lastByteAt: number;
  readonly rewriteMs: number;
  /** The upstream broke off inside the body, and the client's connection was destroyed so that it shows. */
  readonly truncated: boolean;
}

/** Reads an answer of the upstream as it goes out, and may hold back its end. Must not throw; its promises never reject. */
export interface AnswerTap {
  /** The head has come. @param headers names in lower case */
  begin(status: number, headers: IncomingHttpHeaders): void;
  /** @returns what goes out now; what comes later goes out behind it */
  take(chunk: Buffer): Buffer | Promise<Buffer>;
  /** The upstream has ended. @returns the rest, before the end goes out */
  end(): Buffer | Promise<Buffer>;
  /** Upstream or client have broken off, before the end or before anything was sent. */
  cut(): void;
  /** How long the upstream is read on after the client has left, in milliseconds; not given: not at all. */
  readonly outlivesClientMs?: number | undefined;
}

export interface TransportScope {
  readonly requestId: string;
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** Path and query, byte for byte as they came; never rebuilt from decoded parts. */
  target: string;
  credentialEdit: HeaderEdit;
  /** The bytes that were judged are sent. Taken out at once: they need not live as long as the answer. */
  body: Buffer | undefined;
  /** Sent in the place of `body`, where something was set in it. */
  bodyParts?: readonly Buffer[] | undefined;
  /** The answer is held back for it; the upstream is asked for an identity-coded body. */
  rewrite: AnswerRewrite | undefined;
  /** For every answer, our own included, in this order. */
  answerEdits: readonly AnswerEdit[];
  outcome: ForwardOutcome | undefined;
  tap?: AnswerTap | undefined;
}

export type Forwarded = Omit<TransportScope, 'incoming' | 'outcome'>;

export interface ExchangeEvents {
  /** The final head has come. @returns an error that the exchange then fails with: nothing of this answer is passed on */
  readonly onHead?: (status: number) => Error | undefined;
  readonly onUploaded?: (outgoing: ServerResponse) => void;
  /** A stream of events (SSE) begins or ends. */
  readonly onStream?: (isOpen: boolean) => void;
  /** @returns what is wrong with a 101, which is then not passed on */
  readonly onUpgrade?: (lines: HeaderLines, socket: Duplex) => Error | undefined;
}
