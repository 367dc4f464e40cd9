/** The shape in which a caller expects to read a refusal. */
export type Dialect = 'open-webui' | 'openai' | 'ollama' | 'anthropic';

/** For requests that never reached a surface: a wrong path, a wrong header. @param path decoded or raw, may be empty */
export function dialectOfPath(path: string): Dialect {
  if (
    path.startsWith('/api/v1/messages') ||
    path.startsWith('/api/message') ||
    path.startsWith('/ollama/v1/messages')
  ) {
    return 'anthropic';
  }
  if (path.startsWith('/openai/') || path.startsWith('/ollama/v1/') || OPENAI_ALIASES.has(path)) return 'openai';
  return path.startsWith('/ollama/') ? 'ollama' : 'open-webui';
}

/** Paths outside `/openai` that only OpenAI clients use; the backend's own page uses `/api/…`. */
const OPENAI_ALIASES: ReadonlySet<string> = new Set([
  '/api/v1/chat/completions',
  '/api/v1/embeddings',
  '/api/v1/models',
]);

export interface ErrorBody {
  readonly status: number;
  /** Stable machine word: a `DenyReason` in the caller's terms, or an `ErrorCode`. */
  readonly code: string;
  readonly message: string;
}

/** @returns the JSON value of an error answer in that dialect */
export function toErrorBody(dialect: Dialect, { status, code, message }: ErrorBody): unknown {
  switch (dialect) {
    case 'open-webui':
      return { detail: message };
    case 'ollama':
      return { error: message };
    case 'openai':
      return {
        error: {
          message,
          type: OPENAI_TYPES[status] ?? 'api_error',
          param: code.startsWith('model_') ? 'model' : null,
          code,
        },
      };
    case 'anthropic':
      return { type: 'error', error: { type: ANTHROPIC_TYPES[status] ?? 'api_error', message } };
  }
}

/** OpenAI's own pairs of status and `type`. */
const OPENAI_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'invalid_request_error',
  413: 'invalid_request_error',
  429: 'rate_limit_error',
};

/** Anthropic's own pairs. */
const ANTHROPIC_TYPES: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
};
