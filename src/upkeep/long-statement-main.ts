/** The other end of `statement-process.ts`: runs one statement, answers, and ends. */
import { failureCode } from '../store/database.ts';
import type { Answer } from './long-statement.ts';
import type { Order } from './statements.ts';
import { runStatement } from './statements.ts';

function answerTo(order: Order): Answer {
  try {
    return { rows: runStatement(order) };
  } catch (error) {
    return { code: failureCode(error), message: error instanceof Error ? error.message : '' };
  }
}

process.once('message', (order: Order) => {
  // nobody listens any more where the command was killed; the statement is done all the same
  const answer = answerTo(order);
  if (process.connected) process.send?.(answer, () => process.disconnect?.());
});
