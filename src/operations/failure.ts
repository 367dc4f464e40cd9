/** Why an operation on the backend's file could not be done: one sentence, and what to do about it. */

/** For programs (`--json`); `failed` where no other says more. */
export type FailureCode =
  | 'failed'
  | 'misused'
  | 'configuration_invalid'
  | 'no_such_organization'
  | 'no_such_user'
  | 'no_such_file'
  | 'not_open_webui'
  | 'damaged'
  | 'locked'
  | 'disk_full'
  | 'not_permitted'
  | 'declined'
  | 'stopped'
  | 'bug';

/** Nothing was changed; the message is for the operator, whole. */
export class OperationFailure extends Error {
  readonly code: FailureCode;

  constructor(sentence: string, { code = 'failed', ...options }: { cause?: unknown; code?: FailureCode } = {}) {
    super(sentence, options);
    this.name = 'OperationFailure';
    this.code = code;
  }
}
