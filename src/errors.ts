/** Every failure that a client may see. What is not in this table is a bug, answered as `internal`. */
const ERRORS = {
  path_ambiguous: { status: 400, text: 'The request path has an ambiguous spelling and was not forwarded.' },
  request_malformed: { status: 400, text: 'The request is not well-formed HTTP and was not forwarded.' },
  method_not_allowed: { status: 405, text: 'This method is not served here.' },
  credentials_conflict: {
    status: 400,
    text: 'The request carries credentials of two different users. Send exactly one.',
  },
  identity_conflict: { status: 400, text: 'The request names its user more than once.' },
  access_key_invalid: {
    status: 401,
    text: 'This door needs its access key as the API key of the connection. Neither the key of a provider is one, nor that of an organization, which mAI sends: `modelgate doctor` says what to change.',
  },
  provider_unknown: { status: 404, text: 'There is no such provider here.' },
  body_unreadable: {
    status: 400,
    text: 'The request body is not clean JSON: UTF-8 without a byte order mark, no repeated keys, no NaN, nesting of at most 200 levels.',
  },
  version_not_supported: { status: 505, text: 'This version of HTTP is not served here. Use HTTP/1.1.' },
  request_timeout: { status: 408, text: 'The request did not arrive in time.' },
  rate_limit_exceeded: { status: 429, text: 'Too many requests.' },
  headers_too_large: { status: 431, text: 'The request line and its headers are larger than this gateway accepts.' },
  expectation_failed: { status: 417, text: 'The only expectation served here is 100-continue.' },
  body_too_large: { status: 413, text: 'The request body is larger than this gateway accepts.' },
  body_too_complex: { status: 413, text: 'The request body holds more than this gateway can check at once.' },
  loop_detected: { status: 508, text: 'The request came back to this gateway: its upstream address leads to itself.' },
  upstream_unreachable: { status: 502, text: 'The backend cannot be reached at the moment. Try again shortly.' },
  upstream_invalid: { status: 502, text: 'The backend sent an answer that is not valid HTTP.' },
  upstream_headers_too_large: {
    status: 502,
    text: 'The backend sent an answer whose headers are larger than this gateway accepts.',
  },
  upstream_timeout: { status: 504, text: 'The backend did not answer in time.' },
  budget_exceeded: { status: 402, text: 'The budget for this is used up.' },
  unpriced_model: {
    status: 402,
    text: 'This model has no price, and your organization has a budget of money. An administrator can give it one with `modelgate price set`.',
  },
  unbounded_model: {
    status: 402,
    text: 'What this call would cost at most is not known, and your organization has a budget. Send a limit (max_tokens), and neither tools of the provider nor other models with a budget of their own; with pictures, files or earlier answers that it keeps the context of the model must be known.',
  },
  organization_key_unusable: {
    status: 503,
    text: 'Your organization has a key of its own with this provider, and it cannot be used. An administrator can see why in the log, and set it again with `modelgate key set`.',
  },
  ledger_unavailable: { status: 503, text: 'Usage cannot be recorded at the moment. Try again shortly.' },
  limits_unavailable: { status: 503, text: 'Requests cannot be counted at the moment. Try again shortly.' },
  policy_unavailable: { status: 503, text: 'Model access cannot be checked at the moment. Try again shortly.' },
  chat_busy: { status: 503, text: 'This chat is still being saved. Try again shortly.' },
  chat_too_complex: { status: 413, text: 'The stored chat holds more than this gateway can check at once.' },
  bodies_held: { status: 503, text: 'Too many long requests are being read at the moment. Try again shortly.' },
  reading_unavailable: { status: 503, text: 'Long requests cannot be read at the moment. Try again shortly.' },
  draining: { status: 503, text: 'The gateway is shutting down. Try again.' },
  internal: { status: 500, text: 'The gateway failed to serve this request.' },
} as const satisfies Record<string, { status: number; text: string }>;

/** What an answer of `method_not_allowed` must name (`Allow`, RFC 9110 15.5.6). */
export const ALLOWED_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';

export type ErrorCode = keyof typeof ERRORS;

/** Mapped to an answer once, in `enforcement/answers.ts`. */
export class GatewayError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  /** The upstream has had the whole request before this happened, and may have done what it says. */
  readonly wasSent: boolean;

  /** @param detail what was found, for the client too: never a secret, a stack or an inventory */
  constructor(
    code: ErrorCode,
    { cause, detail, wasSent = false }: { cause?: unknown; detail?: string | undefined; wasSent?: boolean } = {},
  ) {
    const { text } = ERRORS[code];
    // who reads that a budget is used up reads of which
    const sentence = code === 'budget_exceeded' && detail !== undefined ? detail : `${text} ${detail ?? ''}`.trimEnd();
    super(sentence, cause === undefined ? {} : { cause });
    this.name = 'GatewayError';
    this.code = code;
    this.detail = detail;
    this.wasSent = wasSent;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  /** What its answer says besides (RFC 9110: 15.5.6 wants `Allow`, 15.6.4 suggests `Retry-After`, in seconds). */
  get headers(): Readonly<Record<string, string>> {
    // the OpenAI SDK obeys it; no other day is today
    if (this.status === 402) return { 'x-should-retry': 'false' };
    if (this.status === 503) return { 'retry-after': this.code === 'draining' ? '1' : '2' };
    return this.code === 'method_not_allowed' ? { allow: ALLOWED_METHODS } : {};
  }
}

export const isPolicyUnavailable = (error: unknown): boolean =>
  error instanceof GatewayError && error.code === 'policy_unavailable';

/** Logged as 499, not answered, not counted as a failure. */
export class ClientGone extends Error {
  constructor(options: { cause?: unknown } = {}) {
    super('The client closed the connection before the answer was complete.', options);
    this.name = 'ClientGone';
  }
}
