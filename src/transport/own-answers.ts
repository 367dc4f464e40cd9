/** What the listener answers by itself: requests that no stage sees, and bytes that are no request. */
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
  readonly incoming?: Pick<IncomingMessage, 'method' | 'url'> | undefined;
}

export interface OwnAnswerOptions {
  /** Adds lines to each of these answers; without a request where the bytes were none. */
  readonly ownAnswerEdit?: (lines: string[], status: number, incoming: IncomingMessage | undefined) => void;
  /** Called for every request that is answered here: no stage sees it. */
  readonly answered?: (own: OwnAnswer) => void;
}

export type OwnAnswers = ReturnType<typeof createOwnAnswers>;

/** Each of these answers ends its connection, but for `options`. */
export function createOwnAnswers({ ownAnswerEdit, answered }: OwnAnswerOptions, maxHeaderBytes: number) {
  const linesFor = (status: number, own: readonly string[] = [], incoming?: IncomingMessage): string[] => {
    const lines = [...own];
    ownAnswerEdit?.(lines, status, incoming);
    return lines;
  };
  const error = (outgoing: ServerResponse, code: ErrorCode, detail?: string): void => {
    const { status } = ERRORS[code];
    const { req: incoming } = outgoing;
    outgoing.shouldKeepAlive = false;
    const lines = linesFor(status, FIELDS[code], incoming);
    if (sendAnswer(outgoing, status, lines, errorBody(code, detail))) answered?.({ status, code, incoming });
  };
  /** Node's word for what is wrong, as a row of the error table. */
  const faultOf = (nodeCode = ''): { code: ErrorCode; detail: string | undefined } => {
    const code = BROKEN[nodeCode] ?? 'request_malformed';
    return { code, detail: code === 'headers_too_large' ? tooLarge(maxHeaderBytes) : undefined };
  };
  return {
    error,
    /** To an OPTIONS request that goes no further (RFC 9110 9.3.7). */
    options(outgoing: ServerResponse): void {
      const { req: incoming } = outgoing;
      sendAnswer(outgoing, 204, linesFor(204, ALLOW, incoming), '');
      answered?.({ status: 204, incoming });
    },
    /** Where Node has no response object: upgrades and CONNECT. */
    errorOnSocket(incoming: IncomingMessage, socket: Duplex, code: ErrorCode, detail?: string): void {
      const { status } = ERRORS[code];
      refuseUpgrade(socket, status, linesFor(status, FIELDS[code], incoming), errorBody(code, detail));
      answered?.({ status, code, incoming });
    },
    /** To bytes that are no request. */
    broken(socket: Socket, nodeCode: string | undefined): void {
      const { code, detail } = faultOf(nodeCode);
      const { status } = ERRORS[code];
      linger(socket, rawAnswer(status, linesFor(status), errorBody(code, detail)));
      answered?.({ status, code });
    },
    /** To a request whose body is what is wrong, while its answer is not yet due. */
    brokenBody(outgoing: ServerResponse, nodeCode: string | undefined): void {
      const { code, detail } = faultOf(nodeCode);
      error(outgoing, code, detail);
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

/** The parser stops at the limit, so that the real length is not known. */
function tooLarge(maxHeaderBytes: number): string {
  return `${beyondHeaderLimit(maxHeaderBytes)} Delete the cookies of this site, or use a shorter address.`;
}

const BROKEN: Readonly<Partial<Record<string, ErrorCode>>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
};
