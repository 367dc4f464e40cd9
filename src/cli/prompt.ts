/** Asks whoever sits at the terminal, before something is done that was only shown so far. */
import { createInterface } from 'node:readline';
import type { Terminal } from './terminal.ts';
import { CommandFailure, EXIT } from './terminal.ts';

/**
 * @param question one line without its question mark's answers
 * @returns whether the answer was yes; Enter alone, Ctrl-D and anything else is no
 * @throws CommandFailure with exit code 2 where nobody can be asked
 */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  requireConsent(terminal, {});
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

/**
 * Before long work: what nobody could confirm in the end need not be begun. The question goes to standard error, because
 * standard output may be a file.
 * @throws CommandFailure with exit code 2 where nobody has said `--yes` and nobody can be asked
 */
export function requireConsent(
  { screen }: Terminal,
  { yes, json, tokenFile }: { readonly yes?: boolean; readonly json?: boolean; readonly tokenFile?: string },
  instead = '--yes',
): void {
  if (yes === true) return;
  const why =
    json === true
      ? 'With --json nobody is asked'
      : tokenFile === '-'
        ? 'Standard input holds the token'
        : screen.input && screen.error
          ? undefined
          : 'Not a terminal';
  if (why === undefined) return;
  throw new CommandFailure(`${why}, so nobody can confirm. Add ${instead}. Nothing was changed.`, EXIT.misused);
}

/** Somebody was asked, and said no. */
export const declined = (): CommandFailure =>
  new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });
