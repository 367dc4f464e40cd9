/**
 * What lets a page of another origin read an answer (the Fetch standard, CORS protocol). The upstream decides that for its
 * own answers; for ours we say what it would. Preflights are answered by the upstream alone.
 */
import type { IncomingMessage } from 'node:http';
import type { AnswerEdit } from './exchange.ts';

export interface CrossOriginOptions {
  /** Origins as browsers spell them. */
  readonly origins: 'any' | ReadonlySet<string>;
  /** Names, in lower case, of the fields of ours that a page may read. */
  readonly exposed: readonly string[];
}

export interface CrossOrigin {
  /**
   * The lines of an answer of ours that let the page read it. As Starlette writes them with credentials: the origin itself,
   * never `*`. Without a request, whose origin nobody knows, `*` where any would do.
   */
  allow(lines: string[], incoming: Asking | undefined): void;
  /** For the answers to this request, whoever gives them. */
  edits(incoming: Asking): readonly AnswerEdit[];
}

type Asking = Pick<IncomingMessage, 'headers' | 'method'>;

const ALLOWED = 'access-control-allow-origin';
const EXPOSED = 'access-control-expose-headers';
const NONE: readonly AnswerEdit[] = [];

export function createCrossOrigin({ origins, exposed }: CrossOriginOptions): CrossOrigin {
  const names = exposed.join(', ');
  const exposing: readonly AnswerEdit[] = [expose];

  /** What the upstream exposes stays, and it is the upstream that allows. */
  function expose(lines: string[]): void {
    let allowed = false;
    let at = -1;
    for (let index = 0; index < lines.length; index += 2) {
      if (lines[index] === ALLOWED) allowed = true;
      else if (lines[index] === EXPOSED) at = index + 1;
    }
    if (!allowed) return;
    if (at === -1) lines.push(EXPOSED, names);
    else lines[at] = `${lines[at]}, ${names}`;
  }

  return {
    allow(lines, incoming) {
      if (incoming === undefined) {
        if (origins === 'any') lines.push(ALLOWED, '*', EXPOSED, names);
        return;
      }
      const { origin } = incoming.headers;
      if (origin === undefined) return;
      lines.push('vary', 'origin');
      if (origins === 'any' || origins.has(origin)) {
        lines.push(ALLOWED, origin, 'access-control-allow-credentials', 'true');
      }
    },
    edits: ({ headers, method }) => (headers.origin === undefined || method === 'OPTIONS' ? NONE : exposing),
  };
}
