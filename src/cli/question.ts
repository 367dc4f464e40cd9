/** Asks whoever sits at the terminal, before something is done that was only shown so far. */
import { createInterface } from 'node:readline';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT } from './terminal.ts';

/**
 * @param question one line without its question mark's answers
 * @returns whether the answer was yes; Enter alone, Ctrl-D and anything else is no
 * @throws CommandFailure with exit code 2 where nobody can be asked: a script says `--yes`
 */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  if (!canAsk(terminal)) {
    throw new CommandFailure('Nobody can be asked here, because this is no terminal: say --yes.', EXIT.misused);
  }
  terminal.writeError(`${question} [y/N] `);
  const lines = createInterface({ input: terminal.input() });
  const stop = (): void => lines.close();
  terminal.stop.addEventListener('abort', stop, { once: true });
  const answer = await new Promise<string | undefined>((resolve) => {
    lines.once('line', resolve);
    lines.once('close', () => resolve(undefined));
  });
  terminal.stop.removeEventListener('abort', stop);
  lines.close();
  // the cursor still stands behind the question
  if (answer === undefined) terminal.writeError('\n');
  return /^\s*y(?:es)?\s*$/i.test(answer ?? '');
}

/** The question goes to standard error: standard output may be a file. */
export const canAsk = ({ screen }: Terminal): boolean => screen.input && screen.error;
