/** What the listener answers itself: requests that no stage sees, and bytes that are no request. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ALLOWED_METHODS, ERRORS } from '../errors.ts';
import type { ErrorCode } from '../errors.ts';
import { linger, rawAnswer, refuseUpgrade, sendAnswer } from './answer.ts';
import { beyondHeaderLimit } from './request-rules.ts';

/** An answer that no stage gives. */
export interface OwnAnswer {
  readonly status: number;
  readonly code?: ErrorCode | undefined;
  /** Absent where the bytes were no request. */
  readonly incoming?: IncomingMessage;
}

export interface OwnAnswerOptions {
  /** What is said for each of these answers besides its own lines; without a request where the bytes were none. */
  readonly edit: ((lines: string[], status: number, incoming: IncomingMessage | undefined) => void) | undefined;
  /** Told of every one of these answers: nobody else will see it. */
  readonly answered: ((own: OwnAnswer) => void) | undefined;
  readonly maxHeaderBytes: number;
}

/** Each ends the connection, but `options`. */
export interface OwnAnswers {
  /** To an OPTIONS request that goes no further (RFC 9110 9.3.7). */
  options(incoming: IncomingMessage, outgoing: ServerResponse): void;
  error(incoming: IncomingMessage, outgoing: ServerResponse, code: ErrorCode, detail?: string): void;
  /** Where Node has no response object: upgrades and CONNECT. */
  errorOnSocket(incoming: IncomingMessage, socket: Duplex, code: ErrorCode, detail?: string): void;
  /** To bytes that are no request, by Node's word for what is wrong with them. */
  broken(socket: Socket, code: string | undefined): void;
  /** The same to a request whose body is what is wrong, while its answer is not yet due. */
  brokenBody(outgoing: ServerResponse, code: string | undefined): void;
}

export function createOwnAnswers({ edit, answered, maxHeaderBytes }: OwnAnswerOptions): OwnAnswers {
  const linesFor = (status: number, own: readonly string[], incoming?: IncomingMessage): string[] => {
    const lines = [...own];
    edit?.(lines, status, incoming);
    return lines;
  };
  const error: OwnAnswers['error'] = (incoming, outgoing, code, detail) => {
    const { status } = ERRORS[code];
    outgoing.shouldKeepAlive = false;
    const lines = linesFor(status, FIELDS[code] ?? [], incoming);
    if (sendAnswer(outgoing, status, lines, errorBody(code, detail))) answered?.({ status, code, incoming });
  };
  const detailOf = (code: ErrorCode) => (code === 'headers_too_large' ? tooLarge(maxHeaderBytes) : undefined);
  return {
    error,
    options(incoming, outgoing) {
      sendAnswer(outgoing, 204, linesFor(204, ALLOW, incoming), '');
      answered?.({ status: 204, incoming });
    },
    errorOnSocket(incoming, socket, code, detail) {
      const { status } = ERRORS[code];
      refuseUpgrade(socket, status, linesFor(status, FIELDS[code] ?? [], incoming), errorBody(code, detail));
      answered?.({ status, code, incoming });
    },
    broken(socket, nodeCode) {
      const code = BROKEN[nodeCode ?? ''] ?? 'request_malformed';
      const { status } = ERRORS[code];
      linger(socket, rawAnswer(status, linesFor(status, []), errorBody(code, detailOf(code))));
      answered?.({ status, code });
    },
    brokenBody(outgoing, nodeCode) {
      const code = BROKEN[nodeCode ?? ''] ?? 'request_malformed';
      error(outgoing.req, outgoing, code, detailOf(code));
    },
  };
}

const ALLOW = ['allow', ALLOWED_METHODS];

const FIELDS: Readonly<Partial<Record<ErrorCode, readonly string[]>>> = {
  method_not_allowed: ALLOW,
  draining: ['retry-after', '1'],
};

function errorBody(code: ErrorCode, detail?: string): string {
  const { text } = ERRORS[code];
  return JSON.stringify({ detail: detail === undefined ? text : `${text} ${detail}`, code });
}

/** The parser stops at the limit, so that nobody knows how much more there would have been. */
function tooLarge(maxHeaderBytes: number): string {
  return `${beyondHeaderLimit(maxHeaderBytes)} Delete the cookies of this site, or use a shorter address.`;
}

const BROKEN: Readonly<Partial<Record<string, ErrorCode>>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
};
