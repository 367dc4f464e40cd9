/** How far long work is, in one line that is drawn over: on a terminal, and nowhere else. */
import type { Step } from '../upkeep/backup.ts';
import { counted } from './format.ts';
import type { Terminal } from './terminal.ts';

interface Progress {
  /** @param total may change while the work goes on */
  at(done: number, total: number): void;
  /** Wipes the line, so that what is printed next stands alone. */
  end(): void;
}

const REDRAW_EVERY_MS = 100;
const BAR = 24;

/**
 * @param label stands before the bar
 * @param unit what is counted, one of it
 * @returns what draws nothing where standard error is no terminal
 */
export function createProgress(
  { screen, writeError }: Terminal,
  label: string,
  unit: string,
  units = `${unit}s`,
): Progress {
  if (!screen.error) return { at: () => undefined, end: () => undefined };
  let drawnAt = Number.NEGATIVE_INFINITY;
  return {
    at(done, total) {
      const now = performance.now();
      if (now - drawnAt < REDRAW_EVERY_MS && done < total) return;
      drawnAt = now;
      const share = total > 0 ? Math.min(1, done / total) : 1;
      const filled = Math.round(share * BAR);
      const bar = `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)}`;
      const line = `${label} ${bar} ${Math.floor(share * 100)} % of ${counted(total, unit, units)}`;
      // what is longer than a line could not be wiped
      writeError(`${WIPE}${line.slice(0, screen.columns - 1)}`);
    },
    end: () => {
      if (drawnAt > Number.NEGATIVE_INFINITY) writeError(WIPE);
    },
  };
}

/** To the first column, and clear what stands there (ECMA-48 CHA, EL). */
const WIPE = '\r\u001b[2K';

/** What commands on the whole file do, in bytes; other labels are of steps. */
const LABELS: Readonly<Record<string, string>> = {
  copy: 'copying',
  check: 'checking',
  compress: 'compressing',
  verify: 'comparing',
  decompress: 'unpacking',
} satisfies Record<Step, string>;

const MEGABYTE = 1024 * 1024;

/** A bar for each step, one after the other. */
export function createStepProgress(terminal: Terminal) {
  let [current, progress] = ['', createProgress(terminal, '', 'step')];
  return {
    onStep(step: string, done: number, total: number): void {
      const label = LABELS[step];
      if (step !== current) {
        progress.end();
        [current, progress] = [
          step,
          label === undefined ? createProgress(terminal, step, 'step') : createProgress(terminal, label, 'MB', 'MB'),
        ];
      }
      if (label === undefined) progress.at(done, total);
      else progress.at(Math.round(done / MEGABYTE), Math.ceil(total / MEGABYTE));
    },
    end: () => progress.end(),
  };
}
