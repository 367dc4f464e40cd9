/** Consent to what was only shown so far. */
import { createInterface } from 'node:readline/promises';
import { type Terminal, CommandFailure, EXIT } from './terminal.ts';

/**
 * @param question one line
 * @returns whether the answer was yes; Enter alone, Ctrl-D, Ctrl-C and any other answer is no
 * @throws CommandFailure as `requireConsent`
 */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  requireConsent(terminal, {});
  terminal.writeError(`${question} [y/N] `);
  const ended = new AbortController();
  const lines = createInterface({ input: terminal.input() }).once('close', () => ended.abort());
  try {
    const answer = await lines.question('', { signal: AbortSignal.any([terminal.stop, ended.signal]) });
    return /^\s*y(?:es)?\s*$/i.test(answer);
  } catch {
    // the cursor is still behind the question
    terminal.writeError('\n');
    return false;
  } finally {
    lines.close();
  }
}

/**
 * To be called before long work that could not be confirmed in the end. The question goes to standard error, because
 * standard output may be a file.
 * @throws CommandFailure with exit code 2 without `--yes` where no person can be asked
 */
export function requireConsent(
  { screen }: Terminal,
  { yes, json, tokenFile }: { readonly yes?: boolean; readonly json?: boolean; readonly tokenFile?: string },
  instead = '--yes',
): void {
  if (yes === true) return;
  const why =
    json === true
      ? 'With --json no question is asked'
      : tokenFile === '-'
        ? 'Standard input holds the token'
        : screen.input && screen.error
          ? undefined
          : 'Not a terminal';
  if (why === undefined) return;
  throw new CommandFailure(`${why}, so it cannot be confirmed. Add ${instead}. Nothing was changed.`, EXIT.misused);
}

/** The answer was no. */
export const declined = (): CommandFailure =>
  new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });
