/** What is asked and shown on a terminal while a command works: consent to what was only shown so far, and progress. */
import { createInterface } from 'node:readline/promises';
import type { Step } from '../upkeep/backup.ts';
import { counted } from './report.ts';
import { type Terminal, CommandFailure, EXIT, misused } from './terminal.ts';

/** Asks on standard error, as standard output may be a file: only a yes is one. @throws CommandFailure as `requireConsent` */
export async function askYesNo(terminal: Terminal, question: string): Promise<boolean> {
  requireConsent(terminal, {});
  terminal.writeError(`${question} [y/N] `);
  const ended = new AbortController();
  const lines = createInterface({ input: terminal.input() }).once('close', () => ended.abort());
  try {
    const answer = await lines.question('', { signal: AbortSignal.any([terminal.stop, ended.signal]) });
    return /^\s*y(?:es)?\s*$/i.test(answer);
  } catch {
    terminal.writeError('\n');
    return false;
  } finally {
    lines.close();
  }
}

/** Before long work that could not be confirmed in the end. @throws CommandFailure with exit code 2 where no person can be asked */
export function requireConsent(
  { screen }: Terminal,
  { yes, json, tokenFile }: { readonly yes?: boolean; readonly json?: boolean; readonly tokenFile?: string },
  instead = '--yes',
): void {
  if (yes === true || (json !== true && tokenFile !== '-' && screen.input && screen.error)) return;
  const unasked = tokenFile === '-' ? 'Standard input holds the token' : 'Not a terminal';
  const why = json === true ? 'With --json no question is asked' : unasked;
  throw misused(`${why}, so it cannot be confirmed. Add ${instead}. Nothing was changed.`);
}

export const declined = (): CommandFailure =>
  new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });

const REDRAW_EVERY_MS = 100;
const BAR = 24;
/** To the first column, and clear what stands there (ECMA-48 CHA, EL). */
const WIPE = '\r\u001b[2K';

/** How far long work is, in one line of a terminal that is drawn over. @param label before the bar @param unit one of what is counted */
export function createProgress({ screen, writeError }: Terminal, label: string, unit: string, units = `${unit}s`) {
  let drawnAt = Number.NEGATIVE_INFINITY;
  return {
    at: (done: number, total: number): void => {
      const now = performance.now();
      if (!screen.error || (now - drawnAt < REDRAW_EVERY_MS && done < total)) return;
      drawnAt = now;
      const share = total > 0 ? Math.min(1, done / total) : 1;
      const bar = '█'.repeat(Math.round(share * BAR)).padEnd(BAR, '░');
      const line = `${label} ${bar} ${Math.floor(share * 100)} % of ${counted(total, unit, units)}`;
      writeError(`${WIPE}${line.slice(0, screen.columns - 1)}`);
    },
    [Symbol.dispose]: (): void => {
      if (drawnAt > Number.NEGATIVE_INFINITY) writeError(WIPE);
    },
  };
}

/** Steps that are counted in bytes. */
const LABELS: Readonly<Record<string, string>> = {
  ...{ copy: 'copying', check: 'checking', compress: 'compressing', verify: 'comparing', decompress: 'unpacking' },
} satisfies Record<Step, string>;

const MEGABYTE = 1024 * 1024;

export function createStepProgress(terminal: Terminal) {
  let [current, progress] = ['', createProgress(terminal, '', '')];
  return {
    onStep: (step: string, done: number, total: number): void => {
      const label = LABELS[step];
      if (step !== current) {
        progress[Symbol.dispose]();
        current = step;
        progress =
          label === undefined ? createProgress(terminal, step, 'step') : createProgress(terminal, label, 'MB', 'MB');
      }
      const size = label === undefined ? 1 : MEGABYTE;
      progress.at(Math.round(done / size), Math.ceil(total / size));
    },
    [Symbol.dispose]: () => progress[Symbol.dispose](),
  };
}
