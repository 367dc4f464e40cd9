/** What is asked and shown on a terminal while a command works: consent to what was only shown so far, and progress. */
import { createInterface } from 'node:readline/promises';
import type { Step } from '../upkeep/backup.ts';
import { grouped } from './report.ts';
import { type Terminal, CommandFailure, EXIT, misused } from './terminal.ts';

type Consent = Readonly<{ yes?: boolean; json?: boolean; tokenFile?: string }>;

/**
 * Asks on standard error, as standard output may be a file: only a yes is one. With `--yes` nothing is asked.
 * @throws CommandFailure as `requireConsent`, and where the answer is no
 */
export async function askForConsent(terminal: Terminal, options: Consent, question: string): Promise<void> {
  if (options.yes === true) return;
  requireConsent(terminal, {});
  terminal.writeError(`${question} [y/N] `);
  const ended = new AbortController();
  const lines = createInterface({ input: terminal.input() }).once('close', () => ended.abort());
  const signal = AbortSignal.any([terminal.stop, ended.signal]);
  const answer = await lines.question('', { signal }).catch(() => terminal.writeError('\n'));
  lines.close();
  if (/^\s*y(?:es)?\s*$/i.test(answer ?? '')) return;
  throw new CommandFailure('Nothing was changed.', EXIT.failed, { code: 'declined' });
}

/** Before long work that could not be confirmed in the end. @throws CommandFailure with exit code 2 where no person can be asked */
export function requireConsent({ screen }: Terminal, { yes, json, tokenFile }: Consent, instead = '--yes'): void {
  if (yes === true || (json !== true && tokenFile !== '-' && screen.input && screen.error)) return;
  const unasked = tokenFile === '-' ? 'Standard input holds the token' : 'Not a terminal';
  const why = json === true ? 'With --json no question is asked' : unasked;
  throw misused(`${why}, so it cannot be confirmed. Add ${instead}. Nothing was changed.`);
}

const REDRAW_EVERY_MS = 100;
const BAR = 24;
/** To the first column, and clear what stands there (ECMA-48 CHA, EL). */
const WIPE = '\r\u001b[2K';

/** Steps that are counted in bytes. */
const IN_BYTES: Readonly<Record<string, string>> = {
  ...{ copy: 'copying', check: 'checking', compress: 'compressing', verify: 'comparing', decompress: 'unpacking' },
} satisfies Record<Step, string>;

const MEGABYTE = 1024 * 1024;

/** How far long work is, in one line of a terminal that is drawn over and wiped at the end. */
export function createProgress({ screen, writeError }: Terminal) {
  let [current, drawnAt] = ['', Number.NEGATIVE_INFINITY];
  return {
    at: (step: string, done: number, total: number): void => {
      const now = performance.now();
      const isEarly = step === current && now - drawnAt < REDRAW_EVERY_MS && done < total;
      if (!screen.error || isEarly) return;
      [current, drawnAt] = [step, now];
      const share = total > 0 ? Math.min(1, done / total) : 1;
      const bar = '█'.repeat(Math.round(share * BAR)).padEnd(BAR, '░');
      const label = IN_BYTES[step];
      const all = label === undefined ? grouped(total) : `${grouped(Math.ceil(total / MEGABYTE))} MB`;
      const line = `${label ?? step} ${bar} ${Math.floor(share * 100)} % of ${all}`;
      writeError(`${WIPE}${line.slice(0, screen.columns - 1)}`);
    },
    [Symbol.dispose]: (): void => {
      if (current !== '') writeError(WIPE);
    },
  };
}
