/** Output of many lines, written piece by piece: nothing is made that nobody will read. */
import { setImmediate } from 'node:timers/promises';
import type { Terminal } from '../terminal.ts';
import { CommandFailure } from '../terminal.ts';

const PIECE = 1_000;

/**
 * @param print one piece as text; called for one after the other
 * @throws CommandFailure after Ctrl-C
 */
export async function writeInPieces<T>(
  terminal: Terminal,
  items: readonly T[],
  print: (piece: readonly T[], at: number) => string,
): Promise<void> {
  for (let at = 0; at < items.length; at += PIECE) {
    if (terminal.stop.aborted) throw new CommandFailure('Stopped before the end of the output.');
    terminal.write(print(items.slice(at, at + PIECE), at));
    // `| head` has left, or Ctrl-C was pressed: both are heard of only between two pieces
    await setImmediate();
  }
}
