/**
 * How an operation hears Ctrl-C. SQLite runs each statement in one piece, and a signal is handled only between two turns
 * of the event loop: whoever works without such a turn ends as if nobody had asked to stop.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { OperationFailure } from './failure.ts';

/**
 * Lets the event loop run once, and so the signals that came meanwhile be heard.
 * @throws OperationFailure after Ctrl-C
 */
export async function hearStop(signal: AbortSignal, sentence?: string): Promise<void> {
  await nextTurn();
  requireGoingOn(signal, sentence);
}

/** For what runs between two turns anyway. @throws OperationFailure after Ctrl-C */
export function requireGoingOn(signal: AbortSignal, sentence = 'Stopped. Nothing was changed.'): void {
  if (signal.aborted) throw new OperationFailure(sentence);
}
