/** Why an operation on the backend's file could not be done: one sentence, and what to do about it. */

/** Nothing was changed; the message is for the operator, whole. */
export class OperationFailure extends Error {
  constructor(sentence: string, options: { cause?: unknown } = {}) {
    super(sentence, options);
    this.name = 'OperationFailure';
  }
}
